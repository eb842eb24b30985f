#!/bin/sh
set -eu
CGO_ENABLED=0 go build -a -trimpath -buildvcs=false -ldflags "-X main.version=$1" -o "$2" .
