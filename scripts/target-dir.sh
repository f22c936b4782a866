#!/usr/bin/env bash
# Prints the folder that cargo builds into, as an absolute path: target, unless CARGO_TARGET_DIR, CARGO_BUILD_TARGET_DIR
# or a configuration file of cargo's says otherwise. All that looks for what was built, or keeps something beside it,
# asks here.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck disable=SC2086 # CARGO may hold a toolchain too: cargo +stable.
metadata=$(${CARGO:-cargo} metadata --no-deps --offline --format-version 1) || {
    echo "cargo does not say where it builds into: is Rust installed (https://rustup.rs)?" >&2
    exit 1
}
# The rest of the metadata is not needed, so neither is a JSON parser. A quote or backslash in a path is not supported.
folder=${metadata##*\"target_directory\":\"}
printf '%s\n' "${folder%%\"*}"
