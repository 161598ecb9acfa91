#!/bin/sh
# Plans 10 million made-up stimuli (a table of them that names few files) and prints the
# time, the peak of memory and the size of the plan. With the model's part: the program
# itself plans as many, if time(1) is there.
#
# usage: scripts/prove_plan.sh [STIMULI]      (10,000,000: a few minutes)
set -eu
cd "$(dirname "$0")/.."
count="${1:-10000000}"
TFCONVRNN_PLAN_STIMULI="$count" go test -count=1 -timeout 1h -v -run '^TestLargePlan$' ./extraction

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp testdata/pictures/*.png testdata/pictures/*.jpg "$dir"
awk -v n="$count" 'BEGIN { split("astronaut.png chelsea.png coffee.png rocket.jpg", f, " "); print "stimulus_id,path,condition"
	for (i = 0; i < n; i++) printf "s%08d,%s,%d\n", i, f[i % 4 + 1], i % 17 }' >"$dir/stimuli.csv"
go build -o "$dir/tfconvrnn-cli" ./cmd/tfconvrnn-cli
exec 3>&1
set -- extract plan --yes --plan "$dir/p.plan" --out "$dir/x.zarr" --force-size --model timedecay_shallow --weights seeded:1 --layers imnetds --batch 8 --quiet "$dir/stimuli.csv"
if [ -x /usr/bin/time ]; then
	/usr/bin/time -v "$dir/tfconvrnn-cli" "$@" 2>"$dir/time"
	grep -E 'Elapsed|Maximum resident' "$dir/time" >&3
else
	time "$dir/tfconvrnn-cli" "$@"
fi
ls -l "$dir/p.plan" "$dir/stimuli.csv" | awk '{ print $5, $NF }' >&3
