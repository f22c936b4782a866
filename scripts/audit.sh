#!/usr/bin/env bash
# Looks whether a dependency has a known vulnerability, is unsound, or is maintained by nobody: by the advisories of RustSec,
# which cargo-deny reads. Looked at are the lock files of what is built and of what fuzzes it.
#   AUDIT_SECONDS  how long their database may take to come, 60 by default
# Ends with 0 where there is none, with 1 where there is one, and with 3 where it could not look, which it says.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${AUDIT_SECONDS:-60}
# CARGO may hold a toolchain too: cargo +stable.
read -ra cargo <<<"${CARGO:-cargo}"

if ! "${cargo[@]}" deny --version >/dev/null 2>&1; then
    echo "cargo-deny is not installed: no advisories are looked at (cargo install cargo-deny --locked)" >&2
    exit 3
fi
if ! timeout "$seconds" "${cargo[@]}" deny fetch db; then
    echo "The database of advisories was not to be had within $seconds s: no advisories are looked at. git fetches it from the" \
        "URL in deny.toml; where that is not reached, git's setting url.MIRROR.insteadOf puts a mirror in its place" >&2
    exit 3
fi
for manifest in Cargo.toml fuzz/Cargo.toml; do
    if ! "${cargo[@]}" deny --manifest-path "$manifest" check --config deny.toml --disable-fetch advisories; then
        echo "$manifest: raise what is named above. What is no danger here goes into ignore in deny.toml, with its reason" >&2
        exit 1
    fi
done
