"""A real Prometheus scrapes the real daemon; dashboard, rules and alerts work on what it got."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml

from tests.dashboard import query_panels
from tests.e2e.conftest import Project, engine, project, until
from tests.prometheus import Prometheus, program
from watcher import labels
from watcher.system.state_dir import targets_folder

__all__ = ["engine", "project"]  # fixtures

pytestmark = [pytest.mark.engine, pytest.mark.e2e, pytest.mark.timeout(600)]

CONFIG = Path(__file__).parents[2] / "config" / "prometheus"
QUERIES = query_panels()


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


def start_prometheus(folder: Path, target: Path) -> Prometheus:
    """Start one with the shipped configuration, pointed at one target file and scraping every second."""
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(CONFIG / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(target)]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return Prometheus(folder / "prometheus.yml", folder)


DEPENDENCY = """
  cache:
    image: alpine
    command: sleep 100000
    stop_grace_period: 0s
"""


def ask_early(project: Project) -> None:
    """A request from the moment at which the front listens: held until the first version answers."""
    while True:
        with suppress(httpx.ConnectError):
            project.health(timeout=900)
            return
        time.sleep(0.005)


@pytest.fixture(scope="module")
def prometheus(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scraping since before the first build; a version, a compile error and its repair have gone by."""
    compose = project.folder / "docker-compose-dev.yml"
    compose.write_text(compose.read_text().rstrip() + DEPENDENCY)
    early = threading.Thread(target=ask_early, args=(project,))
    early.start()
    project.start("--image.max-size", "100MB", "--front.hold-timeout", "900")
    target = targets_folder() / f"{labels.project_id(project.folder.resolve())}.json"
    server = start_prometheus(tmp_path_factory.mktemp("prometheus"), target)
    try:
        until(lambda: server.value('watcher_info{project!=""}') == 1, "a first scrape")
        early.join()
        project.wait()
        before = server.value("watcher_save_to_live_seconds_count") or 0
        project.set_version("9.0.0")
        assert project.wait()["outcome"] == "live"
        project.version.write_text(project.version.read_text() + "\nthis is no Go\n")
        assert project.wait()["outcome"] == "failed"
        project.version.write_text(project.version.read_text().replace("\nthis is no Go\n", ""))
        project.set_version("9.0.1")
        assert project.wait()["outcome"] == "live"
        assert project.health()["version"] == "9.0.1"
        until(lambda: (server.value("watcher_save_to_live_seconds_count") or 0) >= before + 2, "both saves")
        until(lambda: server.value('watcher_image_size_bytes{stage="builder"}'), "the builder's size")
        until(lambda: server.value('watcher_disk_bytes{kind="go-cache"}'), "what the project holds")
        yield server
    finally:
        server.stop()


def test_the_configuration_and_the_rules_are_valid() -> None:
    checked = promtool("check", "config", str(CONFIG / "prometheus.yml"))
    assert checked.returncode == 0, checked.stderr
    assert re.findall(r"(\d+) rules found", checked.stdout) == ["6", "13"]


@pytest.mark.parametrize("name", [path.name for path in sorted(CONFIG.glob("*.test.yml"))])
def test_the_alerts_fire_when_they_should(name: str) -> None:
    tested = promtool("test", "rules", str(CONFIG / name))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_query_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [{"record": f"panel:query:n{number}", "expr": expr} for number, (_, expr) in enumerate(QUERIES)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_what_the_daemon_exposes_is_clean(project: Project, prometheus: Prometheus) -> None:
    text = httpx.get(project.api() + "metrics", trust_env=False).text
    checked = promtool("check", "metrics", text=text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_watcher_is_scraped_without_an_error(prometheus: Prometheus) -> None:
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.value("up") == 1


# The others need a `watcher doctor --measure`.
WITH_DATA = [each for each in QUERIES if "watcher_image_suggested_bytes" not in each[1]]


@pytest.mark.parametrize(("title", "expr"), WITH_DATA, ids=[title for title, _ in WITH_DATA])
def test_the_panel_has_data(prometheus: Prometheus, title: str, expr: str) -> None:
    until(lambda: (prometheus.ask("query", query=expr) or {}).get("result"), f"data for {title}: {expr}", 30)


def test_the_numbers_are_those_of_what_happened(project: Project, prometheus: Prometheus) -> None:
    until(lambda: prometheus.value("watcher_stale") == 0, "the last state", 30)
    builds = project.metrics()
    for outcome in ("built", "failed"):
        name = f'watcher_builds_total{{outcome="{outcome}",service="go-server"}}'
        assert prometheus.value(name) == builds[name]
    assert prometheus.value('watcher_builds_total{outcome="failed"}') == 1
    assert (
        prometheus.value('watcher_image_size_bytes{stage="final"}')
        == project.status()["images"]["final"]["size"]
    )
    assert prometheus.value("watcher_image_budget_bytes") == 100_000_000
    assert prometheus.value("sum(watcher_front_hold_duration_seconds_count)") == 1


def test_a_slow_build_leads_to_its_revision(project: Project, prometheus: Prometheus) -> None:
    series = prometheus.ask(
        "query_exemplars", query="watcher_save_to_live_seconds_bucket", start="0", end="9999999999"
    )
    revisions = {exemplar["labels"]["revision"] for item in series for exemplar in item["exemplars"]}
    assert project.status()["live"]["revision"][:12] in revisions


def test_the_rules_are_evaluated_and_nothing_alarms(prometheus: Prometheus) -> None:
    until(lambda: prometheus.value("service:watcher_build_duration_seconds:mean1d"), "a recorded value", 90)
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 19
    assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
    assert [alert for alert in prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"] == []
