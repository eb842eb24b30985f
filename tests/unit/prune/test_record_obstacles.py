"""Why a build cache record of a project that builds nothing any more stays, and what passes by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from tests.unit.prune.test_build_records import COPY, build, record, step
from tests.unit.prune.test_gone import Buildkit
from tests.unit.prune.test_marked_records import marked_by
from watcher.backoff import Backoff
from watcher.builder import BuildJournal
from watcher.buildkit import UsageInfo
from watcher.prune.gone_caches import GoneCaches
from watcher.prune.model import Cause, Verdict
from watcher.prune.record_obstacles import Obstacle, find_obstacles

AT_ONCE = Backoff(0.0, 0.0)
A, B, C = (
    record("a", 1.0, COPY),
    record("b", 2.0, COPY, parents=("a",)),
    record("c", 3.0, COPY, parents=("b",)),
)


@pytest.mark.parametrize(
    ("records", "own", "expected"),
    [
        ([A, B], "ab", Obstacle.RELEASE),
        ([replace(A, in_use=True)], "a", Obstacle.RELEASE),
        ([B], "ab", Obstacle.GONE),
        ([A, B], "a", Obstacle.OTHERS),
        ([A, B, C], "ab", Obstacle.OTHERS),
        ([replace(A, shared=True)], "a", Obstacle.IMAGE),
        ([A, B, replace(C, shared=True)], "abc", Obstacle.IMAGE),
        ([replace(A, shared=True), B], "a", Obstacle.OTHERS),
    ],
)
def test_what_keeps_a_record(records: list[UsageInfo], own: str, expected: Obstacle) -> None:
    assert find_obstacles(["a"], records, own) == {"a": expected}


@given(st.data())
def test_a_record_is_released_only_if_all_that_is_built_on_it_is(data: st.DataObject) -> None:
    names = "abcdef"
    records = [
        replace(
            record(name, 1.0, COPY, parents=tuple(data.draw(st.sets(st.sampled_from(names))))),
            shared=data.draw(st.booleans()),
        )
        for name in names
    ]
    own = data.draw(st.sets(st.sampled_from(names)))
    found = find_obstacles(names, records, own)
    for child in records:
        for parent in child.parents:
            if found[parent] is Obstacle.RELEASE:
                assert found[child.id] is Obstacle.RELEASE
                assert child.id in own


class Busy(Buildkit):
    """It keeps what is built on, and releases records after some calls only."""

    def __init__(self, *records: UsageInfo, calls: int) -> None:
        super().__init__(records={each.id: each for each in records})
        self.calls = calls

    async def remove_records(self, ids: Any, *, shared: bool = False) -> list[UsageInfo]:
        self.calls -= 1
        done = []
        for name in ids:
            built_on = {parent for each in self.records.values() for parent in each.parents}
            if self.calls < 0 and name in self.records and name not in built_on:
                done.append(self.records.pop(name))
        return done


def caches(folder: Path, buildkit: Busy, *, patience: float = 15.0) -> GoneCaches:
    link: Any = buildkit
    found = GoneCaches(link, "shop-0123456789", folder, "cache", patience=patience, retry=AT_ONCE)
    journal = BuildJournal(folder, cache="cache")
    journal.update(lambda _: [build(1, step(1), step(1, "[2/2] COPY b .", after=2))])
    return found


OWN = (record("a1", 101.05, COPY), record("b1", 102.05, "[2/2] COPY b .", parents=("a1",)))


def summarize(verdicts: tuple[Verdict, ...]) -> dict[str, str]:
    return {each.id: "removed" if each.remove else each.why.cause for each in verdicts if each.kind == "step"}


async def test_a_busy_buildkit_is_asked_again_until_it_has_released_the_records(tmp_path: Path) -> None:
    buildkit = Busy(*OWN, calls=3)
    found = await caches(tmp_path, buildkit).remove(low=False)
    assert summarize(found) == {"a1": "removed", "b1": "removed"}
    assert buildkit.records == {}


async def test_the_size_of_go_caches_is_that_of_the_mounts_which_the_project_created(tmp_path: Path) -> None:
    """BuildKit does not report the id of a mount; the command that created it names the project."""
    own = marked_by("shop-0123456789").removeprefix("mount / from exec ")
    other = marked_by("shop-9876543210").removeprefix("mount / from exec ")
    commands = {"m1": own, "m2": own, "m3": other}
    mounts = {
        name: record(name, 1.0, f"cached mount /go/pkg/mod from exec {command}", kind="exec.cachemount")
        for name, command in commands.items()
    }
    buildkit = Busy(calls=0)
    buildkit.mounts = mounts
    found = [each for each in await caches(tmp_path, buildkit).judge(low=False) if each.kind == "go-cache"]
    assert sum(each.size for each in found) == 44
    assert all(each.remove for each in found)


class Holding(Busy):
    """It drops only the cache mounts whose record is in `loose`: a stopped build holds the others."""

    loose: frozenset[str] = frozenset()

    async def solve(self, request: Any, _: object) -> None:
        self.mounts = {name: each for name, each in self.mounts.items() if name not in self.loose}


def own_mounts() -> dict[str, UsageInfo]:
    command = marked_by("shop-0123456789").removeprefix("mount / from exec ")
    text = f"cached mount /go/pkg/mod from exec {command}"
    return {name: record(name, 1.0, text, kind="exec.cachemount") for name in ("m1", "m2")}


@pytest.mark.parametrize(
    ("loose", "removed", "size", "said"),
    [
        ((), False, 44, ("BuildKit still holds it", "restart of the engine")),
        (("m1",), True, 22, ("1 with 22 B", "BuildKit still holds")),
        (("m1", "m2"), True, 44, ("project is gone",)),
    ],
)
async def test_a_go_cache_that_is_still_there_is_not_called_removed(
    loose: tuple[str, ...], removed: bool, size: int, said: tuple[str, ...], tmp_path: Path
) -> None:
    buildkit = Holding(calls=0)
    buildkit.mounts, buildkit.loose = own_mounts(), frozenset(loose)
    link: Any = buildkit
    gone = GoneCaches(link, "shop-0123456789", tmp_path, "cache", mount_seconds=0.0)
    found = [each for each in await gone.remove(low=False) if each.kind == "go-cache"]
    assert {each.remove for each in found} == {removed}
    assert sum(each.size for each in found) == size
    assert not missing(found[0].reason, *said)


async def test_a_record_that_is_never_released_is_reported_after_a_time(tmp_path: Path) -> None:
    buildkit = Busy(*OWN, calls=10**9)
    found = await caches(tmp_path, buildkit, patience=0.0).remove(low=False)
    assert summarize(found) == {"a1": Cause.IN_USE, "b1": Cause.IN_USE}
    assert missing(found[0].reason, "running") == []


async def test_what_another_build_is_built_on_is_left_to_it_without_a_wait(tmp_path: Path) -> None:
    other = record("other", 103.0, "[2/2] COPY c .", parents=("a1",))
    buildkit = Busy(*OWN, other, calls=0)
    found = await caches(tmp_path, buildkit).remove(low=False)
    assert summarize(found) == {"a1": Cause.FOREIGN, "b1": "removed"}
    assert set(buildkit.records) == {"a1", "other"}


async def test_what_another_program_removed_meanwhile_is_not_called_left(tmp_path: Path) -> None:
    buildkit = Busy(*OWN, calls=10**9)
    remove = buildkit.remove_records

    async def lose(ids: Any, *, shared: bool = False) -> list[UsageInfo]:
        buildkit.records.clear()
        return await remove(ids, shared=shared)

    buildkit.remove_records = lose  # type: ignore[method-assign]
    found = await caches(tmp_path, buildkit).remove(low=False)
    assert summarize(found) == {"a1": Cause.GONE, "b1": Cause.GONE}
