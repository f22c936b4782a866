"""What others check of manifests: Kubernetes' own schemas, and checkov's rules."""

import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import COMPONENTS, OVERLAYS, ROOT, SECURED, environment, objects, rendered, tool

OLDEST, NEWEST = 30, 37
"""Minor versions of Kubernetes 1: the first with a native preStop sleep, and the last whose schemas there are."""

CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "Gateway", "HTTPRoute", "BackendTLSPolicy"}
"""Kinds of the components that are not Kubernetes' own, so that their schemas are not among its."""


@pytest.fixture(scope="session", name="files")
def built_in_kinds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("manifests")
    files = []
    for overlay in OVERLAYS:
        for name, more in ((overlay, []), (f"{overlay}-secured", SECURED)):
            settings = {"INGRESS": "nginx"} | ({"HOST_SECRET": "host"} if more else {})
            documents = objects(rendered(overlay, " ".join(COMPONENTS + more), **settings))
            kept = [document for document in documents if document["kind"] not in CUSTOM]
            file = folder / f"{name}.yaml"
            file.write_text(yaml.safe_dump_all(kept))
            files.append(file)
    return files


def test_kubernetes_takes_the_pod_for_restoring() -> None:
    command = [tool("kubernetes-validate"), "--strict", "-k", f"1.{OLDEST}", ROOT / "k8s" / "valkey" / "restore.yaml"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("minor", range(OLDEST, NEWEST + 1))
def test_kubernetes_takes_every_manifest(minor: int, files: list[Path]) -> None:
    command = [tool("kubernetes-validate"), "--strict", "-k", f"1.{minor}", *files]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_newest_schemas_are_used() -> None:
    run = subprocess.run([tool("kubernetes-validate"), "--help"], capture_output=True, text=True)
    assert f"Defaults to 1.{NEWEST}." in run.stdout, "newer schemas are there: raise NEWEST"


def test_checkov_has_no_objection(files: list[Path]) -> None:
    arguments = [argument for file in files for argument in ("--file", str(file))]
    command = [tool("checkov"), "--config-file", str(ROOT / "k8s" / "checkov.yaml"), *arguments]
    # Without a network it must not wait for one.
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(CKV_IGNORE_HIDDEN_DIRECTORIES="false"))
    assert run.returncode == 0, run.stdout + run.stderr


def test_checkov_would_object(files: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "escalating.yaml"
    file.write_text(files[0].read_text().replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"))
    command = [tool("checkov"), "--config-file", str(ROOT / "k8s" / "checkov.yaml"), "--file", str(file)]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 1


def test_every_waiver_has_a_reason() -> None:
    lines = (ROOT / "k8s" / "checkov.yaml").read_text().splitlines()
    waived = [number for number, line in enumerate(lines) if line.strip().startswith("- CKV")]
    assert waived
    assert all(lines[number - 1].strip().startswith("#") for number in waived)
