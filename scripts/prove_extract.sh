#!/bin/sh
# Kills extract 50 times per format over 200 images and compares the bytes, measures
# its memory for 100 and 2,000 images, and takes its disk and its input away. Prints
# the figures. The last three need permission to mount a tmpfs, or are skipped.
#
# usage: scripts/prove_extract.sh        (about half an hour)
set -eu
cd "$(dirname "$0")/.."
export TFCONVRNN_REQUIRE_RUNTIME=1
export TFCONVRNN_PROVE_KILLS="${TFCONVRNN_PROVE_KILLS:-50}" TFCONVRNN_PROVE_IMAGES="${TFCONVRNN_PROVE_IMAGES:-200}"
export TFCONVRNN_PROVE_FEW="${TFCONVRNN_PROVE_FEW:-100}" TFCONVRNN_PROVE_MANY="${TFCONVRNN_PROVE_MANY:-2000}"
exec go test -count=1 -timeout 4h -v -run \
	'TestKilledRunsResume|TestMemoryStaysFlat|TestExtractToFullDisk|TestExtractToReadOnlyFolder|TestInputRemovedMeanwhile' ./cmd/tfconvrnn-cli
