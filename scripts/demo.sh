#!/usr/bin/env bash
# Loads the names of all npm packages into a server, searches them by both ends, and restarts it.
#
#   BINARY      the server to run (the release build of scripts/target-dir.sh)
#   DEMO_KEEP   if set, leave the server running until Enter is pressed
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGE=all-the-package-names@2.0.2578
target=$(scripts/target-dir.sh)
readonly FOLDER=$target/demo/$PACKAGE
readonly BINARY=${BINARY:-$target/release/kvstore}
readonly LOG=$target/demo/server.log
readonly DATA=$target/demo/data
readonly REQUESTS=21

# A proxy is for getting the names; the server is on this machine.
export no_proxy="${no_proxy:+$no_proxy,}127.0.0.1"
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1"

fail() {
    echo "demo: $1" >&2
    exit 1
}

for tool in npm node curl; do
    command -v "$tool" >/dev/null || fail "$tool is missing; install it (Debian: apt-get install npm curl)"
done
[ -x "$BINARY" ] || fail "$BINARY is missing; build it with cargo build --release"

# The names as lines, and as the bulk lines that set them. Written aside and renamed, so that a run
# that was cut off is not taken for whole.
if [ ! -f "$FOLDER/names.ndjson" ]; then
    echo "Getting $PACKAGE (27 MB)"
    mkdir -p "$FOLDER"
    npm pack --silent --pack-destination "$FOLDER" "$PACKAGE" >/dev/null ||
        fail "npm cannot get $PACKAGE; check the network and try again"
    tar -xzf "$FOLDER"/*.tgz -C "$FOLDER"
    # shellcheck disable=SC2016 # What looks like the shell's variables is JavaScript's.
    node -e '
        const fs = require("fs");
        const folder = process.argv[1];
        const names = JSON.parse(fs.readFileSync(`${folder}/package/names.json`, "utf8"));
        const write = (file, line) => {
            const out = fs.openSync(`${folder}/${file}.part`, "w");
            for (let at = 0; at < names.length; at += 100000)
                fs.writeSync(out, names.slice(at, at + 100000).map((n, i) => line(n, at + i)).join(""));
            fs.closeSync(out);
            fs.renameSync(`${folder}/${file}.part`, `${folder}/${file}`);
        };
        write("names.txt", name => name + "\n");
        write("names.ndjson", (key, n) => JSON.stringify({key, value: {n}}) + "\n");
    ' "$FOLDER"
fi

mkdir -p "$target/demo"
rm -rf "$DATA"
serve() {
    # The log names the port, so its level is not left to the environment.
    "$BINARY" --listen 127.0.0.1:0 --log info --data-dir "$DATA" 2>"$LOG" &
    SERVER=$!
}
stop() {
    kill -INT $SERVER 2>/dev/null && wait $SERVER || true
}
serve
trap stop EXIT

ready() {
    url=$(sed -n 's/.* listens on /http:\/\//p' "$LOG")
    [ -n "$url" ] && curl -sf -m 5 "$url/readyz" >/dev/null
}

merged() {
    curl -sf -m 5 "$url/metrics" | grep -q '^kvstore_index_merges_running 0$'
}

await() {
    local deadline=$((SECONDS + 60))
    until "$1"; do
        kill -0 $SERVER 2>/dev/null || fail "the server ended: $(tail -n 3 "$LOG")"
        [ $SECONDS -lt $deadline ] || fail "the server is not $1 after 60 s; see $LOG"
        sleep 0.1
    done
}

await ready
names=$(wc -l <"$FOLDER/names.txt")
echo "Loading $names names"
begun=$(date +%s%N)
"$BINARY" import "$FOLDER/names.ndjson" --url "$url"
seconds=$(awk -v ns=$(($(date +%s%N) - begun)) 'BEGIN {printf "%.1f", ns / 1e9}')
# Memory settles once the last merge has ended.
await merged
resident_kib=$(awk '/^VmRSS:/ {print $2}' "/proc/$SERVER/status")
awk -v s="$seconds" -v k="$resident_kib" -v n="$names" \
    'BEGIN {printf "Loaded in %s s, %d keys/s; %d MiB resident, %.0f bytes a key with its value\n\n", s, n / s, k / 1024, k * 1024 / n}'

# Prints a row: the query, its total, what grep counts, the median time, and the first keys. The
# two ends are counted one after the other, since they may overlap in a name: react-native has both.
search() {
    local query=$1 begins=$2 ends=$3
    local request="$url/search?$query&limit=100"
    local total counted median first
    total=$(curl -sSfI "$request" | tr -d '\r' | awk 'tolower($1) == "x-total-count:" {print $2}') ||
        fail "the server does not answer; see $LOG"
    counted=$(grep -e "$begins" "$FOLDER/names.txt" | grep -c -e "$ends" || true)
    # One connection for all requests; its first one is not counted.
    median=$(for _ in $(seq $((REQUESTS + 1))); do
        printf 'url = "%s"\noutput = /dev/null\nwrite-out = "%%{time_total}\\n"\n' "$request"
    done | curl -sSf -K - | tail -n $REQUESTS | sort -g | sed -n "$((REQUESTS / 2 + 1))p")
    first=$(curl -sSf "$request" | node -e '
        console.log(JSON.parse(require("fs").readFileSync(0, "utf8")).slice(0, 3).join(" "))')
    awk -v q="$query" -v t="$total" -v c="$counted" -v m="$median" -v f="$first" \
        'BEGIN {printf "%-30s %9d %9d %8.2f ms  %s\n", q, t, c, m * 1000, f}'
    [ "$total" = "$counted" ] || fail "the total of $query is $total, but grep counts $counted"
}

restarted() {
    local begun
    begun=$(date +%s%N)
    serve
    await ready
    awk -v ns=$(($(date +%s%N) - begun)) -v how="$1" 'BEGIN {printf "Restarted in %.1f s after %s\n", ns / 1e9, how}'
    local keys
    keys=$(curl -sf "$url/metrics" | awk '$1 == "kvstore_keys" {print $2}')
    [ "$keys" = "$names" ] || fail "$keys keys are there, not $names; see $LOG"
}
kill -KILL $SERVER
wait $SERVER 2>/dev/null || true
restarted "kill -9"
stop
restarted "a stop"
awk -v b="$(du -sk "$DATA" | cut -f1)" -v n="$names" 'BEGIN {printf "%d MiB on disk, %.0f bytes a key\n\n", b / 1024, b * 1024 / n}'

printf '%-30s %9s %9s %11s  %s\n' "search, limit=100" total "grep -c" median "first keys"
search 'prefix=react-' '^react-' ''
search 'suffix=-webpack-plugin' '' '-webpack-plugin$'
search 'prefix=react-&suffix=-native' '^react-' '-native$'
echo
echo "Repeat one: curl '$url/search?prefix=react-&suffix=-native&limit=100'"

if [ -n "${DEMO_KEEP:-}" ]; then
    echo "The server runs until you press Enter."
    # Without a terminal there is no Enter to wait for.
    read -r || wait $SERVER
else
    echo "The server stops now; DEMO_KEEP=1 leaves it running."
fi
