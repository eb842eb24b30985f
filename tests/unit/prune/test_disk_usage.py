"""What fills the engine's disk, and how much of it is this project's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.facts import missing
from tests.unit.prune.worlds import SCOPE, box, builder, final
from watcher.engine import CacheRecord, Image, Usage, Volume
from watcher.prune import Cache, CacheMount, DiskInventory, NotMeasured, UsageRow, summarize_disk_usage

OURS, GO, THEIRS = final(1), builder(1), Image("sha256:t", ("alpine:latest",))
BOX, OTHER = box(1, OURS), box(2, THEIRS, own=False)
COMPOSE = {"com.docker.compose.project": "shop"}
USAGE = Usage(
    layers=1_000,
    cache=(
        CacheRecord("a", "regular", "", 300, in_use=False, shared=False),
        CacheRecord("b", "regular", "", 40, in_use=True, shared=False),
        CacheRecord("c", "regular", "", 500, in_use=False, shared=True),
        CacheRecord("d", "exec.cachemount", "", 200, in_use=False, shared=False),
    ),
    alone={OURS.id: 20, GO.id: 600, THEIRS.id: 5},
    written={BOX.id: 3, OTHER.id: 4},
    volumes=(Volume("data", COMPOSE, 70, used=True), Volume("old", {}, 8, used=False)),
)
FOUND = DiskInventory(
    usage=USAGE,
    images=(OURS, GO, THEIRS),
    containers=(BOX, OTHER),
    mounts=(CacheMount("/root/.cache/go-build", 120), CacheMount("/go/pkg/mod", 30)),
    steps=44,
    disk=NotMeasured("not looked at"),
)


def shares(**changes: Any) -> dict[str, UsageRow]:
    return {
        share.what: share for share in summarize_disk_usage(replace(FOUND, **changes), SCOPE.project, "shop")
    }


def test_each_kind_is_summed_up_with_this_projects_part() -> None:
    found = shares()
    assert {what: (share.size, share.ours) for what, share in found.items()} == {
        "images": (1_000, 620),
        "written by containers": (7, 3),
        "volumes": (78, 70),
        "build steps and contexts": (340, 44),
        "cache mounts": (200, 150),
    }


def test_what_images_hold_too_is_not_counted_a_second_time_as_build_cache() -> None:
    assert Cache.of(USAGE.cache) == Cache(size=540, mounts=200)


def test_the_notes_say_whose_it_is_and_how_to_be_rid_of_it() -> None:
    found = shares()
    assert found["images"].note.startswith("3 images, 2 of this project")
    assert missing(found["volumes"].note, "2 volumes", "8 B", "unused", "never touched") == []
    assert "proven to have made" in found["build steps and contexts"].note
    note = found["cache mounts"].note
    assert missing(note, "/root/.cache/go-build 120 B", "/go/pkg/mod 30 B", "watcher prune --cache") == []


def test_mounts_that_could_not_be_measured_are_not_called_nothing() -> None:
    unknown = shares(mounts=NotMeasured("golang:alpine is not here"))["cache mounts"]
    assert (unknown.size, unknown.ours) == (200, None)
    assert missing(unknown.note, "unknown", "golang:alpine is not here") == []
    assert shares(mounts=())["cache mounts"] == UsageRow("cache mounts", 200, 0, "none of this project")


def test_the_whole_is_never_less_than_this_projects_part() -> None:
    """The engine's size of a mount is that after an earlier build; the project's was measured now."""
    found = shares(mounts=(CacheMount("/root/.cache/go-build", 260),), steps=999)
    assert (found["cache mounts"].size, found["cache mounts"].ours) == (260, 260)
    assert (found["build steps and contexts"].size, found["build steps and contexts"].ours) == (999, 999)
