#!/usr/bin/env bash
# Sees to it that the programs are there that a part of the work needs beside Rust and a C compiler: says which are missing
# and what each is for, then has apt-get install their packages, and nothing else. This is the one list of them.
#   packages.sh PART…    of test, python, browser, image, bench, bench-short, instructions
#   INSTALL              no: only say what is missing
# Ends with 1 if something is still missing.
set -euo pipefail

# The part, the program or file, its Debian package, what for.
readonly TABLE="\
test|curl|curl|the README's commands, run as they stand (tests/http)
test|redis-server|redis-server|engines: a node, Sentinels, a cluster (tests/engine, tests/http, tests/rollout)
test|redis-cli|redis-tools|making clusters of them, and asking them (tests/engine, tests/deploy)
test|zstd|zstd|archives that others read and write (tests/http)
test|groff|groff-base|the man pages, rendered (tests/http)
test|openssl|openssl|certificates of an engine with TLS (tests/engine)
test|setpriv|util-linux|a balancer that ends with its test (tests/rollout)
test|ip|iproute2|networks of a cluster's nodes (tests/deploy)
test|haproxy|haproxy|rollouts behind a balancer (tests/rollout)
test|prometheus|prometheus|the dashboard on real figures (tests/deploy)
test|promtool|prometheus|the alerts (tests/deploy)
test|systemd-analyze|systemd|the unit (tests/deploy)
test|strace|strace|the system calls that the unit allows (tests/deploy), a disk that fails (tests/http)
test|unshare|util-linux|a disk that fills up (tests/http)
test|prometheus-redis-exporter|prometheus-redis-exporter|the alert on a Valkey that is nearly full (tests/deploy)
python|python3|python3|the tests of manifests, scripts, description and console (tests/deploy, tests/interface, tests/console)
python|python3 -m ensurepip|python3-venv|the folders of those tests' own packages
browser|chromium|chromium|the console's tests (tests/console)
browser|/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf|fonts-dejavu-core|the letters that it shows (tests/console)
image|buildah|buildah|building the image (tests/deploy/image)
image|debootstrap|debootstrap|stand-ins for the image's bases (tests/deploy/image)
image|podman|podman|running the image (tests/deploy/image)
image|runc|runc|running the image (tests/deploy/image)
image|/usr/share/keyrings/debian-archive-keyring.gpg|debian-archive-keyring|the same, from packages that are signed
image|curl|curl|asking it (tests/deploy/image)
image|ss|iproute2|seeing where it listens (tests/deploy/image)
bench|wrk|wrk|the load
bench|redis-server|redis-server|the engine, and webdis' store
bench|redis-cli|redis-tools|filling it
bench|webdis|webdis|a rival
bench|etcd|etcd-server|a rival
bench|nginx|nginx-light|a rival
bench-short|wrk|wrk|the load
instructions|valgrind|valgrind|counting instructions"

# Debian keeps servers where a user's PATH does not look.
export PATH="$PATH:/usr/sbin:/sbin"

present() {
    if [[ $1 == /* ]]; then
        [[ -e $1 ]]
    elif [[ $1 == "python3 -m ensurepip" ]]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null
    else
        command -v "$1" >/dev/null
    fi
}

# Reads the table and sets `missing` to the packages, each once, and `rows` to what to say of them.
look() {
    missing=() rows=()
    local part program package purpose
    while IFS='|' read -r part program package purpose; do
        [[ " $parts " == *" $part "* ]] || continue
        present "$program" && continue
        rows+=("$(printf '  %-14s %-20s %s' "$package" "($program)" "$purpose")")
        [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
    done <<<"$TABLE"
}

install() {
    # Services of these packages are not started, what is there is not upgraded, and what is only recommended stays out.
    "${root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-upgrade --no-install-recommends "$@"
}

parts="$*"
for part in "$@"; do
    if [[ $'\n'$TABLE != *$'\n'"$part|"* ]]; then
        echo "packages.sh: $part: give any of test, python, browser, image, bench, bench-short, instructions" >&2
        exit 2
    fi
done

look
[[ ${#missing[@]} -gt 0 ]] || exit 0
echo "Missing for ${parts// / and }, by package (program), and what for:" >&2
printf '%s\n' "${rows[@]}" >&2

by_hand="apt-get install --no-install-recommends ${missing[*]}"
if [[ ${INSTALL:-} == no ]]; then
    echo "INSTALL=no: nothing is installed. To do so: sudo $by_hand" >&2
    exit 1
elif ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here: install these programs as your system does it, and try again" >&2
    exit 1
elif [[ $(id -u) == 0 ]]; then
    root=()
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
    # At a terminal sudo asks for the password itself.
    root=(sudo)
else
    echo "Installing takes root. Run: sudo $by_hand" >&2
    exit 1
fi

echo "Installing: ${missing[*]}" >&2
"${root[@]}" apt-get update -q >&2 || echo "apt-get update failed: trying with the lists that there are" >&2
if ! install "${missing[@]}" >&2; then
    # One that is not to be had should not keep the others out.
    for package in "${missing[@]}"; do
        install "$package" >&2 || true
    done
fi

look
if [[ ${#missing[@]} -gt 0 ]]; then
    echo "Could not be installed: ${missing[*]}. What needs them cannot be run:" >&2
    printf '%s\n' "${rows[@]}" >&2
    exit 1
fi
