FROM golang:alpine AS build
RUN mkdir -p /out /home/dev && chown 1000:1000 /out /home/dev
ENV HOME=/home/dev CGO_ENABLED=0
WORKDIR /src
COPY . .
USER 1000:1000
RUN go build -a -trimpath -buildvcs=false -o /out/app .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
