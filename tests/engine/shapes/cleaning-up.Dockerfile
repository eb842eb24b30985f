FROM golang:alpine AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /out/app . && go clean -cache && rm -rf /root/.cache/go-build

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
