"""Every expression of the dashboard and of the rules, evaluated by a real Prometheus that scrapes real servers."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendering import ROOT, binary
from test_rules import spec

SCRIPTS = ROOT / "scripts" / "dashboard"
sys.path.insert(0, str(SCRIPTS))

from scene import Load, Prometheus, scene, until  # noqa: E402

DASHBOARD = ROOT / "k8s" / "components" / "monitoring" / "dashboard.json"

# One scene serves all these tests.
pytestmark = pytest.mark.xdist_group("scene")

VARIABLES = {"$namespace": "kv", "$pod": "kvstore-0|kvstore-1", "$__rate_interval": "6s"}


def targets() -> list[tuple[str, str]]:
    """Panels' titles and expressions."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


@pytest.fixture(scope="module", name="prometheus")
def under_load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    # So few messages that some requests are refused.
    tight = ["--messages-in-flight-max", "2"]
    folder = tmp_path_factory.mktemp("scene")
    with scene(binary(), folder, tight, spec()) as (prometheus, urls), Load(urls):
        for url in urls:
            seen = f'sum(rate(kvstore_http_requests_total{{instance="{url[7:]}", endpoint="/search"}}[6s])) > 0'
            until("searches are seen", lambda seen=seen: prometheus.now(seen))
        until("refused requests are seen", lambda: prometheus.now("rate(kvstore_http_requests_refused_total[6s]) > 0"))
        yield prometheus


def test_the_dashboard_is_what_the_generator_writes() -> None:
    run = subprocess.run([sys.executable, SCRIPTS / "generate.py"], check=True, capture_output=True, text=True)
    assert run.stdout == DASHBOARD.read_text(), "make dashboard"


@pytest.mark.parametrize(("title", "expression"), targets())
def test_a_panel_shows_something(title: str, expression: str, prometheus: Prometheus) -> None:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression

    def numbers() -> list[float]:
        samples = prometheus.now(expression)
        return [float(sample["value"][1]) for sample in samples]

    # A quantile of an endpoint that nobody asked just now is not a number.
    until(f"{title}: {expression} has data", lambda: any(math.isfinite(number) for number in numbers()))


def test_all_matches_series_without_the_labels(prometheus: Prometheus) -> None:
    assert prometheus.now('kvstore_keys{none=~".*"}')


def test_every_rule_is_evaluated(prometheus: Prometheus) -> None:
    def states() -> set[str]:
        groups = prometheus.ask("rules")["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]}

    until("every rule is evaluated", lambda: states() == {"ok"})
    for group in spec()["groups"]:
        for rule in group["rules"]:
            if "record" in rule and "ratio" not in rule["record"]:
                until(f"{rule['record']} has data", lambda rule=rule: prometheus.now(rule["record"]))


def test_a_rule_names_only_metrics_that_there_are(prometheus: Prometheus) -> None:
    for group in spec()["groups"]:
        for rule in group["rules"]:
            metrics = set(re.findall(r"\b(?:kvstore_\w+|namespace\w*:[\w:]+)", rule["expr"]))
            # Those that kvstore does not have are held against their exporter in test_rules.py, or are the kubelet's.
            assert metrics or re.search(r"\bup\{|\bredis_memory_|\bkubelet_volume_stats_", rule["expr"])
            # A rule's own series begin with its first evaluation that has data.
            until(
                f"{sorted(metrics)} are known",
                lambda metrics=metrics: metrics <= set(prometheus.ask("label/__name__/values")),
            )
