"""Alerts fire when they should and not before, and each says where to read on."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, tool

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
