ARG GO=alpine
FROM golang:${GO:-alpine} AS build
ARG CMD=.
ARG VERSION=v1.2
ENV CGO_ENABLED=0 FLAGS=-trimpath
WORKDIR /src
COPY . .
RUN go build $FLAGS -a -buildvcs=false -ldflags "-X main.version=$VERSION" -o /out/app ./${CMD}

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
