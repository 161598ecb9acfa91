#!/bin/sh
# Adds pip, which downloads TensorFlow's wheel, to a Debian image that builds.
# None of it gets into the images made, and the wheel has a fixed checksum, so
# pip's version does not matter.
set -eu
export DEBIAN_FRONTEND=noninteractive
if python3 -m pip --version >/dev/null 2>&1; then
    exit 0
fi
apt-get update -q
apt-get install -q -y --no-install-recommends ca-certificates python3-pip
rm -rf /var/lib/apt/lists/*
