# What deploy.sh, undeploy.sh and e2e.sh share: how they know again what deploy made. Sourced, not run.
# shellcheck shell=bash

# The label of all that deploy made: manifests.sh, deploy.sh and the templates of Valkey's volumes set it. Nothing else is
# ever deleted.
# shellcheck disable=SC2034 # The scripts that source this use it.
readonly OWN=app.kubernetes.io/managed-by=kvstore-deploy

# The kinds that overlays and components have, by their names in a cluster; not those that keep data.
readonly KINDS="\
Deployment deployments.apps
StatefulSet statefulsets.apps
Job jobs.batch
HorizontalPodAutoscaler horizontalpodautoscalers.autoscaling
PodDisruptionBudget poddisruptionbudgets.policy
Ingress ingresses.networking.k8s.io
Gateway gateways.gateway.networking.k8s.io
HTTPRoute httproutes.gateway.networking.k8s.io
BackendTLSPolicy backendtlspolicies.gateway.networking.k8s.io
ServiceMonitor servicemonitors.monitoring.coreos.com
PodMonitor podmonitors.monitoring.coreos.com
PrometheusRule prometheusrules.monitoring.coreos.com
Service services
ServiceAccount serviceaccounts
NetworkPolicy networkpolicies.networking.k8s.io
ConfigMap configmaps"

# Sets `resources` to what the cluster can have, one a line. Ends the script where there is no cluster.
look_at_cluster() {
    if ! resources=$(kubectl api-resources --verbs=delete -o name); then
        echo "kubectl reaches no cluster: kubectl config get-contexts lists those that it knows, and kubectl config" \
            "use-context or KUBECONFIG chooses one" >&2
        exit 2
    fi
}

# Prints those of KINDS that the cluster knows, with commas between them.
known_kinds() {
    local kind resource known=
    while read -r kind resource; do
        if grep -qx "$resource" <<<"$resources"; then
            known+=${known:+,}$resource
        fi
    done <<<"$KINDS"
    echo "$known"
}
