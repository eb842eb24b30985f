"""`watcher monitoring`: write the Prometheus and Grafana files that the package carries."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from watcher.errors import ConfigError
from watcher.settings import Settings
from watcher.system.state_dir import targets_folder

MONITORING_FILES = (
    "prometheus/prometheus.yml",
    "prometheus/watcher.rules.yml",
    "prometheus/watcher.alerts.yml",
    "grafana/dashboards/watcher.json",
    "grafana/provisioning/dashboards/watcher.yml",
    "grafana/provisioning/datasources/prometheus.yml",
)

TARGETS = "/targets/*.json"  # in prometheus.yml: the files by which the watchers are found


def write_monitoring(settings: Settings, folder: Path, *, force: bool) -> int:
    """Write the Prometheus and Grafana files into `folder`, relative to the project; raises `ConfigError`."""
    target = settings.root / folder
    source = files("watcher") / "monitoring"
    if not source.is_dir():  # a checkout; the wheel carries these files inside the package
        source = Path(__file__).parents[2] / "config"
    texts = {target / name: source.joinpath(name).read_text("utf-8") for name in MONITORING_FILES}
    config = target / MONITORING_FILES[0]
    texts[config] = texts[config].replace(TARGETS, json.dumps(f"{targets_folder()}/*.json"))
    present = [path for path in texts if path.exists()]
    if present and not force:
        raise ConfigError("output", str(folder), f"{present[0]} exists; --force replaces it")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"wrote {path}")
    return 0
