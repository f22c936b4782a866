#!/bin/sh
# Starts a node, and makes it known to the others under its new address: a pod that comes back has
# another one, and when all come back at once nobody would know anybody.
set -eu

peers() {
    for node in 0-0 0-1 1-0 1-1 2-0 2-1; do
        getent hosts "valkey-$node.valkey" | cut -d ' ' -f 1
    done
}

meet() {
    export REDISCLI_AUTH
    REDISCLI_AUTH="$(cat /etc/valkey-auth/password)"
    for _ in $(seq 1 24); do
        sleep 5
        # A node that knows only itself is new: the bootstrap brings it in.
        known="$(valkey-cli cluster info | grep cluster_known_nodes | tr -dc 0-9)" || continue
        test "${known:-1}" -gt 1 || continue
        for peer in $(peers); do
            valkey-cli cluster meet "$peer" 6379 >/dev/null || true
        done
    done
}

meet &
exec valkey-server /etc/valkey/valkey.conf --cluster-announce-ip "$POD_IP"
