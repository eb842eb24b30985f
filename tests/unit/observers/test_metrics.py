"""Events counted, timed and measured."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.unit.observers.conftest import measured
from tests.unit.observers.story import CRASH, SERVICE, Story, image, revision
from watcher.observers.events import (
    BuildCachePruned,
    BuildFinished,
    BuildOutcome,
    ContainerLost,
    DeployOutcome,
    EngineDown,
    EngineUp,
    Fanout,
    FrontExchange,
    FrontHeld,
    FrontRefused,
    GoCacheTrimmed,
    ImageExplained,
    InternalError,
    Pruned,
    PrunedItem,
    ServiceRemoved,
    ServiceStarted,
    SourceEvents,
    SourceMode,
    SourceScanned,
    short,
)
from watcher.observers.exposition import expose_metrics
from watcher.observers.metric_specs import SPECS
from watcher.observers.metric_store import MOST_VALUES
from watcher.observers.metrics import PLACES, Metrics
from watcher.observers.status_board import StatusBoard

pytestmark = pytest.mark.libraries

REQUIRED = (
    "watcher_build_duration_seconds",
    "watcher_build_step_duration_seconds",
    "watcher_build_cache_hits_total",
    "watcher_builds_total",
    "watcher_image_size_bytes",
    "watcher_save_to_live_seconds",
    "watcher_deploys_total",
    "watcher_deploy_duration_seconds",
    "watcher_context_bytes",
    "watcher_pruned_images_total",
    "watcher_prune_freed_bytes_total",
    "watcher_kept_images",
    "watcher_kept_image_bytes",
    "watcher_stale",
    "watcher_live_revision_timestamp_seconds",
    "watcher_last_change_timestamp_seconds",
    "watcher_engine_up",
    "watcher_source_events_total",
    "watcher_source_rescans_total",
    "watcher_front_requests_total",
    "watcher_front_held_requests",
    "watcher_front_request_duration_seconds",
    "watcher_info",
)
DISK_KINDS = ("images", "steps", "go-cache", "module-cache", "others")
LABELS = frozenset(
    (
        "service stage outcome kind reason code_class port phase where version python dependency component"
    ).split()
)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    spec = next(spec for spec in SPECS if name.startswith(spec.name))
    if "service" in spec.labels:
        labels.setdefault("service", SERVICE)
    return registry.get_sample_value(name, labels)


@pytest.mark.parametrize("name", REQUIRED)
def test_the_promised_metric_exists(name: str) -> None:
    assert name in {spec.name for spec in SPECS}


def test_names_follow_the_conventions() -> None:
    for spec in SPECS:
        assert re.fullmatch(r"watcher_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.type == "counter")
        assert spec.help.endswith(".")
        if spec.type == "histogram":
            assert spec.name.endswith("_seconds")
            assert list(spec.buckets) == sorted(set(spec.buckets))
        assert set(spec.labels) <= LABELS


def test_build_buckets_reach_from_a_tenth_of_a_second_to_ten_minutes() -> None:
    builds = next(spec for spec in SPECS if spec.name == "watcher_build_duration_seconds")
    assert (builds.buckets[0], builds.buckets[-1]) == (0.1, 600)


def test_the_components_are_those_of_the_newest_image_alone(story: Story) -> None:
    for components in ((("gin", 3), ("DWARF", 2), ("other", 1)), (("gin", 4), ("/zones", 2))):
        size = sum(bytes_ for _, bytes_ in components)
        story.tell(ImageExplained, revision="r", image="i", size=size, components=components)
    registry = measured(story)
    name = "watcher_image_component_bytes"
    assert (value(registry, name, component="gin"), value(registry, name, component="/zones")) == (4, 2)
    assert value(registry, name, component="DWARF") is None
    assert value(measured(story.tell(ServiceRemoved)), name, component="gin") is None


def test_what_is_not_known_is_absent_and_what_may_come_is_zero(story: Story) -> None:
    registry = measured(story)
    for name in ("watcher_stale", "watcher_live_revision_timestamp_seconds", "watcher_image_budget_bytes"):
        assert value(registry, name) is None
    assert value(registry, "watcher_image_size_bytes", stage="final") is None
    for outcome in BuildOutcome:
        assert value(registry, "watcher_builds_total", outcome=outcome) == 0
    for deploy in DeployOutcome:
        assert value(registry, "watcher_deploys_total", outcome=deploy) == 0
    assert value(registry, "watcher_source_rescans_total", reason="overflow") == 0


def test_the_engine_is_absent_until_it_was_asked() -> None:
    registry, board = CollectorRegistry(), StatusBoard()
    metrics = Fanout(board, Metrics(registry, board))
    assert registry.get_sample_value("watcher_engine_up") is None
    metrics.notify(EngineUp(version="20", store="overlay2", endpoint="unix"))
    assert registry.get_sample_value("watcher_engine_up") == 1
    metrics.notify(EngineDown(reason="gone", retry_in=1))
    assert registry.get_sample_value("watcher_engine_up") == 0


def test_good_failed_and_cancelled_builds_are_timed_apart(story: Story) -> None:
    registry = measured(story.cycle(1).failing(2).save(3).begin(3).cancelled(3))
    for outcome, seconds in (("built", 1.45), ("failed", 0.92), ("cancelled", 0.3)):
        assert value(registry, "watcher_builds_total", outcome=outcome) == 1
        assert value(registry, "watcher_build_duration_seconds_count", outcome=outcome) == 1
        assert value(registry, "watcher_build_duration_seconds_sum", outcome=outcome) == seconds
    assert value(registry, "watcher_builds_in_progress") == 0
    assert value(registry, "watcher_build_sent_bytes_total") == 312


def test_cached_and_failed_steps_are_counted_but_not_timed(story: Story) -> None:
    registry = measured(story.failing(1))
    assert value(registry, "watcher_build_steps_total", stage="builder") == 4
    assert value(registry, "watcher_build_cache_hits_total", stage="builder") == 2
    assert value(registry, "watcher_build_cache_hits_total", stage="internal") == 0
    assert value(registry, "watcher_build_step_duration_seconds_count", stage="builder") == 1


def test_from_save_to_live_is_timed_for_good_deploys_only(story: Story) -> None:
    story.cycle(1).save(2).begin(2).built(2).deploy(2, DeployOutcome.FAILED)
    registry = measured(story)
    assert value(registry, "watcher_save_to_live_seconds_count") == 1
    assert value(registry, "watcher_save_to_live_seconds_sum") == 1.86
    assert value(registry, "watcher_deploys_total", outcome="failed") == 1
    assert value(registry, "watcher_deploy_phase_duration_seconds_sum", phase="start") == 0.21


def test_stale_follows_wanted_and_live(story: Story) -> None:
    assert value(measured(story.save(1)), "watcher_stale") == 1
    registry = measured(story.begin(1).built(1).deploy(1))
    assert value(registry, "watcher_stale") == 0
    assert value(registry, "watcher_live_revision_timestamp_seconds") == story.now
    story.tell(ContainerLost, revision=revision(1), container="c1", failure=CRASH)
    registry = measured(story)
    assert value(registry, "watcher_stale") == 1
    assert value(registry, "watcher_live_revision_timestamp_seconds") is None
    assert value(registry, "watcher_container_losses_total") == 1


def test_images_are_measured_by_stage_beside_their_budget(story: Story) -> None:
    story.cycle(1, size=24_200_000).sized(1, 602_000_000, "builder")
    named: dict[str, Any] = {"urls": (), "compose_file": "", "image": "", "container": ""}
    registry = measured(story.tell(ServiceStarted, image_budget=30_000_000, **named))
    assert value(registry, "watcher_image_size_bytes", stage="final") == 24_200_000
    assert value(registry, "watcher_image_size_bytes", stage="builder") == 602_000_000
    assert value(registry, "watcher_image_budget_bytes") == 30_000_000


def test_pruned_bytes_add_up_to_what_was_freed(story: Story) -> None:
    items = (
        PrunedItem("final", "a", "", 20, True, "", "superseded"),
        PrunedItem("builder", "b", "", 600, True, "", "untagged"),
        PrunedItem("container", "c", "", 180, True, "", "left-behind"),
        PrunedItem("final", "d", "", 20, False, "it is live", "live"),
        PrunedItem("step", "e", "RUN go build", 50, True, "", "superseded"),
    )
    registry = measured(story.tell(Pruned, items=items, freed=450, seconds=0.1))
    assert value(registry, "watcher_pruned_images_total", kind="final", reason="superseded") == 1
    assert value(registry, "watcher_pruned_images_total", kind="builder", reason="untagged") == 1
    assert value(registry, "watcher_pruned_images_total", kind="container", reason="left-behind") is None
    why = {"final": "superseded", "builder": "untagged", "container": "left-behind", "step": "superseded"}
    shares = [
        value(registry, "watcher_prune_freed_bytes_total", kind=kind, reason=reason)
        for kind, reason in why.items()
    ]
    assert shares == [10, 300, 90, 50]


def test_what_a_prune_kept_is_measured_by_reason_until_the_next(story: Story) -> None:
    live = PrunedItem("final", "a", "", 20, False, "it is live", "live")
    young = tuple(PrunedItem("final", name, "", 30, False, "4 s old", "young") for name in "bc")
    registry = measured(story.tell(Pruned, items=(live, *young), freed=0, seconds=0.1))
    assert value(registry, "watcher_kept_images", kind="final", reason="young") == 2
    assert value(registry, "watcher_kept_image_bytes", kind="final", reason="young") == 60
    registry = measured(story.tell(Pruned, items=(live,), freed=0, seconds=0.1))
    assert value(registry, "watcher_kept_images", kind="final", reason="live") == 1
    assert value(registry, "watcher_kept_images", kind="final", reason="young") is None
    assert value(registry, "watcher_kept_image_bytes", kind="final", reason="young") is None


def test_a_prune_that_freed_nothing_counts_its_images(story: Story) -> None:
    items = (PrunedItem("final", "a", "", 0, True, "", "superseded"),)
    registry = measured(story.tell(Pruned, items=items, freed=0, seconds=0.1))
    assert value(registry, "watcher_pruned_images_total", kind="final", reason="superseded") == 1
    assert value(registry, "watcher_prune_freed_bytes_total", kind="final", reason="superseded") == 0


def test_the_build_cache_counts_among_the_bytes_given_back(story: Story) -> None:
    registry = measured(story.tell(BuildCachePruned, records=3, freed=700))
    assert value(registry, "watcher_prune_freed_bytes_total", kind="build-cache", reason="unused") == 700


def test_what_a_trim_of_the_go_cache_gave_back_counts_too(story: Story) -> None:
    registry = measured(story.tell(GoCacheTrimmed, freed=700, left=20))
    assert value(registry, "watcher_prune_freed_bytes_total", kind="go-cache", reason="unused") == 700


@pytest.mark.parametrize("kind", ["final", "builder", "step", "go-cache", "build-cache"])
def test_every_kind_of_freed_bytes_is_there_from_the_start(story: Story, kind: str) -> None:
    found = measured(story).collect()
    samples = [each for family in found for each in family.samples]
    freed = [each for each in samples if each.name == "watcher_prune_freed_bytes_total"]
    assert [each.value for each in freed if each.labels["kind"] == kind] == [0]


def test_what_the_project_holds_on_the_disk_is_measured_by_kind(story: Story) -> None:
    registry = measured(story.disk())
    kinds = {name: value(registry, "watcher_disk_bytes", kind=name) for name in DISK_KINDS}
    assert kinds == dict(zip(DISK_KINDS, (31e6, 132e6, 412e6, 96e6, 21.4e9), strict=True))
    registry = measured(story.disk(None))
    assert value(registry, "watcher_disk_bytes", kind="go-cache") is None
    assert value(registry, "watcher_disk_bytes", kind="steps") == 132e6


def test_requests_are_counted_by_class_and_tunnels_are_not_timed(story: Story) -> None:
    story.traffic(200, 404, 500, 101, 0).tell(FrontExchange, code=200, seconds=2.0, held=1.5)
    story.tell(FrontHeld, held=4).tell(FrontRefused, reason="limit", code=503)
    registry = measured(story)
    counted = {name: value(registry, "watcher_front_requests_total", code_class=name) for name in
               ("2xx", "3xx", "4xx", "5xx", "1xx", "raw")}  # fmt: skip
    assert counted == {"2xx": 2, "3xx": 0, "4xx": 1, "5xx": 1, "1xx": 1, "raw": 1}
    assert value(registry, "watcher_front_request_duration_seconds_count") == 4
    assert value(registry, "watcher_front_hold_duration_seconds_sum") == 1.5
    assert value(registry, "watcher_front_held_requests") == 4
    assert value(registry, "watcher_front_refused_total", reason="limit") == 1


def test_the_source_is_measured(story: Story) -> None:
    story.tell(SourceEvents, count=907).tell(SourceMode, mode="polling", reason="a bind mount")
    story.tell(SourceScanned, reason="overflow", full=True, seconds=0.2, files=9, context_bytes=77)
    registry = measured(story)
    assert value(registry, "watcher_source_events_total") == 907
    assert value(registry, "watcher_source_polling") == 1
    assert value(registry, "watcher_source_rescans_total", reason="overflow") == 1
    assert value(registry, "watcher_context_bytes") == 77


def test_labels_that_the_project_names_stay_bounded(story: Story) -> None:
    for number in range(500):
        story.tell(SourceScanned, reason=f"r{number}", full=True, seconds=0, files=0, context_bytes=0)
        story.tell(InternalError, where=f"w{number}", traceback="")
    registry = measured(story)
    reasons = {
        sample.labels["reason"]
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "watcher_source_rescans_total"
    }
    assert len(reasons) <= MOST_VALUES + 1
    assert "other" in reasons
    others = registry.get_sample_value("watcher_internal_errors_total", {"where": "other"})
    assert others == 500 - (MOST_VALUES - len(PLACES))


def test_no_label_holds_a_path_a_revision_or_an_id(story: Story) -> None:
    story.cycle(1).failing(2).pruned().traffic(200)
    text = expose_metrics(measured(story))[0].decode()
    assert revision(1)[:12] not in text
    assert image(1)[7:19] not in text
    assert "health.go" not in text


def test_plain_text_has_no_created_series_and_openmetrics_has_both_them_and_exemplars(story: Story) -> None:
    registry = measured(story.cycle(1))
    text, content_type = expose_metrics(registry)
    assert content_type.startswith("text/plain")
    assert b"_created" not in text
    families = {family.name for family in parse_text(text.decode())}
    assert "watcher_save_to_live_seconds" in families

    text, content_type = expose_metrics(registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    samples = [
        sample
        for family in parse_openmetrics(text.decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
    ]
    exemplars = [sample.exemplar for sample in samples if sample.exemplar]
    assert {exemplar.labels["revision"] for exemplar in exemplars} == {short(revision(1))}
    assert any(sample.name == "watcher_builds_created" for sample in samples)


def test_a_scrape_does_not_change_what_the_next_one_sees(story: Story) -> None:
    registry = measured(story.cycle(1))
    openmetrics = "application/openmetrics-text; version=1.0.0"
    expose_metrics(registry)
    assert b"watcher_builds_created" in expose_metrics(registry, openmetrics)[0]


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/openmetrics-text; version=x.y", "text/plain;version=zz", ";;;,", "text/html"],
)
def test_an_odd_accept_header_is_answered_in_plain_text(story: Story, accept: str) -> None:
    assert expose_metrics(measured(story), accept)[1].startswith("text/plain")


def test_two_services_are_two_series() -> None:
    registry, board = CollectorRegistry(), StatusBoard()
    metrics = Fanout(board, Metrics(registry, board))
    for event in Story("one").start().cycle(1).events + Story("two").start().failing(2).events:
        metrics.notify(event)
    assert value(registry, "watcher_stale", service="one") == 0
    assert value(registry, "watcher_stale", service="two") == 1


def test_a_failed_build_without_an_image_leaves_the_size_alone(story: Story) -> None:
    story.cycle(1, size=5).tell(BuildFinished, revision=revision(2), outcome=BuildOutcome.ERROR, seconds=1.0)
    assert value(measured(story), "watcher_image_size_bytes", stage="final") == 5
