#!/usr/bin/env bash
# Builds the image with podman, docker or buildah, whichever works here.
#   IMAGE    its name, kvstore:<version> by default
#   BUILDER, RUNTIME  base images in place of the official ones
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
image=${IMAGE:-kvstore:$version}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

arguments=(
    --file Containerfile
    --tag "$image"
    --build-arg "VERSION=$version"
    --build-arg "REVISION=$revision"
)
for base in BUILDER RUNTIME; do
    if [[ -n ${!base:-} ]]; then
        arguments+=(--build-arg "$base=${!base}")
    fi
done

for tool in podman docker buildah; do
    if ! command -v "$tool" >/dev/null; then
        continue
    fi
    # Docker's client is of no use without its engine.
    if ! "$tool" info >/dev/null 2>&1; then
        echo "$tool is installed, but does not work here ($tool info says why): passed over" >&2
        continue
    fi
    "$tool" build "${arguments[@]}" .
    echo "built $image with $tool"
    exit
done
echo "none of podman, docker and buildah is installed and works: install one of them" >&2
exit 1
