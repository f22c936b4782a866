#!/usr/bin/env bash
# Deploys kvstore to the cluster that kubectl is set to, waits until it serves, and says how to reach it.
# Its settings are those of manifests.sh; IMAGE must be given. Run again, it updates what is there, removes what is no
# longer wanted, and goes on where it was broken off. What it cannot do it refuses before it changes anything.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/cluster.sh
. scripts/cluster.sh

overlay=${OVERLAY:-single-node}
namespace=${NAMESPACE:-kvstore}
image=${IMAGE:-}
name=${image##*/}

refuse() {
    echo "$@" >&2
    exit 2
}

if [[ -z $image ]]; then
    refuse "IMAGE is not given: make image, make push IMAGE=registry.example.org/kvstore:0.1.0, and give" \
        "the same IMAGE here"
fi
if [[ $name != *:* && $name != *@* ]] || [[ $name == *:latest ]]; then
    refuse "IMAGE=$image can be another image tomorrow: give a version (…:0.1.0) or a digest (…@sha256:…)"
fi
if [[ " ${COMPONENTS:-} " == *" gateway "* && -z ${GATEWAY_CLASS:-} ]]; then
    refuse "GATEWAY_CLASS is not given: the Gateway needs to know who runs it. kubectl get gatewayclass lists who could"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
manifests=$folder/manifests.yaml
scripts/manifests.sh >"$manifests"
revision=$(sed -n 's/^ *kvstore\/revision: //p' "$manifests" | head -1)

kube() {
    kubectl -n "$namespace" "$@"
}

# Refuses kinds that the cluster does not have.
check_kinds() {
    local kind resource missing
    while read -r kind resource; do
        if grep -qx "kind: $kind" "$manifests" && ! grep -qx "$resource" <<<"$resources"; then
            missing+="${missing:+, }$resource"
        fi
    done <<<"$KINDS"
    if [[ -n ${missing:-} ]]; then
        refuse "the cluster lacks what COMPONENTS=${COMPONENTS:-} is made of: $missing. Nothing was changed: install the" \
            "operator or the Gateway API that brings them, or leave the component out"
    fi
}

# Refuses what cannot be deployed over what is there.
check_what_is_there() {
    local found other foreign
    # Data of another overlay is elsewhere, also where only its volumes or its password are left.
    found=$(kube get deployments.apps,statefulsets.apps,persistentvolumeclaims,secrets -l "$OWN" --ignore-not-found --no-headers \
        -o 'custom-columns=OVERLAY:.metadata.labels.kvstore/overlay' | sort -u)
    for other in $found; do
        [[ $other != "$overlay" ]] || continue
        echo "the namespace $namespace has OVERLAY=$other or its data, which OVERLAY=$overlay would not find. Nothing was" \
            "changed. To move it:" >&2
        sed 's/^/  /' >&2 <<END
make deploy OVERLAY=$overlay NAMESPACE=$namespace-next IMAGE=$image, beside what there is
kvstore export from the one and kvstore import into the other (docs/operations.md, Backup)
lead clients to the other, and make undeploy NAMESPACE=$namespace PURGE=yes
END
        refuse "If the data may go, make undeploy NAMESPACE=$namespace PURGE=yes is all that it takes."
    done
    # What it was before it kept its data: it would serve beside the new one, and then go with all that it holds.
    if [[ $overlay == embedded && -n $(kube get deployments.apps -l "$OWN" --ignore-not-found -o name) ]]; then
        echo "the server in the namespace $namespace is of an earlier version, and has its keys in its memory alone. Nothing was" \
            "changed. To move them:" >&2
        sed 's/^/  /' >&2 <<END
kubectl -n $namespace port-forward service/kvstore 8000:80, and beside it kvstore export data.ndjson
make undeploy NAMESPACE=$namespace
make deploy OVERLAY=embedded NAMESPACE=$namespace IMAGE=$image
kubectl -n $namespace port-forward service/kvstore 8000:80, and beside it kvstore import data.ndjson
END
        refuse "Keep writers away meanwhile. If the keys may go, the second and the third are all that it takes."
    fi
    foreign=$(kube get -f "$manifests" --ignore-not-found --no-headers -o \
        'custom-columns=KIND:.kind,NAME:.metadata.name,MADE:.metadata.labels.app\.kubernetes\.io/managed-by' |
        awk -v own="${OWN#*=}" '$3 != own {printf "%s%s %s", separator, $1, $2; separator = ", "}')
    if [[ -n $foreign ]]; then
        refuse "in the namespace $namespace there is, not made by deploy: $foreign. Nothing was changed: give another" \
            "NAMESPACE, or remove it"
    fi
    # The cluster itself says what it would not take, such as a change of what cannot be changed in place. A Job cannot be
    # changed at all, and is made anew below.
    if ! kubectl apply --dry-run=server -l app.kubernetes.io/name!=valkey-bootstrap -f "$manifests" >/dev/null; then
        refuse "the cluster would not take this over what is in the namespace $namespace, as said above. Nothing was" \
            "changed. If a field is immutable, deploy to another NAMESPACE beside it and move the data by kvstore" \
            "export and import (docs/operations.md, Backup)"
    fi
}

# Makes the namespace, and holds it to the strictest of Kubernetes' own rules, under which all that is here runs. One that
# is there already is left as it is: others may run in it.
make_namespace() {
    kubectl create -f - <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    ${OWN/=/: }
    app.kubernetes.io/part-of: kvstore
    pod-security.kubernetes.io/enforce: restricted
END
}

# Only where there is none: Valkey keeps its password for as long as its data.
make_password() {
    local password
    password=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
    kube create -f - <<END
apiVersion: v1
kind: Secret
metadata:
  name: kvstore-engine
  labels:
    ${OWN/=/: }
    app.kubernetes.io/name: valkey
    app.kubernetes.io/instance: kvstore
    app.kubernetes.io/part-of: kvstore
    kvstore/overlay: $overlay
stringData:
  password: $password
  auth.conf: |
    requirepass $password
    masterauth $password
  exporter.json: '{"redis://localhost:6379": "$password"}'
END
}

# Writes to file $1 what it applies: those of the manifests that selector $2 takes.
apply() {
    if ! kubectl apply -f "$manifests" -o name -l "$2" >"$1"; then
        cat "$1"
        echo "the cluster did not take all of it, as said above; what it took is there. Once that is mended, run this again" >&2
        exit 1
    fi
    cat "$1"
}

# Waits for those of file $2 whose names match $1.
wait_for() {
    local workload
    for workload in $(grep "$1" "$2" || true); do
        if ! kube rollout status "$workload" --timeout=10m; then
            echo "it does not serve yet: $workload is not ready. What there is:" >&2
            kube get pods,events --sort-by=.metadata.creationTimestamp >&2 || true
            echo "Look at: kubectl -n $namespace logs $workload --all-containers. Run this again once it is mended" >&2
            exit 1
        fi
    done
}

# Whether what is rendered reads key $1 of the Secret.
reads() {
    case $1 in
        exporter.json) grep -q "exporter.json" "$manifests" ;;
        *) grep -q "mountPath: /etc/valkey-auth" "$manifests" ;;
    esac
}

# What the user makes is there, with what is read of it: a pod whose Secret is missing would wait for it without a word.
#   $1 secret or configmap, $2 its name, $3 what it is for, $4 how it is made, then the keys that are read of it
check_made_by_hand() {
    local kind=$1 name=$2 purpose=$3 remedy=$4 key found=
    shift 4
    if [[ -n $there ]]; then
        found=$(kube get "$kind" "$name" --ignore-not-found -o name)
    fi
    if [[ -z $found ]]; then
        refuse "the $kind $name is not in the namespace $namespace: it has $purpose. Nothing was changed: run" \
            "kubectl create namespace $namespace (where there is none), and $remedy (docs/operations.md, Secured)"
    fi
    for key in "$@"; do
        found=$(kube get "$kind" "$name" -o "jsonpath={.data.${key//./\\.}}")
        if [[ -z $found ]]; then
            refuse "the $kind $name in the namespace $namespace has no key $key: it has $purpose. Nothing was changed: make" \
                "it anew by $remedy (docs/operations.md, Secured)"
        fi
    done
}

# What COMPONENTS=secured, or a part of it, takes from the cluster.
check_secured() {
    local remedy keys create="kubectl -n $namespace create secret generic"
    if grep -q 'secretName: kvstore-tokens' "$manifests"; then
        remedy="kvstore token --name admin --access admin 2>>tokens.toml,"
        remedy+=" and $create kvstore-tokens --from-file=tokens.toml"
        check_made_by_hand secret kvstore-tokens "the tokens, by their hashes" "$remedy" tokens.toml
    fi
    if grep -q 'name: kvstore-metrics$' "$manifests"; then
        remedy="kvstore token --name metrics --access read 2>>tokens.toml | tr -d '\n' >token, have tokens.toml in"
        remedy+=" kvstore-tokens, and $create kvstore-metrics --from-file=token"
        check_made_by_hand secret kvstore-metrics "the token that Prometheus asks with" "$remedy" token
    fi
    if grep -q 'secretName: kvstore-tls' "$manifests"; then
        remedy="have cert-manager write it, or $create kvstore-tls --type=kubernetes.io/tls --from-file=tls.crt"
        remedy+=" --from-file=tls.key --from-file=ca.crt"
        keys=(tls.crt tls.key)
        # Who vouches for it, where somebody looks.
        if grep -q -e 'key: ca\.crt' -e 'proxy-ssl-secret' "$manifests"; then
            keys+=(ca.crt)
        fi
        check_made_by_hand secret kvstore-tls "the certificate and its key" "$remedy" "${keys[@]}"
    fi
    if grep -q '^kind: BackendTLSPolicy' "$manifests"; then
        remedy="kubectl -n $namespace create configmap kvstore-ca --from-file=ca.crt"
        check_made_by_hand configmap kvstore-ca "whose certificates the Gateway takes" "$remedy" ca.crt
    fi
}

look_at_cluster
check_kinds
there=$(kubectl get namespace "$namespace" --ignore-not-found -o name)
secret=
if [[ -n $there ]]; then
    check_what_is_there
    secret=$(kube get secret kvstore-engine --ignore-not-found -o name)
fi
if [[ $overlay == external && -z $secret ]]; then
    refuse "the Secret kvstore-engine is not in the namespace $namespace: write the URL of your engine to a file" \
        "kvstore.toml (engine = \"redis://HOST:6379\") and run: kubectl create namespace $namespace (where there is none)" \
        "and kubectl -n $namespace create secret generic kvstore-engine --from-file=kvstore.toml"
fi

# A Secret of the user's own, or of an earlier deployment, may lack what is read of it.
for key in password auth.conf exporter.json; do
    if [[ -n $secret && $overlay != external ]] && reads "$key"; then
        found=$(kube get secret kvstore-engine -o "jsonpath={.data.${key//./\\.}}")
        [[ -n $found ]] || refuse "the Secret kvstore-engine in the namespace $namespace has no key $key, without which" \
            "Valkey would not start. Nothing was changed: add it (docs/valkey.md, Another password, says what it holds)"
    fi
done

check_secured

if [[ -z $there ]]; then
    make_namespace
fi
if [[ -z $secret ]] && grep -q 'secretName: kvstore-engine' "$manifests"; then
    make_password
fi
# What is in a Job cannot be changed, and one that gave up does not begin again.
kube delete jobs.batch -l "$OWN" --ignore-not-found
# Of a Valkey Cluster one shard after the other: with the masters of two away at once, nobody could take their place.
apply "$folder/others" '!kvstore/shard'
shards=$(sed -n 's/^ *kvstore\/shard: "\(.*\)"$/\1/p' "$manifests" | sort -u)
for shard in $shards; do
    apply "$folder/shard" "kvstore/shard=$shard"
    wait_for ^statefulset "$folder/shard"
done
# Engines before servers, which wait for them.
wait_for ^statefulset "$folder/others"
wait_for ^deployment "$folder/others"

# What earlier settings made. Until here it may have been in use: pods that end have their old configuration.
kube delete "$(known_kinds)" -l "$OWN,kvstore/revision!=$revision" --ignore-not-found

host=$(sed -n 's/^  - host: //p; /^kind: HTTPRoute/,/^---/s/^  - \([^ ]*\.[^ ]*\)$/\1/p' "$manifests" | head -1)
scheme=http here="8000:80, then http://127.0.0.1:8000/"
if grep -q 'name: KVSTORE_TLS_CERTIFICATE' "$manifests"; then
    scheme=https here="8443:443, then https://localhost:8443/, where the certificate has that name"
fi
outer=http
if [[ -n ${HOST_SECRET:-} ]]; then
    outer=https
fi
outside="nothing leads there: give INGRESS or COMPONENTS=gateway"
if grep -q '^kind: Ingress' "$manifests"; then
    outside="$outer://$host/ once its name leads to your ingress controller"
    # A class that the cluster fills in is its default one.
    class=$(kube get ingress kvstore -o 'jsonpath={.spec.ingressClassName}')
    if [[ -z $class ]]; then
        outside="no controller takes the Ingress, since there is no default class: give INGRESS_CLASS (kubectl get"
        outside+=" ingressclass)"
    fi
elif grep -q '^kind: HTTPRoute' "$manifests"; then
    outside="$outer://$host/ once its name leads to your Gateway (kubectl -n $namespace get gateway kvstore)"
fi
if [[ $outer == http && $outside == http:* ]] && grep -q 'name: KVSTORE_AUTH_FILE' "$manifests"; then
    outside+=". Tokens can be read on that way: give HOST_SECRET"
fi
cat <<END

kvstore serves in the namespace $namespace.
  inside:     $scheme://kvstore.$namespace/
  from here:  kubectl -n $namespace port-forward service/kvstore $here
  outside:    $outside
END
