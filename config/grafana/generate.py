"""Makes dashboards/watcher.json from panels.yml: `python -m config.grafana.generate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
TARGET = HERE / "dashboards" / "watcher.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHERE = 'job=~"$job", project=~"$project", instance=~"$instance"'
MINE = f'{WHERE}, service=~"$service"'
WINDOWS = ("10m", "30m", "1h", "6h", "1d")
WIDTHS = {"stat": 4, "graph": 8, "bars": 8, "states": 12}
HEIGHTS = {"stat": 4}

Json = dict[str, Any]


def _target(letter: int, expr: str, legend: str, *, instant: bool, exemplar: bool = False) -> Json:
    return {
        "refId": chr(65 + letter),
        "datasource": SOURCE,
        "expr": expr.replace("MINE", MINE).replace("WHERE", WHERE),
        "legendFormat": legend,
        "instant": instant,
        "range": not instant,
        "exemplar": exemplar,
    }


def _targets(panel: Json, *, instant: bool) -> list[Json]:
    if "quantiles" in panel:
        buckets = f"sum by (le, project, service) (increase({panel['quantiles']}[$window]))"
        return [
            _target(n, f"histogram_quantile({q}, {buckets})", legend, instant=instant, exemplar=n == 1)
            for n, (q, legend) in enumerate(
                ((0.5, "p50 {{project}} {{service}}"), (0.95, "p95 {{project}} {{service}}"))
            )
        ]
    return [
        _target(n, query["expr"], query.get("legend", ""), instant=instant)
        for n, query in enumerate(panel["queries"])
    ]


def _mappings(words: list[list[str]]) -> list[Json]:
    """Words and colours for 0, 1, … in place of the number."""
    values = {str(n): {"text": text, "color": color, "index": n} for n, (text, color) in enumerate(words)}
    return [{"type": "value", "options": values}]


def _looks(kind: str) -> tuple[str, Json, Json]:
    """Grafana's type of a panel, the defaults of its fields, and its options."""
    legend: Json = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}
    if kind == "stat":
        reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        color = {"color": {"mode": "fixed", "fixedColor": "text"}}
        return "stat", color, {"reduceOptions": reduce, "colorMode": "value", "graphMode": "none"}
    if kind == "states":
        merged = {"mergeValues": True, "showValue": "never", "rowHeight": 0.8}
        return "state-timeline", {"custom": {"fillOpacity": 70}}, legend | merged
    custom: Json = {"fillOpacity": 8, "lineWidth": 2, "showPoints": "auto", "spanNulls": True}
    if kind == "bars":
        custom = {"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0, "stacking": {"mode": "normal"}}
    return "timeseries", {"custom": custom, "min": 0}, legend | {"tooltip": {"mode": "multi", "sort": "desc"}}


def _panel(panel: Json, kind: str) -> Json:
    made, defaults, options = _looks(kind)
    defaults["unit"] = panel["unit"]
    if "words" in panel:
        defaults |= {"mappings": _mappings(panel["words"]), "color": {"mode": "thresholds"}}
    if any("instance)" in query["expr"].partition("{")[0] for query in panel.get("queries", ())):
        url = "http://${__field.labels.instance}/"  # of the series that was clicked
        defaults["links"] = [{"title": "Status page", "url": url, "targetBlank": True}]
    return {
        "type": made,
        "title": panel[kind],
        "description": panel["about"],
        "datasource": SOURCE,
        "targets": _targets(panel, instant=kind == "stat"),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def _laid_out(rows: list[Json]) -> list[Json]:
    """All panels under the headings of their rows, each with its place and number."""
    out: list[Json] = []
    y = 0
    for row in rows:
        heading = {"type": "row", "title": row["row"], "collapsed": False, "panels": []}
        out.append(heading | {"gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        x, y, height = 0, y + 1, 0
        for panel in row["panels"]:
            kind = next(kind for kind in WIDTHS if kind in panel)
            width = panel.get("width", WIDTHS[kind])
            if x + width > 24:
                x, y = 0, y + height
            height = HEIGHTS.get(kind, 8)
            out.append(_panel(panel, kind) | {"gridPos": {"x": x, "y": y, "w": width, "h": height}})
            x += width
        y += height
    return [panel | {"id": number} for number, panel in enumerate(out, 1)]


def _variable(name: str, label: str, values: str, every: str = ".+") -> Json:
    """A variable with the values of a label; `every` is the pattern of All."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": values, "refId": f"variable-{name}"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": every,
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _variables() -> list[Json]:
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "current": {"text": "Prometheus", "value": "watcher-prometheus"},
        },
        _variable("job", "Job", "label_values(watcher_info, job)"),
        # Of a watcher that was not found by its target file there is no project.
        _variable("project", "Project", 'label_values(watcher_info{job=~"$job"}, project)', every=".*"),
        _variable(
            "instance",
            "Instance",
            'label_values(watcher_info{job=~"$job", project=~"$project"}, instance)',
        ),
        _variable("service", "Service", f"label_values(watcher_builds_total{{{WHERE}}}, service)"),
        {
            "type": "custom",
            "name": "window",
            "label": "Window",
            "query": ",".join(WINDOWS),
            "current": {"text": "30m", "value": "30m"},
            "options": [{"text": size, "value": size, "selected": size == "30m"} for size in WINDOWS],
        },
    ]


def dashboard() -> Json:
    """The whole document."""
    deploys = {
        "name": "Deploys",
        "enable": True,
        "datasource": SOURCE,
        "iconColor": "green",
        "expr": f"max by (project, service) (watcher_live_revision_timestamp_seconds{{{MINE}}}) * 1000",
        "useValueForTime": "on",  # the value is the time of the deploy, in milliseconds
        "titleFormat": "{{project}} {{service}} went live",
        "step": "15s",
    }
    return {
        "uid": "watcher",
        "title": "watcher",
        "description": "From a save to the new version answering: time, size, failures, disk.",
        "tags": ["watcher"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": [deploys]},
        "links": [],
        "panels": _laid_out(yaml.safe_load((HERE / "panels.yml").read_text("utf-8"))),
    }


def text() -> str:
    """The document as it stands in the file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
