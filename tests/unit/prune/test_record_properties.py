"""Random histories of an engine's build cache: what is not ours stays, and what is ours and superseded goes.

An engine is simulated with its cache of steps: a step that was built before is a hit, a record in use, shared
or below another one is not removed. Two clones of a project and plain builds use it, at the same time or one
after the other, on one base; builds fail, daemons are killed in the middle, the engine collects garbage, the
journal is lost. `makers` and `users` say what really happened; the decisions see none of it.

One thing cannot be told and is left out: a record of ours that is gone before it was looked at for the first
time, while another build made a like one in the very moment of our step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.prune.test_build_records import FILE, SHELL
from tests.unit.prune.test_marked_records import PROJECT, marked_by
from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import UsageInfo
from watcher.prune import Marks
from watcher.prune.build_records import drop_unused_entries, judge_records, select_kept
from watcher.prune.engine_bases import correct_shared
from watcher.prune.marked_records import find_marked, judge_marked
from watcher.prune.record_proof import prove_records

OURS, CLONE, PLAIN = "ours", "clone", "plain"
RUN = "[builder 3/3] RUN --mount=type=cache,target=/c GOGC=400 go build -o app ."
COMMANDS = {OURS: marked_by(PROJECT), CLONE: marked_by("shop-9876543210"), PLAIN: SHELL}
NAMES = {
    OURS: RUN.replace("GOGC", COMMANDS[OURS].partition("-c ")[2].partition("GOGC")[0] + "GOGC"),
    PLAIN: RUN,
}
SLOT = 100.0  # seconds from one build to the next


@dataclass(slots=True)
class Truth:
    """What really happened to a record."""

    makers: set[str]
    users: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Engine:
    """A build cache, and the journal of our builds."""

    offset: float  # of the engine's clock from any other
    slot: int = 0
    records: dict[str, UsageInfo] = field(default_factory=dict)
    truth: dict[str, Truth] = field(default_factory=dict)
    steps: dict[tuple[str, ...], str] = field(default_factory=dict)  # cache key -> record
    journal: list[BuildEntry] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)  # what was there at the last prune
    number: int = 0
    containerd: bool = False  # says that an image shares what was never exported

    def add(
        self, makers: set[str], at: float, described: str, parents: tuple[str, ...], **more: object
    ) -> str:
        self.number += 1
        name = f"r{self.number}"
        plain = UsageInfo(name, "regular", described, 22, at, at, 0, False, False, False, parents)
        self.records[name] = replace(plain, **more)  # type: ignore[arg-type]
        self.truth[name] = Truth(makers)
        return name

    def build(
        self, owners: Sequence[str], content: str, cut: int, outcome: str, *, alike: bool = True
    ) -> None:
        """Builds by these owners at once, of the same sources if `alike`; `cut` steps are done if not all."""
        self.slot += 1
        start = self.offset + SLOT * self.slot
        base = self.steps.setdefault(("base",), "") or self._base(start)
        entries = {owner: BuildEntry(f"b{self.slot}", "web", content, True, start, start) for owner in owners}
        done = 3 if outcome == "ok" else cut
        used: dict[str, set[str]] = {owner: {base} for owner in owners}
        for at, (name, shared, below) in enumerate(
            (
                ("[builder 2/3] COPY . .", True, "base"),
                (RUN, False, "copy"),
                ("[final 2/2] COPY --from=builder a .", True, "base"),
            )[:done]
        ):
            begun, ended = start + 2.0 * at + 0.1, start + 2.0 * at + 1.1
            for owner in owners:
                kind = ("base", "copy", "run", "final")[at + 1]
                sources = content if alike or owner == OURS else f"{content} of {owner}"
                key = (kind, sources) if shared else (kind, sources, owner)
                parent = base if below == "base" else self.steps["copy", sources]
                there = key in self.steps
                if not there:
                    described = FILE if shared else COMMANDS[owner]
                    makers = set(owners) if shared and alike else {owner}
                    self.steps[key] = self.add(
                        makers, ended - 0.01 * (1 + owners.index(owner)), described, (parent,)
                    )
                record = self.steps[key]
                used[owner].add(record)
                if not there or (
                    shared and self.truth[record].makers >= {owner} and self.records[record].created > begun
                ):
                    entries[owner].steps.append(
                        StepRun(NAMES.get(owner, name) if not shared else name, begun, ended)
                    )
                entries[owner].finished = ended
        for owner in owners:
            for record in used[owner]:
                self._use(owner, record, entries[owner].finished + 0.2)
        if OURS in owners:
            entry = entries[OURS]
            self.journal.append(replace(entry, ended="" if outcome == "killed" else outcome))

    def _base(self, at: float) -> str:
        name = self.steps["base",] = self.add(
            {PLAIN}, at - 50, "mount / from exec /bin/sh -c apk add gcc", ("image",)
        )
        self.add({PLAIN}, at - 60, "pulled from docker.io/library/golang", ())
        self.add({OURS}, at - 40, "cached mount /c from exec " + COMMANDS[OURS], (), kind="exec.cachemount")
        return name

    def _use(self, owner: str, record: str, at: float) -> None:
        found = self.records[record]
        self.records[record] = replace(found, last_used=at, usage_count=found.usage_count + 1)
        self.truth[record].users.append((at, owner))

    def remove(self, name: str) -> bool:
        """As the engine does: not what is in use, shared, or below another record."""
        record = self.records[name]
        if record.in_use or record.shared or any(name in each.parents for each in self.records.values()):
            return False
        del self.records[name]
        self.steps = {key: found for key, found in self.steps.items() if found != name}
        return True

    def collect(self, at: int) -> None:
        """The engine's own garbage collection takes any record that was looked at before."""
        names = sorted(self.seen & self.records.keys() - {self.steps.get(("base",), "")})
        if names:
            self.remove(names[at % len(names)])

    def hold(self, at: int, how: str) -> None:
        """A build begins to use a record, or an image to share it."""
        names = sorted(self.records)
        if names:
            name = names[at % len(names)]
            self.records[name] = replace(self.records[name], **{how: True})  # type: ignore[arg-type]

    def _as_reported(self, record: UsageInfo) -> UsageInfo:
        exported = any(key[0] == "final" for key, name in self.steps.items() if name == record.id)
        return replace(record, shared=record.shared or (self.containerd and not exported))

    def prune(self, keep: int) -> set[str]:
        """One prune of ours, as `RecordPruner` does it; what the engine was asked to remove."""
        records = [self._as_reported(each) for each in self.records.values()]
        self.journal = drop_unused_entries(prove_records(self.journal, records), records)
        if self.containerd:
            records = correct_shared(records, self.journal)
        marked = find_marked(Marks(PROJECT), self.journal, records)
        kept = select_kept(self.journal, {"web": keep})
        verdicts = (*judge_records(self.journal, records, kept), *judge_marked(marked, self.journal, kept))
        assert len({each.id for each in verdicts}) == len(verdicts)
        stale = {each.id for each in verdicts if each.remove}
        for name in sorted(stale, key=lambda name: self.records[name].created, reverse=True):
            self.remove(name)
        self.seen = set(self.records)
        return stale


ACTIONS = st.one_of(
    st.tuples(
        st.just("build"),
        st.sampled_from([(OURS,), (OURS,), (CLONE,), (PLAIN,), (OURS, CLONE), (CLONE, OURS), (OURS, PLAIN)]),
        st.sampled_from("ab"),
        st.integers(0, 2),
        st.sampled_from(["ok", "ok", "ok", "failed", "killed"]),
        st.booleans(),
    ),
    st.tuples(st.just("prune"), st.integers(1, 3)),
    st.tuples(st.just("collect"), st.integers(0, 20)),
    st.tuples(st.just("hold"), st.integers(0, 20), st.sampled_from(["in_use", "shared"])),
    st.tuples(
        st.just("lose"),
    ),
)


USED_BY_OURS = ("build", (OURS,), "a", 0, "ok", True)
USED_BY_CLONE = ("build", (CLONE,), "a", 1, "failed", True)  # the copy, and nothing on top of it
NEWER = ("build", (OURS,), "b", 0, "ok", True)


def play(engine: Engine, action: tuple[object, ...]) -> None:
    """Let it happen, and hold what must hold after each prune."""
    match action:
        case ("build", owners, content, cut, outcome, alike):
            engine.build(owners, content, cut, outcome, alike=alike)  # type: ignore[arg-type]
        case ("collect", at):
            engine.collect(at)  # type: ignore[arg-type]
        case ("hold", at, how):
            engine.hold(at, how)  # type: ignore[arg-type]
        case ("lose",):
            engine.journal = []
        case ("prune", keep):
            before = dict(engine.records)
            for name in engine.prune(keep):  # type: ignore[arg-type]
                truth, record = engine.truth[name], before[name]
                assert OURS in truth.makers
                assert max(truth.users)[1] == OURS or (max(truth.users)[0], OURS) in truth.users
                assert record.kind == "regular"
                assert not record.in_use
                assert not record.shared or engine.containerd  # an image keeps its layer there
                assert record.description.startswith(("mount / from exec /bin/sh -c {", FILE))


@settings(max_examples=400)
@given(st.lists(ACTIONS, max_size=14), st.sampled_from([0.0, 1.7e9, -50.0 + 1e6]), st.booleans())
@example([USED_BY_OURS, USED_BY_CLONE, NEWER], 0.0, False)
@example([USED_BY_OURS, USED_BY_CLONE, ("lose",), NEWER], 0.0, True)
def test_nothing_goes_that_is_not_ours(
    actions: list[tuple[object, ...]], offset: float, containerd: bool
) -> None:
    engine = Engine(offset + 1000.0, containerd=containerd)
    for action in (*actions, ("prune", 1)):
        play(engine, action)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([OURS, OURS, CLONE, PLAIN]),
            st.integers(0, 2),
            st.sampled_from(["ok", "ok", "failed", "killed"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=10,
    ),
    st.integers(1, 3),
    st.booleans(),
)
@example([(OURS, 2, "ok", False), (OURS, 2, "failed", False), (OURS, 2, "ok", True)], 1, True)
def test_nothing_of_ours_that_is_superseded_stays(
    builds: list[tuple[str, int, str, bool]], keep: int, containerd: bool
) -> None:
    """Every build has sources of its own, and builds of others come before and after ours.

    Once a build of ours was good, it is known which steps a containerd store takes for shared by mistake.
    """
    engine = Engine(1000.0, containerd=containerd)
    if containerd:
        engine.build((OURS,), "first", 0, "ok")
    for number, (owner, cut, outcome, prune) in enumerate(builds):
        engine.build((owner,), f"content {number}", cut, outcome)
        if prune:
            play(engine, ("prune", keep))
    play(engine, ("prune", keep))
    own = [number for number, each in enumerate(builds) if each[0] == OURS]
    good = [number for number in own if builds[number][2] == "ok"]
    stay = {f"content {number}" for number in (*good[-keep:], *own[-1:])}
    if len(good) < keep:
        stay.add("first")
    left = {
        key[1] for key, name in engine.steps.items() if key != ("base",) and OURS in engine.truth[name].makers
    }
    assert left <= stay


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(1, 3))
def test_a_lost_journal_costs_nothing_once_newer_builds_are_known(lost: list[int], keep: int) -> None:
    """What a compile step left, and the sources below it; no other file operation shows whose it is."""
    engine = Engine(1000.0)
    for number, _ in enumerate(lost):
        engine.build((OURS,), f"before {number}", 0, "ok")
    play(engine, ("lose",))
    play(engine, ("prune", keep))
    assert all(("run", f"before {number}", OURS) in engine.steps for number, _ in enumerate(lost))
    for number in range(keep):
        engine.build((OURS,), f"after {number}", 0, "ok")
    play(engine, ("prune", keep))
    assert {key[1] for key in engine.steps if key[0] in ("run", "copy")} == {
        f"after {n}" for n in range(keep)
    }
