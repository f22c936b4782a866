#!/usr/bin/env bash
# Removes what deploy.sh made. Valkey's volumes and its password stay, unless PURGE=yes.
set -euo pipefail
cd "$(dirname "$0")/.."

namespace=${NAMESPACE:-kvstore}
scripts/manifests.sh | kubectl delete --ignore-not-found -f -
if [[ ${PURGE:-} == yes ]]; then
    kubectl -n "$namespace" delete persistentvolumeclaim -l app.kubernetes.io/instance=kvstore --ignore-not-found
    kubectl -n "$namespace" delete secret kvstore-engine --ignore-not-found
    kubectl delete namespace "$namespace" --ignore-not-found
else
    echo "The data and its password are still in the namespace $namespace: make undeploy PURGE=yes removes them."
fi
