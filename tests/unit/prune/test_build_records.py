"""Which records of the build cache are proven ours, and which of those go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import UsageInfo
from watcher.prune import Cause, record_matching
from watcher.prune.build_records import drop_unused_entries, judge_records, select_kept, stage_size
from watcher.prune.record_matching import matches_description, matches_step
from watcher.prune.record_proof import prove_records

SERVICES = ("web", "api")
COPY = "[builder 4/5] COPY . ."
RUN = "[builder 5/5] RUN --mount=type=cache,id=x,target=/c CGO_ENABLED=0 go build -o app ."
SHELL = "mount / from exec /bin/sh -c CGO_ENABLED=0 go build -o app ."
FILE = "fileop target"


def record(
    name: str, created: float, description: str = FILE, *, used: float | None = None, **more: object
) -> UsageInfo:
    plain = UsageInfo(
        id=name,
        kind="regular",
        description=description,
        size=22,
        created=created,
        last_used=created if used is None else used,
        usage_count=1,
        in_use=False,
        shared=False,
        mutable=False,
        parents=(),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def build(
    number: int, *steps: StepRun, ended: str = "ok", final: bool = True, service: str = "web"
) -> BuildEntry:
    """A build of revision `number` that spans ten seconds from `100 * number`."""
    at = 100.0 * number
    return BuildEntry(f"b{number}", service, f"rev{number}", final, at, at + 10, ended, list(steps))


def step(number: int, name: str = COPY, *, after: float = 1.0, seconds: float = 0.1) -> StepRun:
    at = 100.0 * number + after
    return StepRun(name, at, at + seconds)


def proven(
    entries: list[BuildEntry], records: list[UsageInfo], running: tuple[str, ...] = ()
) -> dict[str, set[str]]:
    return {entry.id: set(entry.records or ()) for entry in prove_records(entries, records, running)}


def going(entries: list[BuildEntry], records: list[UsageInfo], keep: int = 1) -> set[str]:
    found = prove_records(entries, records)
    return {
        each.id
        for each in judge_records(found, records, select_kept(found, dict.fromkeys(SERVICES, keep)))
        if each.remove
    }


def test_a_record_made_while_a_step_ran_is_that_steps() -> None:
    records = [record("ours", 101.05), record("before", 100.5), record("after", 101.2)]
    assert proven([build(1, step(1))], records) == {"b1": {"ours"}}


def test_where_another_build_made_a_like_record_in_the_same_moment_both_stay() -> None:
    records = [record("one", 101.05), record("other", 101.06)]
    assert proven([build(1, step(1))], records) == {"b1": set()}


def test_what_was_made_on_top_of_ours_is_ours_and_the_like_of_another_build_is_not() -> None:
    """A second clone of a project builds the same at the same time."""
    entries = [build(1, step(1), step(1, RUN, after=2, seconds=3), step(1, "[2/2] COPY c .", after=6))]
    records = [
        record("copy", 101.05),
        record("run", 104.9, SHELL, parents=("copy",)),
        record("its run", 104.8, SHELL, parents=("its copy",)),
        record("last", 106.05, parents=("run",)),
        record("its last", 106.04, parents=("its run",)),
    ]
    assert proven(entries, records) == {"b1": {"copy", "run", "last"}}
    assert proven(entries, records[::-1]) == {"b1": {"copy", "run", "last"}}
    assert proven(entries, records[1:]) == {"b1": set()}


def test_what_was_not_proven_at_first_is_not_proven_later() -> None:
    records = [record("one", 101.05), record("other", 101.06)]
    entries = prove_records([build(1, step(1))], records)
    assert proven(entries, records[:1]) == {"b1": set()}


def test_two_steps_of_ours_that_ran_at_once_made_two_records() -> None:
    entries = [build(1, step(1), step(1, "[web 2/3] COPY web ."))]
    assert proven(entries, [record("one", 101.05), record("two", 101.06)]) == {"b1": {"one", "two"}}


def test_a_command_is_told_from_another_at_the_same_time() -> None:
    entries = [build(1, step(1, RUN, seconds=5))]
    other = "mount / from exec /bin/sh -c go build -o other ."
    assert proven(entries, [record("ours", 105.9, SHELL), record("x", 104, other)]) == {"b1": {"ours"}}


def test_newer_engines_describe_a_file_operation_by_the_step() -> None:
    assert matches_step(step(1), record("a", 101.05, COPY))
    assert not matches_step(step(1), record("a", 101.05, "[builder 4/5] COPY other ."))


def test_variables_and_quotes_do_not_hide_a_command() -> None:
    name = "[2/2] RUN go build -ldflags -X main.v=1.2 -o /out/app ./cmd/api"
    made = 'mount / from exec /bin/sh -c go build -ldflags "-X main.v=$V" -o /out/app ./cmd/${CMD}'
    assert matches_step(step(1, name), record("a", 101.05, made))
    assert not matches_step(step(1, name), record("a", 101.05, made.replace("/out/app", "/out/other")))
    assert not matches_step(step(1, "[2/2] COPY a b"), record("a", 101.05, made))


def test_a_record_that_was_still_open_is_found_again_under_its_new_id() -> None:
    entries = prove_records([build(1, step(1, RUN, seconds=5))], [record("open", 101.0, SHELL, mutable=True)])
    assert entries[0].unfinished == {"open"}
    assert proven(entries, [record("closed", 105.9, SHELL)]) == {"b1": {"closed"}}


def test_a_closed_record_that_is_gone_is_not_replaced_by_another() -> None:
    entries = prove_records([build(1, step(1))], [record("ours", 101.05)])
    assert proven(entries, [record("other", 101.06)]) == {"b1": set()}


def test_a_running_build_is_looked_at_later() -> None:
    (entry,) = prove_records([build(1, step(1), ended="")], [record("a", 101.05)], {"b1"})
    assert entry.records is None


def test_a_build_that_was_cut_off_with_its_daemon_is_looked_at() -> None:
    (entry,) = prove_records([build(1, step(1), ended="")], [record("a", 101.05)])
    assert (entry.ended, entry.records) == ("failed", frozenset("a"))


def test_records_of_superseded_builds_go_and_those_of_kept_ones_stay() -> None:
    entries = [build(number, step(number)) for number in range(1, 6)]
    records = [record(f"r{number}", 100.0 * number + 1.05) for number in range(1, 6)]
    assert going(entries, records, keep=3) == {"r1", "r2"}


def test_an_old_record_that_a_kept_build_used_stays() -> None:
    entries = [build(1, step(1)), build(2), build(3)]
    assert going(entries, [record("base", 101.05, used=302.0)]) == set()
    assert going(entries, [record("base", 101.05, used=202.0)]) == {"base"}


def test_a_record_that_somebody_else_used_since_stays() -> None:
    entries = [build(1, step(1)), build(2), build(3)]
    found = prove_records(entries, [record("a", 101.05)])
    (verdict,) = judge_records(
        found, [record("a", 101.05, used=250.0)], select_kept(found, dict.fromkeys(SERVICES, 1))
    )
    assert (verdict.remove, verdict.why.cause) == (False, Cause.FOREIGN)


def test_what_an_image_has_or_a_build_uses_stays() -> None:
    entries = [build(1, step(1), step(1, "[2/2] COPY b .")), build(2), build(3)]
    records = [record("image", 101.05, shared=True), record("busy", 101.06, in_use=True)]
    assert going(entries, records) == set()


def test_only_what_steps_make_is_judged() -> None:
    kinds = ("source.local", "exec.cachemount", "internal", "frontend")
    records = [record(kind, 101.05, kind=kind) for kind in kinds]
    assert proven([build(1, step(1))], records) == {"b1": set()}


def test_what_failed_builds_left_goes_when_another_build_came() -> None:
    entries = [build(number, step(number), ended="failed") for number in (1, 2, 3)]
    records = [record(f"r{number}", 100.0 * number + 1.05) for number in (1, 2, 3)]
    assert going(entries, records, keep=3) == {"r1", "r2"}


def test_each_service_keeps_its_own_revisions() -> None:
    entries = [build(1, step(1)), build(2, step(2), service="api"), build(3, step(3), service="api")]
    records = [record(f"r{number}", 100.0 * number + 1.05) for number in (1, 2, 3)]
    assert going(entries, records) == {"r2"}


def test_nothing_is_kept_of_a_service_that_the_project_no_longer_has() -> None:
    entries = [build(1, step(1), service="renamed"), build(2, step(2))]
    records = [record(f"r{number}", 100.0 * number + 1.05) for number in (1, 2)]
    assert going(entries, records, keep=3) == {"r1"}


def test_idle_work_is_kept_with_the_revision_it_belongs_to() -> None:
    idle = replace(build(3, step(3), final=False), revision="rev1")
    entries = [build(1, step(1)), build(2, step(2)), idle]
    records = [record(f"r{number}", 100.0 * number + 1.05) for number in (1, 2, 3)]
    assert going(entries, records) == {"r1", "r3"}
    assert going(entries, records, keep=2) == set()


def test_builds_of_which_nothing_is_left_are_forgotten() -> None:
    entries = [build(1, step(1)), build(2, step(2)), build(3, step(3)), replace(build(4), started=0.0)]
    records = [record("r2", 201.05)]
    left = drop_unused_entries(prove_records(entries, records), records)
    assert [entry.id for entry in left] == ["b2", "b3"]  # b3 may have used it


def test_a_stage_is_as_large_as_the_chain_of_its_records() -> None:
    entries = [build(1, step(1), step(1, RUN, after=2, seconds=3))]
    records = [
        record("base", 1.0, "from local", size=0),
        record("apk", 50.0, "mount / from exec apk", size=100, parents=("base",)),
        record("copy", 101.05, size=1, parents=("apk",)),
        record("run", 104.9, SHELL, size=22, parents=("copy",)),
    ]
    assert stage_size(prove_records(entries, records), records, "builder") == 123
    assert stage_size(prove_records(entries, records), records, "final") is None


@pytest.mark.parametrize("more", [{"ended": "failed"}, {"ended": ""}, {"final": False}])
def test_a_build_that_did_not_get_through_the_stage_tells_no_size(more: dict[str, Any]) -> None:
    entries = [build(1, step(1), step(1, RUN, after=2, seconds=3)), build(2, step(2), **more)]
    records = [
        record("base", 1.0, "from local", size=0),
        record("copy", 101.05, size=1, parents=("base",)),
        record("run", 104.9, SHELL, size=22, parents=("copy",)),
        record("copy of the failed build", 201.05, size=1, parents=("base",)),
    ]
    assert stage_size(prove_records(entries, records), records, "builder") == 23


def test_a_record_made_on_top_of_one_that_was_proven_in_the_same_group_is_ours() -> None:
    """Two quick copies of ours, one on the other, and a copy of another build in the same moment."""
    entries = [build(1, step(1), step(1, "[builder 5/5] COPY c ."))]
    records = [
        record("base", 100.5),
        record("one", 101.05, parents=("base",)),
        record("two", 101.06, parents=("one",)),
        record("other", 101.07, parents=("its base",)),
    ]
    first = replace(build(0), records=frozenset({"base"}))
    assert proven([first, *entries], records)["b1"] == {"one", "two"}


def test_more_records_than_their_steps_can_have_made_are_not_ours() -> None:
    """The first step's record is gone: of what the long step's moment left, one is another build's."""
    entries = [build(1, step(1), step(1, "[web 2/3] COPY web ."), step(1, "[a 2/2] COPY x .", seconds=5))]
    records = [record("one", 101.05), record("late", 104.0), record("later", 105.0)]
    assert proven(entries, records) == {"b1": set()}
    assert proven(entries, records[:2]) == {"b1": {"one", "late"}}


def test_the_work_grows_with_what_fits_and_not_with_steps_times_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def counted(name: str, description: str) -> bool:
        nonlocal compared
        compared += 1
        return matches_description(name, description)

    monkeypatch.setattr(record_matching, "matches_description", counted)
    entries, records = large_cache()
    found = prove_records(entries, records)
    assert sum(len(entry.records or ()) for entry in found) == 1500
    verdicts = judge_records(found, records, select_kept(found, dict.fromkeys(SERVICES, 3)))
    assert sum(each.remove for each in verdicts) == 1491
    assert compared < 3 * (len(records) + sum(len(entry.steps) for entry in entries))


def large_cache(builds: int = 500, others: int = 3500) -> tuple[list[BuildEntry], list[UsageInfo]]:
    """Many builds of three steps each with their records, and records of others at all times."""
    entries, records = [], []
    last = "[final 2/2] COPY --from=builder /app ."
    for number in range(1, builds + 1):
        at = 100.0 * number
        entries.append(
            build(number, step(number), step(number, RUN, after=2, seconds=5), step(number, last, after=8))
        )
        records += [
            record(f"a{number}", at + 1.05),
            record(f"b{number}", at + 6.9, SHELL, parents=(f"a{number}",)),
            record(f"c{number}", at + 8.05, parents=(f"base{number}",)),
        ]
    span = 100.0 * builds / others
    records += [
        record(f"x{number}", 100.02 + span * number, f"mount / from exec /bin/sh -c make {number}")
        for number in range(others)
    ]
    return entries, records


NAMES = (COPY, RUN, "[final 2/2] COPY --from=builder /app .")
DESCRIBED = {COPY: FILE, RUN: SHELL, NAMES[2]: FILE}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[BuildEntry], list[UsageInfo], set[str], int]:
    """Builds of ours with their records, and records of others at any time; the ids of ours; what to keep."""
    entries, records, ours = list[BuildEntry](), list[UsageInfo](), set[str]()
    for number in range(1, draw(st.integers(1, 6)) + 1):
        names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
        steps = [
            step(number, name, after=2.0 * at, seconds=draw(st.sampled_from((0.01, 0.5))))
            for at, name in enumerate(names)
        ]
        entries.append(build(number, *steps, ended=draw(st.sampled_from(("ok", "failed")))))
        for one in steps:
            used = one.finished if draw(st.booleans()) else 100.0 * draw(st.integers(number, 6)) + 9
            made = record(f"o{len(records)}", one.finished, DESCRIBED[one.name], used=used)
            records.append(made)
            ours.add(made.id)
    for at in range(draw(st.integers(0, 8))):
        created = draw(st.sampled_from([150.0, *(each.created - 0.004 for each in records)]))
        records.append(
            record(
                f"x{at}",
                created,
                draw(st.sampled_from((FILE, SHELL))),
                used=draw(st.sampled_from((created, 9e9))),
            )
        )
    return entries, records, ours, draw(st.integers(1, 4))


@given(worlds())
def test_nothing_goes_that_was_not_proven_ours_and_nothing_superseded_stays(
    world: tuple[list[BuildEntry], list[UsageInfo], set[str], int],
) -> None:
    entries, records, ours, keep = world
    found = prove_records(entries, records)
    assert {name for entry in found for name in entry.records or ()} <= ours
    verdicts = {
        each.id: each
        for each in judge_records(found, records, select_kept(found, dict.fromkeys(SERVICES, keep)))
    }
    good = list(dict.fromkeys(e.revision for e in reversed(entries) if e.ended == "ok"))[:keep]
    kept = [entry for entry in entries if entry.revision in {*good, entries[-1].revision}]
    for each in records:
        if (verdict := verdicts.get(each.id)) and each.id in ours:
            needed = any(entry.started <= each.last_used <= entry.finished + 2 for entry in kept)
            by_ours = any(entry.started <= each.last_used <= entry.finished + 2 for entry in entries)
            assert verdict.remove == (by_ours and not needed)


@given(worlds())
def test_judging_twice_is_judging_once(
    world: tuple[list[BuildEntry], list[UsageInfo], set[str], int],
) -> None:
    entries, records, _, keep = world
    found = prove_records(entries, records)
    gone = {
        each.id
        for each in judge_records(found, records, select_kept(found, dict.fromkeys(SERVICES, keep)))
        if each.remove
    }
    left = [each for each in records if each.id not in gone]
    again = drop_unused_entries(prove_records(found, left), left)
    assert not any(
        each.remove for each in judge_records(again, left, select_kept(again, dict.fromkeys(SERVICES, keep)))
    )


def test_hostile_descriptions_are_compared_in_time() -> None:
    text = "mount / from exec /bin/sh -c " + "${a" * 400_000
    assert not matches_step(step(1, RUN), record("a", 101.05, text))
