#!/bin/sh
# Runs every check of a GPU and prints one table; prove.json has the figures.
#
# usage: scripts/gpu/prove.sh [--minutes 8] [--parts DIR] [--report FILE] [--model MODEL] [--only STEP] [--small]
#
# In a clone it builds what it needs, and fetches the runtime with CUDA. In a bundle that
# scripts/gpu/bundle.sh made it needs no compiler and no network: with --parts it unpacks the
# parts that "tfconvrnn-cli runtime pack" made. Which runtime is used can also be said by
# TFCONVRNN_LIBTENSORFLOW. --small computes little in each step. To try it without a GPU:
# TFCONVRNN_SIMULATED_GPUS=2 TFCONVRNN_SIMULATED_GPU_BATCH=16 scripts/gpu/prove.sh --small --model timedecay_shallow
set -eu
minutes=8 parts='' report=prove.json model='' only='' small=false
while [ $# -gt 0 ]; do
	case $1 in
	--minutes | --parts | --report | --model | --only) [ $# -gt 1 ] || { echo "prove.sh: $1 needs a value" >&2; exit 2; } ;;
	esac
	case $1 in
	--minutes) minutes=$2 ;;
	--parts) parts=$2 ;;
	--report) report=$2 ;;
	--model) model=$2 ;;
	--only) only=$2 ;;
	--small) small=true; shift; continue ;;
	*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift 2
done
here=$(cd "$(dirname "$0")" && pwd)
if [ -f "$here/prove" ]; then # a bundle
	bin=$here dir=$here/tfconvrnn
else
	root=$(cd "$here/../.." && pwd)
	bin=$(mktemp -d) dir=$root/tfconvrnn
	trap 'rm -rf "$bin"' EXIT
	(cd "$root" && go build -o "$bin" ./cmd/tfconvrnn-cli ./scripts/gpu/prove && go test -c -o "$bin/tfconvrnn.test" ./tfconvrnn)
fi
if [ -n "$parts" ]; then
	"$bin/tfconvrnn-cli" runtime unpack --quiet "$parts"
elif [ -z "${TFCONVRNN_LIBTENSORFLOW:-}" ] && [ -z "${TFCONVRNN_SIMULATED_GPUS:-}" ]; then
	"$bin/tfconvrnn-cli" runtime install --gpu --with-cuda
fi
store=$(mktemp -d)
trap 'rm -rf "$store"; [ "$bin" = "$here" ] || rm -rf "$bin"' EXIT
"$bin/prove" -time "${minutes}m" -cli "$bin/tfconvrnn-cli" -tests "$bin/tfconvrnn.test" -dir "$dir" -store "$store" -report "$report" -model "$model" -only "$only" -small="$small"
