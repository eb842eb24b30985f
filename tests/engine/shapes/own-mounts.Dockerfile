FROM golang:alpine AS build
ENV CGO_ENABLED=0
WORKDIR /src
RUN --mount=type=bind,target=/src \
    --mount=type=cache,id=watcher-test-own,target=/root/.cache/go-build \
    go build -a -trimpath -buildvcs=false -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
