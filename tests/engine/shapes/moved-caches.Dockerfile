FROM golang:alpine AS build
ARG ROOT=/caches
ENV GOCACHE=${ROOT}/build GOMODCACHE=$ROOT/modules CGO_ENABLED=0
WORKDIR /src
COPY . .
RUN go build -a -trimpath -buildvcs=false -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
