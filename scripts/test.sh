#!/usr/bin/env bash
# Checks and tests everything; what it needs it installs. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

go run ./cmd/tfconvrnn-cli runtime install --quiet ${TFCONVRNN_CPU_WHEEL:+--file="$TFCONVRNN_CPU_WHEEL"}
# With this, tests fail instead of skipping where the runtime is missing.
export TFCONVRNN_REQUIRE_RUNTIME=1

# environment REQUIREMENTS PYTHON… makes a virtual environment with the first Python
# that there is, once for each list of packages, and prints its interpreter.
environment() {
	local requirements=$1 dir python
	dir=${XDG_CACHE_HOME:-$HOME/.cache}/tfconvrnn-test/$(sha256sum <"$requirements" | cut -c 1-16)
	for python in "${@:2}"; do
		"$python" -c 'import venv' 2>/dev/null || continue
		if [ ! -e "$dir/complete" ]; then
			rm -rf "$dir"
			"$python" -m venv "$dir" >&2 && "$dir/bin/python" -m pip install --quiet --requirement "$requirements" >&2 && touch "$dir/complete" || break
		fi
		echo "$dir/bin/python"
		return
	done
	echo "no Python for $requirements: the tests that need it are skipped" >&2
	return 1
}
# Packages for readers of the outputs; and Brain-Score's, which need a Python of their age.
if [ -z "${TFCONVRNN_PYTHON-}" ]; then
	TFCONVRNN_PYTHON=$(environment scripts/python-requirements.txt python3) || [ "${CI-}" != true ]
fi
if [ -z "${TFCONVRNN_BRAINIO_PYTHON-}" ]; then
	TFCONVRNN_BRAINIO_PYTHON=$(environment scripts/python-requirements-brainio.txt python3.11 python3.10 python3.9) || true
fi
export TFCONVRNN_PYTHON TFCONVRNN_BRAINIO_PYTHON

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	printf 'not formatted:\n%s\n' "$unformatted" >&2
	exit 1
fi
go vet ./...
go tool staticcheck ./...
go mod verify
scripts/vulnerabilities.sh
# Tests of different packages would take each other's cores. Benchmarks run once, to see
# that they still do, without the one that takes minutes, and some with a small model.
TFCONVRNN_BENCH_IMAGES=8 TFCONVRNN_BENCH_MODEL=timedecay_shallow go test -p 1 -timeout 20m -bench . -benchtime 1x -skip '^BenchmarkCellStep$' "$@" ./...
# The Beam program is a module of its own. Its pipeline is tested; the program around it,
# with clients of every cloud, takes minutes to compile for the first time: go vet ./... does.
(cd beam && go vet ./internal/... && go test -timeout 10m ./internal/...)
