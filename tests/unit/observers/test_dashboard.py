"""The dashboard, rules and documents name the metrics that exist, and the file is what its panels make."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.grafana import generate
from watcher.cli import monitoring
from watcher.observers.metric_specs import SPECS

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "config" / "prometheus"
GRAFANA = ROOT / "config" / "grafana"
SUFFIXES = r"(?:_bucket|_sum|_count)?"
NAMES = {spec.name: spec for spec in SPECS}
DASHBOARD: dict[str, Any] = json.loads(generate.TARGET.read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def named(text: str) -> set[str]:
    """The metrics of the watcher that `text` names; recording rules have a colon before."""
    return set(re.findall(rf"(?<![:\w])(watcher_[a-z_]+?){SUFFIXES}(?![a-z_:])", text))


def test_the_dashboard_is_what_its_panels_make() -> None:
    assert generate.TARGET.read_text("utf-8") == generate.text(), "run: python -m config.grafana.generate"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_in_what_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    for target in panel["targets"]:
        assert 'job=~"$job", project=~"$project", instance=~"$instance"' in target["expr"]
        assert "MINE" not in target["expr"]
        assert target["datasource"]["uid"] == "${datasource}"


def test_no_two_panels_overlap_or_share_a_title() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & mine
        assert place["x"] + place["w"] <= 24
        cells |= mine
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_that_is_asked_for_exists() -> None:
    texts = [generate.TARGET.read_text("utf-8"), *(path.read_text("utf-8") for path in PROMETHEUS.iterdir())]
    assert named("".join(texts)) <= set(NAMES)


def test_every_metric_is_on_the_dashboard() -> None:
    assert set(NAMES) - named(generate.TARGET.read_text("utf-8")) <= {
        "watcher_last_change_timestamp_seconds",  # for scripts: compare with the live revision's
        "watcher_deploy_duration_seconds",  # the dashboard shows it by part
    }


def test_histograms_are_asked_for_by_their_parts_and_counters_over_time() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for name, suffix in re.findall(r"(watcher_[a-z_]+?)(_bucket|_sum|_count)?\{", target["expr"]):
                assert bool(suffix) == (NAMES[name].type == "histogram")
                if NAMES[name].type != "gauge":
                    assert re.search(rf"(?:increase|rate)\({name}", target["expr"])


def test_labels_in_queries_are_those_of_the_metrics() -> None:
    labels = {label for spec in SPECS for label in spec.labels} | {"job", "project", "instance", "le"}
    for panel in PANELS:
        for target in panel["targets"]:
            for group in re.findall(r"by \(([^)]+)\)", target["expr"]):
                assert set(group.split(", ")) <= labels


def test_the_provisioned_source_and_folder_are_those_of_the_compose_file() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    folder = yaml.safe_load((GRAFANA / "provisioning/dashboards/watcher.yml").read_text())
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    variables = {item["name"]: item for item in DASHBOARD["templating"]["list"]}
    assert source["datasources"][0]["uid"] == variables["datasource"]["current"]["value"]
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["grafana"]["volumes"] if "/" in mount)
    assert mounts["./config/grafana/dashboards"] == folder["providers"][0]["options"]["path"]
    assert mounts["./config/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_every_image_of_the_compose_file_is_pinned() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for service in compose["services"].values():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+\}$", service["image"])


def test_no_container_of_the_compose_file_may_more_than_it_needs() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        for mount in service["volumes"]:
            source = mount.rpartition(":/")[0]
            assert mount.endswith(":ro") or source in (
                "state",
                "${TARGETS:-targets}",
                "prometheus",
                "grafana",
                "/var/run/docker.sock",
            ), mount
    grafana = services["grafana"]["environment"]
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert grafana["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]


def test_every_alert_has_a_test_and_says_what_to_do() -> None:
    rules = yaml.safe_load((PROMETHEUS / "watcher.alerts.yml").read_text())["groups"][0]["rules"]
    tests = "".join(path.read_text() for path in PROMETHEUS.glob("*.test.yml"))
    for rule in rules:
        assert f"alertname: {rule['alert']}" in tests
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_a_project_can_be_chosen_and_one_without_a_target_file_is_not_lost() -> None:
    variables = {item["name"]: item for item in DASHBOARD["templating"]["list"]}
    assert re.fullmatch(variables["project"]["allValue"], "")
    assert re.fullmatch(variables["instance"]["allValue"], "") is None


def test_series_of_several_projects_are_not_added_up_by_the_name_of_a_service() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for group in re.findall(r"by \(([^)]+)\)", target["expr"]):
                labels = group.split(", ")
                assert "project" in labels or not {"service", "dependency", "instance"} & {*labels}


def test_every_alert_names_the_project() -> None:
    (group,) = yaml.safe_load((PROMETHEUS / "watcher.alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert "$labels.project" in rule["annotations"]["summary"], rule["alert"]


def test_prometheus_reads_the_folder_that_the_compose_file_mounts() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (files,) = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    mounts = {mount.removesuffix(":ro").rpartition(":")[2] for mount in services["prometheus"]["volumes"]}
    assert str(Path(files).parent) in mounts
    assert files == monitoring.TARGETS
    own = {mount.rpartition(":")[2] for mount in services["watcher"]["volumes"]}
    assert f"{services['watcher']['environment']['XDG_STATE_HOME']}/watcher/targets" in own
