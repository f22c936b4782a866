#!/usr/bin/env bash
# Deploys kvstore to the cluster that kubectl is set to, waits until it serves, and says how to reach it.
# Its settings are those of manifests.sh; IMAGE must be given. Run again, it updates what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

overlay=${OVERLAY:-single-node}
namespace=${NAMESPACE:-kvstore}
image=${IMAGE:-}
name=${image##*/}

if [[ -z $image ]]; then
    echo "IMAGE is not given: make image, make push IMAGE=registry.example.org/kvstore:0.1.0, and give" \
        "the same IMAGE here" >&2
    exit 2
fi
if [[ $name != *:* && $name != *@* ]] || [[ $name == *:latest ]]; then
    echo "IMAGE=$image can be another image tomorrow: give a version (…:0.1.0) or a digest (…@sha256:…)" >&2
    exit 2
fi

if [[ " ${COMPONENTS:-} " == *" gateway "* && -z ${GATEWAY_CLASS:-} ]]; then
    echo "GATEWAY_CLASS is not given: the Gateway needs to know who runs it. kubectl get gatewayclass lists who could" >&2
    exit 2
fi

manifests=$(mktemp)
trap 'rm -f "$manifests"' EXIT
scripts/manifests.sh >"$manifests"

kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f -
# All that is here runs under the strictest of Kubernetes' own rules; this has the cluster hold it to them.
kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted

if [[ $overlay == single-node || $overlay == multi-node ]]; then
    if ! kubectl -n "$namespace" get secret kvstore-engine >/dev/null 2>&1; then
        # Only what is not there is made: Valkey keeps its password for as long as its data.
        password=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
        kubectl -n "$namespace" create secret generic kvstore-engine \
            --from-file=password=<(printf '%s' "$password") \
            --from-file=auth.conf=<(printf 'requirepass %s\nmasterauth %s\n' "$password" "$password")
    fi
elif [[ $overlay == external ]]; then
    if ! kubectl -n "$namespace" get secret kvstore-engine >/dev/null 2>&1; then
        echo "the Secret kvstore-engine is not in the namespace $namespace: write the URL of your engine to" \
            "a file kvstore.toml (engine = \"redis://HOST:6379\") and run: kubectl -n $namespace create" \
            "secret generic kvstore-engine --from-file=kvstore.toml" >&2
        exit 2
    fi
fi

kubectl apply -f "$manifests"

if ! {
    { [[ $overlay != single-node && $overlay != multi-node ]] ||
        kubectl -n "$namespace" rollout status statefulset/valkey --timeout=10m; } &&
        kubectl -n "$namespace" rollout status deployment/kvstore --timeout=10m
}; then
    echo "it does not serve yet. What there is:" >&2
    kubectl -n "$namespace" get pods,events --sort-by=.metadata.creationTimestamp >&2 || true
    echo "Look at: kubectl -n $namespace logs deployment/kvstore --all-containers" >&2
    exit 1
fi

host=$(sed -n 's/^  - host: //p; /^kind: HTTPRoute/,/^---/s/^  - \([^ ]*\.[^ ]*\)$/\1/p' "$manifests" | head -1)
outside="nothing leads there: give INGRESS or COMPONENTS=gateway"
if grep -q '^kind: Ingress' "$manifests"; then
    outside="http://$host/ once its name leads to your ingress controller"
    # A class that the cluster fills in is its default one.
    if [[ -z $(kubectl -n "$namespace" get ingress kvstore -o 'jsonpath={.spec.ingressClassName}') ]]; then
        outside="no controller takes the Ingress, since there is no default class: give INGRESS_CLASS (kubectl get"
        outside+=" ingressclass)"
    fi
elif grep -q '^kind: HTTPRoute' "$manifests"; then
    outside="http://$host/ once its name leads to your Gateway (kubectl -n $namespace get gateway kvstore)"
fi
cat <<END

kvstore serves in the namespace $namespace.
  inside:     http://kvstore.$namespace/
  from here:  kubectl -n $namespace port-forward service/kvstore 8000:80, then http://127.0.0.1:8000/
  outside:    $outside
END
