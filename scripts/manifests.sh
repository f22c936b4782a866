#!/usr/bin/env bash
# Renders what `make deploy` applies, to standard output, without a cluster.
#   OVERLAY        single-node, multi-node, external or embedded
#   COMPONENTS     of monitoring, monitoring-operator and gateway, none by default
#   IMAGE          the image with its tag or digest
#   NAMESPACE      kvstore by default
#   HOST           what the Ingress listens to
#   GATEWAY_CLASS  who runs the Gateway
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v kubectl >/dev/null; then
    echo "kubectl is not installed: see https://kubernetes.io/docs/tasks/tools/" >&2
    exit 2
fi
overlay=${OVERLAY:-single-node}
if [[ ! -f k8s/overlays/$overlay/kustomization.yaml ]]; then
    echo "OVERLAY=$overlay: there is none; give one of: $(cd k8s/overlays && echo *)" >&2
    exit 2
fi
for component in ${COMPONENTS:-}; do
    case $component in
        monitoring | monitoring-operator | gateway) ;;
        *)
            echo "COMPONENTS: $component: give any of monitoring, monitoring-operator, gateway" >&2
            exit 2
            ;;
    esac
done

# A patch of one value of what is called kvstore.
patch() {
    local kind=$1 path=$2 value=$3
    echo "  - target: {kind: $kind, name: kvstore}"
    echo "    patch: '[{\"op\": \"replace\", \"path\": \"$path\", \"value\": \"$value\"}]'"
}

# Kustomize takes bases by relative paths only, so this is beside them.
composed=$(mktemp -d k8s/.composed-XXXXXX)
trap 'rm -rf "$composed"' EXIT
{
    echo "apiVersion: kustomize.config.k8s.io/v1beta1"
    echo "kind: Kustomization"
    echo "namespace: ${NAMESPACE:-kvstore}"
    echo "resources: [../overlays/$overlay]"
    if [[ -n ${COMPONENTS:-} ]]; then
        echo "components:"
        for component in $COMPONENTS; do
            echo "  - ../components/$component"
        done
    fi
    if [[ -n ${IMAGE:-} ]]; then
        echo "images:"
        echo "  - name: kvstore"
        case $IMAGE in
            *@*)
                echo "    newName: ${IMAGE%@*}"
                echo "    digest: ${IMAGE#*@}"
                ;;
            *)
                echo "    newName: ${IMAGE%:*}"
                echo "    newTag: \"${IMAGE##*:}\""
                ;;
        esac
    fi
    echo "patches:"
    if [[ -n ${HOST:-} ]]; then
        patch Ingress /spec/rules/0/host "$HOST"
    fi
    if [[ " ${COMPONENTS:-} " == *" gateway "* ]]; then
        if [[ -n ${HOST:-} ]]; then
            patch HTTPRoute /spec/hostnames/0 "$HOST"
            patch Gateway /spec/listeners/0/hostname "$HOST"
        fi
        if [[ -n ${GATEWAY_CLASS:-} ]]; then
            patch Gateway /spec/gatewayClassName "$GATEWAY_CLASS"
        fi
    fi
} >"$composed/kustomization.yaml"
kubectl kustomize "$composed"
