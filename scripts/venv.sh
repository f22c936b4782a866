#!/usr/bin/env bash
# Makes the folder of the Python packages that the tests of a part need, beside what cargo builds, and prints its path; with
# those of npm too, where the part has a list of them (and names node among its Python packages). Made anew only when a list
# has changed, or when it was cut off.
#   venv.sh [PART]       a folder of tests with a requirements.txt (deploy)
set -euo pipefail
cd "$(dirname "$0")/.."

part=${1:-deploy}
folder=tests/$part
# That of the deployment has the first place, where other tools look for it too.
suffix=-$part
venv=$(scripts/target-dir.sh)/venv${suffix#-deploy}

# What is wanted: the Python packages as one writes them, those of npm as they were found.
lists=("$folder/requirements.txt")
if [[ -e $folder/package-lock.json ]]; then
    lists+=("$folder/package.json" "$folder/package-lock.json")
fi

if ! cat "${lists[@]}" | cmp -s - "$venv/installed.txt"; then
    echo "Installing the Python packages of $folder into $venv" >&2
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -q -r "$folder/requirements.txt" >&2
    if [[ ${#lists[@]} -gt 1 ]]; then
        echo "Installing the npm packages of $folder into $venv/npm" >&2
        mkdir -p "$venv/npm"
        cp "${lists[@]:1}" "$venv/npm"
        # None of them has anything to run when it is installed. They are for development, whatever NODE_ENV says.
        "$venv/bin/npm" ci --prefix "$venv/npm" --include dev --ignore-scripts --no-audit --no-fund --loglevel error >&2
    fi
    cat "${lists[@]}" >"$venv/installed.txt"
fi
printf '%s\n' "$venv"
