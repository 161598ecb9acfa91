#!/bin/sh
# usage: files.sh cpu|gpu BINARY DIR
# Lays out in DIR all files that an image has beside those of its base:
#   usr/local/bin/tfconvrnn-cli
#   opt/tfconvrnn/runtime   libtensorflow, without its symbol table
#   etc/ssl/certs           certificate authorities, to download weights
#   cache, work             for every user to write to
# The libraries come out of TensorFlow's wheel, whose checksum is fixed: the one
# in scripts/container/wheels if there is one, else what pip downloads.
set -eu
variant=$1 binary=$2 files=$3
here=$(cd "$(dirname "$0")" && pwd)

case $variant in
cpu) flag='' pattern=tensorflow_cpu-*.whl ;;
gpu) flag=--gpu pattern=tensorflow-*.whl ;;
*) echo "usage: $0 cpu|gpu BINARY DIR" >&2; exit 2 ;;
esac
wheel=
for file in "$here"/wheels/$pattern; do
    [ -e "$file" ] && wheel=--file=$file
done

mkdir -p "$files"
temporary=$(mktemp -d "$files/.runtime-XXXXXX")
trap 'rm -rf "$temporary"' EXIT
installed=$(TFCONVRNN_CACHE=$temporary "$binary" runtime install --quiet $flag ${wheel:+"$wheel"})
python3 "$here/strip_runtime.py" "$installed"

mkdir -p "$files/opt/tfconvrnn" "$files/usr/local/bin" "$files/etc/ssl/certs"
rm -rf "$files/opt/tfconvrnn/runtime"
mv "$installed" "$files/opt/tfconvrnn/runtime"
cp "$binary" "$files/usr/local/bin/tfconvrnn-cli"
chmod 755 "$files/usr/local/bin/tfconvrnn-cli"
cp -L /etc/ssl/certs/ca-certificates.crt "$files/etc/ssl/certs/ca-certificates.crt"
# An image's volumes start with these permissions. Everyone may write, because
# whoever mounts folders runs the image as himself (--user).
mkdir -p "$files/cache/savedmodels" "$files/work"
chmod 1777 "$files/cache" "$files/cache/savedmodels" "$files/work"
rm -rf "$temporary"
find "$files" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
