"""`make deploy` and `make undeploy` against a cluster that is played (fake_kubectl.py): what they refuse before they change
anything, what they change, and what they leave alone."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_kubectl import EXTENSIONS, PARTS, SERVED, Cluster, played, title
from rendering import COMPONENTS, OVERLAYS, ROOT, SECURED, environment, objects, rendered, tool

IMAGE = "registry.example.org/kvstore:1.0.0"

OWN = {"app.kubernetes.io/managed-by": "kvstore-deploy"}

CHANGING = {"create", "apply", "delete", "label", "scale", "run"}
"""Verbs that change a cluster."""


@pytest.fixture(name="cluster")
def empty_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with played(tmp_path, tool("kubectl")) as cluster:
        yield cluster


def run(cluster: Cluster, script: str, **settings: str) -> subprocess.CompletedProcess:
    variables = environment(**settings)
    variables["PATH"] = f"{cluster.folder}:{variables['PATH']}"
    return subprocess.run([ROOT / "scripts" / script], env=variables, capture_output=True, text=True)


def deploy(cluster: Cluster, overlay: str = "single-node", **settings: str) -> subprocess.CompletedProcess:
    return run(cluster, "deploy.sh", **({"IMAGE": IMAGE, "OVERLAY": overlay, "NAMESPACE": "kv"} | settings))


def deployed(cluster: Cluster, overlay: str = "single-node", **settings: str) -> None:
    ended = deploy(cluster, overlay, **settings)
    assert ended.returncode == 0, ended.stderr


def undeploy(cluster: Cluster, **settings: str) -> str:
    ended = run(cluster, "undeploy.sh", **({"NAMESPACE": "kv"} | settings))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def give_an_engine(cluster: Cluster) -> None:
    """What comes before OVERLAY=external."""
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    cluster.put({"kind": "Secret", "metadata": {"name": "kvstore-engine", "namespace": "kv"}})


def refused(cluster: Cluster, ended: subprocess.CompletedProcess, says: str) -> None:
    """That it ended with these words, and changed nothing."""
    assert ended.returncode != 0
    assert says in " ".join(ended.stderr.split())
    verbs = [line.removeprefix("-n kv ").partition(" ")[0] for line in cluster.asked if "--dry-run=server" not in line]
    assert not CHANGING & set(verbs), verbs


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"IMAGE": ""}, "make push"),
        ({"IMAGE": "registry.example.org:5000/kvstore"}, "give a version"),
        ({"IMAGE": "registry.example.org/kvstore:latest"}, "give a version"),
        ({"OVERLAY": "none"}, "give one of: embedded external"),
        ({"COMPONENTS": "grafana"}, "give any of monitoring"),
        ({"COMPONENTS": "gateway"}, "kubectl get gatewayclass lists"),
        ({"INGRESS": "traefik"}, "plain for other controllers"),
        ({"COMPONENTS": "gateway", "GATEWAY_CLASS": "a", "INGRESS_CLASS": "nginx"}, "give INGRESS=plain"),
        ({"COMPONENTS": "metrics-token"}, "there are no tokens without tokens or secured"),
        ({"INGRESS": "none", "HOST_SECRET": "host"}, "nothing leads in from outside"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_a_remedy(cluster: Cluster, settings: dict, says: str) -> None:
    refused(cluster, deploy(cluster, **settings), says)
    assert cluster.asked == [], "the cluster was asked nothing"


def test_without_a_cluster_it_says_how_to_choose_one(cluster: Cluster) -> None:
    cluster.play({"match": "api-resources", "code": 1, "stderr": "connection refused\n"})
    refused(cluster, deploy(cluster), "kubectl config get-contexts lists")
    assert run(cluster, "undeploy.sh").returncode == 2


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_that_is_rendered_is_there_afterwards_and_is_waited_for(cluster: Cluster, overlay: str) -> None:
    if overlay == "external":
        give_an_engine(cluster)
    ended = deploy(cluster, overlay)
    assert ended.returncode == 0, ended.stderr
    wanted = {title(each) for each in objects(rendered(overlay)) if "ConfigMap" not in each["kind"]}
    assert wanted <= cluster.names("kv")
    for each in cluster.objects():
        if each["kind"] in ("Deployment", "StatefulSet"):
            assert any("rollout status" in line and each["metadata"]["name"] in line for line in cluster.asked)
    assert "port-forward service/kvstore" in ended.stdout


def test_the_password_is_made_before_what_needs_it_and_nobody_can_read_it_on_the_way(cluster: Cluster) -> None:
    deployed(cluster, "multi-node")
    asked = cluster.asked

    def at(what: str) -> int:
        return next(number for number, line in enumerate(asked) if what in line)

    assert at("create -f -") < at("apply -f /") < at("rollout status statefulset") < at("rollout status deployment")
    secret = cluster.objects("Secret")[0]["stringData"]
    assert len(secret["password"]) == 48
    assert secret["auth.conf"] == f"requirepass {secret['password']}\nmasterauth {secret['password']}\n"
    assert json.loads(secret["exporter.json"]) == {"redis://localhost:6379": secret["password"]}
    assert not any(secret["password"] in line for line in asked), "not among a process' arguments"
    deployed(cluster, "multi-node")
    assert cluster.objects("Secret")[0]["stringData"] == secret, "it stays for as long as the data"


def test_shards_are_changed_one_after_the_other(cluster: Cluster) -> None:
    deployed(cluster, "multi-node")
    steps = [line for line in cluster.asked if "kvstore/shard=" in line or "rollout status statefulset" in line]
    found = [re.search(r"(shard=|valkey-)(\d)", line)[2] for line in steps]
    assert found == ["0", "0", "1", "1", "2", "2"], "each is ready before the next is applied"


def test_a_namespace_of_its_own_is_held_to_the_strictest_rules(cluster: Cluster) -> None:
    deployed(cluster)
    namespace = next(each for each in cluster.objects("Namespace") if each["metadata"]["name"] == "kv")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_namespace_of_others_is_left_as_it_is(cluster: Cluster) -> None:
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    before = copy.deepcopy(cluster.objects("Namespace"))
    deployed(cluster)
    assert cluster.objects("Namespace") == before
    assert "deploy did not make it" in undeploy(cluster, PURGE="yes")
    assert cluster.objects("Namespace") == before


@pytest.mark.parametrize("there", [False, True], ids=["no_namespace", "no_secret"])
def test_an_engine_elsewhere_needs_its_url(cluster: Cluster, there: bool) -> None:
    if there:
        cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    refused(cluster, deploy(cluster, "external"), "create secret generic kvstore-engine --from-file=kvstore.toml")


def test_kinds_that_the_cluster_lacks_are_named(cluster: Cluster) -> None:
    settings = {"COMPONENTS": "gateway monitoring-operator", "GATEWAY_CLASS": "a"}
    refused(cluster, deploy(cluster, **settings), "gateways.gateway.networking.k8s.io, httproutes")
    cluster.extend()
    deployed(cluster, **settings)


@pytest.mark.parametrize("workload", ["statefulset", "deployment"])
def test_a_rollout_that_fails_is_said_with_where_to_look(cluster: Cluster, workload: str) -> None:
    cluster.play({"match": f"rollout status {workload}", "code": 1, "stderr": "timed out\n"})
    ended = deploy(cluster)
    assert ended.returncode == 1
    assert f"logs {workload}" in ended.stderr
    assert any("get pods,events" in line for line in cluster.asked)
    cluster.play()
    deployed(cluster)


def test_what_the_cluster_takes_in_part_is_said_and_mended_by_another_run(cluster: Cluster) -> None:
    cluster.play({"match": "apply -f", "code": 1, "stderr": "quota exceeded\n", "stdout": "service/kvstore\n"})
    ended = deploy(cluster)
    assert ended.returncode == 1
    assert "quota exceeded" in ended.stderr
    assert "run this again" in ended.stderr
    assert not any("rollout" in line for line in cluster.asked)
    cluster.play()
    deployed(cluster)


def test_a_secret_that_lacks_what_is_read_is_refused(cluster: Cluster) -> None:
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    texts = {"password": "p", "auth.conf": "requirepass p\n"}
    secret = {"kind": "Secret", "metadata": {"name": "kvstore-engine", "namespace": "kv"}, "stringData": texts}
    cluster.put(secret)
    refused(cluster, deploy(cluster, COMPONENTS="monitoring"), "has no key exporter.json")
    deployed(cluster)
    del texts["auth.conf"]
    cluster.state = [each for each in cluster.state if each["kind"] != "Secret"]
    cluster.put(secret)
    cluster.asked.clear()
    refused(cluster, deploy(cluster), "has no key auth.conf")


def test_a_secret_of_the_users_own_is_used_and_outlives_a_purge(cluster: Cluster) -> None:
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    texts = {"password": "p", "auth.conf": "requirepass p\n"}
    cluster.put({"kind": "Secret", "metadata": {"name": "kvstore-engine", "namespace": "kv"}, "stringData": texts})
    deployed(cluster)
    undeploy(cluster, PURGE="yes")
    assert "Secret kvstore-engine" in cluster.names("kv")


# What is secured takes Secrets that somebody must have made.

ALL_SECURED = {"COMPONENTS": " ".join(COMPONENTS + SECURED), "GATEWAY_CLASS": "a", "INGRESS": "nginx"}

MADE = {
    "Secret kvstore-tokens": ["tokens.toml"],
    "Secret kvstore-metrics": ["token"],
    "Secret kvstore-tls": ["tls.crt", "tls.key", "ca.crt"],
    "ConfigMap kvstore-ca": ["ca.crt"],
}
"""What that is, and what is read of it."""


def make_by_hand(cluster: Cluster, without: str = "") -> None:
    """Has all of it in the namespace but one, or but one key of one."""
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    for name, keys in MADE.items():
        kind, _, called = name.partition(" ")
        data = {key: "eA==" for key in keys if f"{name} {key}" != without}
        if name != without:
            cluster.put({"kind": kind, "metadata": {"name": called, "namespace": "kv"}, "data": data})


@pytest.mark.parametrize("without", [*MADE, *(f"{name} {key}" for name, keys in MADE.items() for key in keys)])
def test_what_must_be_made_by_hand_is_asked_for_before_anything_is_changed(cluster: Cluster, without: str) -> None:
    cluster.extend()
    make_by_hand(cluster, without)
    ended = deploy(cluster, **ALL_SECURED)
    words = without.split(" ")
    says = f"{words[0].lower()} {words[1]} " + (f"in the namespace kv has no key {words[2]}" if words[2:] else "is not in the namespace kv")
    refused(cluster, ended, says)
    assert "Nothing was changed" in ended.stderr
    assert f"create {'configmap' if words[0] == 'ConfigMap' else 'secret generic'} {words[1]} " in ended.stderr


def test_without_a_namespace_it_is_asked_for_too(cluster: Cluster) -> None:
    refused(cluster, deploy(cluster, COMPONENTS="secured"), "kubectl create namespace kv")


def test_what_is_secured_is_deployed_over_what_was_made_by_hand_which_stays(cluster: Cluster) -> None:
    cluster.extend()
    make_by_hand(cluster)
    ended = deploy(cluster, **ALL_SECURED)
    assert ended.returncode == 0, ended.stderr
    assert "https://kvstore.kv/" in ended.stdout
    assert "8443:443" in ended.stdout
    assert "Tokens can be read on that way: give HOST_SECRET" in ended.stdout
    assert "BackendTLSPolicy kvstore" in cluster.names("kv")
    ended = deploy(cluster, **ALL_SECURED, HOST_SECRET="host")
    assert "outside:    https://kvstore.example.org/" in ended.stdout
    # A component that is left out goes, and what others have made does not.
    deployed(cluster)
    assert "BackendTLSPolicy kvstore" not in cluster.names("kv")
    undeploy(cluster, PURGE="yes")
    assert cluster.names("kv") == MADE.keys()


@pytest.mark.parametrize(("components", "needs"), [("tokens", "Secret kvstore-tokens"), ("tls", "Secret kvstore-tls")])
def test_a_part_takes_no_more_than_its_own(cluster: Cluster, components: str, needs: str) -> None:
    make_by_hand(cluster)
    cluster.state = [each for each in cluster.state if title(each) == needs or title(each) not in MADE]
    # As kubectl create secret tls makes it.
    for each in cluster.objects("Secret"):
        each["data"].pop("ca.crt", None)
    deployed(cluster, COMPONENTS=components)


# Nothing is deleted that deploy did not make.

FOREIGN = [
    {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"metadata": {}}}},
    {"kind": "ConfigMap", "metadata": {"name": "settings", "labels": {"app.kubernetes.io/part-of": "kvstore"}}},
    # As another chart's Valkey has them, in a release that is called kvstore.
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "data-other-0", "labels": {
        "app.kubernetes.io/name": "valkey", "app.kubernetes.io/instance": "kvstore"}}},
    {"kind": "Secret", "metadata": {"name": "other", "labels": {"app.kubernetes.io/managed-by": "Helm"}}},
    {"kind": "Job", "metadata": {"name": "migration", "labels": {"app.kubernetes.io/instance": "kvstore"}},
     "spec": {"template": {"metadata": {}}}},
]  # fmt: skip


@pytest.mark.parametrize("made", [True, False], ids=["namespace_of_deploy", "namespace_of_others"])
def test_nothing_of_others_is_deleted(cluster: Cluster, made: bool) -> None:
    if not made:
        cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    deployed(cluster, "multi-node")
    for each in FOREIGN:
        cluster.put(each | {"metadata": each["metadata"] | {"namespace": "kv"}})
    deployed(cluster, "multi-node", HOST="other.test")
    said = undeploy(cluster, PURGE="yes")
    assert cluster.names("kv") == {title(each) for each in FOREIGN}
    assert "Namespace kv" in cluster.names()
    assert "The namespace kv stays" in said
    assert all(title(each) in said for each in FOREIGN) == made


def test_one_thing_of_others_keeps_the_namespace(cluster: Cluster) -> None:
    deployed(cluster)
    cluster.put({"kind": "Secret", "metadata": {"name": "theirs", "namespace": "kv"}})
    undeploy(cluster, PURGE="yes")
    assert cluster.names("kv") == {"Secret theirs"}


def test_a_namespace_that_cannot_be_looked_through_stays(cluster: Cluster) -> None:
    deployed(cluster)
    cluster.play({"match": r"ownerReferences", "code": 1, "stderr": "roles is forbidden\n"})
    ended = run(cluster, "undeploy.sh", NAMESPACE="kv", PURGE="yes")
    assert ended.returncode == 1
    assert "may not see" in ended.stderr
    assert "Namespace kv" in cluster.names()
    assert not cluster.names("kv"), "what deploy made is gone all the same"


def test_a_purge_says_what_goes_before_it_goes_and_leaves_nothing(cluster: Cluster) -> None:
    before = cluster.names()
    deployed(cluster, "multi-node")
    # What the cluster puts into every namespace is nobody's.
    cluster.put({"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": "kv"}})
    cluster.put({"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "kv"}})
    said = undeploy(cluster, PURGE="yes")
    assert cluster.names() == before
    announced = said.index("Deleting for good")
    for what in ("persistentvolumeclaim", "secret/kvstore-engine", "namespace/kv"):
        assert announced < said.index(what) < said.index(f"{what.partition('/')[0]}", said.index(what) + 1)


def test_without_a_purge_data_and_password_stay_and_are_found_again(cluster: Cluster) -> None:
    deployed(cluster)
    password = cluster.objects("Secret")[0]["stringData"]
    said = undeploy(cluster)
    assert cluster.names("kv") == {"PersistentVolumeClaim data-valkey-0", "Secret kvstore-engine"}
    assert "secret/kvstore-engine" in said
    deployed(cluster)
    assert cluster.objects("Secret")[0]["stringData"] == password


def test_a_server_that_keeps_its_data_finds_it_again(cluster: Cluster) -> None:
    deployed(cluster, "embedded")
    volume = cluster.objects("PersistentVolumeClaim")[0]
    said = undeploy(cluster)
    assert cluster.names("kv") == {"PersistentVolumeClaim data-kvstore-0"}
    assert "persistentvolumeclaim/data-kvstore-0" in said
    deployed(cluster, "embedded", IMAGE="registry.example.org/kvstore:1.0.1")
    assert any(each is volume for each in cluster.state), "it is the same one"
    assert "Deleting for good, with all data: persistentvolumeclaim/data-kvstore-0" in undeploy(cluster, PURGE="yes")
    assert "Namespace kv" not in cluster.names()


@pytest.mark.parametrize("part", range(PARTS))
def test_whichever_command_fails_it_is_no_success(cluster: Cluster, part: int) -> None:
    deployed(cluster, "multi-node")
    undeploy(cluster)
    commands = list(cluster.asked)
    for number, command in list(enumerate(commands))[part::PARTS]:
        cluster.state = [each for each in cluster.state if each["metadata"].get("namespace", each["metadata"]["name"]) != "kv"]
        cluster.play({"match": "", "code": 1, "skip": number, "times": 1, "stderr": "the connection was cut\n"})
        codes = [deploy(cluster, "multi-node").returncode, run(cluster, "undeploy.sh", NAMESPACE="kv").returncode]
        assert sum(map(bool, codes)) == 1, command


def test_where_there_is_no_namespace_nothing_is_removed(cluster: Cluster) -> None:
    assert "nothing to remove" in undeploy(cluster, PURGE="yes", NAMESPACE="nowhere")


def test_what_others_made_under_our_names_is_not_taken_over(cluster: Cluster) -> None:
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv"}})
    for name in ("Deployment kvstore", "Service valkey", "ServiceAccount kvstore", "NetworkPolicy kvstore"):
        kind, _, called = name.partition(" ")
        spec = {"selector": {"app": "theirs"}, "template": {"metadata": {}}}
        cluster.put({"kind": kind, "metadata": {"name": called, "namespace": "kv"}, "spec": spec})
        ended = deploy(cluster)
        refused(cluster, ended, "not made by deploy: ")
        assert name in ended.stderr


# Changing overlays.


def ask_for_others(cluster: Cluster, old: str) -> None:
    """Asks for each other overlay, which is refused with the way to go, and then for the same, which works."""
    before = copy.deepcopy(cluster.state)
    for new in OVERLAYS:
        if new != old:
            cluster.asked.clear()
            ended = deploy(cluster, new)
            refused(cluster, ended, f"has OVERLAY={old} or its data")
            assert f"make deploy OVERLAY={new} NAMESPACE=kv-next" in ended.stderr
            assert "kvstore export" in ended.stderr
            assert cluster.state == before
    deployed(cluster, old)


@pytest.mark.parametrize("old", OVERLAYS)
def test_an_overlay_is_changed_by_moving_the_data_or_not_at_all(cluster: Cluster, old: str) -> None:
    if old == "external":
        give_an_engine(cluster)
    deployed(cluster, old)
    ask_for_others(cluster, old)


@pytest.mark.parametrize("old", ["single-node", "multi-node", "embedded"])
def test_volumes_that_an_undeploy_left_are_no_data_of_another_overlay(cluster: Cluster, old: str) -> None:
    deployed(cluster, old)
    undeploy(cluster)
    ask_for_others(cluster, old)


def test_after_a_purge_any_overlay_can_come(cluster: Cluster) -> None:
    deployed(cluster, "single-node")
    undeploy(cluster, PURGE="yes")
    deployed(cluster, "multi-node")


def test_a_server_of_an_earlier_version_is_not_left_to_lose_its_keys(cluster: Cluster) -> None:
    # It was a Deployment, and kept nothing.
    labels = OWN | {"app.kubernetes.io/name": "kvstore", "kvstore/overlay": "embedded", "kvstore/revision": "r0"}
    spec = {"replicas": 1, "selector": {}, "template": {"metadata": {}}}
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv", "labels": OWN}})
    cluster.put({"kind": "Deployment", "metadata": {"name": "kvstore", "namespace": "kv", "labels": labels}, "spec": spec})
    before = copy.deepcopy(cluster.state)
    ended = deploy(cluster, "embedded")
    refused(cluster, ended, "has its keys in its memory alone")
    assert cluster.state == before
    commands = ["kvstore export data.ndjson", "make undeploy NAMESPACE=kv\n", "make deploy OVERLAY=embedded NAMESPACE=kv", "kvstore import data.ndjson"]
    assert all(command in ended.stderr for command in commands)
    # As it says.
    undeploy(cluster)
    deployed(cluster, "embedded")
    assert {"StatefulSet kvstore", "PersistentVolumeClaim data-kvstore-0"} <= cluster.names("kv")
    assert "Deployment kvstore" not in cluster.names("kv")


def test_what_cannot_be_changed_in_place_is_refused_before_anything_is_applied(cluster: Cluster) -> None:
    deployed(cluster)
    # As after a change of the manifests that nobody thought of.
    for each in cluster.state:
        if each["kind"] == "StatefulSet":
            each["applied"]["spec"]["podManagementPolicy"] = "Parallel"
    before = copy.deepcopy(cluster.state)
    cluster.asked.clear()
    ended = deploy(cluster)
    refused(cluster, ended, "field is immutable")
    assert "another NAMESPACE" in ended.stderr
    assert cluster.state == before


# What is no longer wanted.


def test_every_kind_that_can_be_deployed_is_looked_for_when_it_is_not_wanted_any_more() -> None:
    looked_for = dict(line.split() for line in (ROOT / "scripts" / "cluster.sh").read_text().splitlines() if line.count(" ") == 1 and line[0].isupper())
    components = " ".join(COMPONENTS + SECURED)
    rendered_kinds = {each["kind"] for overlay in OVERLAYS for each in objects(rendered(overlay, components, INGRESS="plain"))}
    assert rendered_kinds <= looked_for.keys()
    known = SERVED | EXTENSIONS
    assert {kind: known[kind] for kind in looked_for} == {kind: name.rstrip('"') for kind, name in looked_for.items()}


def test_a_component_that_is_left_out_goes(cluster: Cluster) -> None:
    cluster.extend()
    deployed(cluster)
    plain = cluster.names("kv")
    deployed(cluster, COMPONENTS="monitoring monitoring-operator gateway", GATEWAY_CLASS="a")
    more = cluster.names("kv")
    assert {"Gateway kvstore", "HTTPRoute kvstore", "PrometheusRule kvstore", "ServiceMonitor kvstore"} <= more
    assert "Ingress kvstore" not in more
    deployed(cluster)
    assert cluster.names("kv") == plain


def test_hashed_configuration_of_earlier_settings_goes_only_when_nothing_runs_on_it(cluster: Cluster) -> None:
    deployed(cluster, "multi-node")
    old = {name for name in cluster.names("kv") if name.startswith("ConfigMap")}
    for each in cluster.state:
        if each["kind"] == "ConfigMap":
            each["metadata"]["name"] = "valkey-earlier"
            each["metadata"]["labels"]["kvstore/revision"] = "r0"
    cluster.play({"match": "rollout status", "code": 1})
    assert deploy(cluster, "multi-node").returncode == 1
    assert "ConfigMap valkey-earlier" in cluster.names("kv")
    cluster.play()
    deployed(cluster, "multi-node")
    assert {name for name in cluster.names("kv") if name.startswith("ConfigMap")} == old


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_undeploy_takes_all_whatever_was_deployed_with_which_settings(cluster: Cluster, overlay: str) -> None:
    cluster.extend()
    if overlay == "external":
        give_an_engine(cluster)
    deployed(cluster, overlay, COMPONENTS=" ".join(COMPONENTS), GATEWAY_CLASS="a", INGRESS="plain")
    # It is not told the overlay, nor the components.
    undeploy(cluster)
    left = {name.partition(" ")[0] for name in cluster.names("kv")}
    assert left <= {"PersistentVolumeClaim", "Secret"}


# Deploying again.


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_deploying_again_changes_nothing(cluster: Cluster, overlay: str) -> None:
    if overlay == "external":
        give_an_engine(cluster)
    deployed(cluster, overlay)
    before = {title(each): copy.deepcopy(each) for each in cluster.objects()}
    deployed(cluster, overlay)
    assert {title(each): each for each in cluster.objects()} == before


def test_a_deployment_that_got_stuck_can_be_repaired(cluster: Cluster) -> None:
    cluster.play({"match": "rollout status statefulset", "code": 1})
    assert deploy(cluster, "multi-node").returncode == 1
    cluster.play()
    # Another image and other settings: the Job of the bootstrap is still there, and cannot be changed.
    deployed(cluster, "multi-node", IMAGE="registry.example.org/kvstore:1.0.1", HOST="other.test")
    for each in cluster.state:
        if each["kind"] == "Job":
            each["applied"]["spec"]["template"] = {"spec": "of another configuration"}
    deployed(cluster, "multi-node")
    assert "Job valkey-bootstrap" in cluster.names("kv")


def test_a_bootstrap_that_gave_up_begins_anew(cluster: Cluster) -> None:
    deployed(cluster, "multi-node")
    next(each for each in cluster.state if each["kind"] == "Job")["status"] = {"failed": 10}
    deployed(cluster, "multi-node")
    assert "status" not in cluster.objects("Job")[0]


def test_the_number_of_servers_that_the_autoscaler_chose_stays(cluster: Cluster) -> None:
    deployed(cluster, "multi-node")
    next(each for each in cluster.state if each["kind"] == "Deployment")["spec"]["replicas"] = 7
    deployed(cluster, "multi-node", HOST="other.test")
    assert cluster.objects("Deployment")[0]["spec"]["replicas"] == 7


def test_where_requests_come_in_is_said(cluster: Cluster) -> None:
    cluster.extend()
    assert "give INGRESS_CLASS" in deploy(cluster, HOST="kv.test").stdout
    said = deploy(cluster, HOST="kv.test", INGRESS_CLASS="traefik").stdout
    assert "http://kv.test/ once its name leads to your ingress controller" in said
    said = deploy(cluster, HOST="kv.test", COMPONENTS="gateway", GATEWAY_CLASS="a").stdout
    assert "http://kv.test/ once its name leads to your Gateway" in said
    assert "nothing leads there" in deploy(cluster, INGRESS="none").stdout
