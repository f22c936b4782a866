#!/usr/bin/env bash
# Makes the folder of the Python packages that the tests need, beside what cargo builds, and prints its path. Made anew
# only when their list has changed, or when it was cut off.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LIST=tests/deploy/requirements.txt
venv=$(scripts/target-dir.sh)/venv

if ! cmp -s "$LIST" "$venv/installed.txt"; then
    echo "Installing the tests' Python packages into $venv" >&2
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -q -r "$LIST" >&2
    cp "$LIST" "$venv/installed.txt"
fi
printf '%s\n' "$venv"
