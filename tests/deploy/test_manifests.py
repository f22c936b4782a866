"""Every overlay agrees with itself and with the binary, and every defect that we know of is found."""

import copy
from collections.abc import Callable

import pytest
from checks import kvstore, objections, of_kind, pod, servers
from rendering import COMPONENTS, INGRESSES, OVERLAYS, ROOT, SECURED, Facts, facts, objects, rendered

CHOICES = [
    (overlay, components)
    for overlay in OVERLAYS
    for components in ("", " ".join(COMPONENTS), "secured", "tokens", "tls", " ".join(COMPONENTS + SECURED))
]


@pytest.fixture(scope="session", name="said")
def said_by_the_binary() -> Facts:
    return facts()


@pytest.fixture(scope="session", name="manifests")
def rendered_once() -> dict[str, list[dict]]:
    return {overlay: objects(rendered(overlay)) for overlay in OVERLAYS}


@pytest.fixture(scope="session", name="whole")
def rendered_with_all_that_can_be_wrong(said: Facts) -> list[dict]:
    manifests = objects(rendered("multi-node", " ".join(COMPONENTS), INGRESS="nginx"))
    assert objections(manifests, said) == []
    return manifests


@pytest.fixture(scope="session", name="alone")
def rendered_embedded(said: Facts) -> list[dict]:
    manifests = objects(rendered("embedded", " ".join(COMPONENTS)))
    assert objections(manifests, said) == []
    return manifests


@pytest.mark.parametrize(("overlay", "components"), CHOICES)
def test_nothing_is_wrong(overlay: str, components: str, said: Facts) -> None:
    assert objections(objects(rendered(overlay, components)), said) == []


@pytest.mark.parametrize("components", ["", "secured"])
@pytest.mark.parametrize("ingress", INGRESSES)
def test_nothing_is_wrong_whoever_takes_the_ingress(ingress: str, components: str, said: Facts) -> None:
    manifests = objects(rendered("single-node", components, INGRESS=ingress, NAMESPACE="elsewhere"))
    assert objections(manifests, said) == []
    assert len(list(of_kind(manifests, "Ingress"))) == (ingress != "none")


def test_by_default_no_controller_is_named(manifests: dict) -> None:
    for each in manifests.values():
        ingress = first(each, "Ingress")
        assert "ingressClassName" not in ingress["spec"], "the cluster's default class takes it"
        assert "annotations" not in ingress["metadata"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_needs_no_kinds_that_a_plain_cluster_lacks(overlay: str, manifests: dict) -> None:
    groups = {each["apiVersion"].partition("/")[0] for each in manifests[overlay]}
    assert groups <= {"v1", "apps", "autoscaling", "batch", "networking.k8s.io", "policy"}


def first(manifests: list[dict], kind: str, name: str = "kvstore") -> dict:
    return next(each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name)


def listen_elsewhere(manifests: list[dict]) -> None:
    kvstore(manifests)["ports"][0]["containerPort"] = 8080


def one_family(manifests: list[dict]) -> None:
    first_variable(manifests, "KVSTORE_LISTEN")["value"] = "0.0.0.0:8000"


def loopback(manifests: list[dict]) -> None:
    first_variable(manifests, "KVSTORE_LISTEN")["value"] = "[::1]:8000"


def first_variable(manifests: list[dict], name: str) -> dict:
    return next(entry for entry in kvstore(manifests)["env"] if entry["name"] == name)


def limit_of_20_mib(manifests: list[dict]) -> None:
    kvstore(manifests)["resources"] = {"requests": {"cpu": "250m", "memory": "20Mi"}, "limits": {"memory": "20Mi"}}


def all_memory_for_what_is_in_flight(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].append({"name": "KVSTORE_BUFFERS_BYTES_MAX", "value": "600000000"})


def readiness_on_metrics(manifests: list[dict]) -> None:
    kvstore(manifests)["readinessProbe"]["httpGet"]["path"] = "/metrics"


def scale_by(manifests: list[dict], **target: str | int) -> None:
    first(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["resource"]["target"] = target


def scale_by_what_is_requested(manifests: list[dict]) -> None:
    scale_by(manifests, type="Utilization", averageUtilization=70)


def scale_never(manifests: list[dict]) -> None:
    scale_by(manifests, type="AverageValue", averageValue="1950m")


def limit_is_raised_alone(manifests: list[dict]) -> None:
    kvstore(manifests)["resources"]["limits"]["cpu"] = "4"


def required_anti_affinity(manifests: list[dict]) -> None:
    rule = {"topologyKey": "kubernetes.io/hostname"}
    pod(manifests)["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}


def hosts_rule(manifests: list[dict]) -> dict:
    """What keeps a master and its replica apart."""
    return first(manifests, "StatefulSet", "valkey-1")["spec"]["template"]["spec"]["topologySpreadConstraints"][0]


def shard_spread_where_it_suits(manifests: list[dict]) -> None:
    hosts_rule(manifests)["whenUnsatisfiable"] = "ScheduleAnyway"


def shard_spread_with_all_others(manifests: list[dict]) -> None:
    del hosts_rule(manifests)["labelSelector"]["matchLabels"]["kvstore/shard"]


def shard_spread_over_nodes_that_take_nobody(manifests: list[dict]) -> None:
    del hosts_rule(manifests)["nodeTaintsPolicy"]


def shard_that_selects_others(manifests: list[dict]) -> None:
    del first(manifests, "StatefulSet", "valkey-1")["spec"]["selector"]["matchLabels"]["kvstore/shard"]


def no_liveness(manifests: list[dict]) -> None:
    del kvstore(manifests)["livenessProbe"]


def no_startup(manifests: list[dict]) -> None:
    del kvstore(manifests)["startupProbe"]


def startup_waits_for_the_engine(manifests: list[dict]) -> None:
    kvstore(manifests)["startupProbe"]["httpGet"]["path"] = "/readyz"


def names_from(manifests: list[dict], policy: str, *peers: dict, ports: tuple[int, ...] = (53, 5353)) -> None:
    """Has the policy let names in from these peers only."""
    spec = first(manifests, "NetworkPolicy", policy)["spec"]
    kept = [rule for rule in spec["egress"] if "to" in rule]
    allowed = [{"port": port, "protocol": protocol} for port in ports for protocol in ("UDP", "TCP")]
    spec["egress"] = [*kept, {"to": list(peers), "ports": allowed}]


def system_pods() -> dict:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}


def names_from_system_pods_only(manifests: list[dict]) -> None:
    names_from(manifests, "kvstore", system_pods())


def names_of_nodes_from_system_pods_only(manifests: list[dict]) -> None:
    names_from(manifests, "valkey", system_pods())


def names_of_the_bootstrap_from_nodes_only(manifests: list[dict]) -> None:
    names_from(manifests, "valkey-bootstrap", {"ipBlock": {"cidr": "169.254.0.0/16"}})


def names_by_one_port(manifests: list[dict]) -> None:
    for rule in first(manifests, "NetworkPolicy")["spec"]["egress"]:
        if "to" not in rule:
            rule["ports"] = [port for port in rule["ports"] if port["port"] == 53]


def names_by_datagrams_only(manifests: list[dict]) -> None:
    for rule in first(manifests, "NetworkPolicy")["spec"]["egress"]:
        if "to" not in rule:
            rule["ports"] = [port for port in rule["ports"] if port["protocol"] == "UDP"]


def no_security_context(manifests: list[dict]) -> None:
    del pod(manifests)["securityContext"]


def root_filesystem(manifests: list[dict]) -> None:
    del kvstore(manifests)["securityContext"]["readOnlyRootFilesystem"]


def same_service_twice(manifests: list[dict]) -> None:
    manifests.append(copy.deepcopy(first(manifests, "Service")))


def no_volume(manifests: list[dict]) -> None:
    del first(manifests, "StatefulSet", "valkey-0")["spec"]["volumeClaimTemplates"]


def no_ingress_class(manifests: list[dict]) -> None:
    del first(manifests, "Ingress")["spec"]["ingressClassName"]


def ingress_of_another_controller(manifests: list[dict]) -> None:
    first(manifests, "Ingress")["spec"]["ingressClassName"] = "haproxy"


def no_ingress_annotations(manifests: list[dict]) -> None:
    del first(manifests, "Ingress")["metadata"]["annotations"]


def annotation(name: str, value: str | None) -> Callable[[list[dict]], None]:
    """Plants another value of an annotation for the controller, or takes it away."""

    def plant(manifests: list[dict]) -> None:
        annotations = first(manifests, "Ingress")["metadata"]["annotations"]
        del annotations[f"nginx.ingress.kubernetes.io/{name}"]
        if value:
            annotations[f"nginx.ingress.kubernetes.io/{name}"] = value

    plant.__name__ = f"{name}_{value}"
    return plant


def haproxy_of_a_minute(manifests: list[dict]) -> None:
    ingress = first(manifests, "Ingress")
    ingress["spec"]["ingressClassName"] = "haproxy"
    ingress["metadata"]["annotations"] = {"haproxy.org/timeout-server": "60s"}


def route_of_15_seconds(manifests: list[dict]) -> None:
    first(manifests, "HTTPRoute")["spec"]["rules"][0]["timeouts"] = {"request": "15s"}


def route_as_the_gateway_has_it(manifests: list[dict]) -> None:
    del first(manifests, "HTTPRoute")["spec"]["rules"][0]["timeouts"]


def no_ingress_host(manifests: list[dict]) -> None:
    del first(manifests, "Ingress")["spec"]["rules"][0]["host"]


def all_paths(manifests: list[dict]) -> None:
    first(manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/"


def metrics_path(manifests: list[dict]) -> None:
    first(manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/metrics"


def latest(manifests: list[dict]) -> None:
    kvstore(manifests)["image"] = "registry.example.org/kvstore:latest"


def short_grace(manifests: list[dict]) -> None:
    pod(manifests)["terminationGracePeriodSeconds"] = 45


def long_drain(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].append({"name": "KVSTORE_DRAIN_MS", "value": "60000"})


def no_pre_stop(manifests: list[dict]) -> None:
    del kvstore(manifests)["lifecycle"]


def two_embedded(manifests: list[dict]) -> None:
    kvstore(manifests)["env"] = [
        entry for entry in kvstore(manifests)["env"] if not entry["name"].startswith("KVSTORE_ENGINE")
    ] + [{"name": "KVSTORE_ENGINE", "value": "memory"}]


def unknown_setting(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].append({"name": "KVSTORE_ENGIN", "value": "memory"})


def other_labels(manifests: list[dict]) -> None:
    first(manifests, "Service")["spec"]["selector"]["app.kubernetes.io/name"] = "kv-store"


def blocking_budget(manifests: list[dict]) -> None:
    first(manifests, "PodDisruptionBudget")["spec"] = {
        "minAvailable": 3,
        "selector": first(manifests, "PodDisruptionBudget")["spec"]["selector"],
    }


def fixed_replicas(manifests: list[dict]) -> None:
    servers(manifests)["spec"]["replicas"] = 3


def more_keys(manifests: list[dict]) -> None:
    servers(manifests)["spec"]["template"]["metadata"]["annotations"]["kvstore/sized-for-keys"] = "50000000"


def more_keys_in_memory(manifests: list[dict]) -> None:
    two_embedded(manifests)
    more_keys(manifests)


def all_at_once(manifests: list[dict]) -> None:
    servers(manifests)["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}


def volume_of_nobody(manifests: list[dict]) -> None:
    del first(manifests, "StatefulSet", "valkey-0")["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"]


def budget_of_nobody(manifests: list[dict]) -> None:
    del first(manifests, "PodDisruptionBudget")["metadata"]["labels"]["app.kubernetes.io/managed-by"]


def volume_of_another_overlay(manifests: list[dict]) -> None:
    labels = first(manifests, "StatefulSet", "valkey-0")["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"]
    labels["kvstore/overlay"] = "single-node"


def revision_in_pods(manifests: list[dict]) -> None:
    servers(manifests)["spec"]["template"]["metadata"]["labels"]["kvstore/revision"] = "r1"


def no_exporter(manifests: list[dict]) -> None:
    containers = first(manifests, "StatefulSet", "valkey-0")["spec"]["template"]["spec"]["containers"]
    containers[:] = [container for container in containers if container["name"] != "exporter"]


def exporter_in_the_way(manifests: list[dict]) -> None:
    annotations = first(manifests, "StatefulSet", "valkey-0")["spec"]["template"]["metadata"]["annotations"]
    del annotations["kubectl.kubernetes.io/default-container"]


def exporter_that_nobody_reaches(manifests: list[dict]) -> None:
    spec = first(manifests, "NetworkPolicy", "valkey")["spec"]
    spec["ingress"] = [rule for rule in spec["ingress"] if "from" in rule]


def exporter_that_nobody_reads(manifests: list[dict]) -> None:
    manifests.remove(first(manifests, "PodMonitor", "valkey"))


DEFECTS: list[tuple[Callable[[list[dict]], None], str]] = [
    (listen_elsewhere, "no container port is 8000"),
    (limit_of_20_mib, "memory limit of 20 MiB"),
    (all_memory_for_what_is_in_flight, "what is in flight need"),
    (readiness_on_metrics, "readinessProbe asks /metrics"),
    (one_family, "addresses of both families"),
    (loopback, "addresses of both families"),
    (startup_waits_for_the_engine, "killed again and again"),
    (names_from_system_pods_only, "NetworkPolicy kvstore cuts off a cache on the node"),
    (names_from_system_pods_only, "NetworkPolicy kvstore cuts off OpenShift's pods"),
    (names_of_nodes_from_system_pods_only, "NetworkPolicy valkey cuts off a cache on the node"),
    (names_of_the_bootstrap_from_nodes_only, "NetworkPolicy valkey-bootstrap cuts off pods of kube-system"),
    (names_by_one_port, "cuts off OpenShift's pods for names by UDP"),
    (names_by_datagrams_only, "for names by TCP"),
    (scale_by_what_is_requested, "aims at 175m"),
    (scale_never, "aims at 1950m"),
    (limit_is_raised_alone, "aims at 1400m of a processor, and a server may use 4000m"),
    (required_anti_affinity, "required anti-affinity"),
    (shard_spread_where_it_suits, "a master and its replica of valkey-1 may be on one node"),
    (shard_spread_with_all_others, "a master and its replica of valkey-1 may be on one node"),
    (shard_spread_over_nodes_that_take_nobody, "keeps valkey-1 from starting"),
    (shard_that_selects_others, "valkey-1 selects pods of valkey-0"),
    (no_liveness, "no livenessProbe"),
    (no_startup, "no startupProbe"),
    (no_security_context, "no security context"),
    (root_filesystem, "allows what it does not need"),
    (same_service_twice, "Service kvstore is there 2 times"),
    (no_volume, "no volume of its own"),
    (no_ingress_class, "no class"),
    (ingress_of_another_controller, "is for haproxy"),
    (no_ingress_annotations, "is for nginx, and its annotations are for []"),
    (annotation("proxy-body-size", "8m"), "limits bodies"),
    (annotation("proxy-body-size", None), "limits bodies"),
    (annotation("proxy-request-buffering", None), "until they are whole"),
    (annotation("proxy-buffer-size", None), "heads of 4096 bytes"),
    (annotation("proxy-read-timeout", "100"), "proxy-read-timeout of 100 s"),
    (annotation("proxy-read-timeout", None), "proxy-read-timeout of 60 s"),
    (annotation("proxy-send-timeout", None), "proxy-send-timeout of 60 s"),
    (haproxy_of_a_minute, "timeout-server of 60 s"),
    (route_of_15_seconds, "ends what takes long"),
    (route_as_the_gateway_has_it, "ends what takes long"),
    (no_ingress_host, "no host"),
    (all_paths, "exposes /metrics"),
    (metrics_path, "exposes /metrics"),
    (latest, "can be another one tomorrow"),
    (short_grace, "grace period of 45 s"),
    (long_drain, "grace period of 60 s"),
    (no_pre_stop, "no preStop"),
    (two_embedded, "data of their own"),
    (unknown_setting, "no setting KVSTORE_ENGIN"),
    (other_labels, "Service kvstore selects no pods"),
    (blocking_budget, "lets no pod go"),
    (fixed_replicas, "at odds"),
    (more_keys, "below the"),
    (more_keys_in_memory, "startupProbe allows"),
    (all_at_once, "takes servers away"),
    (no_exporter, "nobody watches valkey-0"),
    (exporter_in_the_way, "kubectl exec and logs go to the exporter"),
    (exporter_that_nobody_reaches, "lets no Prometheus in"),
    (exporter_that_nobody_reads, "no PodMonitor reads valkey-0"),
    (volume_of_nobody, "a volume of StatefulSet valkey-0 is not labelled"),
    (budget_of_nobody, "PodDisruptionBudget kvstore is not labelled"),
    (volume_of_another_overlay, "several overlays"),
    (revision_in_pods, "where they must not change"),
]


@pytest.mark.parametrize(("plant", "objection"), DEFECTS, ids=[plant.__name__ for plant, _ in DEFECTS])
def test_a_planted_defect_is_found(plant: Callable, objection: str, whole: list[dict], said: Facts) -> None:
    planted = copy.deepcopy(whole)
    plant(planted)
    found = objections(planted, said)
    assert any(objection in each for each in found), found


# Tokens and TLS.


@pytest.fixture(scope="session", name="guarded")
def rendered_secured(said: Facts) -> list[dict]:
    manifests = objects(rendered("multi-node", " ".join(COMPONENTS + SECURED), INGRESS="nginx"))
    assert objections(manifests, said) == []
    return manifests


def volume(manifests: list[dict], name: str) -> dict:
    return next(each for each in pod(manifests)["volumes"] if each["name"] == name)


def mount(manifests: list[dict], name: str) -> dict:
    return next(each for each in kvstore(manifests)["volumeMounts"] if each["name"] == name)


def no_scheme(probe: str) -> Callable[[list[dict]], None]:
    """Has a probe speak plain HTTP."""

    def plant(manifests: list[dict]) -> None:
        del kvstore(manifests)[probe]["httpGet"]["scheme"]

    plant.__name__ = f"{probe}_in_plain_text"
    return plant


def mounted_elsewhere(manifests: list[dict]) -> None:
    mount(manifests, "tls")["mountPath"] = "/etc/tls"


def mounted_by_subpath(manifests: list[dict]) -> None:
    mount(manifests, "tokens")["subPath"] = "tokens.toml"


def mounted_to_be_written(manifests: list[dict]) -> None:
    del mount(manifests, "tokens")["readOnly"]


def key_that_is_not_mounted(manifests: list[dict]) -> None:
    volume(manifests, "tls")["secret"]["items"].pop()


def key_for_all_to_read(manifests: list[dict]) -> None:
    volume(manifests, "tls")["secret"]["defaultMode"] = 0o444


def key_for_nobody_to_read(manifests: list[dict]) -> None:
    volume(manifests, "tls")["secret"]["defaultMode"] = 0o400


def secret_that_need_not_be(manifests: list[dict]) -> None:
    volume(manifests, "tokens")["secret"]["optional"] = True


def files_of_a_config_map(manifests: list[dict]) -> None:
    tokens = volume(manifests, "tokens")
    del tokens["secret"]
    tokens["configMap"] = {"name": "kvstore-tokens"}


def certificate_without_key(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].remove(first_variable(manifests, "KVSTORE_TLS_KEY"))


def clients_must_show_one(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].append({"name": "KVSTORE_TLS_CLIENT_CA", "value": "/etc/kvstore-tls/ca.crt"})


def no_tokens(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].remove(first_variable(manifests, "KVSTORE_AUTH_FILE"))


def service_of_plain_text(manifests: list[dict]) -> None:
    first(manifests, "Service")["spec"]["ports"][0] |= {"port": 80, "appProtocol": "http"}


def scrape_by_annotation_in_plain_text(manifests: list[dict]) -> None:
    del servers(manifests)["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scheme"]


def monitor(**changes: object) -> Callable[[list[dict]], None]:
    """Changes what the ServiceMonitor asks by, or takes it away."""

    def plant(manifests: list[dict]) -> None:
        endpoint = first(manifests, "ServiceMonitor")["spec"]["endpoints"][0]
        for name, value in changes.items():
            del endpoint[name]
            if value:
                endpoint[name] = value

    plant.__name__ = f"monitor_{changes}"
    return plant


def no_policy(manifests: list[dict]) -> None:
    manifests.remove(first(manifests, "BackendTLSPolicy"))


def policy_of_another_name(manifests: list[dict]) -> None:
    first(manifests, "BackendTLSPolicy")["spec"]["validation"]["hostname"] = "kvstore.example.org"


def policy_of_another_service(manifests: list[dict]) -> None:
    first(manifests, "BackendTLSPolicy")["spec"]["targetRefs"][0]["name"] = "valkey"


def route_to_the_port_of_plain_text(manifests: list[dict]) -> None:
    first(manifests, "HTTPRoute")["spec"]["rules"][1]["backendRefs"][0]["port"] = 80


def secret_of_another_namespace(manifests: list[dict]) -> None:
    annotation("proxy-ssl-secret", "default/kvstore-tls")(manifests)


def haproxy_in_plain_text(manifests: list[dict]) -> None:
    ingress = first(manifests, "Ingress")
    ingress["spec"]["ingressClassName"] = "haproxy"
    ingress["metadata"]["annotations"] = {"haproxy.org/timeout-server": "150s"}


def secret_that_is_written_down(manifests: list[dict]) -> None:
    manifests.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kvstore-tls"}})


SECURED_DEFECTS: list[tuple[Callable[[list[dict]], None], str]] = [
    (no_scheme("startupProbe"), "startupProbe does not speak https"),
    (no_scheme("readinessProbe"), "readinessProbe does not speak https"),
    (no_scheme("livenessProbe"), "livenessProbe does not speak https"),
    (mounted_elsewhere, "tls.crt is mounted by nobody"),
    (mounted_by_subpath, "it never changes"),
    (mounted_to_be_written, "may be written"),
    (key_that_is_not_mounted, "tls.key is not in the Secret kvstore-tls"),
    (key_for_all_to_read, "is not for its group alone to read"),
    (key_for_nobody_to_read, "is not for its group alone to read"),
    (secret_that_need_not_be, "nobody would say why"),
    (files_of_a_config_map, "tokens.toml is of no Secret"),
    (certificate_without_key, "a certificate without its key"),
    (clients_must_show_one, "no certificate to show"),
    (no_tokens, "the metrics take a token, and there are none"),
    (service_of_plain_text, "the Service does not say that https is spoken"),
    (scrape_by_annotation_in_plain_text, "not told by annotation to speak https"),
    (monitor(scheme=None), "the ServiceMonitor does not speak https"),
    (monitor(tlsConfig=None), "the ServiceMonitor does not see whom it asks"),
    (monitor(tlsConfig={"insecureSkipVerify": True}), "the ServiceMonitor does not see whom it asks"),
    (monitor(authorization=None), "none where one is"),
    (no_policy, "the Gateway does not speak https"),
    (policy_of_another_name, "the Gateway does not see whom it asks"),
    (policy_of_another_service, "the BackendTLSPolicy is for"),
    (route_to_the_port_of_plain_text, "the HTTPRoute leads to a Service that there is not"),
    (annotation("backend-protocol", None), "the Ingress does not speak https"),
    (annotation("proxy-ssl-verify", "off"), "the Ingress does not see whom it asks"),
    (secret_of_another_namespace, "the Ingress does not see whom it asks"),
    (haproxy_in_plain_text, "the Ingress does not speak https"),
    (secret_that_is_written_down, "the Secret kvstore-tls is written down"),
]


@pytest.mark.parametrize(("plant", "objection"), SECURED_DEFECTS, ids=[plant.__name__ for plant, _ in SECURED_DEFECTS])
def test_a_defect_planted_in_one_that_is_secured_is_found(
    plant: Callable, objection: str, guarded: list[dict], said: Facts
) -> None:
    planted = copy.deepcopy(guarded)
    plant(planted)
    found = objections(planted, said)
    assert any(objection in each for each in found), found


def test_no_secret_is_in_the_repository() -> None:
    for file in [*(ROOT / "k8s").rglob("*"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scripts").rglob("*")]:
        if file.is_file() and file.suffix != ".png":
            text = file.read_text()
            assert "PRIVATE KEY-----" not in text, file
            assert file.parts[-2] == "scripts" or not [line for line in text.splitlines() if line == "kind: Secret"], file


# One server that keeps its data itself.


def claim(manifests: list[dict]) -> dict:
    return servers(manifests)["spec"]["volumeClaimTemplates"][0]


def two_servers(manifests: list[dict]) -> None:
    servers(manifests)["spec"]["replicas"] = 2


def as_many_as_are_busy(manifests: list[dict]) -> None:
    scaler = next(of_kind(objects(rendered("multi-node")), "HorizontalPodAutoscaler"))
    scaler["spec"]["scaleTargetRef"] = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "kvstore"}
    manifests.append(scaler)


def as_a_deployment(manifests: list[dict]) -> None:
    servers(manifests)["kind"] = "Deployment"


def updated_by_hand(manifests: list[dict]) -> None:
    servers(manifests)["spec"]["updateStrategy"] = {"type": "OnDelete"}


def in_order(manifests: list[dict]) -> None:
    del servers(manifests)["spec"]["podManagementPolicy"]


def no_data_dir(manifests: list[dict]) -> None:
    kvstore(manifests)["env"] = [entry for entry in kvstore(manifests)["env"] if entry["name"] != "KVSTORE_DATA_DIR"]


def data_dir(value: str) -> Callable[[list[dict]], None]:
    """Has the data elsewhere."""

    def plant(manifests: list[dict]) -> None:
        first_variable(manifests, "KVSTORE_DATA_DIR")["value"] = value

    plant.__name__ = f"data_dir_{value}"
    return plant


def volume_that_is_not_mounted(manifests: list[dict]) -> None:
    kvstore(manifests)["volumeMounts"] = []


def no_claim(manifests: list[dict]) -> None:
    del servers(manifests)["spec"]["volumeClaimTemplates"]


def data_that_goes_with_the_pod(manifests: list[dict]) -> None:
    no_claim(manifests)
    pod(manifests)["volumes"] = [{"name": "data", "emptyDir": {}}]


def volume_to_read(manifests: list[dict]) -> None:
    kvstore(manifests)["volumeMounts"][0]["readOnly"] = True


def volume_of_many(manifests: list[dict]) -> None:
    claim(manifests)["spec"]["accessModes"] = ["ReadWriteMany"]


def small_volume(manifests: list[dict]) -> None:
    claim(manifests)["spec"]["resources"]["requests"]["storage"] = "2Gi"


def more_memory_alone(manifests: list[dict]) -> None:
    kvstore(manifests)["resources"]["limits"]["memory"] = "2Gi"


def claim_of_nobody(manifests: list[dict]) -> None:
    del claim(manifests)["metadata"]["labels"]


def claim_of_another_overlay(manifests: list[dict]) -> None:
    claim(manifests)["metadata"]["labels"]["kvstore/overlay"] = "single-node"


def no_headless_service(manifests: list[dict]) -> None:
    manifests.remove(first(manifests, "Service", "kvstore-pods"))


def read_by_both_services(manifests: list[dict]) -> None:
    first(manifests, "Service", "kvstore-pods")["metadata"]["labels"]["app.kubernetes.io/name"] = "kvstore"


def no_group(manifests: list[dict]) -> None:
    del pod(manifests)["securityContext"]["fsGroup"]


def group_at_every_start(manifests: list[dict]) -> None:
    del pod(manifests)["securityContext"]["fsGroupChangePolicy"]


def grace_of_the_cluster(manifests: list[dict]) -> None:
    del pod(manifests)["terminationGracePeriodSeconds"]


def hasty_stop(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].append({"name": "KVSTORE_SHUTDOWN_TIMEOUT_MS", "value": "10000"})


def drain_of_the_others(manifests: list[dict]) -> None:
    kvstore(manifests)["env"].remove(first_variable(manifests, "KVSTORE_DRAIN_MS"))


def sleep_before_the_stop(manifests: list[dict]) -> None:
    kvstore(manifests)["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}


def startup_waits_for_the_load(manifests: list[dict]) -> None:
    kvstore(manifests)["startupProbe"]["httpGet"]["path"] = "/readyz"


def liveness_waits_for_the_load(manifests: list[dict]) -> None:
    kvstore(manifests)["livenessProbe"]["httpGet"]["path"] = "/readyz"


def budget_of_one(manifests: list[dict]) -> None:
    manifests.append(first(objects(rendered("multi-node")), "PodDisruptionBudget"))


EMBEDDED_DEFECTS: list[tuple[Callable[[list[dict]], None], str]] = [
    (two_servers, "data of their own behind one Service"),
    (as_many_as_are_busy, "an HPA multiplies stores"),
    (as_a_deployment, "a rollout has two servers"),
    (updated_by_hand, "changes nothing before somebody deletes the pod"),
    (in_order, "keeps the next deployment's from starting"),
    (no_data_dir, "KVSTORE_DATA_DIR is not set"),
    (data_dir("/tmp/data"), "/tmp/data is on no volume of its own"),
    (data_dir("/var/lib/kvstore2"), "/var/lib/kvstore2 is on no volume of its own"),
    (data_dir("/var/lib/kvstore/"), "is the root of its volume"),
    (volume_that_is_not_mounted, "is on no volume of its own"),
    (no_claim, "no volume of its own"),
    (data_that_goes_with_the_pod, "is on no volume of its own"),
    (volume_to_read, "read only"),
    (volume_of_many, "two pods can have the volume"),
    (small_volume, "volume of 2048 MiB is below the 2816"),
    (more_memory_alone, "volume of 3072 MiB is below the 5376"),
    (claim_of_nobody, "a volume of StatefulSet kvstore is not labelled"),
    (claim_of_another_overlay, "several overlays"),
    (no_headless_service, "no headless Service"),
    (read_by_both_services, "reads the same pods by each of"),
    (no_group, "there is no fsGroup"),
    (group_at_every_start, "goes through all files"),
    (grace_of_the_cluster, "grace period of 30 s"),
    (hasty_stop, "no time for a last checkpoint"),
    (drain_of_the_others, "it is back 10 s later"),
    (sleep_before_the_stop, "it is back 5 s later"),
    (startup_waits_for_the_load, "killed again and again"),
    (liveness_waits_for_the_load, "restarts servers that would recover"),
    (budget_of_one, "blocks the drain of its node"),
]


@pytest.mark.parametrize(("plant", "objection"), EMBEDDED_DEFECTS, ids=[plant.__name__ for plant, _ in EMBEDDED_DEFECTS])
def test_a_defect_planted_in_one_that_keeps_its_data_is_found(
    plant: Callable, objection: str, alone: list[dict], said: Facts
) -> None:
    planted = copy.deepcopy(alone)
    plant(planted)
    found = objections(planted, said)
    assert any(objection in each for each in found), found
