"""Which steps BuildKit forgets when a record is removed, and which records an image really shares."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.prune.test_build_records import build, record, step
from tests.unit.prune.test_marked_records import OURS, PROJECT
from watcher.builder import BuildEntry
from watcher.buildkit import UsageInfo
from watcher.prune import Marks
from watcher.prune.engine_bases import correct_marked, correct_shared, find_forgotten

RUN = "mount / from exec /bin/sh -c true"
PULLED = "pulled from docker.io/library/alpine:latest@sha256:1"


def test_steps_on_an_image_that_the_engine_unpacked_are_forgotten() -> None:
    records = [
        record("base", 1.0, ""),
        record("a", 2.0, RUN, parents=("base",)),
        record("b", 3.0, RUN, parents=("a",)),
    ]
    assert find_forgotten(records) == {"a", "b"}
    assert find_forgotten(records, {"b"}) == {"a"}


def test_steps_on_an_image_that_buildkit_pulled_stay_known() -> None:
    records = [record("base", 1.0, PULLED), record("a", 2.0, RUN, parents=("base",))]
    assert not find_forgotten(records)


def test_one_layer_of_the_engine_below_a_pulled_one_is_enough() -> None:
    records = [
        record("first", 1.0, ""),
        record("second", 1.0, PULLED, parents=("first",)),
        record("a", 2.0, RUN, parents=("second",)),
    ]
    assert find_forgotten(records, {"a"}) == {"second"}
    assert "a" in find_forgotten(records)


def test_a_merge_of_layers_is_forgotten_if_one_of_them_is_the_engines() -> None:
    records = [
        record("engines", 1.0, ""),
        record("pulled", 1.0, PULLED),
        record("merged", 2.0, "[2/2] COPY --link a b", parents=("pulled", "engines")),
    ]
    assert find_forgotten(records) == {"merged"}


def test_cache_mounts_and_contexts_without_a_description_are_no_bases() -> None:
    records = [
        record("mount", 1.0, "", kind="exec.cachemount"),
        record("open", 1.0, "", mutable=True),
        record("a", 2.0, RUN, parents=("mount", "open")),
    ]
    assert not find_forgotten(records)


@st.composite
def graphs(draw: st.DrawFn) -> list[UsageInfo]:
    made: list[UsageInfo] = []
    for number in range(draw(st.integers(0, 12))):
        parents = draw(st.sets(st.sampled_from([each.id for each in made]), max_size=2)) if made else set()
        text = draw(st.sampled_from(["", PULLED, RUN]))
        made.append(record(f"r{number}", float(number), text, parents=tuple(sorted(parents))))
    return draw(st.permutations(made))


@given(graphs())
def test_exactly_what_has_a_layer_of_the_engine_below_it_is_forgotten(records: list[UsageInfo]) -> None:
    there = {each.id: each for each in records}

    def is_above(one: UsageInfo) -> bool:
        return any(not there[name].description or is_above(there[name]) for name in one.parents)

    assert find_forgotten(records) == {each.id for each in records if is_above(each)} - {
        each.id for each in records if not each.description
    }


def test_a_step_that_was_never_exported_is_not_shared() -> None:
    compiled = record("a", 101.05, RUN, shared=True, mutable=True)
    assert correct_shared([compiled], []) == [replace(compiled, shared=False)]


def test_a_step_of_another_stage_than_the_images_is_not_shared() -> None:
    copied, final = "[builder 2/2] COPY . .", "[stage-1 2/2] COPY --from=builder a b"
    entry = build(1, step(1, copied), step(1, final, after=2))
    entry.records = frozenset({"a", "b"})
    records = [
        record("a", 101.05, copied, shared=True),
        record("b", 102.05, final, shared=True),
        record("strange", 50.0, copied, shared=True),
    ]
    assert [each.shared for each in correct_shared(records, [entry])] == [False, True, True]


COPIED, FINAL = "[builder 2/2] COPY . .", "[stage-1 2/2] COPY --from=builder a b"


def test_a_step_of_a_build_that_failed_or_gave_the_same_binary_is_not_shared() -> None:
    """Neither ran a step of the last stage; a build before them shows which stage that is."""
    good = build(1, step(1, COPIED), step(1, FINAL, after=2))
    failed, same = build(2, step(2, COPIED)), build(3, step(3, COPIED))
    failed.ended = "failed"
    failed.records, same.records = frozenset({"b"}), frozenset({"c"})
    records = [record("b", 201.05, COPIED, shared=True), record("c", 301.05, COPIED, shared=True)]
    assert not any(each.shared for each in correct_shared(records, [good, failed, same]))
    without_good = correct_shared(records, [failed, same])
    assert [each.shared for each in without_good] == [False, True], "the only stage can be the image's"


def test_a_build_that_runs_is_not_taken_for_a_failed_one() -> None:
    running = build(1, step(1, COPIED))
    running.ended, running.records = "", frozenset({"a"})
    assert correct_shared([record("a", 101.05, COPIED, shared=True)], [running])[0].shared


def test_another_service_does_not_say_which_stage_an_image_has() -> None:
    other = build(1, step(1, COPIED), step(1, FINAL, after=2))
    other.service = "other"
    own = build(2, step(2, COPIED))
    own.records = frozenset({"b"})
    assert correct_shared([record("b", 201.05, COPIED, shared=True)], [other, own])[0].shared


COMPILE = OURS.partition(" -c ")[2]
MADE = f"[builder 2/2] RUN {COMPILE}"
LOST = record("lost", 50.0, OURS, shared=True)
MARKS = Marks(PROJECT)


def claimed(*entries: BuildEntry, gone: bool = False) -> bool:
    """Return whether a marked record without a build in the journal counts as an image's."""
    (found,) = correct_marked([LOST], entries, MARKS, gone=gone)
    return found.shared


def test_a_marked_step_without_a_build_is_judged_by_the_stage_of_the_marked_steps() -> None:
    good = build(1, step(1, MADE), step(1, FINAL, after=2))
    assert not claimed(good)
    assert claimed(build(1, step(1, f"[2/2] RUN {COMPILE}"))), "its only stage can be the image's"
    assert claimed(build(1, step(1, COPIED), step(1, FINAL, after=2))), "no step shows the stage"
    assert claimed(), "no build at all"


def test_one_service_that_compiles_in_the_stage_of_its_image_keeps_every_claim() -> None:
    apart = build(1, step(1, MADE), step(1, FINAL, after=2))
    together = build(2, step(2, COPIED), step(2, f"[stage-1 2/2] RUN {COMPILE}", after=2))
    together.service = "other"
    assert claimed(apart, together)
    together.steps = []
    assert not claimed(apart, together)


def test_a_marked_step_of_another_project_does_not_show_a_stage() -> None:
    assert claimed(build(1, step(1, MADE.replace(PROJECT, "shop-9876543210")), step(1, FINAL, after=2)))


def test_a_failed_build_shows_the_stage_but_not_which_one_images_have() -> None:
    failed = build(2, step(2, MADE))
    failed.ended = "failed"
    assert claimed(failed)
    assert not claimed(failed, build(1, step(1, COPIED), step(1, FINAL, after=2)))


def test_a_marked_step_of_a_gone_project_is_not_shared() -> None:
    assert not claimed(gone=True)
    open_one = replace(LOST, mutable=True)
    assert not correct_marked([open_one], [], MARKS, gone=False)[0].shared


def test_a_step_of_the_images_stage_is_shared_only_while_its_image_is_there() -> None:
    good, running = build(1, step(1, COPIED), step(1, FINAL, after=2)), build(2, step(2, FINAL))
    good.records, running.records, running.ended = frozenset({"a"}), frozenset({"b"}), ""
    records = [record("a", 102.05, FINAL, shared=True), record("b", 201.05, FINAL, shared=True)]

    def shared(*tags: str) -> list[bool]:
        return [each.shared for each in correct_shared(records, [good, running], tags)]

    assert shared("shop:rev-rev1") == [True, True]
    assert shared("localhost:5000/shop:rev-rev1") == [True, True]
    assert shared("alpine:latest", "shop:rev-rev2") == [False, True]
    assert [each.shared for each in correct_shared(records, [good, running])] == [True, True]


def test_a_step_is_shared_while_a_later_revision_can_have_the_same_image() -> None:
    first, later = (
        build(1, step(1, COPIED), step(1, FINAL, after=2)),
        build(3, step(3, COPIED), step(3, FINAL)),
    )
    first.records = frozenset({"a"})
    records = [record("a", 102.05, FINAL, shared=True)]

    def shared(*tags: str) -> bool:
        (found,) = correct_shared(records, [first, later], tags)
        return found.shared

    assert shared("shop:rev-rev3", "shop:rev-rev2"), (
        "no step of revision 2 ran: it is the image of another one"
    )
    assert not shared("shop:rev-rev3")
    assert not shared("shop:rev-rev3", "other:rev-rev2")
