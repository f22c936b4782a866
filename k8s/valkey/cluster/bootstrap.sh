#!/bin/sh
# Makes a cluster of the six nodes: valkey-S-0 and valkey-S-1 are a master and its replica, each on a node of its own
# (shard/statefulset.yaml). Every step looks first, so that it can be run again at any time: it goes on where it was broken
# off, takes a node in whose volume was lost, and changes nothing in a cluster that is whole.
set -eu

REDISCLI_AUTH="$(cat /etc/valkey-auth/password)"
export REDISCLI_AUTH

# What node $1 says to the rest.
ask() {
    host="valkey-$1.valkey"
    shift
    valkey-cli -h "$host" "$@"
}

# What node $1 says of itself: an id, an address, flags, its master, four figures, and slots if it has any.
itself() {
    ask "$1" cluster nodes | grep myself
}

has_slots() {
    test "$(itself "$1" | wc -w)" -gt 8
}

known() {
    ask "$1" cluster info | grep cluster_known_nodes | tr -dc 0-9
}

for node in 0-0 0-1 1-0 1-1 2-0 2-1; do
    until ask "$node" ping 2>/dev/null | grep -q PONG; do
        echo "waiting for valkey-$node"
        sleep 2
    done
done

# Each third of the slots, where neither of its nodes has any.
first=0
for shard in 0 1 2; do
    last=$((16384 * (shard + 1) / 3 - 1))
    if ! has_slots "$shard-0" && ! has_slots "$shard-1"; then
        echo "valkey-$shard-0 takes slots $first to $last"
        ask "$shard-0" cluster addslotsrange "$first" "$last"
    fi
    first=$((last + 1))
done

# All know each other, through one that had slots before if there is one.
for node in 0-0 0-1 1-0 1-1 2-0 2-1; do
    address="$(getent hosts "valkey-$node.valkey" | cut -d ' ' -f 1)"
    if test "$(known "$node")" -lt 6; then
        echo "valkey-$node comes in"
        for other in 0-0 1-0 2-0 0-1; do
            ask "$other" cluster meet "$address" 6379 >/dev/null
        done
    fi
done
for node in 0-0 0-1 1-0 1-1 2-0 2-1; do
    until test "$(known "$node")" -ge 6; do
        sleep 1
    done
done

# Of the two of a shard the one that has the slots is the master.
for shard in 0 1 2; do
    master="$shard-0" replica="$shard-1"
    if ! has_slots "$master"; then
        master="$shard-1" replica="$shard-0"
    fi
    id="$(ask "$master" cluster myid)"
    if test "$(itself "$replica" | cut -d ' ' -f 4)" != "$id"; then
        echo "valkey-$replica is the replica of valkey-$master"
        until ask "$replica" cluster replicate "$id" | grep -q OK; do
            sleep 1
        done
    fi
done

until ask 0-0 cluster info | grep -q cluster_state:ok; do
    sleep 1
done
echo "the cluster is whole"
