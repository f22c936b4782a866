#!/usr/bin/env bash
# Loads the names of all npm packages into a server and searches them by both ends.
#
#   BINARY      the server to run (target/release/kvstore)
#   DEMO_KEEP   if set, leave the server running until Enter is pressed
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGE=all-the-package-names@2.0.2578
readonly FOLDER=target/demo/$PACKAGE
readonly BINARY=${BINARY:-target/release/kvstore}
readonly LOG=target/demo/server.log
readonly REQUESTS=21

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

mkdir -p target/demo
"$BINARY" --listen 127.0.0.1:0 2>"$LOG" &
readonly SERVER=$!
trap 'kill -INT $SERVER 2>/dev/null || true' EXIT

url=
for _ in $(seq 100); do
    url=$(sed -n 's/.* listens on /http:\/\//p' "$LOG")
    [ -n "$url" ] && curl -sf "$url/readyz" >/dev/null && break
    kill -0 $SERVER 2>/dev/null || fail "the server did not start: $(cat "$LOG")"
    sleep 0.1
done
curl -sf "$url/readyz" >/dev/null || fail "the server is not ready after 10 s; see $LOG"

resident_kib() {
    awk '/^VmRSS:/ {print $2}' "/proc/$SERVER/status"
}

before=$(resident_kib)
names=$(wc -l <"$FOLDER/names.txt")
echo "Loading $names names"
begun=$(date +%s%N)
"$BINARY" import "$FOLDER/names.ndjson" --url "$url"
seconds=$(awk -v ns=$(($(date +%s%N) - begun)) 'BEGIN {printf "%.1f", ns / 1e9}')
# Memory settles once the last merge has ended.
while ! curl -sf "$url/metrics" | grep -q '^kvstore_index_merges_running 0$'; do
    sleep 0.2
done
awk -v s="$seconds" -v k=$(($(resident_kib) - before)) -v n="$names" \
    'BEGIN {printf "Loaded in %s s, %d keys/s; %d MiB resident, %.0f bytes a key with its value\n\n", s, n / s, k / 1024, k * 1024 / n}'

# Prints a row: the query, its total, what grep counts, the median time, and the first keys. The
# two ends are counted one after the other, since they may overlap in a name: react-native has both.
search() {
    local query=$1 begins=$2 ends=$3
    local request="$url/search?$query&limit=100"
    local total counted median first
    total=$(curl -sfI "$request" | tr -d '\r' | awk 'tolower($1) == "x-total-count:" {print $2}')
    counted=$(grep -e "$begins" "$FOLDER/names.txt" | grep -c -e "$ends" || true)
    # One connection for all requests; its first one is not counted.
    median=$(for _ in $(seq $((REQUESTS + 1))); do
        printf 'url = "%s"\noutput = /dev/null\nwrite-out = "%%{time_total}\\n"\n' "$request"
    done | curl -sf -K - | tail -n $REQUESTS | sort -g | sed -n "$((REQUESTS / 2 + 1))p")
    first=$(curl -sf "$request" | node -e '
        console.log(JSON.parse(require("fs").readFileSync(0, "utf8")).slice(0, 3).join(" "))')
    awk -v q="$query" -v t="$total" -v c="$counted" -v m="$median" -v f="$first" \
        'BEGIN {printf "%-30s %9d %9d %8.2f ms  %s\n", q, t, c, m * 1000, f}'
    [ "$total" = "$counted" ] || fail "the total of $query is $total, but grep counts $counted"
}

printf '%-30s %9s %9s %11s  %s\n' "search, limit=100" total "grep -c" median "first keys"
search 'prefix=react-' '^react-' ''
search 'suffix=-webpack-plugin' '' '-webpack-plugin$'
search 'prefix=react-&suffix=-native' '^react-' '-native$'
echo
echo "Try: curl '$url/search?prefix=react-&suffix=-native&limit=100'"

if [ -n "${DEMO_KEEP:-}" ]; then
    echo "The server runs until you press Enter."
    read -r
fi
