"""Records without a journal: what the accelerated command shows, and what lies below it."""

from __future__ import annotations

from dataclasses import replace

from tests.platforms import AMD64
from tests.unit.prune.test_build_records import FILE, SERVICES, build, record, step
from watcher.builder import BuildEntry
from watcher.buildkit import UsageInfo
from watcher.dockerfile import ImageConfig, Level, TreeInputs, accelerate
from watcher.prune import Cause, Marks
from watcher.prune.build_records import select_kept
from watcher.prune.marked_records import find_marked, judge_marked, list_unclaimed

PROJECT = "shop-0123456789"
EARLIER = (
    "mount / from exec /bin/sh -c { [ -d app -o -h app ] || find . -name '*.go' ! -name '*_test.go' -newer "
    "/root/.cache/go-build/watcher-c683e71ef5f8 -print -quit | grep -q . || :; } 2>/dev/null && "
    "GOGC=400 go build -o app ."
)


def marked_by(project: str) -> str:
    """How an engine describes what the compile step of this project made."""
    text = accelerate(
        "FROM golang AS b\nENV CGO_ENABLED=0\nWORKDIR /src\nCOPY . .\nRUN go build -o app .\n",
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={"golang": ImageConfig(env={"GOPATH": "/go"})},
        cache_scope=project,
        inputs=TreeInputs({}, lambda _: None),
        gogc="400",
    ).text
    (line,) = (line for line in text.splitlines() if line.startswith("RUN"))
    while line.startswith(("RUN ", "--mount")):
        line = line.partition(" ")[2]
    return f"mount / from exec /bin/sh -c {line}"


OURS, THEIRS = marked_by(PROJECT), marked_by("shop-9876543210")
BUILDS = [build(3, step(3)), build(4, step(4))]


def chain(
    number: int, description: str = OURS, *, base: str = "workdir", prefix: str = ""
) -> list[UsageInfo]:
    """What a build left: a copy of the sources, and on it what the compile step made."""
    at = 100.0 * number
    copy, run = f"{prefix}copy{number}", f"{prefix}run{number}"
    return [
        record(copy, at + 1, FILE, used=at + 4, parents=(base,)),
        record(run, at + 3, description, used=at + 4, parents=(copy,)),
    ]


def marked(records: list[UsageInfo], entries: list[BuildEntry] = BUILDS, **options: bool) -> list[str]:
    return [each.id for each in find_marked(Marks(PROJECT, **options), entries, records)]


def going(records: list[UsageInfo], entries: list[BuildEntry] = BUILDS, keep: int = 1) -> set[str]:
    found = find_marked(Marks(PROJECT), entries, records)
    kept = select_kept(entries, dict.fromkeys(SERVICES, keep))
    return {each.id for each in judge_marked(found, entries, kept) if each.remove}


def test_what_a_lost_journal_would_have_had_is_found_newest_first() -> None:
    assert marked([*chain(1), *chain(2)]) == ["run2", "copy2", "run1", "copy1"]
    assert going([*chain(1), *chain(2)]) == {"run2", "copy2", "run1", "copy1"}


def test_another_projects_marked_records_are_not_touched() -> None:
    assert marked([*chain(1), *chain(2, THEIRS)]) == ["run1", "copy1"]
    assert not list_unclaimed((), BUILDS, chain(2, THEIRS))


def test_what_another_project_has_built_on_stays() -> None:
    """The same copy below two compile steps; and the same folder below two copies."""
    both = [*chain(1), record("its run", 103.5, THEIRS, parents=("copy1",))]
    assert marked(both) == ["run1"]
    workdir = record("workdir", 50, FILE, used=104, usage_count=2, parents=("base",))
    assert marked([workdir, *chain(1)]) == ["run1", "copy1"]
    alone = replace(workdir, created=101.0, usage_count=1)
    assert marked([alone, *chain(1)]) == ["run1", "copy1", "workdir"]
    other = chain(1, THEIRS, prefix="its ")
    assert marked([alone, *chain(1), *other]) == ["run1", "copy1"]


def test_a_base_that_was_used_once_more_or_later_stays() -> None:
    copy, run = chain(1)
    assert marked([replace(copy, usage_count=2), run]) == ["run1"]
    assert marked([replace(copy, last_used=150.0), run]) == ["run1"]
    assert marked([replace(copy, usage_count=3), replace(run, usage_count=3)]) == ["run1", "copy1"]


def test_a_layer_of_an_image_is_no_step() -> None:
    copy, run = chain(1)
    pulled = "pulled from docker.io/library/golang:alpine@sha256:0123"
    assert marked([replace(copy, description=pulled), run]) == ["run1"]
    assert marked([replace(copy, kind="internal"), run]) == ["run1"]


def test_what_the_journal_has_is_the_journals() -> None:
    entries = [replace(BUILDS[0], records=frozenset({"run1"})), BUILDS[1]]
    assert marked(chain(1), entries) == []


def test_what_is_used_or_shared_or_belongs_to_a_kept_build_stays() -> None:
    run = chain(1)[1]
    for used in (replace(run, in_use=True), replace(run, shared=True)):
        (verdict,) = judge_marked(find_marked(Marks(PROJECT), BUILDS, [used]), BUILDS, ())
        assert (verdict.remove, verdict.why.cause) == (False, Cause.IN_USE)
    (verdict,) = judge_marked(
        find_marked(Marks(PROJECT), BUILDS, [replace(run, last_used=305.0)]), BUILDS, {"b3"}
    )
    assert (verdict.remove, verdict.why.cause) == (False, Cause.NEEDED)
    assert "rev3" in verdict.reason


def test_nothing_goes_before_a_newer_build_is_known() -> None:
    """A journal that has just begun: the newest leftover is what is live."""
    assert going(chain(1), []) == set()
    assert going(chain(1), [build(0, step(0))]) == set()
    assert going(chain(1), [build(2, step(2), ended="failed")]) == set()
    assert going(chain(1), [build(2, step(2), final=False)]) == set()
    assert going(chain(1), [build(2, step(2))]) == {"run1", "copy1"}
    assert all(
        each.remove for each in judge_marked(find_marked(Marks(PROJECT), [], chain(1)), [], (), gone=True)
    )


def test_a_use_at_the_very_edge_of_a_build_counts_for_it() -> None:
    """Build 3 spans 300 to 310 seconds; clocks differ by 5 ms, and it lets go within 2 s."""
    run = chain(1)[1]
    for used, goes in (
        (299.995, False),
        (299.9, True),
        (312.0, False),
        (312.1, True),
        (400.0, False),
        (399.9, True),
    ):
        found = find_marked(Marks(PROJECT), BUILDS, [replace(run, last_used=used)])
        (verdict,) = judge_marked(found, BUILDS, {"b3"})
        assert verdict.remove is goes, used


def test_a_watchers_record_of_an_earlier_version_stays_unless_all_projects_are_meant() -> None:
    records = chain(1, EARLIER)
    assert marked(records) == []
    assert list_unclaimed((), BUILDS, []) == ()
    (verdict,) = list_unclaimed((), BUILDS, records)
    assert (verdict.name, verdict.size) == ("1 earlier compile step", 22)
    assert (verdict.remove, verdict.why.cause) == (False, Cause.UNPROVEN)
    assert "--all-projects" in verdict.reason
    assert marked(records, unclaimed=True) == ["run1", "copy1"]
    found = find_marked(Marks(PROJECT, unclaimed=True), BUILDS, records)
    assert not list_unclaimed(found, BUILDS, records)
    assert {each.id for each in judge_marked(found, BUILDS, {"b4"}) if each.remove} == {"run1", "copy1"}


def test_a_record_is_named_by_the_users_own_command() -> None:
    records = [*chain(1), *chain(2, EARLIER)]
    found = find_marked(Marks(PROJECT, unclaimed=True), BUILDS, records)
    names = {each.id: each.name for each in judge_marked(found, BUILDS, ())}
    assert names == {
        "run1": "RUN GOGC=400 go build -o app .",
        "copy1": FILE,
        "run2": "RUN GOGC=400 go build -o app .",
        "copy2": FILE,
    }


def test_a_chain_of_parents_without_end_is_followed_once() -> None:
    records = [
        record("a", 101, OURS, used=102, parents=("b",)),
        record("b", 101, FILE, used=102, parents=("a",)),
    ]
    assert sorted(marked(records)) == ["a", "b"]
