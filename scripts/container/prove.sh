#!/bin/sh
# usage: prove.sh [--wheel FILE] [--work DIR] [--tree TREE]
#
# Builds the Dockerfile's target cpu without a Docker daemon and without an image
# registry, extracts features in the image, as the README does, and compares them
# with the golden outputs. As root, on Debian or Ubuntu with buildah, mmdebstrap,
# git and Go.
#
# The two base images are made of Debian's packages: the same Debian, and for the
# Go image the compiler packages and this machine's Go. Everything else is the
# Dockerfile as it is, built by buildah with chroot isolation.
#
#   --wheel FILE   TensorFlow's wheel, instead of letting pip download it
#   --work DIR     where to work, kept with the base images in it; else a temporary
#                  directory
#   --tree TREE    the commit or tree to build, instead of the last commit
set -eu

wheel='' work='' commit=HEAD
while [ $# -gt 0 ]; do
    case $1 in
    --wheel) wheel=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --tree) commit=$2; shift 2 ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
for tool in buildah mmdebstrap git go; do
    command -v $tool >/dev/null || { echo "prove.sh needs $tool (apt-get install buildah mmdebstrap)" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "prove.sh needs to be root: it makes base images" >&2; exit 2; }

say() { printf '\n== %s\n' "$*"; }
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "$work" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)
export BUILDAH_ISOLATION=chroot TMPDIR="$work"
image() { command="$1"; shift; buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$command" "$@"; }
# buildah wants a policy and a registries file; this machine's may be missing.
printf '{"default":[{"type":"insecureAcceptAnything"}]}' > "$work/policy.json"
debian=localhost/debian:bookworm-packages
golang=localhost/golang:bookworm-packages

base() { # base NAME PACKAGES
    image inspect --type image "$1" >/dev/null 2>&1 && return
    say "base image $1"
    mmdebstrap --quiet --variant=minbase --include="$2" bookworm "$work/base.tar"
    container=$(image from --signature-policy "$work/policy.json" scratch)
    image add --quiet "$container" "$work/base.tar" / >/dev/null
    rm "$work/base.tar"
    if [ "$1" = "$golang" ]; then
        image copy --quiet "$container" "$(go env GOROOT)" /usr/local/go >/dev/null
        image config --env PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            --env GOTOOLCHAIN=local "$container"
    fi
    image commit --quiet --signature-policy "$work/policy.json" --rm "$container" "$1" >/dev/null
}
base "$debian" libc6,libgcc-s1,libstdc++6
base "$golang" ca-certificates,gcc,libc6-dev,git

say "sources"
context=$work/context
rm -rf "$context"
mkdir "$context"
git -C "$root" archive "$commit" | tar -x -C "$context"
[ -z "$wheel" ] || cp "$wheel" "$context/scripts/container/wheels/"

say "building target cpu"
# The machine's certificate authorities, in case it reaches package indexes
# through a proxy with its own.
trust=
[ ! -f /etc/ssl/certs/ca-certificates.crt ] || trust=--volume=/etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro
image bud --signature-policy "$work/policy.json" --pull-never --format docker --isolation chroot $trust \
    --build-arg GO_IMAGE="$golang" --build-arg DEBIAN_IMAGE="$debian" \
    --target cpu --tag localhost/tfconvrnn:cpu "$context"

say "the image"
config() { image inspect --type image --format "$1" localhost/tfconvrnn:cpu; }
entrypoint=$(config '{{range .Docker.Config.Entrypoint}}{{.}} {{end}}')
health=$(config '{{range $i, $word := .Docker.Config.Healthcheck.Test}}{{if $i}}{{$word}} {{end}}{{end}}')
user=$(config '{{.Docker.Config.User}}')
echo "entrypoint: $entrypoint; health: $health; user: $user"
[ "$user" = 10001:10001 ] || { echo "the image runs as $user" >&2; exit 1; }

pictures=$work/pictures out=$work/features
rm -rf "$pictures" "$out"
mkdir "$pictures" "$out"
chmod 1777 "$out"
cp "$root/testdata/pictures/astronaut.png" "$root/testdata/pictures/chelsea.png" "$pictures/"

container=$(image from --pull-never --signature-policy "$work/policy.json" localhost/tfconvrnn:cpu)
run() { # as docker run would: the image's user, environment and working directory
    image run --isolation chroot --volume "$pictures:/work/pictures:ro" --volume "$out:/out" \
        --volume "$root/testdata/golden:/golden:ro" "$container" -- "$@"
}
tree=$(image mount "$container")
for part in "" /opt/tfconvrnn/runtime /usr/local/bin/tfconvrnn-cli; do
    du -s --apparent-size --block-size=1MB "$tree$part" | sed "s|[[:space:]]$tree| MB  /|; s|//|/|"
done
[ ! -e "$tree/usr/local/go" ] && [ ! -e "$tree/src" ] || { echo "the image holds what built it" >&2; exit 1; }

say "health check: $health"
run $health

say "extract, as in the README"
run $entrypoint extract --model ugrnn_intermediate --weights seeded:1 --layers conv9,conv10 --include-logits --out /out/ugrnn_intermediate.default.npz pictures
say "extract from a checkpoint, all layers and timesteps"
run $entrypoint extract --model timedecay_shallow --weights /golden --layers all --include-all-times --include-logits --out /out/timedecay_shallow.default.npz /golden/images.npy
say "writing where it may not must fail"
if run $entrypoint extract --model timedecay_shallow --weights seeded:1 --out /etc/features.npz pictures; then
    echo "the image's user can write to /etc" >&2
    exit 1
fi
ls -ln "$out"
[ "$(stat -c %u "$out/timedecay_shallow.default.npz")" = 10001 ] || { echo "not written by the image's user" >&2; exit 1; }

say "comparing with the golden outputs"
(cd "$root" && TFCONVRNN_CONTAINER_FEATURES=$out go test -count=1 -v -run '^TestContainerFeatures$' ./scripts/container)
image umount "$container" >/dev/null
image rm "$container" >/dev/null
say "proved"
