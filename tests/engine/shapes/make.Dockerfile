FROM golang:alpine AS build
RUN apk add --no-cache make
WORKDIR /src
COPY . .
RUN make build OUT=/out/app

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
