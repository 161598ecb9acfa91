#!/usr/bin/env bash
# Builds the Python wheels into dist/: the Go program, linked for an old glibc by zig's C
# compiler, and the package python/. Arguments are machines: x86_64, aarch64 (default: both).
# The same sources give the same bytes. auditwheel must find the platform tag true.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# TensorFlow's wheels need glibc 2.27; the program needs less, and says of every command that
# needs no TensorFlow what it says elsewhere.
glibc=2.17

python=${TFCONVRNN_WHEEL_PYTHON-}
if [ -z "$python" ]; then
	tools=${XDG_CACHE_HOME:-$HOME/.cache}/tfconvrnn-test/$(sha256sum <scripts/python-requirements-wheel.txt | cut -c 1-16)
	python=$tools/bin/python
	if [ ! -e "$tools/complete" ]; then
		rm -rf "$tools"
		python3 -m venv "$tools"
		"$python" -m pip install --quiet --requirement scripts/python-requirements-wheel.txt
		touch "$tools/complete"
	fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p dist "$work/internal/version"
cp -R python "$work/python"
find "$work/python" -name __pycache__ -prune -exec rm -r {} +
cp LICENSE THIRD_PARTY_NOTICES.md "$work/python/"
cp internal/version/version.go "$work/internal/version/"
mkdir "$work/python/bin"

for machine in "${@:-x86_64 aarch64}"; do
	for machine in $machine; do
		case $machine in
		x86_64) arch=amd64 ;;
		aarch64) arch=arm64 ;;
		*) echo "wheel.sh: no wheels for $machine; there are x86_64 and aarch64" >&2 && exit 2 ;;
		esac
		# The path of the compiler is the same everywhere: Go hashes it.
		printf '#!/bin/sh\nexec "$ZIG_PYTHON" -m ziglang cc -target %s-linux-gnu.%s "$@"\n' $machine $glibc >"$work/cc-$machine"
		chmod +x "$work/cc-$machine"
		ZIG_PYTHON=$python PATH=$work:$PATH GOOS=linux GOARCH=$arch GOAMD64=v1 GOARM64=v8.0 CGO_ENABLED=1 CC=cc-$machine \
			CGO_CFLAGS=-O2 CGO_LDFLAGS= GOFLAGS= \
			go build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$work/python/bin/tfconvrnn-cli" ./cmd/tfconvrnn-cli
		tag=manylinux_${glibc/./_}_$machine
		# Files get the time of hatchling's epoch; what they may do must not depend on the umask.
		chmod -R u=rwX,go=rX "$work/python"
		(cd "$work/python" && TFCONVRNN_WHEEL_PLATFORM=$tag PYTHONDONTWRITEBYTECODE=1 "$python" -m hatchling build -t wheel -d "$work/dist" >&2)
		wheel=$(echo "$work"/dist/*"$machine.whl")
		[ "$(stat -c %s "$wheel")" -lt 25000000 ] || { echo "wheel.sh: $wheel has 25 MB or more" >&2 && exit 1; }
		"$python" -m auditwheel show --json "$wheel" | "$python" -c '
import json, sys
found, (glibc, wheel) = json.load(sys.stdin), sys.argv[1:]
needs = found.get("overall_tag", "linux").split("_")
if needs[0] != "manylinux" or (int(needs[1]), int(needs[2])) > tuple(map(int, glibc.split("."))) or found["unsupported_isa"] or found["external_libs"]:
    sys.exit(f"wheel.sh: auditwheel finds that {wheel} needs more than its tag says: {found}")
print("auditwheel: the program needs no more than", "_".join(needs), file=sys.stderr)' $glibc "$wheel"
		mv "$wheel" "$root/dist/"
		echo "dist/$(basename "$wheel")"
	done
done
