"""`make e2e` step by step, against a cluster that is played (fake_kubectl.py): what it needs, what it tells, and that nothing
of it is left, whichever of its commands fails."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_kubectl import PARTS, Cluster, played, title
from rendering import ROOT, environment, tool

SETTINGS = {"IMAGE": "registry.example.org/kvstore:1.0.0", "NAMESPACE": "kv", "KEYS": "20", "PAUSE": "0", "PATIENCE": "5"}


@pytest.fixture(name="cluster")
def empty_cluster(tmp_path: Path) -> Iterator[Cluster]:
    with played(tmp_path, tool("kubectl")) as cluster:
        yield cluster


def start(cluster: Cluster, **settings: str) -> subprocess.Popen:
    variables = environment(**(SETTINGS | settings))
    variables["PATH"] = f"{cluster.folder}:{variables['PATH']}"
    return subprocess.Popen(
        [ROOT / "scripts" / "e2e.sh"], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Tests that run in the background of a shell have it ignored, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def e2e(cluster: Cluster, **settings: str) -> subprocess.CompletedProcess:
    process = start(cluster, **settings)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def rows(out: str) -> dict[str, list[str]]:
    """The table at the end, by the step."""
    table = out.split("\nstep ")[1].splitlines()[1:]
    found = [re.fullmatch(r"(.{40}) +(\d+) +(-|\d+) +(-|\d+)", line) for line in table]
    return {row[1].strip(): [row[2], row[3], row[4]] for row in found if row}


@pytest.mark.parametrize(
    ("overlay", "scaling"), [("single-node", ["scale to 3", "scale back to 2"]), ("multi-node", [])], ids=["single-node", "multi-node"]
)
def test_it_passes_leaves_nothing_and_ends_with_a_table(cluster: Cluster, overlay: str, scaling: list[str]) -> None:
    before = cluster.names()
    ended = e2e(cluster, OVERLAY=overlay)
    assert ended.returncode == 0, ended.stderr
    assert cluster.names() == before
    assert not cluster.objects("Pod")
    table = rows(ended.stdout)
    assert list(table) == [
        f"deploy {overlay}", "load 20 keys", "count the keys (after the load)", "start a client", "restart every server",
        *scaling, "delete a server's pod", "what the client saw", "count the keys (at the end)",
    ]  # fmt: skip
    assert table["load 20 keys"][1:] == ["-", "-"], "there was no client yet"
    assert int(table["restart every server"][1]) > 0
    assert re.fullmatch(r"passed: 20 keys, \d+ requests, none failed", ended.stdout.splitlines()[-1])
    assert len(cluster.given.splitlines()) == 20


@pytest.mark.parametrize(
    ("settings", "answer", "says"),
    [
        ({"OVERLAY": "embedded"}, {}, "give single-node or multi-node"),
        ({"OVERLAY": "external"}, {}, "give single-node or multi-node"),
        ({"IMAGE": ""}, {}, "make image"),
        ({"COMPONENTS": "monitoring secured"}, {}, "leave tokens, tls and secured out"),
        ({"KEYS": "many"}, {}, "give a number"),
        ({"KEYS": "0"}, {}, "give a number"),
        ({}, {"match": "api-resources", "code": 1}, "kubectl config get-contexts lists"),
        ({}, {"match": "--raw /version", "stdout": '{"minor": "29"}'}, "takes 1.30 or later"),
        ({}, {"match": "auth can-i create namespaces", "stdout": "no\n", "code": 1}, "may not create namespaces in kv"),
        ({}, {"match": "auth can-i create statefulsets", "stdout": "no\n", "code": 1}, "may not create statefulsets.apps in kv"),
        ({}, {"match": "get storageclasses", "stdout": "<none>\n"}, "mark one"),
        ({"OVERLAY": "multi-node"}, {"match": "metrics.k8s.io", "code": 1}, "no metrics server"),
    ],
)
def test_what_it_needs_is_asked_before_it_begins(cluster: Cluster, settings: dict, answer: dict, says: str) -> None:
    before = cluster.names()
    if answer:
        cluster.play(answer)
    ended = e2e(cluster, **settings)
    assert ended.returncode == 2
    assert says in " ".join(ended.stderr.split())
    assert cluster.names() == before
    assert not any(re.match(r"(-n kv )?(create|apply|delete|run)", line) for line in cluster.asked)


def test_a_namespace_that_is_there_is_not_touched(cluster: Cluster) -> None:
    cluster.put({"kind": "Namespace", "metadata": {"name": "kv", "labels": {"app.kubernetes.io/managed-by": "kvstore-deploy"}}})
    cluster.put({"kind": "Secret", "metadata": {"name": "kvstore-engine", "namespace": "kv"}})
    before = cluster.names()
    ended = e2e(cluster)
    assert ended.returncode == 2
    assert "is there already" in ended.stderr
    assert cluster.names() == before


STEPS = [
    ({"match": "rollout status statefulset", "code": 1}, "deploy single-node", "statefulset.apps/valkey is not ready"),
    ({"match": "rollout status deployment", "code": 1}, "deploy single-node", "deployment.apps/kvstore is not ready"),
    ({"match": "apply -f", "code": 1, "stderr": "exceeded quota\n"}, "deploy single-node", "exceeded quota"),
    ({"match": "run load", "code": 1, "stderr": "ErrImagePull\n"}, "load 20 keys", "ErrImagePull"),
    ({"match": "run load", "code": 74}, "load 20 keys", "the keys were not stored"),
    ({"match": "get pod count.*phase", "stdout": "Failed"}, "count the keys (after the load)", "the pod count-after-the-load failed"),
    ({"match": "get pod count.*phase", "stdout": "Pending"}, "count the keys (after the load)", "has not ended within 5 s: it is Pending"),
    ({"match": "logs count", "stdout": '{"key":"e2e:1","value":1}\n'}, "count the keys (after the load)", "1 keys are there, and 20"),
    ({"match": "rollout status deployment/kvstore", "code": 1}, "restart every server", "the servers are not ready"),
    ({"match": "rollout status deployment/kvstore", "code": 1, "skip": 1}, "scale to 3", "the servers are not ready"),
    ({"match": "rollout status deployment/kvstore", "code": 1, "skip": 2}, "scale back to 2", "the servers are not ready"),
    ({"match": "field-selector", "stdout": ""}, "delete a server's pod", "no server's pod is running"),
    ({"match": "rollout status deployment/kvstore", "code": 1, "skip": 3}, "delete a server's pod", "the servers are not ready"),
    ({"match": "get pod client.*phase", "stdout": "Failed"}, "what the client saw", "the client is Failed"),
    ({"match": "logs client", "stdout": "failed /set\nrequests 9 failed 2\n"}, "what the client saw", "2 of 9 requests failed"),
    ({"match": "logs client", "stdout": ""}, "what the client saw", "the client made no request"),
    ({"match": "logs count", "stdout": "", "skip": 1}, "count the keys (at the end)", "0 keys are there, and 20"),
]  # fmt: skip
"""What the cluster says, the step that fails of it, and what is said."""


@pytest.mark.parametrize(("answer", "failing", "says"), STEPS, ids=[f"{failing}-{says}" for _, failing, says in STEPS])
def test_a_step_that_fails_is_named_and_all_is_removed(cluster: Cluster, answer: dict, failing: str, says: str) -> None:
    before = cluster.names()
    cluster.play(answer)
    ended = e2e(cluster)
    assert ended.returncode == 1
    assert says in " ".join(ended.stderr.split())
    assert list(rows(ended.stdout))[-1] == f"{failing} (failed)"
    assert "FAILED, with 1" in ended.stdout
    assert any("get pods,events" in line for line in cluster.asked)
    assert cluster.names() == before
    assert not cluster.objects("Pod")


def test_a_client_that_never_starts_is_named_as_such(cluster: Cluster) -> None:
    cluster.play({"match": "wait pod/client", "code": 1}, {"match": "get pod client.*phase", "stdout": "Pending"})
    ended = e2e(cluster)
    assert ended.returncode == 1
    assert "the client is Pending" in ended.stderr
    assert list(rows(ended.stdout))[-1] == "start a client (failed)"


def test_an_evicted_client_is_named_as_such(cluster: Cluster) -> None:
    cluster.play({"match": "get pod client.*phase", "stdout": "Failed"}, {"match": "get pod client.*reason", "stdout": "Evicted"})
    ended = e2e(cluster)
    assert "the client is Failed (Evicted)" in ended.stderr
    assert "give the cluster more room" in ended.stderr


def test_a_server_that_was_evicted_is_not_the_pod_that_is_deleted(cluster: Cluster) -> None:
    cluster.play({"match": "field-selector=status.phase=Running", "stdout": "pod/kvstore-1\n"})
    assert e2e(cluster).returncode == 0
    assert any(line.endswith("delete pod/kvstore-1") for line in cluster.asked)


TOLERATED = (r"get pod count.*phase", r"logs client", r"delete pods? ", r"get pods,events", r"wait pod/client")
"""Commands that are asked again, or without which the rest is as good."""


@pytest.mark.parametrize("part", range(PARTS))
def test_whichever_command_fails_it_ends_and_all_is_removed_or_said_to_be_left(cluster: Cluster, part: int) -> None:
    before = cluster.names()
    assert e2e(cluster).returncode == 0
    commands = list(cluster.asked)
    assert len(commands) > 40
    for number, command in list(enumerate(commands))[part::PARTS]:
        cluster.state = [each for each in cluster.state if title(each) in before]
        cluster.play({"match": "", "code": 1, "skip": number, "times": 1, "stderr": "the connection was cut\n"})
        ended = e2e(cluster)
        if ended.returncode == 0:
            assert any(re.search(pattern, command) for pattern in TOLERATED), command
        elif ended.returncode == 1:
            assert "FAILED, with 1" in ended.stdout, command
        else:
            assert ended.returncode == 2, command
        left = cluster.names() - before
        assert not left or "make undeploy NAMESPACE=kv PURGE=yes tries again" in ended.stderr, (command, left)


@pytest.mark.parametrize("from_command", [12, 24, 36])
def test_a_cluster_that_goes_away_is_said_with_what_is_left(cluster: Cluster, from_command: int) -> None:
    cluster.play({"match": "", "code": 1, "skip": from_command, "stderr": "no route to host\n"})
    ended = e2e(cluster)
    assert ended.returncode in (1, 2)
    assert "no route to host" in ended.stderr
    assert "make undeploy NAMESPACE=kv PURGE=yes tries again" in ended.stderr
    assert rows(ended.stdout)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_all_is_removed(cluster: Cluster, sent: signal.Signals, code: int) -> None:
    before = cluster.names()
    cluster.play({"match": "get pod count.*phase", "stdout": "Pending"})
    process = start(cluster, PATIENCE="60", PAUSE="0.1")
    deadline = time.monotonic() + 60
    while not any("get pod count" in line for line in cluster.asked):
        assert time.monotonic() < deadline, "it never came to wait for the count"
        time.sleep(0.02)
    # As a terminal sends it: to all of its processes.
    os.killpg(process.pid, sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"FAILED, with {code}" in out
    assert cluster.names() == before


def test_it_leaves_the_deployment_where_it_is_told_to(cluster: Cluster) -> None:
    ended = e2e(cluster, KEEP="yes")
    assert ended.returncode == 0, ended.stderr
    assert "Deployment kvstore" in cluster.names("kv")
    assert "make undeploy NAMESPACE=kv PURGE=yes removes it" in ended.stderr
