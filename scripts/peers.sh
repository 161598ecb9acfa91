#!/usr/bin/env bash
# Compares the speed, the start and the memory of this project with OpenVINO and ONNX Runtime
# on the same SavedModel, and with TensorFlow's Python on the plain one. It makes a Python
# environment in the user's cache directory (1.5 GB), converts, and prints a Markdown table.
#
# usage: scripts/peers.sh [MODEL [BATCH [ROUNDS [ENGINE…]]]]
# TFCONVRNN_PEERS_PYTHON names an environment's interpreter instead; TFCONVRNN_PEERS_DIR a
# directory to keep converted models in.
set -euo pipefail
cd "$(dirname "$0")/.."

model=${1:-ugrnn_intermediate} batch=${2:-8} rounds=${3:-5}
python=${TFCONVRNN_PEERS_PYTHON-}
if [ -z "$python" ]; then
	requirements=scripts/python-requirements-peers.txt
	dir=${XDG_CACHE_HOME:-$HOME/.cache}/tfconvrnn-peers/$(sha256sum <"$requirements" | cut -c 1-16)
	python=$dir/bin/python
	if [ ! -e "$dir/complete" ]; then
		rm -rf "$dir"
		python3 -m venv "$dir"
		"$python" -m pip install --quiet --requirement "$requirements"
		touch "$dir/complete"
	fi
fi
work=${TFCONVRNN_PEERS_DIR-}
if [ -z "$work" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
go build -o "$work/tfconvrnn-cli" ./cmd/tfconvrnn-cli
"$work/tfconvrnn-cli" runtime install --quiet >/dev/null
for variant in lightcone plain; do
	[ -e "$work/$model-$variant" ] || "$work/tfconvrnn-cli" convert "$model" --weights seeded:1 --variant "$variant" --out "$work/$model-$variant" >&2
done
"$python" scripts/peers.py run "$work" "$model" "$batch" "$rounds" "${@:4}"
