FROM golang:alpine AS build
ENV GOFLAGS="-a -trimpath -buildvcs=false" CGO_ENABLED=0
WORKDIR /src
COPY . .
RUN go install . && mkdir /out && mv /go/bin/shapes /out/app

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
