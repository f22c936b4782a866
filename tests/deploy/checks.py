"""What is wrong with manifests. Every check takes all objects and says what it objects to."""

import re
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath

from rendering import Facts

Manifests = list[dict]

MIB = 1 << 20
"""Bytes of a MiB."""

KEPT_BYTES = 60 * MIB
"""What the allocator keeps after a load, as documented."""

STORE_SHARE = 0.6
"""What of the memory limit keys, values and merges may take, as documented."""

KEYS_SHARE = 13 / 16
"""What of that keys and values may take at the least, as documented."""

QUANTITIES = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def objections(manifests: Manifests, facts: Facts) -> list[str]:
    checks = [
        names, ports, probes, lookups, stopping, resources, scaling, disruption, placement, selectors,
        ingress, images, security, storage, ownership, settings, embedded, watched, secured, asked, secrets,
    ]  # fmt: skip
    return [objection for check in checks for objection in check(manifests, facts)]


def names(manifests: Manifests, _: Facts) -> Iterator[str]:
    for name, times in Counter((each["kind"], each["metadata"]["name"]) for each in manifests).items():
        if times > 1:
            yield f"{name[0]} {name[1]} is there {times} times"


def ports(manifests: Manifests, facts: Facts) -> Iterator[str]:
    container = kvstore(manifests)
    listened = int((variable(container, "KVSTORE_LISTEN") or facts.settings["KVSTORE_LISTEN"]).rsplit(":", 1)[1])
    declared = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    if listened not in declared.values():
        yield f"no container port is {listened}, on which kvstore listens: {declared}"
    if not (variable(container, "KVSTORE_LISTEN") or "").startswith("[::]:"):
        yield "kvstore does not listen on all addresses of both families: a pod may have one of either"

    def leads(port: str | int) -> bool:
        return declared.get(port, port) == listened

    for service in of_kind(manifests, "Service"):
        if service["spec"].get("selector", {}).get(NAME) == "kvstore":
            for port in service["spec"]["ports"]:
                if not leads(port["targetPort"]):
                    yield f"Service {service['metadata']['name']} leads to port {port['targetPort']}"
    for kind, probe in probes_of(container):
        if not leads(probe["httpGet"]["port"]):
            yield f"the {kind} asks port {probe['httpGet']['port']}"
    port = annotations(manifests).get("prometheus.io/port")
    if port and int(port) != listened:
        yield f"Prometheus is told port {port}"
    for policy in of_kind(manifests, "NetworkPolicy"):
        if policy["metadata"]["name"] == "kvstore":
            allowed = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
            if not any(leads(port) for port in allowed):
                yield "the NetworkPolicy lets nobody in"


def probes(manifests: Manifests, facts: Facts) -> Iterator[str]:
    container = kvstore(manifests)
    found = dict(probes_of(container))
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if kind not in found:
            yield f"there is no {kind}"
    for kind, probe in found.items():
        path = probe["httpGet"]["path"]
        if path not in facts.answering:
            yield f"the {kind} asks {path}, which kvstore does not answer"
        if kind == "livenessProbe" and path != "/livez":
            yield f"the livenessProbe asks {path}: it restarts servers that would recover"
        if kind == "readinessProbe" and path != "/readyz":
            yield f"the {kind} asks {path}, which stays true while a server drains"
        if kind == "startupProbe" and path != "/livez":
            yield f"the {kind} asks {path}: servers that wait for their engine are killed again and again"
    if startup := found.get("startupProbe"):
        allowed_s = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
        needed_s = 0 if shares_engine(manifests) else sized_for(manifests) / 1e6 * facts.load_seconds_per_million * 4
        if allowed_s < max(needed_s, 30):
            yield f"the startupProbe allows {allowed_s} s, and its keys may take {needed_s:.0f} s to load"


RESOLVERS = {
    "pods of kube-system": ({"kubernetes.io/metadata.name": "kube-system"}, None, 53),
    "a cache on the node": (None, "169.254.20.10", 53),
    "OpenShift's pods": ({"kubernetes.io/metadata.name": "openshift-dns"}, None, 5353),
}
"""Where clusters have their name servers: labels of a namespace, or an address of no pod, and the port behind the Service."""


def lookups(manifests: Manifests, _: Facts) -> Iterator[str]:
    """Whoever goes out at all goes to names of others, and finds them in any cluster."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        rules = policy["spec"].get("egress", [])
        for where, (namespace, address, port) in RESOLVERS.items():
            for protocol in ("UDP", "TCP"):
                if rules and not any(lets_out(rule, namespace, address, port, protocol) for rule in rules):
                    yield f"the NetworkPolicy {policy['metadata']['name']} cuts off {where} for names by {protocol}"


def lets_out(rule: dict, namespace: dict | None, address: str | None, port: int, protocol: str) -> bool:
    ports = rule.get("ports", [{"port": port, "protocol": protocol}])
    if {"port": port, "protocol": protocol} not in ports:
        return False
    if "to" not in rule:
        return True
    for peer in rule["to"]:
        if address and "ipBlock" in peer and ip_address(address) in ip_network(peer["ipBlock"]["cidr"]):
            return True
        if namespace and peer.get("namespaceSelector", {}).get("matchLabels") == namespace and "podSelector" not in peer:
            return True
    return False


def stopping(manifests: Manifests, facts: Facts) -> Iterator[str]:
    container = kvstore(manifests)
    pre_stop_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)

    def setting_s(name: str) -> float:
        return int(variable(container, name) or facts.settings[name]) / 1000

    drain_s, timeout_s = setting_s("KVSTORE_DRAIN_MS"), setting_s("KVSTORE_SHUTDOWN_TIMEOUT_MS")
    needed_s = pre_stop_s + drain_s + timeout_s
    grace_s = pod(manifests).get("terminationGracePeriodSeconds", 30)
    if grace_s <= needed_s:
        yield f"the grace period of {grace_s} s is not above the {needed_s} s that stopping may take"
    if not shares_engine(manifests):
        if pre_stop_s + drain_s:
            yield f"nobody stands in for a server that drains: it is back {pre_stop_s + drain_s:.0f} s later"
        # The server takes a last checkpoint where twice that is left.
        checkpoint_s = STORE_SHARE * memory_limit(container) / facts.checkpoint_bytes_per_second
        if timeout_s < 2 * checkpoint_s:
            yield f"the shutdown timeout of {timeout_s:.0f} s leaves no time for a last checkpoint of {checkpoint_s:.0f} s"
        return
    if not pre_stop_s:
        yield "there is no preStop sleep: load balancers go on sending while a server stops"
    spec = servers(manifests)["spec"]
    strategy = spec.get("strategy", {})
    rolling = strategy.get("rollingUpdate", {})
    if rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
        yield f"a rollout takes servers away before it adds others: {strategy}"
    if not spec.get("minReadySeconds"):
        yield "there is no minReadySeconds"


def resources(manifests: Manifests, facts: Facts) -> Iterator[str]:
    container = kvstore(manifests)
    given = container.get("resources", {})
    for which in ("requests", "limits"):
        if "memory" not in given.get(which, {}):
            yield f"there is no memory in {which}"
            return
    requested, limit = (quantity(given[which]["memory"]) for which in ("requests", "limits"))
    if requested < 2 * facts.idle_bytes:
        yield f"{requested / MIB:.0f} MiB are requested, and an idle process takes {facts.idle_bytes / MIB:.0f}"
    where = "engine" if shares_engine(manifests) else "memory"
    keys_bytes = sized_for(manifests) * facts.bytes_per_key[where]
    buffers_bytes = int(variable(container, "KVSTORE_BUFFERS_BYTES_MAX") or max(limit / 8, 64 * MIB))
    needed = 2 * keys_bytes + facts.idle_bytes + KEPT_BYTES + buffers_bytes
    if limit < needed:
        yield f"the memory limit of {limit / MIB:.0f} MiB is below the {needed / MIB:.0f} that its keys and what is in flight need"
    if where == "memory" and limit * STORE_SHARE * KEYS_SHARE < keys_bytes:
        yield "store_bytes_max, 60 % of the limit, leaves no room for the keys and merges of their index"
    if quantity(given["requests"].get("cpu", 0)) < 0.1:
        yield "less than 100m of a processor are requested"
    workers = variable(container, "KVSTORE_WORKERS")
    if not workers:
        yield "KVSTORE_WORKERS is not set: there would be one for each core of the node"
    elif quantity(given["limits"].get("cpu", workers)) < int(workers):
        yield "there are more workers than the limit has processors"


def scaling(manifests: Manifests, _: Facts) -> Iterator[str]:
    scalers = list(of_kind(manifests, "HorizontalPodAutoscaler"))
    spec = servers(manifests)["spec"]
    if not scalers and "replicas" not in spec:
        yield "nobody says how many servers there are"
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) != (servers(manifests)["kind"], "kvstore"):
            yield f"the HPA scales {target}"
        if "replicas" in spec:
            yield "the HPA and the servers' replicas are at odds"
        if not shares_engine(manifests):
            yield "an HPA multiplies stores that do not share their data"
        if scaler["spec"]["minReplicas"] < 2 or scaler["spec"]["maxReplicas"] <= scaler["spec"]["minReplicas"]:
            yield "the HPA's range is none"
        given = kvstore(manifests)["resources"]
        for metric in scaler["spec"]["metrics"]:
            target = metric["resource"]["target"]
            aim = (
                quantity(target["averageValue"])
                if target["type"] == "AverageValue"
                else quantity(given["requests"]["cpu"]) * target["averageUtilization"] / 100
            )
            limit = quantity(given["limits"].get("cpu", 0))
            if not 0.5 * limit <= aim <= 0.9 * limit:
                yield f"the HPA aims at {aim * 1000:.0f}m of a processor, and a server may use {limit * 1000:.0f}m"


def disruption(manifests: Manifests, _: Facts) -> Iterator[str]:
    budgets = {budget["metadata"]["name"]: budget["spec"] for budget in of_kind(manifests, "PodDisruptionBudget")}
    if shares_engine(manifests) and "kvstore" not in budgets:
        yield "there is no PodDisruptionBudget"
    if not shares_engine(manifests) and budgets:
        yield "a PodDisruptionBudget of one server blocks the drain of its node"
    least = [scaler["spec"]["minReplicas"] for scaler in of_kind(manifests, "HorizontalPodAutoscaler")]
    replicas = min([*least, servers(manifests)["spec"].get("replicas", 99)])
    for name, spec in budgets.items():
        if spec.get("maxUnavailable", 1) == 0 or int(spec.get("minAvailable", 0)) >= replicas:
            yield f"the PodDisruptionBudget {name} lets no pod go"


def placement(manifests: Manifests, _: Facts) -> Iterator[str]:
    affinity = pod(manifests).get("affinity", {}).get("podAntiAffinity", {})
    if "requiredDuringSchedulingIgnoredDuringExecution" in affinity:
        yield "required anti-affinity: a surge has no node left to start on"
    spreads = pod(manifests).get("topologySpreadConstraints", [])
    if not spreads and shares_engine(manifests):
        yield "servers are not spread over nodes"
    for spread in spreads:
        if spread["whenUnsatisfiable"] != "ScheduleAnyway":
            yield "a spread constraint keeps pods from starting"
        if spread.get("matchLabelKeys") != ["pod-template-hash"]:
            yield "a spread constraint counts pods of the revision that ends"
    for shard in shards(manifests):
        title, selected = shard["metadata"]["name"], shard["spec"]["selector"]["matchLabels"]
        rules = [
            spread
            for spread in shard["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
            if spread["topologyKey"] == "kubernetes.io/hostname" and spread["whenUnsatisfiable"] == "DoNotSchedule"
        ]
        if shard["spec"]["replicas"] != 2 or not any(
            rule["maxSkew"] == 1 and rule["labelSelector"]["matchLabels"] == selected for rule in rules
        ):
            yield f"a master and its replica of {title} may be on one node"
        elif not all(rule.get("nodeTaintsPolicy") == "Honor" for rule in rules):
            yield f"a node that takes nobody keeps {title} from starting"
        shared = shard["spec"]["template"]["spec"].get("affinity", {}).get("podAntiAffinity", {})
        if "requiredDuringSchedulingIgnoredDuringExecution" in shared:
            yield f"on one node {title} does not start"


def shards(manifests: Manifests) -> Iterator[dict]:
    """StatefulSets of a Valkey Cluster."""
    for each in of_kind(manifests, "StatefulSet"):
        if each["spec"]["template"]["metadata"]["labels"].get(NAME) == "valkey" and any(of_kind(manifests, "Job")):
            yield each


NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"


def selectors(manifests: Manifests, _: Facts) -> Iterator[str]:
    pods = {}
    for workload in workloads(manifests):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        pods[workload["metadata"]["name"]] = {key: labels.get(key) for key in (NAME, INSTANCE)}
        if workload["kind"] == "Job":
            continue
        selected = workload["spec"]["selector"]["matchLabels"]
        if not pods[workload["metadata"]["name"]].items() <= selected.items() <= labels.items():
            yield f"{workload['kind']} {workload['metadata']['name']} selects other than its pods"
        for other in workloads(manifests):
            if other is not workload and selected.items() <= other["spec"]["template"]["metadata"]["labels"].items():
                yield f"{workload['metadata']['name']} selects pods of {other['metadata']['name']}"
    wanted: list[tuple[str, dict]] = []
    for each in manifests:
        title = f"{each['kind']} {each['metadata']['name']}"
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            wanted.append((title, spec["selector"]))
        elif each["kind"] in ("PodDisruptionBudget", "ServiceMonitor", "PodMonitor"):
            wanted.append((title, spec["selector"]["matchLabels"]))
        elif each["kind"] == "NetworkPolicy":
            wanted.append((title, spec["podSelector"]["matchLabels"]))
            for peer in [peer for rule in spec["ingress"] for peer in rule.get("from", [])] + [
                peer for rule in spec["egress"] for peer in rule.get("to", [])
            ]:
                if "podSelector" in peer:
                    wanted.append((f"a peer of {title}", peer["podSelector"]["matchLabels"]))
    for spread in pod(manifests).get("topologySpreadConstraints", []):
        wanted.append(("a spread constraint", spread["labelSelector"]["matchLabels"]))
    for title, labels in wanted:
        if labels not in pods.values():
            yield f"{title} selects no pods: {labels}"
    for monitor in of_kind(manifests, "ServiceMonitor"):
        read = monitor["spec"]["selector"]["matchLabels"].items()
        services = [each["metadata"]["name"] for each in of_kind(manifests, "Service") if read <= each["metadata"]["labels"].items()]
        if len(services) != 1:
            yield f"a ServiceMonitor reads the same pods by each of {services}"
    for kind in ("Deployment", "StatefulSet"):
        for workload in of_kind(manifests, kind):
            title = workload["metadata"]["name"]
            if not any(policy["spec"]["podSelector"]["matchLabels"] == pods[title] for policy in of_kind(manifests, "NetworkPolicy")):
                yield f"no NetworkPolicy is for {title}"


def ingress(manifests: Manifests, facts: Facts) -> Iterator[str]:
    services = {service["metadata"]["name"]: service["spec"]["ports"] for service in of_kind(manifests, "Service")}
    for each in of_kind(manifests, "Ingress"):
        yield from controller(each, facts)
        for rule in each["spec"]["rules"]:
            if not rule.get("host"):
                yield "the Ingress has no host: it takes the requests of all"
            for path in rule["http"]["paths"]:
                yield from exposed("the Ingress", path["path"], path.get("pathType"), facts)
                backend = path["backend"]["service"]
                if backend["port"].get("name") not in [port["name"] for port in services.get(backend["name"], [])]:
                    yield f"the Ingress leads to a Service that there is not: {backend}"
    for route in of_kind(manifests, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            if rule.get("timeouts") != {"request": "0s"}:
                yield "the HTTPRoute ends what takes long"
            for backend in rule["backendRefs"]:
                if backend["port"] not in [port["port"] for port in services.get(backend["name"], [])]:
                    yield f"the HTTPRoute leads to a Service that there is not: {backend}"
            for match in rule.get("matches", [{"path": {"value": "/"}}]):
                yield from exposed("the HTTPRoute", match["path"]["value"], match["path"].get("type"), facts)


NGINX, HAPROXY = "nginx.ingress.kubernetes.io", "haproxy.org"


def controller(each: dict, facts: Facts) -> Iterator[str]:
    """What an Ingress asks of its controller: to stream bodies of any size, to wait for as long as kvstore may be silent,
    and to take the heads of its answers."""
    given = each["metadata"].get("annotations", {})
    named = each["spec"].get("ingressClassName")
    told = {name.partition("/")[0] for name in given} & {NGINX, HAPROXY}
    if told and not named:
        yield "the Ingress has annotations for a controller, and no class"
    if (named == "nginx" and told != {NGINX}) or (named == "haproxy" and told != {HAPROXY}) or len(told) > 1:
        yield f"the Ingress is for {named}, and its annotations are for {sorted(told)}"
    if NGINX in told:
        if given.get(f"{NGINX}/proxy-body-size") != "0":
            yield "the Ingress limits bodies"
        if given.get(f"{NGINX}/proxy-request-buffering") != "off":
            yield "the Ingress keeps bodies until they are whole"
        # What nginx does by itself where it is not told.
        head = quantity(given.get(f"{NGINX}/proxy-buffer-size", "4k").replace("k", "Ki"))
        if head < 2 * facts.link_bytes:
            yield f"the Ingress takes answers' heads of {head:.0f} bytes, and links have up to {facts.link_bytes}"
        for name in ("proxy-read-timeout", "proxy-send-timeout"):
            yield from patience(name, given.get(f"{NGINX}/{name}", "60"), facts)
    if HAPROXY in told:
        yield from patience("timeout-server", given.get(f"{HAPROXY}/timeout-server", "50s").removesuffix("s"), facts)


def patience(name: str, text: str, facts: Facts) -> Iterator[str]:
    if int(text) <= facts.bulk_silence_s:
        yield f"the Ingress has a {name} of {text} s, and a bulk body may wait for {facts.bulk_silence_s} s"


def exposed(who: str, let_in: str, how: str | None, facts: Facts) -> Iterator[str]:
    for path in sorted(facts.answering):
        if path == let_in or how != "Exact" and path.startswith(let_in.rstrip("/") + "/"):
            yield f"{who} exposes {path}"


def images(manifests: Manifests, _: Facts) -> Iterator[str]:
    for workload in workloads(manifests):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            image = container["image"]
            if not re.search(r"@sha256:[0-9a-f]{64}$|:v?\d+\.\d+\.\d+[^/]*$", image):
                yield f"the image {image} can be another one tomorrow"


def security(manifests: Manifests, _: Facts) -> Iterator[str]:
    for workload in workloads(manifests):
        title, spec = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
        of_pod = spec.get("securityContext", {})
        if not of_pod.get("runAsNonRoot") or not of_pod.get("runAsUser"):
            yield f"{title} has no security context that keeps it from being root"
        if of_pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{title} has no seccomp profile"
        if spec.get("automountServiceAccountToken", True):
            yield f"{title} is given a token of the cluster"
        for container in spec["containers"]:
            context = container.get("securityContext", {})
            if (
                context.get("allowPrivilegeEscalation", True)
                or not context.get("readOnlyRootFilesystem")
                or context.get("capabilities", {}).get("drop") != ["ALL"]
            ):
                yield f"the security context of {container['name']} allows what it does not need"


def storage(manifests: Manifests, _: Facts) -> Iterator[str]:
    headless = {
        service["metadata"]["name"]
        for service in of_kind(manifests, "Service")
        if service["spec"].get("clusterIP") == "None"
    }
    for each in of_kind(manifests, "StatefulSet"):
        title, spec = each["metadata"]["name"], each["spec"]
        claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        containers = spec["template"]["spec"]["containers"]
        mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts", [])}
        if not claims & mounted:
            yield f"the StatefulSet {title} has no volume of its own"
        if spec["serviceName"] not in headless:
            yield f"the StatefulSet {title} has no headless Service"


OWN, OVERLAY, REVISION = "app.kubernetes.io/managed-by", "kvstore/overlay", "kvstore/revision"


def ownership(manifests: Manifests, _: Facts) -> Iterator[str]:
    """By these labels deploy and undeploy find what was made, and nothing else."""
    overlays, revisions = set(), set()
    for each in manifests:
        title = f"{each['kind']} {each['metadata']['name']}"
        volumes = each["spec"].get("volumeClaimTemplates", []) if each["kind"] == "StatefulSet" else []
        for what, metadata in [(title, each["metadata"]), *((f"a volume of {title}", volume["metadata"]) for volume in volumes)]:
            labels = metadata.get("labels", {})
            if labels.get(OWN) != "kvstore-deploy":
                yield f"{what} is not labelled as made by deploy: an undeploy leaves it"
            overlays.add(labels.get(OVERLAY))
        revisions.add(each["metadata"].get("labels", {}).get(REVISION))
        # In a selector or a pod they would change with every setting.
        spec = each.get("spec", {})
        if any(label in str([spec.get("selector"), spec.get("template")]) for label in (OVERLAY, REVISION)):
            yield f"{title} has labels of a deployment where they must not change"
    if len(overlays) > 1:
        yield f"labels name several overlays: {overlays}"
    if len(revisions) > 1 or "unknown" in str(revisions):
        yield f"labels name several revisions or none: {revisions}"


def settings(manifests: Manifests, facts: Facts) -> Iterator[str]:
    beside = {"KVSTORE_CONFIG", "KVSTORE_ENGINE_PASSWORD", "KVSTORE_ENGINE_SENTINEL_PASSWORD"}
    for entry in kvstore(manifests).get("env", []):
        if entry["name"] not in facts.settings.keys() | beside:
            yield f"kvstore has no setting {entry['name']}"


def embedded(manifests: Manifests, facts: Facts) -> Iterator[str]:
    """A server that keeps its data itself: there is one, and its data is on a volume that outlives it."""
    if shares_engine(manifests):
        return
    workload, container = servers(manifests), kvstore(manifests)
    spec = workload["spec"]
    if spec.get("replicas") != 1:
        yield "servers with data of their own behind one Service"
    if workload["kind"] != "StatefulSet":
        yield "a rollout has two servers with data of their own behind one Service"
        return
    if spec.get("updateStrategy", {}).get("type", "RollingUpdate") != "RollingUpdate":
        yield "a deployment changes nothing before somebody deletes the pod"
    if spec.get("podManagementPolicy") != "Parallel":
        yield "a pod that cannot start keeps the next deployment's from starting"
    of_pod = pod(manifests).get("securityContext", {})
    if not of_pod.get("fsGroup"):
        yield "there is no fsGroup: kvstore may not write to its volume"
    if of_pod.get("fsGroupChangePolicy") != "OnRootMismatch":
        yield "without fsGroupChangePolicy every start goes through all files of the volume, and changes their modes"
    directory = variable(container, "KVSTORE_DATA_DIR")
    if not directory:
        yield "KVSTORE_DATA_DIR is not set: a restart loses all"
        return
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in spec.get("volumeClaimTemplates", [])}
    mounts = [
        mount
        for mount in container.get("volumeMounts", [])
        if mount["name"] in claims and PurePosixPath(directory).is_relative_to(mount["mountPath"])
    ]
    if not mounts:
        yield f"the data directory {directory} is on no volume of its own"
    for mount in mounts:
        if PurePosixPath(directory) == PurePosixPath(mount["mountPath"]):
            yield f"the data directory {directory} is the root of its volume, which may have a folder lost+found"
        if mount.get("readOnly"):
            yield "the volume is mounted to be read only"
        claim = claims[mount["name"]]
        # A StatefulSet has one pod at a time, and the directory one process.
        if set(claim["accessModes"]) - {"ReadWriteOncePod", "ReadWriteOnce"}:
            yield f"two pods can have the volume: {claim['accessModes']}"
        given = quantity(claim["resources"]["requests"]["storage"])
        needed = facts.disk_per_memory * memory_limit(container) + facts.disk_beside_bytes
        if given < needed:
            yield f"the volume of {given / MIB:.0f} MiB is below the {needed / MIB:.0f} that a memory of this limit needs"


def watched(manifests: Manifests, _: Facts) -> Iterator[str]:
    """A Valkey that comes along is watched where anything is: by an exporter that Prometheus reaches."""
    is_watched = "prometheus.io/port" in annotations(manifests) or any(of_kind(manifests, "ServiceMonitor"))
    for each in of_kind(manifests, "StatefulSet"):
        title, template = each["metadata"]["name"], each["spec"]["template"]
        if not is_watched or template["metadata"]["labels"].get(NAME) != "valkey":
            continue
        offered = {port["name"]: port["containerPort"] for one in template["spec"]["containers"] for port in one.get("ports", [])}
        if "metrics" not in offered:
            yield f"nobody watches {title}"
            continue
        if template["metadata"].get("annotations", {}).get("kubectl.kubernetes.io/default-container") != "valkey":
            yield f"kubectl exec and logs go to the exporter beside {title}"
        if str(offered["metrics"]) != template["metadata"].get("annotations", {}).get("prometheus.io/port"):
            yield f"Prometheus is told another port of {title}"
        for policy in of_kind(manifests, "NetworkPolicy"):
            if policy["spec"]["podSelector"]["matchLabels"].get(NAME) == "valkey" and not any(
                "from" not in rule and {"port": "metrics", "protocol": "TCP"} in rule["ports"] for rule in policy["spec"]["ingress"]
            ):
                yield f"the NetworkPolicy {policy['metadata']['name']} lets no Prometheus in"
        if any(of_kind(manifests, "ServiceMonitor")) and not any(
            endpoint["port"] == "metrics" for monitor in of_kind(manifests, "PodMonitor") for endpoint in monitor["spec"]["podMetricsEndpoints"]
        ):
            yield f"no PodMonitor reads {title}"


FILES = ("KVSTORE_AUTH_FILE", "KVSTORE_TLS_CERTIFICATE", "KVSTORE_TLS_KEY")
"""Settings that name a file of a Secret."""

TLS_NAME = "kvstore"
"""What the certificate is of, whatever the namespace."""


def secured(manifests: Manifests, _: Facts) -> Iterator[str]:
    """The files of tokens and TLS are where the settings look for them, and change with their Secrets."""
    container = kvstore(manifests)
    given = {name: variable(container, name) for name in FILES}
    if bool(given["KVSTORE_TLS_CERTIFICATE"]) != bool(given["KVSTORE_TLS_KEY"]):
        yield "there is a certificate without its key, or a key without its certificate"
    if variable(container, "KVSTORE_AUTH_METRICS") == "true" and not given["KVSTORE_AUTH_FILE"]:
        yield "the metrics take a token, and there are none"
    if variable(container, "KVSTORE_TLS_CLIENT_CA") and any(probes_of(container)):
        yield "the kubelet has no certificate to show: its probes fail"
    for name, path in given.items():
        if path:
            yield from on_secret(manifests, name, PurePosixPath(path))


def on_secret(manifests: Manifests, name: str, path: PurePosixPath) -> Iterator[str]:
    volumes = {volume["name"]: volume.get("secret") for volume in pod(manifests).get("volumes", [])}
    mounts = [mount for mount in kvstore(manifests).get("volumeMounts", []) if path.is_relative_to(mount["mountPath"])]
    if not mounts:
        yield f"{name} = {path} is mounted by nobody"
    for mount in mounts:
        secret = volumes.get(mount["name"])
        if not secret:
            yield f"{name} = {path} is of no Secret"
            continue
        if mount.get("subPath"):
            yield f"{name} = {path} is mounted by subPath: it never changes"
        if not mount.get("readOnly"):
            yield f"{name} = {path} may be written"
        if secret.get("optional"):
            yield f"{name} = {path}: without its Secret the server would not start, and nobody would say why"
        if secret.get("defaultMode", 0o644) & 0o007 or not secret.get("defaultMode", 0o644) & 0o040:
            yield f"{name} = {path} is not for its group alone to read"
        if str(path.relative_to(mount["mountPath"])) not in [item["path"] for item in secret.get("items", [])]:
            yield f"{name} = {path} is not in the Secret {secret['secretName']}"


def asked(manifests: Manifests, _: Facts) -> Iterator[str]:
    """All who ask speak as the server does, and see whom they ask."""
    container = kvstore(manifests)
    spoken = "https" if variable(container, "KVSTORE_TLS_CERTIFICATE") else "http"
    for kind, probe in probes_of(container):
        if probe["httpGet"].get("scheme", "HTTP").lower() != spoken:
            yield f"the {kind} does not speak {spoken}"
    for service in of_kind(manifests, "Service"):
        for port in service["spec"]["ports"] if service["metadata"]["name"] == "kvstore" else []:
            if (port.get("appProtocol"), port["port"]) != (spoken, {"http": 80, "https": 443}[spoken]):
                yield f"the Service does not say that {spoken} is spoken: {port}"
    if annotations(manifests).get("prometheus.io/scheme", "http") != spoken:
        yield f"Prometheus is not told by annotation to speak {spoken}"
    takes_token = variable(container, "KVSTORE_AUTH_METRICS") == "true"
    for monitor in of_kind(manifests, "ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            tls = endpoint.get("tlsConfig", {})
            if endpoint.get("scheme", "http") != spoken:
                yield f"the ServiceMonitor does not speak {spoken}"
            if spoken == "https" and (tls.get("serverName") != TLS_NAME or "ca" not in tls or tls.get("insecureSkipVerify")):
                yield "the ServiceMonitor does not see whom it asks"
            if bool(endpoint.get("authorization")) != takes_token:
                yield "the ServiceMonitor has a token where none is taken, or none where one is"
    for each in of_kind(manifests, "Ingress"):
        yield from ingress_asks(each, spoken)
    policies = [policy["spec"] for policy in of_kind(manifests, "BackendTLSPolicy")]
    if any(of_kind(manifests, "HTTPRoute")) and len(policies) != (spoken == "https"):
        yield f"the Gateway does not speak {spoken}"
    for policy in policies:
        if [target["name"] for target in policy["targetRefs"]] != ["kvstore"]:
            yield f"the BackendTLSPolicy is for {policy['targetRefs']}"
        if policy["validation"]["hostname"] != TLS_NAME or not policy["validation"].get("caCertificateRefs"):
            yield "the Gateway does not see whom it asks"


def ingress_asks(each: dict, spoken: str) -> Iterator[str]:
    """What an Ingress says to a controller that is known of how the server is asked."""
    given, named = each["metadata"].get("annotations", {}), each["spec"].get("ingressClassName")
    of_nginx = {name.removeprefix(f"{NGINX}/"): value for name, value in given.items() if name.startswith(NGINX)}
    if named == "nginx":
        if of_nginx.get("backend-protocol", "HTTP").lower() != spoken:
            yield f"the Ingress does not speak {spoken}"
        elif spoken == "https":
            namespace = each["metadata"]["namespace"]
            checked = [of_nginx.get(f"proxy-ssl-{what}") for what in ("verify", "name", "server-name", "secret")]
            if checked != ["on", TLS_NAME, "on", f"{namespace}/kvstore-tls"]:
                yield "the Ingress does not see whom it asks"
    if named == "haproxy" and given.get(f"{HAPROXY}/server-ssl", "false") != str(spoken == "https").lower():
        yield f"the Ingress does not speak {spoken}"


def secrets(manifests: Manifests, _: Facts) -> Iterator[str]:
    for each in of_kind(manifests, "Secret"):
        yield f"the Secret {each['metadata']['name']} is written down"


def of_kind(manifests: Manifests, kind: str) -> Iterator[dict]:
    return (each for each in manifests if each["kind"] == kind)


def workloads(manifests: Manifests) -> Iterator[dict]:
    return (each for each in manifests if each["kind"] in ("Deployment", "StatefulSet", "Job"))


def servers(manifests: Manifests) -> dict:
    """The workload of kvstore itself."""
    return next(each for each in workloads(manifests) if each["metadata"]["name"] == "kvstore")


def pod(manifests: Manifests) -> dict:
    return servers(manifests)["spec"]["template"]["spec"]


def kvstore(manifests: Manifests) -> dict:
    return pod(manifests)["containers"][0]


def annotations(manifests: Manifests) -> dict:
    return servers(manifests)["spec"]["template"]["metadata"].get("annotations", {})


def memory_limit(container: dict) -> float:
    return quantity(container["resources"]["limits"]["memory"])


def sized_for(manifests: Manifests) -> int:
    return int(annotations(manifests)["kvstore/sized-for-keys"])


def variable(container: dict, name: str) -> str | None:
    return next((entry.get("value") for entry in container.get("env", []) if entry["name"] == name), None)


def shares_engine(manifests: Manifests) -> bool:
    container = kvstore(manifests)
    return variable(container, "KVSTORE_ENGINE") != "memory" and (
        bool(variable(container, "KVSTORE_ENGINE")) or bool(variable(container, "KVSTORE_CONFIG"))
    )


def probes_of(container: dict) -> Iterator[tuple[str, dict]]:
    return ((kind, probe) for kind, probe in container.items() if kind.endswith("Probe"))


def quantity(text: str | int) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * QUANTITIES[unit]
