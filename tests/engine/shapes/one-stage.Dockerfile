FROM golang:alpine
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -a -trimpath -buildvcs=false -o /out/app .
CMD ["/out/app"]
