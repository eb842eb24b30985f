ARG BASE=golang:alpine
FROM ${BASE} AS deps
ENV CGO_ENABLED=0
WORKDIR /src
COPY go.mod ./
RUN go mod download

FROM deps AS source
COPY . .

FROM source AS vet
RUN go vet -a ./...

FROM source AS build
ARG VERSION=1
RUN go build -trimpath -buildvcs=false -ldflags="-X main.version=${VERSION}" -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
