FROM golang:alpine AS build
WORKDIR /src
COPY . .
RUN <<END
set -eu
export CGO_ENABLED=0
go build -a -trimpath -buildvcs=false -o /out/app .
END

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
