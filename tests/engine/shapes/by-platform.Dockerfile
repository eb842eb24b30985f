FROM golang:alpine AS build-amd64
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -a -trimpath -buildvcs=false -o bin/app .

FROM golang:alpine AS build-arm64
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -a -trimpath -buildvcs=false -o bin/app .

FROM build-${TARGETARCH} AS build

FROM scratch
COPY --from=build /src/bin/app /out/app
CMD ["/out/app"]
