#!/usr/bin/env bash
# Runs Brain-Score's, himalaya's and our comparisons in turns on the same made-up data, and prints seconds, peak
# memory and ratios. The packages come from PyPI, pinned, into an environment in the user's cache (Python 3.11).
#
# usage: scripts/compare_peers.sh [STIMULI [FEATURES [NEUROIDS [SPLITS [ROUNDS]]]]]   (800 5000 100 2 3)
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=scripts/python-requirements-brainscore.txt
environment=${XDG_CACHE_HOME:-$HOME/.cache}/tfconvrnn-test/peers-$(sha256sum <"$requirements" | cut -c 1-16)
if [ ! -e "$environment/complete" ]; then
	rm -rf "$environment"
	python3.11 -m venv "$environment"
	"$environment/bin/pip" install --quiet --no-deps -r "$requirements" himalaya==0.4.11
	touch "$environment/complete"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/tfconvrnn-cli" ./cmd/tfconvrnn-cli
"$environment/bin/python" scripts/compare_peers.py "$work" "${1:-800}" "${2:-5000}" "${3:-100}" "${4:-2}" "${5:-3}"
