FROM golang:alpine AS build
COPY . /somewhere
RUN if [ -d /somewhere ]; then CGO_ENABLED=0 go -C /somewhere build -a -trimpath -buildvcs=false -o /out/app .; fi

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
