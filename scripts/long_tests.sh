#!/usr/bin/env bash
# The long versions of the tests: fuzzing, variants of the graphs against each other, soaking, the race
# detector, cgo's pointer checks, the C compiler's sanitizers, determinism, what would abort the
# process, processes killed at random moments, a model taken for a brain, and the Python package with large
# packages: torch, thingsvision, all of Brain-Score.
# Prints a table at the end, and fails if anything did. Half an hour on two fast cores, an hour on slow ones.
#
# usage: scripts/long_tests.sh [PART…]
# parts: fuzz plans soak race cgocheck asan arm64 same abort kill brain python
#
# The numbers can be set: FUZZ_TIME (of each target), TRIALS (random presentations of
# each model), EXTRACTIONS, LOADS, RUNS, ROUNDS, KILLS (of each format), IMAGES, REQUESTS.
set -uo pipefail
cd "$(dirname "$0")/.."

: "${FUZZ_TIME:=20s}" "${TRIALS:=5}" "${EXTRACTIONS:=20000}" "${LOADS:=500}" "${RUNS:=100}" "${ROUNDS:=20}" "${KILLS:=15}" "${IMAGES:=300}" "${REQUESTS:=20000}"
parts="${*:-fuzz plans soak race cgocheck asan arm64 same abort kill brain python}"

go run ./cmd/tfconvrnn-cli runtime install --quiet >/dev/null || exit 1
export TFCONVRNN_REQUIRE_RUNTIME=1

logs=$(mktemp -d)
table=()
failed=0

# run NAME COUNT COMMAND…: the command's output goes to a log, its result to the table.
run() {
	local name=$1 count=$2 log="$logs/${#table[@]}.log" status result skipped line
	shift 2
	printf '%s … ' "$name" >&2
	"$@" >"$log" 2>&1
	status=$?
	# Go's fuzzer sometimes reports the end of its time as a failure, without an input.
	if [ $status -ne 0 ] && grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
		status=0
	fi
	if grep -q '^not run: ' "$log"; then
		result=$(sed -n 's/^not run: /not run: /p' "$log" | head -1)
	elif [ $status -eq 0 ]; then
		result=ok
		skipped=$(grep -c -- '--- SKIP' "$log")
		if [ "$skipped" -gt 0 ]; then
			result="ok, $skipped skipped"
		fi
	else
		result=FAILED
		failed=1
		cat "$log" >&2
	fi
	table+=("| $name | $count | $result |")
	# What tests say about themselves: errors, slopes, counts, reasons for skipping.
	while read -r line; do
		table+=("|   | | $line |")
	done < <(sed -n 's/^ *[a-z_]*_test.go:[0-9]*: \(.*presentations,.*\|.* finished, .*\|.* gave the same bytes\|.*of a layer.s RMS\|.*resident memory.*\|.* kills.*\|.*peak RSS.*\|needs .*\)$/\1/p' "$log" | sort | uniq)
	echo "$result" >&2
}

# addresses runs the binding's tests with every access of the C code checked.
addresses() {
	if ! echo 'int main(void) { return 0; }' | ${CC:-cc} -fsanitize=address -x c -o "$logs/asan" - 2>/dev/null; then
		echo "not run: the C compiler has no AddressSanitizer"
		return
	fi
	# Leaks are what the soak looks for: TensorFlow keeps some things for ever. An
	# allocation that is too large is to fail as it does without the sanitizer.
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 gotest -asan ./internal/libtf ./internal/kernels
}

# sanitized KIND runs the kernels' tests under another of the C compiler's sanitizers. With
# ThreadSanitizer the library, which is not made for it, must not be loaded.
sanitized() {
	if ! echo 'int main(void) { return 0; }' | ${CC:-cc} "-fsanitize=$1" -x c -o "$logs/sanitized" - 2>/dev/null; then
		echo "not run: the C compiler has no -fsanitize=$1"
		return
	fi
	CGO_CFLAGS="-g -O1 -fsanitize=$1 -fno-sanitize-recover=all" CGO_LDFLAGS="-fsanitize=$1" gotest ./internal/kernels -skip '^Test(Operation|FilterOperation|Fuse$|Functions|Elementwise)'
}

# emulated runs the kernels' tests that need no TensorFlow as code for arm64, on an emulator.
emulated() {
	local compiler=aarch64-linux-gnu-gcc emulator=qemu-aarch64-static
	if [ "$(uname -m)" = aarch64 ]; then
		gotest ./internal/kernels
		return
	fi
	if ! command -v $compiler >/dev/null || ! command -v $emulator >/dev/null; then
		echo "not run: needs $compiler and $emulator (apt-get install gcc-aarch64-linux-gnu qemu-user-static)"
		return
	fi
	GOOS=linux GOARCH=arm64 CGO_ENABLED=1 CC=$compiler go test -c -o "$logs/kernels.test" ./internal/kernels &&
		(cd internal/kernels && env -u TFCONVRNN_REQUIRE_RUNTIME $emulator -L /usr/aarch64-linux-gnu "$logs/kernels.test" -test.short -test.v)
}

# emulated_wheel runs the program of the wheel for arm64 on an emulator, and compares its catalogue with this machine's.
emulated_wheel() {
	local emulator=qemu-aarch64-static wheel program=$logs/arm64/tfconvrnn-cli status
	if ! command -v $emulator >/dev/null || [ ! -d /usr/aarch64-linux-gnu/lib ]; then
		echo "not run: needs $emulator and arm64's C library (apt-get install qemu-user-static libc6-arm64-cross)"
		return
	fi
	wheel=$(scripts/wheel.sh aarch64) && mkdir "$logs/arm64" || return
	unzip -q -j "$wheel" '*.data/scripts/tfconvrnn-cli' -d "$logs/arm64" && chmod +x "$program" || return
	$emulator -L /usr/aarch64-linux-gnu "$program" version || return
	diff <($emulator -L /usr/aarch64-linux-gnu "$program" models --json) <(go run ./cmd/tfconvrnn-cli models --json) || return
	# It finds no TensorFlow, and says so.
	TFCONVRNN_CACHE=$logs/arm64/cache $emulator -L /usr/aarch64-linux-gnu "$program" doctor --json >"$logs/arm64/doctor"
	status=$?
	cat "$logs/arm64/doctor"
	[ $status -le 4 ] && python3 -c 'import json, sys; json.load(sys.stdin)' <"$logs/arm64/doctor"
}

# packaged VERSION TEST PACKAGES… makes an environment with packages and the wheel, and runs a test of the Python package.
packaged() {
	local python dir="$logs/python-$2" list status
	for python in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
		"$python" -m venv "$dir" 2>/dev/null && break
	done
	[ -e "$dir/bin/pip" ] || { echo "not run: needs python$1" && return; }
	for list in "${@:3}"; do
		# shellcheck disable=SC2086
		"$dir/bin/pip" install --quiet $list || return
	done
	"$dir/bin/pip" install --quiet "$wheel$([ "$2" = runtime ] && echo '[runtime]')" || return
	(
		cd python/tests
		export PYTHONDONTWRITEBYTECODE=1
		case $2 in
		many) TFCONVRNN_STIMULI=5000 "$dir/bin/python" -m pytest -s -p no:cacheprovider test_commands.py -k many_stimuli ;;
		thingsvision) "$dir/bin/python" thingsvision_check.py ;;
		brainscore)
			"$dir/bin/python" -m pytest -s -p no:cacheprovider test_commands.py -k tensors && "$dir/bin/python" brainscore_check.py
			;;
		runtime)
			# With its own cache, which stays without a runtime.
			export TFCONVRNN_CACHE=$dir/cache
			"$dir/bin/python" -c "
import os, tfconvrnn
features = tfconvrnn.extract('timedecay_shallow', '../../testdata/pictures', weights='seeded:1')
assert features['imnetds'].shape[0] == 4 and os.listdir(os.environ['TFCONVRNN_CACHE']) == ['savedmodels']"
			;;
		esac
	)
	status=$?
	rm -rf "$dir"
	return $status
}

gotest() { go test -count=1 -timeout 6h -v "$@"; }

for part in $parts; do
	case $part in
	fuzz)
		while IFS=: read -r file target; do
			target=${target#func }
			target=${target%%(*}
			run "$(dirname "$file") $target" "$FUZZ_TIME" \
				go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZ_TIME" -fuzzminimizetime 10x
		done < <(git grep -o '^func Fuzz[A-Za-z]*(' -- '*_test.go')
		;;
	plans)
		TFCONVRNN_LONG=1 TFCONVRNN_TRIALS=$TRIALS run "variants agree, all kinds of models" "$TRIALS presentations each" \
			gotest ./tfconvrnn -run '^TestVariantsAgree$'
		;;
	soak)
		TFCONVRNN_EXTRACTIONS=$EXTRACTIONS run "extract, memory" "$EXTRACTIONS" gotest ./tfconvrnn -run '^TestManyExtractions$'
		TFCONVRNN_LOADS=$LOADS run "load, extract, close, memory" "$LOADS" gotest ./tfconvrnn -run '^TestManyModels$'
		# 200000 are what a day brings.
		TFCONVRNN_REQUESTS=$REQUESTS run "serve, memory" "$REQUESTS" gotest ./serving -run '^TestSoak$'
		;;
	race)
		TFCONVRNN_ROUNDS=$ROUNDS run "race detector: 32 goroutines, closing meanwhile" "$ROUNDS rounds" \
			gotest -race ./tfconvrnn -run '^(TestConcurrentUse|TestCloseRacesWithExtract|TestCloseInTheSink|TestFailuresLeaveNothing|TestStreamEnds|TestOnError)$'
		run "race detector: binding, converter, files" "all their tests" \
			gotest -race ./internal/libtf ./internal/bundle ./features ./internal/atomicfile ./convert/manifest ./convert
		run "race detector: store" "at once, cancelled, killed" \
			gotest -race ./savedmodels -run '^(TestGet.*|TestTwoProcessesAtOnce|TestLeftovers.*|TestDownloadAtOnce|TestDownloadIsCancelled)$'
		run "race detector: service" "all its tests" gotest -race ./serving
		;;
	cgocheck)
		GOEXPERIMENT=cgocheck2 TFCONVRNN_ROUNDS=2 run "cgo pointer checks" "binding and library" \
			gotest ./internal/libtf ./tfconvrnn -run '^(Test[A-Z].*)$' -skip 'TestGolden|TestVariantsAgree|TestGPU|TestNothingAborts'
		;;
	asan)
		run "AddressSanitizer: C code" "its tests" addresses
		for instructions in $(grep -qw avx2 /proc/cpuinfo && echo avx2) baseline; do
			TFCONVRNN_INSTRUCTIONS=$instructions run "kernels for $instructions" "their tests" gotest ./internal/kernels
		done
		run "ThreadSanitizer: kernels" "their tests" sanitized thread
		run "UBSan: kernels" "their tests" sanitized undefined
		;;
	arm64)
		run "kernels for arm64" "their tests" emulated
		run "the wheel's program for arm64" "version, models, doctor" emulated_wheel
		;;
	same)
		TFCONVRNN_RUNS=$((RUNS / 2)) run "same bytes, run after run and process after process" "$((RUNS / 2 * 2)) runs" \
			gotest ./tfconvrnn -run '^TestSameBytes$'
		TFCONVRNN_LONG=1 TFCONVRNN_RUNS=1 run "the same, all layers of 5 models; other threads and batches" "10 runs each" \
			gotest ./tfconvrnn -run '^(TestSameBytes|TestOtherBatches)$'
		;;
	abort)
		run "what would abort, in child processes" "$(grep -c '^	".*":' tfconvrnn/abort_test.go) cases" \
			gotest ./tfconvrnn -run '^TestNothingAborts$'
		;;
	kill)
		TFCONVRNN_PROVE_KILLS=$KILLS TFCONVRNN_PROVE_IMAGES=$IMAGES run "extract killed at random and resumed: same bytes" "$KILLS kills of each format" \
			gotest ./cmd/tfconvrnn-cli -run '^TestKilledRunsResume$'
		run "downloads, conversions and writers killed at random" "30, 1 and some" \
			gotest ./savedmodels ./features -run '^(TestKilled|TestLeftoversOfAKilledConversionAreRemoved|TestKill)$'
		;;
	brain)
		run "compare finds layer, time and ceiling of made-up neurons" "3 layers, 4 lags" \
			gotest ./cmd/tfconvrnn-cli -run '^TestFindsTheLayerAndTheTime$'
		run "the same in a deep model" "3 models, 36 layers and times" \
			env TFCONVRNN_BRAIN_SEEDS=3 go test -count=1 ./cmd/tfconvrnn-cli -v -run '^TestFindsALayerOfADeepModel$'
		if [ -z "${TFCONVRNN_BRAINSCORE_PYTHON-}" ] && python3.11 -m venv "$logs/brainscore" &&
			"$logs/brainscore/bin/pip" install --quiet --no-deps -r scripts/python-requirements-brainscore.txt; then
			export TFCONVRNN_BRAINSCORE_PYTHON="$logs/brainscore/bin/python"
		fi
		run "Brain-Score's own packages give compare's numbers" "PLS, ridge, RDM in 3 bins" \
			gotest ./cmd/tfconvrnn-cli -run '^TestBrainScoreGivesTheSameNumbers$'
		;;
	python)
		wheel=$(scripts/wheel.sh x86_64 2>>"$logs/wheel") || { cat "$logs/wheel" >&2 && exit 1; }
		run "5,000 stimuli from Python, memory" 5000 packaged 3.13 many "-r scripts/python-requirements-package-3.13.txt"
		run "TensorFlow of [runtime] in an empty environment" 1 packaged 3.12 runtime
		run "thingsvision takes features" "its RDMs and CKA" packaged 3.10 thingsvision "thingsvision==2.7.3"
		run "all of Brain-Score scores; torch's tensors" "4 benchmarks, 2 models" packaged 3.11 brainscore \
			"brainscore-vision==2.4.2" "tensorflow-cpu==2.15.1 netCDF4 pytest==9.2.0"
		;;
	*)
		echo "unknown part: $part" >&2
		exit 2
		;;
	esac
done

printf '\n| test | count | result |\n|---|---|---|\n'
printf '%s\n' "${table[@]}"
exit $failed
