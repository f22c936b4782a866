#!/usr/bin/env bash
# Pushes the image that build.sh built to a registry, under the name IMAGE.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
image=${IMAGE:-}
if [[ $image != */* ]]; then
    echo "IMAGE=$image names no registry: give one, such as IMAGE=registry.example.org/kvstore:$version" >&2
    exit 2
fi
name=${image##*/}
if [[ $name != *:* || $name == *:latest ]]; then
    echo "IMAGE=$image has no version: give one, such as ${image%:latest}:$version" >&2
    exit 2
fi

for tool in podman docker buildah; do
    if command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then
        "$tool" tag "kvstore:$version" "$image"
        "$tool" push "$image"
        exit
    fi
done
echo "none of podman, docker and buildah is installed and works: install one of them" >&2
exit 1
