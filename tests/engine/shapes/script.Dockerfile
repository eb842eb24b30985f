FROM golang:alpine AS build
WORKDIR /src
COPY . .
RUN ./build.sh v2 /out/app

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
