"""The scripts behind `make deploy`: what they refuse, and the order in which they ask the cluster."""

import subprocess
from pathlib import Path

import pytest
from rendering import ROOT, environment, objects, rendered, tool

SCRIPTS = sorted([*ROOT.glob("scripts/**/*.sh"), *ROOT.glob("k8s/**/*.sh"), ROOT / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_shellcheck_has_no_objection(script: Path) -> None:
    run = subprocess.run([tool("shellcheck"), script], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


@pytest.fixture(name="cluster")
def recording_kubectl(tmp_path: Path) -> Path:
    """A kubectl that writes down what it is asked and asks no cluster; `kustomize` is the real one."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        "#!/bin/sh\n"
        f'test "$1" = kustomize && exec "{tool("kubectl")}" "$@"\n'
        f'printf "%s\\n" "$*" >> {tmp_path}/asked\n'
        f'case "$*" in *"get secret"*) exit 1;; *"$KUBECTL_FAILS"*) test -z "$KUBECTL_FAILS" || exit 1;; esac\n'
    )
    kubectl.chmod(0o755)
    return tmp_path


def deploy(cluster: Path, **settings: str) -> subprocess.CompletedProcess:
    command = ["make", "--silent", "--no-print-directory", "deploy"]
    variables = environment(**{"KUBECTL_FAILS": ""} | settings)
    variables["PATH"] = f"{cluster}:{variables['PATH']}"
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "make push"),
        ({"IMAGE": "registry.example.org:5000/kvstore"}, "give a version"),
        ({"IMAGE": "registry.example.org/kvstore:latest"}, "give a version"),
        ({"IMAGE": "r/kvstore:1.0.0", "OVERLAY": "none"}, "give one of: embedded external"),
        ({"IMAGE": "r/kvstore:1.0.0", "COMPONENTS": "grafana"}, "give any of monitoring"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_a_remedy(cluster: Path, settings: dict, says: str) -> None:
    run = deploy(cluster, **settings)
    assert run.returncode != 0
    assert says in run.stderr
    assert not (cluster / "asked").exists(), "the cluster was asked nothing"


def test_the_password_is_made_before_what_needs_it_and_the_rollout_is_waited_for(cluster: Path) -> None:
    run = deploy(cluster, IMAGE="r/kvstore:1.0.0", OVERLAY="multi-node", NAMESPACE="mine")
    assert run.returncode == 0, run.stderr
    asked = (cluster / "asked").read_text().splitlines()

    def at(what: str) -> int:
        return next(number for number, line in enumerate(asked) if what in line)

    assert at("create namespace mine") < at("create secret") < at("apply -f /")
    assert at("apply -f /") < at("rollout status statefulset/valkey") < at("rollout status deployment/kvstore")
    assert "port-forward service/kvstore" in run.stdout


def test_an_engine_elsewhere_needs_its_url(cluster: Path) -> None:
    run = deploy(cluster, IMAGE="r/kvstore:1.0.0", OVERLAY="external")
    assert run.returncode != 0
    assert "create secret generic kvstore-engine --from-file=kvstore.toml" in " ".join(run.stderr.split())


def test_a_rollout_that_fails_is_said_with_where_to_look(cluster: Path) -> None:
    run = deploy(cluster, IMAGE="r/kvstore:1.0.0", KUBECTL_FAILS="rollout status deployment")
    assert run.returncode != 0
    assert "logs deployment/kvstore" in run.stderr


def test_components_host_and_image_are_rendered() -> None:
    settings = environment(
        OVERLAY="embedded",
        COMPONENTS="gateway",
        HOST="kv.test",
        GATEWAY_CLASS="mine",
        NAMESPACE="elsewhere",
        IMAGE="registry.example.org:5000/kvstore@sha256:" + "0" * 64,
    )
    command = [ROOT / "scripts" / "manifests.sh"]
    text = subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout
    by_kind = {each["kind"]: each for each in objects(text)}
    assert by_kind["Ingress"]["spec"]["rules"][0]["host"] == "kv.test"
    assert by_kind["HTTPRoute"]["spec"]["hostnames"] == ["kv.test"]
    assert by_kind["Gateway"]["spec"]["gatewayClassName"] == "mine"
    container = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == settings["IMAGE"]
    assert {each["metadata"]["namespace"] for each in objects(text)} == {"elsewhere"}
    assert not list(ROOT.glob("k8s/.composed-*")), "nothing is left behind"


def test_all_overlays_render_without_settings() -> None:
    assert objects(rendered("single-node"))
