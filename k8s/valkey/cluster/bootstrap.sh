#!/bin/sh
# Makes a cluster of the six nodes where there is none yet. Run again, it changes nothing.
set -eu

REDISCLI_AUTH="$(cat /etc/valkey-auth/password)"
export REDISCLI_AUTH

addresses=""
for number in 0 1 2 3 4 5; do
    host="valkey-$number.valkey"
    until valkey-cli -h "$host" ping 2>/dev/null | grep -q PONG; do
        echo "waiting for $host"
        sleep 2
    done
    known="$(valkey-cli -h "$host" cluster info | grep cluster_known_nodes | tr -dc 0-9)"
    if test "$known" -gt 1; then
        echo "$host is in a cluster already: nothing to do"
        exit 0
    fi
    addresses="$addresses $(getent hosts "$host" | cut -d ' ' -f 1):6379"
done

# shellcheck disable=SC2086 # one argument for each address
valkey-cli --cluster create $addresses --cluster-replicas 1 --cluster-yes
