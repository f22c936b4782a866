"""Writes the Grafana dashboard from the list of its panels.

    python3 scripts/dashboard/generate.py > k8s/components/monitoring/dashboard.json
"""

import json
import sys

from panels import ROWS, Panel

SOURCE = {"type": "prometheus", "uid": "${datasource}"}

HEIGHT = {"stat": 4, "timeseries": 8, "heatmap": 8}
"""Grid units, of which a row of a dashboard is 24 wide."""


def dashboard() -> dict:
    return {
        "title": "kvstore",
        "uid": "kvstore",
        "description": "Requests, latency, saturation, memory and the engine of kvstore servers.",
        "tags": ["kvstore"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables()},
        "panels": panels(),
    }


def variables() -> list[dict]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return [source, variable("namespace", "kvstore_build_info"), variable("pod", 'kvstore_build_info{namespace=~"$namespace"}')]


def variable(name: str, series: str) -> dict:
    query = f"label_values({series}, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        # With every load of the dashboard, and when its time range changes.
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


def panels() -> list[dict]:
    placed, y = [], 0
    for row, members in ROWS.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        placed.append({"id": len(placed) + 1, "type": "row", "title": row, "gridPos": place, "collapsed": False, "panels": []})
        x, y = 0, y + 1
        for panel in members:
            if x + panel.width > 24:
                x, y = 0, y + HEIGHT[panel.kind]
            place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT[panel.kind]}
            placed.append(drawn(panel, len(placed) + 1, place))
            x += panel.width
        y += HEIGHT[members[-1].kind]
    return placed


def drawn(panel: Panel, number: int, place: dict) -> dict:
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "format": "heatmap" if panel.kind == "heatmap" else "time_series",
            "instant": False,
            "range": True,
        }
        for index, (legend, expression) in enumerate(panel.queries.items())
    ]
    steps = [{"value": value, "color": color} for value, color in panel.thresholds] or [{"value": None, "color": "blue"}]
    defaults: dict = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options(panel),
    }


def options(panel: Panel) -> dict:
    if panel.kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    if panel.kind == "heatmap":
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
            "yAxis": {"unit": panel.unit},
            "legend": {"show": False},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    print()
