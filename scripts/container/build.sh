#!/bin/sh
# usage: build.sh DIR
# Builds tfconvrnn-cli into DIR; the same sources give the same bytes.
set -eu
out=$1
mkdir -p "$out"
CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out/tfconvrnn-cli" ./cmd/tfconvrnn-cli
