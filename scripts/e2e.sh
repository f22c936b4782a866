#!/usr/bin/env bash
# Tries a deployment on a real cluster, with nothing but kubectl and the image: deploys it, loads it, restarts
# it under load, scales it, kills a pod, counts what is left, and removes it. Prints a table of what each step took and what
# a client saw. Ends with 0 if no request failed and no key was lost, with 1 if not, and with 2 before it begins where the
# cluster lacks what it needs.
#
#   make e2e KUBECONFIG=~/.kube/config IMAGE=registry.example.org/kvstore:0.1.0
#
# On a cluster on one's own machine the image needs no registry:
#   kind:      kind load docker-image kvstore:0.1.0
#   minikube:  minikube image load kvstore:0.1.0
#   k3s:       podman save kvstore:0.1.0 | sudo k3s ctr images import -
#
# Settings beside those of deploy.sh:
#   OVERLAY   single-node (the default) or multi-node
#   NAMESPACE kvstore-e2e by default. It must not be there yet, since it is deleted at the end
#   KEYS      how many keys are loaded, 20000 by default
#   KEEP      yes: leave the deployment there
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/cluster.sh
. scripts/cluster.sh

export OVERLAY=${OVERLAY:-single-node}
export NAMESPACE=${NAMESPACE:-kvstore-e2e}
keys=${KEYS:-20000}
image=${IMAGE:-}
# How long a pod beside may take, in seconds, and between two looks at it.
readonly PATIENCE=${PATIENCE:-300} PAUSE=${PAUSE:-1}

kube() {
    kubectl -n "$NAMESPACE" "$@"
}

refuse() {
    echo "$@" >&2
    exit 2
}

fail() {
    echo "$@" >&2
    exit 1
}

say() {
    echo "== $*"
}

unasked() {
    refuse "the cluster does not say what it has, as said above: nothing was changed, try again"
}

# What must be so before anything is made.
check() {
    case $OVERLAY in
        single-node | multi-node) ;;
        *) refuse "OVERLAY=$OVERLAY: give single-node or multi-node, which bring all that they need and restart without a failed request" ;;
    esac
    case " ${COMPONENTS:-} " in
        *" tokens "* | *" tls "* | *" secured "*)
            refuse "COMPONENTS=$COMPONENTS: its clients have no token and know no certificate: leave tokens, tls and secured out"
            ;;
    esac
    [[ -n $image ]] || refuse "IMAGE is not given: make image, and see the head of scripts/e2e.sh for how it gets to the cluster"
    [[ $keys =~ ^[1-9][0-9]{0,5}$ ]] || refuse "KEYS=$keys: give a number from 1 to 999999"
    look_at_cluster
    local minor there classes
    minor=$(kubectl get --raw /version | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p') || unasked
    [[ ${minor:-0} -ge 30 ]] || refuse "the cluster is of version 1.${minor:-?}: it takes 1.30 or later, which knows how to sleep before a stop"
    there=$(kubectl get namespace "$NAMESPACE" --ignore-not-found -o name) || unasked
    if [[ -n $there ]]; then
        refuse "the namespace $NAMESPACE is there already, and would be deleted at the end: give another NAMESPACE, or, if it" \
            "is of an earlier try, make undeploy NAMESPACE=$NAMESPACE PURGE=yes"
    fi
    local what
    for what in "create namespaces" "create pods" "create statefulsets.apps" "delete namespaces"; do
        # shellcheck disable=SC2086 # A verb and a resource.
        [[ $(kubectl auth can-i $what --namespace="$NAMESPACE" || true) == yes ]] ||
            refuse "kubectl's user may not $what in $NAMESPACE: take one who may (kubectl auth can-i --list)"
    done
    classes=$(kubectl get storageclasses --no-headers -o \
        'custom-columns=DEFAULT:.metadata.annotations.storageclass\.kubernetes\.io/is-default-class') || unasked
    if ! grep -qx true <<<"$classes"; then
        refuse "no StorageClass is the default one, so that Valkey's volume would never come: mark one" \
            "(kubectl get storageclasses; kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true)"
    fi
    if [[ $OVERLAY == multi-node ]] && ! kubectl get --raw /apis/metrics.k8s.io/v1beta1/nodes >/dev/null; then
        refuse "the cluster has no metrics server, by which OVERLAY=multi-node scales: install it (minikube addons enable" \
            "metrics-server; k3s has it), or give OVERLAY=single-node"
    fi
}

# Begins a step of the table, and ends the one before.
step() {
    end_step
    title=$1
    began=$SECONDS
    look_at_client
    requests_before=$requests failed_before=$failed
    say "$title"
}

end_step() {
    [[ -n $title ]] || return 0
    look_at_client
    local of_step="-" failed_of_step="-"
    if [[ -n $client ]]; then
        of_step=$((requests - requests_before)) failed_of_step=$((failed - failed_before))
    fi
    table+=$(printf '%-40s %8d %10s %8s' "$title" $((SECONDS - began)) "$of_step" "$failed_of_step")$'\n'
    title=
}

# Sets `requests` and `failed` to the client's counts, which its last line has.
look_at_client() {
    local line
    [[ -n $client ]] || return 0
    line=$(kube logs client --tail=20 2>/dev/null | grep '^requests ' | tail -1) || true
    if [[ $line =~ ^requests\ ([0-9]+)\ failed\ ([0-9]+) ]]; then
        requests=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}
    fi
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    set +e
    if [[ -n $title && $status != 0 ]]; then
        title+=" (failed)"
    fi
    end_step
    if [[ $status != 0 ]]; then
        echo "FAILED. What there is:" >&2
        kube get pods,events --sort-by=.metadata.creationTimestamp >&2
        kube logs -l app.kubernetes.io/name=kvstore --tail=50 --prefix >&2
    fi
    if [[ ${KEEP:-} == yes ]]; then
        echo "It is left there: make undeploy NAMESPACE=$NAMESPACE PURGE=yes removes it." >&2
    else
        kube delete pods -l app.kubernetes.io/name=kvstore-e2e --ignore-not-found --wait=false >/dev/null
        if ! PURGE=yes scripts/undeploy.sh >/dev/null; then
            echo "it could not be removed, as said above: make undeploy NAMESPACE=$NAMESPACE PURGE=yes tries again" >&2
            [[ $status != 0 ]] || status=1
        fi
    fi
    printf '\n%-40s %8s %10s %8s\n%s' "step" "seconds" "requests" "failed" "$table"
    if [[ $status == 0 ]]; then
        echo "passed: $keys keys, $requests requests, none failed"
    else
        echo "FAILED, with $status"
    fi
    rm -rf "$folder"
    exit "$status"
}

# Runs a container beside the servers, with what the namespace's pod security asks for. By the labels its pod is found
# again, and is known to be ours.
#   beside NAME IMAGE [option of kubectl run…] [-- argument…]
beside() {
    local name=$1 image=$2
    shift 2
    kube run "$name" --image="$image" --restart=Never --labels="app.kubernetes.io/name=kvstore-e2e,$OWN" \
        --override-type=strategic --overrides='{"spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "'"$name"'", "securityContext": {"allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}}]}}' "$@"
}

# Waits until all servers are ready.
rolled_out() {
    kube rollout status deployment/kvstore --timeout=10m || fail "the servers are not ready within 10 minutes: $title"
}

# Waits for a pod to end well.
ended() {
    local name=$1 phase deadline=$((SECONDS + PATIENCE))
    until phase=$(kube get pod "$name" -o 'jsonpath={.status.phase}') && [[ $phase == Succeeded ]]; do
        if [[ $phase == Failed ]]; then
            kube logs "$name" --tail=20 >&2 || true
            fail "the pod $name failed: $(kube get pod "$name" -o 'jsonpath={.status.reason}')"
        fi
        [[ $SECONDS -lt $deadline ]] || fail "the pod $name has not ended within $PATIENCE s: it is ${phase:-gone}"
        sleep "$PAUSE"
    done
}

# Sees that all keys are there, each with its value.
expect() {
    local name=count-${1// /-} found
    step "count the keys ($1)"
    # Its log is read at the end: what is attached to may be over before it is.
    beside "$name" "$image" -- export --url "http://kvstore.$NAMESPACE" >/dev/null
    ended "$name"
    kube logs "$name" >"$folder/exported"
    found=$(grep -c '^{"key":"e2e:' "$folder/exported") || true
    kube delete pod "$name" --wait=false >/dev/null
    [[ $found == "$keys" ]] || fail "$found keys are there, and $keys were stored"
}

# Sees that the client is still counting.
client_runs() {
    local phase
    phase=$(kube get pod client -o 'jsonpath={.status.phase}') || true
    if [[ $phase != Running ]]; then
        fail "the client is ${phase:-gone} ($(kube get pod client -o 'jsonpath={.status.reason}' || true)), so that nobody" \
            "knows whether requests failed: give the cluster more room, and try again"
    fi
}

check
title='' began=0 client='' requests=0 failed=0 table=''
folder=$(mktemp -d)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step "deploy $OVERLAY"
scripts/deploy.sh

step "load $keys keys"
for ((number = 0; number < keys; number++)); do
    echo "{\"key\": \"e2e:$number\", \"value\": $number}"
done | beside load "$image" --stdin --rm --quiet -- import - --url "http://kvstore.$NAMESPACE" ||
    fail "the keys were not stored, as said above: is $image what was built here?"
expect "after the load"

step "start a client"
# Valkey's image has a shell and wget; it is in the cluster anyway.
client_image=$(scripts/manifests.sh | sed -n 's/^ *image: \(.*valkey.*\)$/\1/p' | head -1)
read -r -d '' loop <<END || true
requests=0 failed=0
ask() {
  requests=\$((requests + 1))
  wget -q -T 10 -O /dev/null "\$@" || { failed=\$((failed + 1)); echo "failed \$*"; }
}
while true; do
  ask http://kvstore.$NAMESPACE/get/e2e:0
  ask 'http://kvstore.$NAMESPACE/search?prefix=e2e:&limit=10'
  ask --header 'Content-Type: application/json' --post-data '{"key": "e2e:0", "value": 0}' http://kvstore.$NAMESPACE/set
  echo "requests \$requests failed \$failed"
done
END
beside client "$client_image" --command -- sh -c "$loop"
kube wait pod/client --for=condition=Ready --timeout=3m || client_runs
client=client

step "restart every server"
kube rollout restart deployment/kvstore
rolled_out

if [[ $OVERLAY == single-node ]]; then
    before=$(kube get deployment kvstore -o 'jsonpath={.spec.replicas}')
    step "scale to $((before + 1))"
    kube scale deployment/kvstore --replicas=$((before + 1))
    rolled_out
    step "scale back to $before"
    kube scale deployment/kvstore --replicas="$before"
    rolled_out
fi

step "delete a server's pod"
# One that was evicted before is still listed.
victim=$(kube get pods -l app.kubernetes.io/name=kvstore --field-selector=status.phase=Running -o name | head -1)
[[ -n $victim ]] || fail "no server's pod is running"
kube delete "$victim"
rolled_out

step "what the client saw"
client_runs
look_at_client
[[ $requests -gt 0 ]] || fail "the client made no request: kubectl -n $NAMESPACE logs client"
if [[ $failed != 0 ]]; then
    kube logs client | grep '^failed' | tail -20 >&2
    fail "$failed of $requests requests failed"
fi
expect "at the end"
end_step
