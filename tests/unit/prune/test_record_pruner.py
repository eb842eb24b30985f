"""Giving back what superseded builds left, against a BuildKit whose cache is a list."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.facts import missing
from tests.unit.prune.test_build_records import COPY, build, record, step
from tests.unit.prune.test_marked_records import OURS, PROJECT
from watcher.builder import BuildJournal
from watcher.buildkit import ConnectError, StepFinished, UsageInfo, parse_step
from watcher.errors import EngineUnavailable
from watcher.prune import Cause, Marks, RecordPruner
from watcher.prune.record_pruner import QUIET


class Buildkit:
    """A link and its client at once. Records that another one is built on stay."""

    def __init__(self, *records: UsageInfo) -> None:
        self.records = {each.id: each for each in records}
        self.asked: list[str] = []
        self.gone = self.forgets = self.shared = False
        self.limit: int | None = None
        self.tags = {f"shop:rev-rev{number}" for number in range(1, 70)}

    async def forgets_when_pruned(self) -> bool:
        return self.forgets

    async def image_tags(self) -> set[str]:
        return self.tags

    async def cache_limit(self) -> int | None:
        return self.limit

    async def client(self) -> Buildkit:
        return self

    async def disk_usage(self) -> list[UsageInfo]:
        if self.gone:
            raise ConnectError("gone")
        return list(self.records.values())

    async def remove_records(self, ids: Sequence[str], *, shared: bool = False) -> list[UsageInfo]:
        self.asked += ids
        self.shared = shared
        done = []
        for name in ids:
            parents = {parent for each in self.records.values() for parent in each.parents}
            if name in self.records and name not in parents:
                done.append(self.records.pop(name))
        return done


class Bench:
    def __init__(self, folder: Path) -> None:
        self.journal = BuildJournal(folder)
        self.made: list[UsageInfo] = []
        (folder / "builds.jsonl").write_text("")

    def add(self, count: int) -> None:
        """Builds of ours, each with a copy and a step on top of it."""
        entries = [
            build(number, step(number), step(number, "[2/2] COPY b .", after=2))
            for number in range(1, count + 1)
        ]
        self.journal.update(lambda _: entries)
        for number in range(1, count + 1):
            at = 100.0 * number
            self.made += [
                record(f"a{number}", at + 1.05, COPY),
                record(f"b{number}", at + 2.05, "[2/2] COPY b .", parents=(f"a{number}",)),
            ]

    def pruner(self, buildkit: Buildkit, **options: Any) -> RecordPruner:
        link: Any = buildkit
        return RecordPruner(link, self.journal, Marks("p-1"), **{"keep": {"web": 2}, **options})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_superseded_records_go_and_nothing_else(bench: Bench) -> None:
    bench.add(4)
    foreign = record("foreign", 105.0, COPY)
    buildkit = Buildkit(*bench.made, foreign)
    verdicts = await bench.pruner(buildkit).prune()
    assert {each.id for each in verdicts if each.remove} == {"a1", "b1", "a2", "b2"}
    assert buildkit.records.keys() == {"a3", "b3", "a4", "b4", "foreign"}
    assert sum(each.size for each in verdicts if each.remove) == 88
    assert not any(each.remove for each in await bench.pruner(buildkit).prune())


async def test_a_dry_run_removes_nothing_and_foretells_the_same(bench: Bench) -> None:
    bench.add(4)
    buildkit = Buildkit(*bench.made)
    foretold = await bench.pruner(buildkit).prune(dry_run=True)
    assert not buildkit.asked
    assert foretold == await bench.pruner(buildkit).prune()


async def test_what_is_built_on_others_goes_first(bench: Bench) -> None:
    bench.add(60)
    buildkit = Buildkit(*reversed(bench.made))
    await bench.pruner(buildkit).prune()
    assert buildkit.records.keys() == {"a59", "b59", "a60", "b60"}


def forgetful(bench: Bench) -> Buildkit:
    """A BuildKit that forgets the steps of somebody else, on an image of the engine's, with each removal."""
    base = record("base", 1.0, "")
    buildkit = Buildkit(*bench.made, base, record("theirs", 2.0, COPY, parents=("base",)))
    buildkit.forgets = True
    return buildkit


async def test_where_a_removal_makes_buildkit_forget_other_steps_records_go_only_when_room_is_short(
    bench: Bench,
) -> None:
    bench.add(4)
    buildkit = forgetful(bench)
    pruner = bench.pruner(buildkit)
    verdicts = await pruner.prune()
    assert {each.id for each in verdicts if each.why.cause is Cause.REFUSED} == {"a1", "b1", "a2", "b2"}
    reason = next(each.reason for each in verdicts if each.id == "a1")
    assert missing(reason, "forget 1 build step", "other projects") == []
    assert await bench.pruner(buildkit).prune(dry_run=True) == verdicts
    assert (buildkit.asked, pruner.forgotten) == ([], 0)
    removed = await pruner.prune(low=True)
    assert buildkit.records.keys() == {"a4", "b4", "base", "theirs"}
    assert pruner.forgotten == 1
    assert missing(next(each.reason for each in removed if each.remove), "1 other step") == []
    assert not await pruner.steps_stay()
    await pruner.prune()
    assert not pruner.forgotten


async def test_where_nothing_else_would_be_forgotten_records_go_after_each_deploy(bench: Bench) -> None:
    bench.add(4)
    pulled = record("base", 1.0, "pulled from alpine@sha256:1")
    buildkit = Buildkit(*bench.made, pulled, record("theirs", 2.0, COPY, parents=("base",)))
    buildkit.forgets = True
    await bench.pruner(buildkit).prune()
    assert buildkit.records.keys() == {"a3", "b3", "a4", "b4", "base", "theirs"}
    assert buildkit.shared  # what was never exported counts as shared there


@pytest.mark.parametrize(
    ("most", "now", "goes"),
    [
        (0, 10_000.0, False),  # no limit
        (88, 10_000.0, False),  # 4 records of 22 bytes are superseded
        (87, 10_000.0, True),
        (87, 405.0 + QUIET - 4, False),  # the last build has just ended
        (44, 405.0, False),
        (43, 405.0, True),  # more than twice as much
    ],
)
async def test_above_the_limit_records_go_in_a_pause_and_above_twice_the_limit_at_once(
    bench: Bench, most: int, now: float, goes: bool
) -> None:
    bench.add(4)
    buildkit = forgetful(bench)
    pruner = bench.pruner(buildkit, most=most, clock=lambda: now)
    foretold = await bench.pruner(buildkit, most=most, clock=lambda: now).prune(dry_run=True)
    verdicts = await pruner.prune()
    assert verdicts == foretold
    assert {each.id for each in verdicts if each.remove} == ({"a1", "b1", "a2", "b2"} if goes else set())
    assert ("a1" in buildkit.records) is not goes
    assert pruner.forgotten == int(goes)
    assert bool(await pruner.steps_stay()) is not goes


async def test_what_a_foreign_step_is_built_on_stays_and_says_so(bench: Bench) -> None:
    bench.add(4)
    buildkit = Buildkit(*bench.made, record("foreign", 5000.0, COPY, parents=("b1",)))
    verdicts = {each.id: each for each in await bench.pruner(buildkit).prune()}
    assert verdicts["b1"].why.cause is Cause.IN_USE
    assert {"a1", "b1", "foreign"} <= buildkit.records.keys()
    assert "b2" not in buildkit.records


async def test_with_little_room_only_the_newest_revision_stays(bench: Bench) -> None:
    bench.add(4)
    buildkit = Buildkit(*bench.made)
    await bench.pruner(buildkit, keep={"web": 3}).prune(low=True)
    assert buildkit.records.keys() == {"a4", "b4"}


@pytest.mark.parametrize(
    ("keep", "low", "left"),
    [
        ({"web": 1, "api": 2}, False, {"a2", "a4", "a5"}),
        ({"web": 1, "api": None}, False, {"a1", "a2", "a4", "a5"}),
        ({"web": 2, "api": None}, True, {"a1", "a2", "a4", "a5"}),
        ({"web": 2, "api": 2}, True, {"a4", "a5"}),
        ({"web": 1}, False, {"a5"}),
    ],
)
async def test_each_service_keeps_as_many_revisions_as_its_own_setting_says(
    bench: Bench, keep: dict[str, int | None], low: bool, left: set[str]
) -> None:
    services = {1: "api", 2: "api", 3: "web", 4: "api", 5: "web"}
    entries = [build(number, step(number), service=services[number]) for number in services]
    bench.journal.update(lambda _: entries)
    buildkit = Buildkit(*(record(f"a{number}", 100.0 * number + 1.05, COPY) for number in services))
    await bench.pruner(buildkit, keep=keep).prune(low=low)
    assert buildkit.records.keys() == left


async def test_a_build_of_a_daemon_that_runs_is_not_taken_for_one_that_was_killed(bench: Bench) -> None:
    bench.add(3)

    def not_ended(entries: list[Any]) -> list[Any]:
        entries[-1].ended = ""
        return entries

    bench.journal.update(not_ended)
    buildkit = Buildkit(*bench.made)
    await bench.pruner(buildkit, keep={"web": 1}, daemon_runs=lambda: True).prune()
    assert bench.journal.update(lambda found: found)[-1].ended == ""
    assert {"a3", "b3"} <= buildkit.records.keys()
    await bench.pruner(buildkit, keep={"web": 1}).prune()
    assert bench.journal.update(lambda found: found)[-1].ended == "failed"


async def test_a_buildkit_that_is_gone_is_named(bench: Bench) -> None:
    buildkit = Buildkit()
    buildkit.gone = True
    with pytest.raises(EngineUnavailable, match="gone"):
        await bench.pruner(buildkit).prune()


async def test_a_build_whose_lines_wait_for_the_disk_is_left_for_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other builds' records go meanwhile: a full disk is when they should."""
    bench.add(4)
    full, written = True, os.write

    def write(descriptor: int, text: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(descriptor, text)

    buildkit = Buildkit(*bench.made, record("new", 500.95, COPY))
    await bench.pruner(buildkit).read_records()  # what builds 1 to 4 made is stored
    monkeypatch.setattr(os, "write", write)
    with bench.journal.build("web", "rev5", final=True) as write_down:
        write_down(StepFinished(parse_step("", COPY), 501.0, 0.1, cached=False, error=""))
    verdicts = await bench.pruner(buildkit, keep={"web": 1}).prune(low=True)
    assert {each.id for each in verdicts if each.remove} == {"a1", "b1", "a2", "b2", "a3", "b3"}
    assert buildkit.records.keys() == {"a4", "b4", "new"}
    full = False
    bench.journal.close()  # tries once more
    await bench.pruner(buildkit, keep={"web": 1}).prune()
    assert buildkit.records.keys() == {"new"}


async def test_the_size_of_a_stage_is_that_of_its_newest_chain(bench: Bench) -> None:
    bench.add(2)
    entries = [build(3, step(3, "[builder 2/2] COPY . ."))]
    bench.journal.update(lambda found: [*found, *entries])
    buildkit = Buildkit(*bench.made, record("c", 301.05, "[builder 2/2] COPY . .", parents=("base",)))
    assert await bench.pruner(buildkit).stage_size("builder") == 22


async def test_the_size_of_a_stage_is_what_the_last_prune_saw_and_asked_after_that(bench: Bench) -> None:
    entries = [build(3, step(3, "[builder 2/2] COPY . ."))]
    bench.journal.update(lambda _: entries)
    buildkit = Buildkit(record("c", 301.05, "[builder 2/2] COPY . .", parents=("base",)))
    pruner = bench.pruner(buildkit)
    await pruner.prune()
    buildkit.gone = True
    assert await pruner.stage_size("builder") == 22
    with pytest.raises(EngineUnavailable):
        await pruner.stage_size("builder")


async def test_why_steps_stay_is_said_with_what_removes_them_instead(bench: Bench) -> None:
    bench.add(4)
    buildkit = forgetful(bench)
    pruner = bench.pruner(buildkit, most=1000)
    assert not await pruner.steps_stay()  # nothing was looked at
    await pruner.prune()
    assert (await pruner.steps_stay()).endswith("`watcher doctor` shows what helps")
    assert missing(await pruner.steps_stay(), "88 B", "1.00 kB") == []
    buildkit.limit = 20_000_000_000
    assert (await pruner.steps_stay()).endswith("BuildKit removes old ones above 20.0 GB")
    buildkit.forgets = False
    await pruner.prune()
    assert not await pruner.steps_stay()


async def test_what_is_held_is_as_the_last_prune_left_it_and_asked_anew_after_that(bench: Bench) -> None:
    bench.add(6)
    mount = record("mount", 5000.0, "cached mount /c", kind="exec.cachemount")
    buildkit = Buildkit(*bench.made, mount)
    pruner = bench.pruner(buildkit)
    await pruner.prune()
    held = await pruner.take_holdings()
    assert held.mounts == mount.size
    assert (
        held.total - held.mounts
        == held.own
        == sum(each.size for name, each in buildkit.records.items() if name != "mount")
    )
    buildkit.records.clear()
    assert (await pruner.take_holdings()).total == 0


async def test_a_lost_journals_compile_steps_go_on_a_containerd_store_too(tmp_path: Path) -> None:
    """The store calls each step shared that was never exported."""
    journal, link = BuildJournal(tmp_path), Buildkit()
    (tmp_path / "builds.jsonl").write_text("")
    name = f"[builder 2/2] RUN {OURS.partition(' -c ')[2]}"
    good = build(3, step(3, name), step(3, "[stage-1 2/2] COPY --from=builder a b", after=2))
    journal.update(lambda _: [good])
    link.forgets = True
    link.records = {"lost": record("lost", 101.0, OURS, shared=True), "own": record("own", 301.05, OURS)}
    pruner = RecordPruner(cast("Any", link), journal, Marks(PROJECT), keep={"web": 1})
    assert [each.id for each in await pruner.prune() if each.remove] == ["lost"]
    assert link.records.keys() == {"own"}


async def test_a_step_of_an_image_that_is_gone_goes_on_a_containerd_store(bench: Bench) -> None:
    """The store was seen to call such steps shared for ever, 44 MB a save."""
    bench.add(4)
    buildkit = Buildkit(*(replace(each, shared=True) for each in bench.made))
    buildkit.forgets, buildkit.tags = (
        True,
        {"shop:rev-rev2", "shop:rev-rev3", "shop:rev-rev4", "alpine:latest"},
    )
    for name in ("a1", "a2", "a3", "a4"):  # only what is made in the stage of the image is in question
        del buildkit.records[name]
    verdicts = {each.id: each for each in await bench.pruner(buildkit).prune()}
    assert [name for name, each in verdicts.items() if each.remove] == ["b1"]
    assert verdicts["b2"].why.cause is Cause.IN_USE
    buildkit.forgets = False
    assert not any(each.remove for each in await bench.pruner(buildkit).prune())
