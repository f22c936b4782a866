#!/usr/bin/env bash
# Makes the folder of the Python packages that the tests of a part need, beside what cargo builds, and prints its path. Made
# anew only when their list has changed, or when it was cut off.
#   venv.sh [PART]       a folder of tests with a requirements.txt (deploy)
set -euo pipefail
cd "$(dirname "$0")/.."

part=${1:-deploy}
list=tests/$part/requirements.txt
# That of the deployment has the first place, where other tools look for it too.
suffix=-$part
venv=$(scripts/target-dir.sh)/venv${suffix#-deploy}

if ! cmp -s "$list" "$venv/installed.txt"; then
    echo "Installing the Python packages of tests/$part into $venv" >&2
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -q -r "$list" >&2
    cp "$list" "$venv/installed.txt"
fi
printf '%s\n' "$venv"
