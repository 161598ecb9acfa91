#!/bin/sh
# Makes an archive with all that scripts/gpu/prove.sh needs on a machine without a compiler and
# without a network, but the runtime: for that "tfconvrnn-cli runtime pack" makes parts.
#
# usage: scripts/gpu/bundle.sh FILE.tar.gz
set -eu
[ $# -eq 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
archive=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/tfconvrnn-prove
mkdir -p "$bundle/tfconvrnn" "$bundle/testdata"
CGO_ENABLED=1 go build -trimpath -ldflags '-s -w' -o "$bundle" ./cmd/tfconvrnn-cli ./scripts/gpu/prove
go test -c -trimpath -ldflags '-s -w' -o "$bundle/tfconvrnn.test" ./tfconvrnn
cp scripts/gpu/prove.sh LICENSE "$bundle"
cp -R testdata/golden testdata/pictures "$bundle/testdata"
tar -C "$work" -czf "$archive.part" tfconvrnn-prove
mv "$archive.part" "$archive"
ls -l "$archive" | awk '{ print $5, "bytes:", $NF }'
