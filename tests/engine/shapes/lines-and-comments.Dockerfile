FROM golang:alpine AS build
WORKDIR /src
COPY . .
RUN export CGO_ENABLED=0 \
    # everything again
 && go build \
      -a \
      -trimpath \

      -buildvcs=false \
      # where it goes
      -o /out/app \
      .

FROM scratch
COPY --from=build /out/app /out/app
CMD ["/out/app"]
