"""Alerts fire when they should and not before, and each says where to read on."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, environment, objects, rendered, tool

RULE = ROOT / "k8s" / "components" / "monitoring-operator" / "prometheus-rule.yaml"
CASES = Path(__file__).with_name("alerts.yaml")


def spec() -> dict:
    return yaml.safe_load(RULE.read_text())["spec"]


def alerts() -> dict[str, dict]:
    rules = (rule for group in spec()["groups"] for rule in group["rules"])
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


@pytest.fixture(name="folder")
def rules_beside_their_cases(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec()))
    (tmp_path / "alerts.yaml").write_text(CASES.read_text())
    return tmp_path


def test_promtool_has_no_objection(folder: Path) -> None:
    command = [tool("promtool"), "check", "rules", "--lint-fatal", "rules.yaml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_alerts_fire_when_they_should(folder: Path) -> None:
    command = [tool("promtool"), "test", "rules", "alerts.yaml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_is_seen_to_fire_and_not_to() -> None:
    seen = defaultdict(set)
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            seen[check["alertname"]].add(bool(check["exp_alerts"]))
    assert seen == {alert: {True, False} for alert in alerts()}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert sections == list(alerts())
    for name, alert in alerts().items():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning")


def test_alerts_lead_to_where_they_are_told() -> None:
    rule = next(each for each in objects(rendered("embedded", "monitoring-operator", RUNBOOKS="https://wiki.test/kv?a=1&b")) if each["kind"] == "PrometheusRule")
    found = [one["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one]
    assert found == [f"https://wiki.test/kv?a=1&b#{name.lower()}" for name in alerts()]


PAGE = "https://forge.test/team/kvstore/blob/HEAD/docs/runbooks.md"


@pytest.mark.parametrize(
    ("origin", "page"),
    [
        ("https://forge.test/team/kvstore.git", PAGE),
        ("https://forge.test/team/kvstore/", PAGE),
        ("https://user:token@forge.test/team/kvstore.git", PAGE),
        ("git@forge.test:team/kvstore.git", PAGE),
        ("ssh://git@forge.test:2222/team/kvstore.git", PAGE),
        ("/srv/kvstore.git", f"file://{ROOT}/docs/runbooks.md"),
        ("../kvstore", f"file://{ROOT}/docs/runbooks.md"),
        ("", f"file://{ROOT}/docs/runbooks.md"),
    ],
)
def test_by_default_they_lead_to_where_the_clone_came_from_or_to_itself(origin: str, page: str, tmp_path: Path) -> None:
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\ntest -n '{origin}' && echo '{origin}'\n")
    git.chmod(0o755)
    settings = environment(OVERLAY="embedded", COMPONENTS="monitoring-operator", RUNBOOKS="")
    settings["PATH"] = f"{tmp_path}:{settings['PATH']}"
    text = subprocess.run([ROOT / "scripts" / "manifests.sh"], env=settings, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"runbook_url: (\S+)#", text)) == {page}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_the_exporter_has_the_series_that_the_alert_on_memory_reads(tmp_path: Path) -> None:
    engine, metrics = free_port(), free_port()
    server = subprocess.Popen(
        [shutil.which("redis-server"), "--port", str(engine), "--save", "", "--maxmemory", "50mb", "--requirepass", "geheim"],
        stdout=subprocess.DEVNULL,
    )
    # Told its engine and password as the manifest does it, and by the file that a deployment makes.
    (tmp_path / "exporter.json").write_text(json.dumps({f"redis://localhost:{engine}": "geheim"}))
    exporter = subprocess.Popen(
        ["prometheus-redis-exporter", f"--web.listen-address=127.0.0.1:{metrics}"],
        env=environment(REDIS_ADDR=f"redis://localhost:{engine}", REDIS_PASSWORD_FILE=str(tmp_path / "exporter.json")), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline, text = time.monotonic() + 30, ""
        while "redis_memory_max_bytes 5.24288e+07" not in text:
            assert time.monotonic() < deadline, text[:500]
            time.sleep(0.1)
            try:
                text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=5).read().decode()
            except OSError:
                continue
        assert float(re.search(r"^redis_memory_used_bytes (\S+)$", text, re.MULTILINE)[1]) > 100_000
        assert urllib.request.urlopen(f"http://127.0.0.1:{metrics}/health", timeout=5).status == 200
    finally:
        for process in (exporter, server):
            process.kill()
            process.wait()
