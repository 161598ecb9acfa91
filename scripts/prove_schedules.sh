#!/bin/sh
# Runs 2,000 random schedules of workers and finishers over the real planner and store
# (extraction/simulation_test.go), and prints what happened in them.
#
# usage: scripts/prove_schedules.sh [SCHEDULES]      (2,000: about a minute)
set -eu
cd "$(dirname "$0")/.."
TFCONVRNN_SCHEDULES="${1:-2000}" exec go test -count=1 -timeout 2h -v -run '^TestSchedules$' ./extraction
