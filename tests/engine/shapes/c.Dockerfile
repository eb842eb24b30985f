FROM golang:alpine AS build
RUN apk add --no-cache gcc libc-dev
WORKDIR /src
COPY . .
RUN go build -trimpath -buildvcs=false -ldflags='-extldflags "-static"' -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
