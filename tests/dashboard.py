"""The queries of the dashboard, with its variables replaced by values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from config.grafana import generate

DASHBOARD: dict[str, Any] = json.loads(generate.TARGET.read_text("utf-8"))
ALL = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$window": "30m",
    "$job": ".+",
    "$instance": ".+",
    "$project": ".+",
    "$service": ".+",
}


def query_panels(chosen: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """The title and query of each panel and annotation; `chosen` replaces the value of some variables."""
    values = {**ALL, **(chosen or {})}
    found = [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    found += [("annotation", item["expr"]) for item in DASHBOARD["annotations"]["list"]]
    return [(title, re.sub(r"\$\w+", lambda match: values[match.group()], expr)) for title, expr in found]
