#!/bin/sh
# Builds MinIO, an S3-compatible server, from the Go module proxy, and runs against it
# the tests of the object store: a proxy between the two cuts connections at random.
# Then the program extracts photographs from a bucket into a Zarr store in it, and the
# result is compared with that in a folder.
#
# usage: scripts/prove_s3.sh      (the first time ten minutes or more to build MinIO)
set -eu
cd "$(dirname "$0")/.."
version=v0.0.0-20260212201848-7aac2a2c5b7c
bin="${XDG_CACHE_HOME:-$HOME/.cache}/tfconvrnn-minio-$version"
if [ -z "${TFCONVRNN_MINIO:-}" ]; then
	[ -x "$bin/minio" ] || GOBIN="$bin" go install "github.com/minio/minio@$version"
	TFCONVRNN_MINIO="$bin/minio"
fi
export TFCONVRNN_MINIO TFCONVRNN_REQUIRE_RUNTIME=1
go run ./cmd/tfconvrnn-cli runtime install --quiet
exec go test -count=1 -timeout 1h -v -run '^(TestS3|TestObjectStore|TestObjectStoreOfTwoPlans|TestExtractToObjectStore)$' ./internal/storage ./extraction ./cmd/tfconvrnn-cli
