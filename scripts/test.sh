#!/usr/bin/env bash
# Checks and tests everything; what it needs it installs. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

go run ./cmd/tfconvrnn-cli runtime install --quiet ${TFCONVRNN_CPU_WHEEL:+--file="$TFCONVRNN_CPU_WHEEL"}
# With this, tests fail instead of skipping where the runtime is missing.
export TFCONVRNN_REQUIRE_RUNTIME=1

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	printf 'not formatted:\n%s\n' "$unformatted" >&2
	exit 1
fi
go vet ./...
go tool staticcheck ./...
go mod verify
scripts/vulnerabilities.sh
# Tests of different packages would take each other's cores.
go test -p 1 -timeout 20m "$@" ./...
