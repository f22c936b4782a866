#!/usr/bin/env bash
# Tries a deployment on a real cluster, with nothing but kubectl and the image: deploys it, loads it, restarts
# it under load, scales it, kills a pod, counts what is left, and removes it. Ends with 0 if no request failed and no
# key was lost.
#
#   make e2e KUBECONFIG=~/.kube/config IMAGE=registry.example.org/kvstore:0.1.0
#
# On a cluster on one's own machine the image needs no registry:
#   kind:      kind load docker-image kvstore:0.1.0
#   minikube:  minikube image load kvstore:0.1.0
#   k3s:       podman save kvstore:0.1.0 | sudo k3s ctr images import -
#
# Settings beside those of deploy.sh:
#   KEYS  how many keys are loaded, 20000 by default
#   KEEP  yes: leave the deployment there
set -euo pipefail
cd "$(dirname "$0")/.."

export OVERLAY=${OVERLAY:-single-node}
# Not where others may have their data.
export NAMESPACE=${NAMESPACE:-kvstore-e2e}
keys=${KEYS:-20000}
image=${IMAGE:-}

if [[ $OVERLAY == embedded ]]; then
    echo "OVERLAY=embedded loses its keys with every restart, which is what is tried here: give another" >&2
    exit 2
fi

kube() {
    kubectl -n "$NAMESPACE" "$@"
}

finish() {
    local status=$?
    if [[ $status != 0 ]]; then
        echo "FAILED. What there is:" >&2
        kube get pods,events --sort-by=.metadata.creationTimestamp >&2 || true
        kube logs -l app.kubernetes.io/name=kvstore --tail=50 --prefix >&2 || true
    fi
    kube delete pod -l app.kubernetes.io/name=kvstore-e2e --ignore-not-found --wait=false >/dev/null || true
    if [[ ${KEEP:-} != yes ]]; then
        PURGE=yes scripts/undeploy.sh >/dev/null || true
    fi
    exit "$status"
}
trap finish EXIT

# Runs a container beside the servers, with what the namespace's pod security asks for. The label lets its pod be found
# again.
#   beside NAME IMAGE [option of kubectl run…] [-- argument…]
beside() {
    local name=$1 image=$2
    shift 2
    kube run "$name" --image="$image" --restart=Never --labels=app.kubernetes.io/name=kvstore-e2e \
        --override-type=strategic --overrides='{"spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "'"$name"'", "securityContext": {"allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}}]}}' "$@"
}

say() {
    echo "== $*"
}

count() {
    beside "count-$RANDOM" "$image" --attach --rm --quiet -- export --url "http://kvstore.$NAMESPACE" | grep -c '^{'
}

expect() {
    local found
    found=$(count)
    if [[ $found != "$keys" ]]; then
        echo "$1: $found keys, and $keys were stored" >&2
        exit 1
    fi
    say "$1: all $keys keys are there"
}

say "deploy $OVERLAY to $NAMESPACE"
scripts/deploy.sh

say "load $keys keys"
for ((number = 0; number < keys; number++)); do
    echo "{\"key\": \"e2e:$number\", \"value\": $number}"
done | beside load "$image" --stdin --rm --quiet -- import - --url "http://kvstore.$NAMESPACE"
expect "after the load"

say "read, search and set without a pause from a pod beside"
# Valkey's image has a shell and wget; it is in the cluster anyway. A request that fails is said and counted.
client_image=$(scripts/manifests.sh | sed -n 's/^ *image: \(.*valkey.*\)$/\1/p' | head -1)
client_image=${client_image:-docker.io/valkey/valkey:8.1.4-alpine}
read -r -d '' loop <<END || true
while true; do
  for path in /get/e2e:1 '/search?prefix=e2e:1&limit=10'; do
    wget -q -T 10 -O /dev/null "http://kvstore.$NAMESPACE\$path" || echo "failed \$path"
  done
  wget -q -T 10 -O /dev/null --header 'Content-Type: application/json' \
    --post-data '{"key": "e2e:1", "value": 1}' "http://kvstore.$NAMESPACE/set" || echo "failed /set"
done
END
beside client "$client_image" --command -- sh -c "$loop"
kube wait pod/client --for=condition=Ready --timeout=3m

say "restart every server"
kube rollout restart deployment/kvstore
kube rollout status deployment/kvstore --timeout=10m
say "scale up, and down again"
before=$(kube get deployment kvstore -o 'jsonpath={.spec.replicas}')
if ! kube get hpa kvstore >/dev/null 2>&1; then
    kube scale deployment/kvstore --replicas=$((before + 1))
    kube rollout status deployment/kvstore --timeout=10m
    kube scale deployment/kvstore --replicas="$before"
fi
say "delete a pod"
kube delete "$(kube get pods -l app.kubernetes.io/name=kvstore -o name | head -1)"
kube rollout status deployment/kvstore --timeout=10m

say "what the client saw"
failed=$(kube logs client | grep -c '^failed' || true)
if [[ $failed != 0 ]]; then
    kube logs client | tail -20 >&2
    echo "$failed requests failed" >&2
    exit 1
fi
kube get pod client -o 'jsonpath={.status.phase}' | grep -q Running
say "no request failed"
expect "at the end"
say "passed"
