# escape=`
FROM golang:alpine AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -a `
      -trimpath -buildvcs=false `
      -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
