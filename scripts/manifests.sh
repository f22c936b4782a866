#!/usr/bin/env bash
# Renders what `make deploy` applies, to standard output, without a cluster.
#   OVERLAY        single-node, multi-node, external or embedded
#   COMPONENTS     of monitoring, monitoring-operator, gateway, tokens, tls, secured (both of these) and metrics-token, none by
#                  default
#   IMAGE          the image with its tag or digest
#   NAMESPACE      kvstore by default
#   HOST           what the Ingress or the Gateway takes requests for
#   HOST_SECRET    the Secret with that name's certificate: the Ingress or the Gateway speaks TLS with whoever is outside
#   GATEWAY_CLASS  who runs the Gateway
#   INGRESS        nginx or haproxy: the Ingress as these controllers need it; plain: without any controller's own
#                  annotations; none: no Ingress. plain by default, none with the component gateway
#   RUNBOOKS       the URL of docs/runbooks.md, for alerts to lead to: by default where this clone came from, or the clone
#   INGRESS_CLASS  who takes the Ingress: by default nginx or haproxy where INGRESS says so, else the cluster's default
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/cluster.sh
. scripts/cluster.sh

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
        monitoring | monitoring-operator | gateway | tokens | tls | secured | metrics-token) ;;
        *)
            echo "COMPONENTS: $component: give any of monitoring, monitoring-operator, gateway, tokens, tls, secured," \
                "metrics-token" >&2
            exit 2
            ;;
    esac
done

# Whether COMPONENTS has one of these.
has() {
    local component
    for component in "$@"; do
        if [[ " ${COMPONENTS:-} " == *" $component "* ]]; then
            return 0
        fi
    done
    return 1
}

if has metrics-token && ! has tokens secured; then
    echo "COMPONENTS: metrics-token: there are no tokens without tokens or secured: give one of these too" >&2
    exit 2
fi

ingress=plain
if has gateway; then
    ingress=none
elif [[ ${INGRESS_CLASS:-} == nginx || ${INGRESS_CLASS:-} == haproxy ]]; then
    ingress=$INGRESS_CLASS
fi
ingress=${INGRESS:-$ingress}
case $ingress in
    plain | nginx | haproxy) ;;
    none)
        if [[ -n ${INGRESS_CLASS:-} ]]; then
            echo "INGRESS_CLASS=$INGRESS_CLASS, and there is no Ingress: give INGRESS=plain, nginx or haproxy as well" >&2
            exit 2
        fi
        ;;
    *)
        echo "INGRESS=$ingress: give nginx, haproxy, plain for other controllers, or none" >&2
        exit 2
        ;;
esac

if [[ -n ${HOST_SECRET:-} && $ingress == none ]] && ! has gateway; then
    echo "HOST_SECRET=$HOST_SECRET, and nothing leads in from outside: give INGRESS or COMPONENTS=gateway as well" >&2
    exit 2
fi

# Where the page of runbooks is read: where this clone came from, if that is on a forge, else in the clone itself.
runbooks() {
    local origin
    if [[ -n ${RUNBOOKS:-} ]]; then
        echo "$RUNBOOKS"
        return
    fi
    origin=$(git config --get remote.origin.url 2>/dev/null) || true
    origin=${origin%/}
    # host:path, and ssh://, as ssh has them. Neither a user nor a token belongs into an alert.
    if [[ $origin =~ ^(https?|ssh)://([^/@]*@)?([^/]+)/(.+)$ ]]; then
        local host=${BASH_REMATCH[3]} path=${BASH_REMATCH[4]}
        if [[ ${BASH_REMATCH[1]} == ssh ]]; then
            host=${host%%:*}
        fi
        echo "https://$host/${path%.git}/blob/HEAD/docs/runbooks.md"
    elif [[ $origin =~ ^([^/@:]+@)?([^/:]+\.[^/:]+):([^/].*)$ ]]; then
        local path=${BASH_REMATCH[3]}
        echo "https://${BASH_REMATCH[2]}/${path%.git}/blob/HEAD/docs/runbooks.md"
    else
        echo "file://$PWD/docs/runbooks.md"
    fi
}

# A patch of one value of what is called kvstore: replace, or add.
patch() {
    local operation=$1 kind=$2 path=$3 value=$4
    echo "  - target: {kind: $kind, name: kvstore}"
    echo "    patch: '[{\"op\": \"$operation\", \"path\": \"$path\", \"value\": \"$value\"}]'"
}

# Kustomize takes bases by relative paths only, so this is beside them.
composed=$(mktemp -d k8s/.composed-XXXXXX)
trap 'rm -rf "$composed"' EXIT
{
    echo "apiVersion: kustomize.config.k8s.io/v1beta1"
    echo "kind: Kustomization"
    echo "namespace: ${NAMESPACE:-kvstore}"
    echo "resources: [../overlays/$overlay]"
    # By these deploy.sh and undeploy.sh find again what was made, with which overlay, and what of it is of other settings.
    echo "labels: [{pairs: {${OWN/=/: }, kvstore/overlay: $overlay, kvstore/revision: unknown}}]"
    echo "components:"
    for component in monitoring monitoring-operator gateway; do
        if has "$component"; then
            echo "  - ../components/$component"
        fi
    done
    # A Valkey that comes along is watched as well.
    if [[ $overlay == single-node || $overlay == multi-node ]]; then
        if has monitoring monitoring-operator; then
            echo "  - ../components/valkey-metrics"
        fi
        if has monitoring-operator; then
            echo "  - ../components/valkey-pod-monitor"
        fi
    fi
    if [[ $ingress == nginx || $ingress == haproxy ]]; then
        echo "  - ../components/ingress-$ingress"
    fi
    # After all that they change.
    if has secured; then
        echo "  - ../components/secured"
    else
        for component in tokens tls; do
            if has "$component"; then
                echo "  - ../components/$component"
            fi
        done
    fi
    if has metrics-token; then
        echo "  - ../components/metrics-token"
    fi
    if has tls secured; then
        if [[ $ingress == nginx || $ingress == haproxy ]]; then
            echo "  - ../components/tls-$ingress"
        fi
        if has gateway; then
            echo "  - ../components/tls-gateway"
        fi
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
    if [[ $ingress == none ]]; then
        echo "  - patch: '{\"\$patch\": delete, apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: kvstore}}'"
    elif [[ -n ${HOST:-} ]]; then
        patch replace Ingress /spec/rules/0/host "$HOST"
    fi
    if [[ -n ${INGRESS_CLASS:-} ]]; then
        patch add Ingress /spec/ingressClassName "$INGRESS_CLASS"
    fi
    if [[ -n ${HOST_SECRET:-} && $ingress != none ]]; then
        value="[{\"hosts\": [\"${HOST:-kvstore.example.org}\"], \"secretName\": \"$HOST_SECRET\"}]"
        echo "  - target: {kind: Ingress, name: kvstore}"
        echo "    patch: '[{\"op\": \"add\", \"path\": \"/spec/tls\", \"value\": $value}]'"
    fi
    if [[ $ingress == nginx ]] && has tls secured; then
        patch replace Ingress /metadata/annotations/nginx.ingress.kubernetes.io~1proxy-ssl-secret \
            "${NAMESPACE:-kvstore}/kvstore-tls"
    fi
    if has gateway; then
        if [[ -n ${HOST_SECRET:-} ]]; then
            echo "  - target: {kind: Gateway, name: kvstore}"
            echo "    patch: '[{\"op\": \"replace\", \"path\": \"/spec/listeners/0/name\", \"value\": \"https\"},"
            echo "      {\"op\": \"replace\", \"path\": \"/spec/listeners/0/protocol\", \"value\": \"HTTPS\"},"
            echo "      {\"op\": \"replace\", \"path\": \"/spec/listeners/0/port\", \"value\": 443},"
            value="{\"mode\": \"Terminate\", \"certificateRefs\": [{\"name\": \"$HOST_SECRET\"}]}"
            echo "      {\"op\": \"add\", \"path\": \"/spec/listeners/0/tls\", \"value\": $value}]'"
        fi
        if [[ -n ${HOST:-} ]]; then
            patch replace HTTPRoute /spec/hostnames/0 "$HOST"
            patch replace Gateway /spec/listeners/0/hostname "$HOST"
        fi
        if [[ -n ${GATEWAY_CLASS:-} ]]; then
            patch replace Gateway /spec/gatewayClassName "$GATEWAY_CLASS"
        fi
    fi
} >"$composed/kustomization.yaml"
text=$(kubectl kustomize "$composed")
text=${text//"runbook_url: docs/runbooks.md"/"runbook_url: $(runbooks)"}
revision=$(sha256sum <<<"$text")
printf '%s\n' "${text//kvstore\/revision: unknown/kvstore/revision: r${revision:0:12}}"
