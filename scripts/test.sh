#!/usr/bin/env bash
# Checks and tests everything; what it needs it installs. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

go run ./cmd/tfconvrnn-cli runtime install --quiet ${TFCONVRNN_CPU_WHEEL:+--file="$TFCONVRNN_CPU_WHEEL"}
# HDF5 outputs, and most recordings.
go run ./cmd/tfconvrnn-cli runtime install --hdf5 --quiet
# With this, tests fail instead of skipping where the runtime is missing.
export TFCONVRNN_REQUIRE_RUNTIME=1

# environment REQUIREMENTS VERSION… makes a virtual environment with the first Python of
# these versions that there is and that the packages are to be had for, once for each list
# of packages, and prints its interpreter.
environment() {
	local requirements=$1 dir version python
	dir=${XDG_CACHE_HOME:-$HOME/.cache}/tfconvrnn-test/$(sha256sum <"$requirements" | cut -c 1-16)
	for version in "${@:2}"; do
		for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
			"$python" -c 'import ensurepip, venv' 2>/dev/null || continue
			if [ ! -e "$dir/complete" ] || ! "$dir/bin/python" -c ''; then
				rm -rf "$dir"
				"$python" -m venv "$dir" >&2 && "$dir/bin/python" -m pip install --quiet --no-compile --requirement "$requirements" >&2 && touch "$dir/complete" || continue
			fi
			echo "$dir/bin/python"
			return
		done
	done
	if [ "${CI-}" = true ]; then
		echo "no Python ${*:2} for $requirements" >&2
		return 1
	fi
	echo "no Python ${*:2} for $requirements: the tests that need it are skipped" >&2
}
# Packages for readers of the outputs, the newest and older ones; and Brain-Score's, which
# need a Python of their age.
if [ -z "${TFCONVRNN_PYTHON-}" ]; then
	TFCONVRNN_PYTHON=$(environment scripts/python-requirements.txt 3 3.11 3.12 3.13)
fi
if [ -z "${TFCONVRNN_OLD_PYTHONS-}" ]; then
	TFCONVRNN_OLD_PYTHONS=
	for versions in "2022 3.10 3.9 3.8" "2023 3.11 3.10" "2025 3.11 3.12 3.13"; do
		read -r year versions <<<"$versions"
		python=$(environment scripts/python-requirements-$year.txt $versions)
		TFCONVRNN_OLD_PYTHONS+=${python:+${TFCONVRNN_OLD_PYTHONS:+:}$python}
	done
fi
if [ -z "${TFCONVRNN_BRAINIO_PYTHON-}" ]; then
	TFCONVRNN_BRAINIO_PYTHON=$(environment scripts/python-requirements-brainio.txt 3.11 3.10 3.9)
fi
# Clients of the Open Inference Protocol, which call the service.
if [ -z "${TFCONVRNN_SERVING_PYTHON-}" ]; then
	TFCONVRNN_SERVING_PYTHON=$(environment scripts/python-requirements-serving.txt 3.11 3.12 3.13)
fi
export TFCONVRNN_PYTHON TFCONVRNN_OLD_PYTHONS TFCONVRNN_BRAINIO_PYTHON TFCONVRNN_SERVING_PYTHON

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
# TensorFlow's Python loads the SavedModels of a shallow and an intermediate model. Its
# environment is large; TFCONVRNN_TF_PYTHON=… has go test above do it with all of them.
if [ "${CI-}" = true ] && [ -z "${TFCONVRNN_TF_PYTHON-}" ]; then
	python=$(PIP_FIND_LINKS=${TFCONVRNN_CPU_WHEEL:+$(dirname "$TFCONVRNN_CPU_WHEEL")} environment scripts/python-requirements-tensorflow.txt 3.12 3.11 3.13 3.10)
	served=$(TFCONVRNN_TF_PYTHON=$python go test -timeout 10m ./convert -v \
		-run '^TestTensorFlowServesSavedModels$/^(timedecay_shallow|rgc_intermediate_dthresh)$/^lightcone$') || { echo "$served" >&2; exit 1; }
	[ "$(grep -c -- '--- PASS: .*/lightcone' <<<"$served")" = 2 ] || { echo "$served" >&2; exit 1; }
	echo "TensorFlow's Python serves a shallow and an intermediate model"
fi
# The Python package: the wheel, in the oldest and the newest Python that TensorFlow 2.21 supports.
if [ "$(uname -sm)" = "Linux x86_64" ]; then
	python=$(environment scripts/python-requirements-wheel.txt 3.12 3.11 3.13 3.10)
	wheel=${python:+$(TFCONVRNN_WHEEL_PYTHON=$python scripts/wheel.sh x86_64)}
	install_wheel() { "$1" -m pip install --quiet --no-deps --force-reinstall "$wheel"; }
	for version in ${wheel:+3.10 3.13}; do
		python=$(environment scripts/python-requirements-package-$version.txt $version)
		[ -n "$python" ] || continue
		install_wheel "$python"
		(
			cd python
			export PYTHONDONTWRITEBYTECODE=1
			if [ "$version" = 3.13 ]; then
				"$python" -m ruff check --no-cache .
				"$python" -m ruff format --no-cache --check .
				"$python" -m mypy --cache-dir=/dev/null
				"$python" -m pytest -q -p no:cacheprovider tests
			else
				"$python" -m pytest -q -p no:cacheprovider tests -k 'catalogue or kinds or responses or ctrl_c or dead'
			fi
		)
	done
	# Brain-Score's own benchmarks score two models; it comes without torch, which they do not need.
	python=${wheel:+$(PIP_NO_DEPS=1 environment scripts/python-requirements-brainscore.txt 3.11)}
	if [ -n "$python" ]; then
		install_wheel "$python"
		(cd python && PYTHONDONTWRITEBYTECODE=1 "$python" tests/brainscore_check.py)
	fi
fi
# The Beam program is a module of its own. Its pipeline is tested; the program around it,
# with clients of every cloud, takes minutes to compile for the first time: go vet ./... does.
(cd beam && go vet ./internal/... && go test -timeout 10m ./internal/...)
