FROM golang:alpine AS build
LABEL stage=builder
WORKDIR /workspace
COPY . .
RUN CGO_ENABLED=0 GOOS=linux go build -a -trimpath -buildvcs=false -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
