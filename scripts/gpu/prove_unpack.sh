#!/bin/sh
# Unpacks a packed runtime on a fresh root file system that holds nothing but glibc, the C++
# library and zlib, and shows that TensorFlow's GPU build loads there and misses nothing but the driver.
# As root, on Linux x86-64.
#
# usage: scripts/gpu/prove_unpack.sh [PARTS]
#
# PARTS is the folder that "tfconvrnn-cli runtime pack --gpu --with-cuda" made; without it the
# parts are made first (3 GB to download) and removed again.
set -eu
parts=''
[ $# -eq 0 ] || parts=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
root=$work/root
trap 'umount "$root/parts" "$root/proc" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
CGO_ENABLED=1 go build -trimpath -o "$work" ./cmd/tfconvrnn-cli
if [ -z "$parts" ]; then
	parts=$work/parts
	"$work/tfconvrnn-cli" runtime pack --gpu --with-cuda "$parts"
fi

mkdir -p "$root/lib64" "$root/lib/x86_64-linux-gnu" "$root/dev" "$root/tmp" "$root/root" "$root/proc" "$root/parts"
mknod -m 666 "$root/dev/null" c 1 3
library() { # NAME: copies a library of this machine's
	cp -L "$(ldconfig -p | sed -n "s|^\t$1 (libc6,x86-64.*) => ||p" | head -n 1)" "$root/lib/x86_64-linux-gnu/"
}
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
for name in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libresolv.so.2; do
	library "$name"
done
cp "$work/tfconvrnn-cli" testdata/pictures/chelsea.png "$root/"
mount --bind "$parts" "$root/parts"
mount -o remount,ro,bind "$root/parts"
mount -t proc proc "$root/proc"
chroot=$(command -v chroot)
inside() { env -i HOME=/root PATH=/ TMPDIR=/tmp "$chroot" "$root" /tfconvrnn-cli "$@"; }

inside runtime unpack --quiet /parts
# missing THING: doctor must fail, and name it.
missing() {
	if inside doctor >"$work/without" 2>&1 || ! grep -qF "$1" "$work/without"; then
		cat "$work/without" >&2
		echo "without $1 doctor should name it" >&2
		exit 1
	fi
}
# TensorFlow itself needs the C++ library, and ends the process where there are no random numbers.
missing /dev/urandom
mknod -m 666 "$root/dev/urandom" c 1 9
missing libstdc++
for name in libstdc++.so.6 libgcc_s.so.1 libz.so.1; do # zlib is for cuDNN
	library "$name"
done
inside doctor | tee "$work/doctor"
inside doctor --json >"$work/doctor.json"
# What is not fine is the driver, and nothing but the driver.
grep -q 'CUDA .*GPU build of TensorFlow, no NVIDIA driver, 0 GPU devices, libraries from ' "$work/doctor"
if grep -E '"state": "(warning|error)"' "$work/doctor.json" || grep 'CUDA .*not found' "$work/doctor"; then
	echo "doctor should miss nothing but the driver" >&2
	exit 1
fi
if inside extract --yes --model timedecay_shallow --weights seeded:1 --device gpu --out /tmp/x.npz /chelsea.png 2>"$work/error"; then
	echo "there is no GPU here to compute on" >&2
	exit 1
fi
cat "$work/error"
grep -q 'the runtime is the GPU build, but there is no NVIDIA driver on this machine' "$work/error"
echo "on a fresh file system the GPU build loads, and nothing but the driver is missing"
