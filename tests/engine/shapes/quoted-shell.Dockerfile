FROM golang:alpine AS build
WORKDIR /src
COPY . .
RUN sh -ec 'cd . && CGO_ENABLED=0 go build -a -trimpath -buildvcs=false -ldflags "-X main.version=-a" -o /out/app .'

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
