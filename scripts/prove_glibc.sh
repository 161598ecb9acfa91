#!/usr/bin/env bash
# Runs the wheel's program on root file systems of old Ubuntus that hold nothing but their libraries: with glibc 2.19 it
# lists the models, with 2.27, the oldest that TensorFlow's library takes, it extracts, and the features have the same
# bits as here. As root, on Linux x86-64, with dpkg-deb.
#
# usage: scripts/prove_glibc.sh [WHEEL]
#
# WHEEL is made first where it is not named. UBUNTU names another mirror of Ubuntu's archive.
set -euo pipefail
wheel=${1:+$(realpath "$1")}
cd "$(dirname "$0")/.."
mirror=${UBUNTU:-http://archive.ubuntu.com/ubuntu}
work=$(mktemp -d)
root=$work/2.27
unmount() { umount "$root/proc" "$root/pictures" "$root/runtime" 2>/dev/null || true; }
trap 'unmount; rm -rf --one-file-system "$work"' EXIT
wheel=${wheel:-$(scripts/wheel.sh x86_64)}
python3 -m zipfile -e "$wheel" "$work/wheel"
program=$(find "$work/wheel" -name tfconvrnn-cli)
chmod +x "$program"

# library ROOT SHA256 PACKAGE: unpacks a package of Ubuntu's archive.
library() {
	local file=$work/${3##*/}
	curl --fail --silent --show-error --output "$file" "$mirror/pool/main/$3"
	sha256sum --check --status <<<"$2  $file" || { echo "$3 is not what was expected" >&2; exit 1; }
	mkdir -p "$work/$1"/{dev,tmp,proc,root,runtime,pictures,out}
	dpkg-deb -x "$file" "$work/$1"
}
library 2.19 d82bcd1f16a43b1dc4fa35a738d87c5dd25d6a87f8e0a529b2c188e984866ded e/eglibc/libc6_2.19-0ubuntu6_amd64.deb
library 2.27 1e1eb86fd646aa68f7144ec692b837b6b352d215880c6a2d0c92c19d36938427 g/glibc/libc6_2.27-3ubuntu1_amd64.deb
library 2.27 c5a6df527fdfe0da45ff0538414535a04a6753e93a9f5902689cf1a73265423b g/gcc-8/libgcc1_8-20180414-1ubuntu2_amd64.deb
library 2.27 8668c100a679d68520256f9145ef6f9cf3912aa574605884fe866a4962415422 \
	g/gcc-8/libstdc++6_8-20180414-1ubuntu2_amd64.deb
library 2.27 2e6dafb986ee8ebbc4e1c344fab090a41710cab878fc9cd89336cdd1740518c5 \
	z/zlib/zlib1g_1.2.11.dfsg-0ubuntu2_amd64.deb
for old in 2.19 2.27; do
	cp "$program" "$work/$old/"
	mknod -m 666 "$work/$old/dev/null" c 1 3
	mknod -m 666 "$work/$old/dev/urandom" c 1 9
	[ "$(env -i HOME=/root "$(command -v chroot)" "$work/$old" /tfconvrnn-cli models | wc -l)" -gt 20 ]
	echo "glibc $old: lists the models"
done

installed=$("$program" runtime install --quiet)
mount --bind "$installed" "$root/runtime"
mount --bind testdata/pictures "$root/pictures"
mount -t proc proc "$root/proc"
extract=(extract --yes --quiet --model timedecay_shallow --weights seeded:1 --layers conv5,imnetds)
env -i HOME=/root TFCONVRNN_LIBTENSORFLOW=/runtime "$(command -v chroot)" "$root" /tfconvrnn-cli "${extract[@]}" \
	--store /out/models --out /out/there.npz /pictures
"$program" "${extract[@]}" --store "$root/out/models" --out "$work/here.npz" testdata/pictures
python3 - "$work/here.npz" "$root/out/there.npz" <<'END'
import sys, zipfile
here, there = (zipfile.ZipFile(name) for name in sys.argv[1:])
assert all(here.read(name) == there.read(name) for name in ("conv5.npy", "imnetds.npy"))
END
echo "glibc 2.27: extracts, the same bits as here"
