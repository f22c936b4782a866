#!/usr/bin/env bash
# Removes what deploy.sh made in NAMESPACE, whatever its settings were, and nothing else: it is found by its label.
# Volumes and passwords stay, unless PURGE=yes.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/cluster.sh
. scripts/cluster.sh

namespace=${NAMESPACE:-kvstore}

kube() {
    kubectl -n "$namespace" "$@"
}

# Prints what is in the namespace that deploy did not make, nor what it made, nor the cluster itself.
of_others() {
    local kinds
    kinds=$(kubectl api-resources --verbs=list,delete --namespaced -o name |
        grep -v -x -E 'events.*|endpoints|endpointslices\..*|leases\..*' | paste -sd,)
    kube get "$kinds" --ignore-not-found --no-headers -o "custom-columns=KIND:.kind,NAME:.metadata.name,\
OWNER:.metadata.ownerReferences[0].name,MADE:.metadata.labels.app\.kubernetes\.io/managed-by" |
        awk -v own="${OWN#*=}" '
            $3 != "<none>" || $4 == own {next}
            $1 == "ConfigMap" && $2 ~ /^(kube-root-ca\.crt|openshift-service-ca\.crt|istio-ca-root-cert)$/ {next}
            $1 == "ServiceAccount" && $2 ~ /^(default|builder|deployer)$/ {next}
            $1 == "Secret" && $2 ~ /^(default|builder|deployer)-(token|dockercfg)-/ {next}
            $1 == "RoleBinding" && $2 ~ /^system:/ {next}
            {printf "%s%s %s", separator, $1, $2; separator = ", "}'
}

look_at_cluster
there=$(kubectl get namespace "$namespace" --ignore-not-found -o name)
if [[ -z $there ]]; then
    echo "There is no namespace $namespace: nothing to remove. NAMESPACE names another."
    exit 0
fi
kube delete "$(known_kinds)" -l "$OWN" --ignore-not-found
kept=$(kube get persistentvolumeclaims,secrets -l "$OWN" --ignore-not-found -o name)
made=$(kubectl get namespaces -l "$OWN,kubernetes.io/metadata.name=$namespace" --ignore-not-found -o name)
if [[ ${PURGE:-} != yes ]]; then
    if [[ -n $kept ]]; then
        echo "What keeps the data is still in the namespace $namespace: ${kept//$'\n'/, }." \
            "make undeploy NAMESPACE=$namespace PURGE=yes removes it, make deploy finds it again."
    fi
    exit 0
fi

others='' unknown=''
if [[ -n $made ]] && ! others=$(of_others); then
    unknown=yes
fi
if [[ -n $made && -z $others$unknown ]]; then
    echo "Deleting for good, with all data: ${kept:+${kept//$'\n'/, }, }namespace/$namespace"
elif [[ -n $kept ]]; then
    echo "Deleting for good, with all data: ${kept//$'\n'/, }"
fi
kube delete persistentvolumeclaims,secrets -l "$OWN" --ignore-not-found
if [[ -z $made ]]; then
    echo "The namespace $namespace stays, since deploy did not make it."
elif [[ -n $unknown ]]; then
    echo "The namespace $namespace stays, since kubectl's user may not see, as said above, whether anything of others is in" \
        "it: have somebody who may run this again" >&2
    exit 1
elif [[ -n $others ]]; then
    echo "The namespace $namespace stays, since there is in it, not made by deploy: $others."
else
    kubectl delete namespace "$namespace" --ignore-not-found
fi
