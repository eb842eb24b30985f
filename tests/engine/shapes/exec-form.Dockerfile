FROM golang:alpine AS build
ENV CGO_ENABLED=0
WORKDIR /src
COPY [".", "."]
RUN ["go", "build", "-a", "-trimpath", "-buildvcs=false", "-o", "/out/app", "."]

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
