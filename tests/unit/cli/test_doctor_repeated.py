"""The doctor's ranking of what a save repeats, from a journal of builds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from tests.platforms import AMD64
from watcher.builder import BuildEntry, BuildJournal, StepRun
from watcher.buildkit import StepFinished, parse_step
from watcher.cli.doctor import Finding, Grade
from watcher.cli.doctor.repeated import MOST_BUILDS, repeated_steps
from watcher.dockerfile import Accelerated, Graph, parse

TEXT = (
    "FROM golang AS build\nCOPY . .\nRUN apk add git\nRUN go build -a .\n"
    "FROM alpine\nCOPY --from=build /a /a\n"
)
COPY, ADD_GIT, COMPILE = (
    "[build 2/4] COPY . .",
    "[build 3/4] RUN apk add git",
    "[build 4/4] RUN go build -a .",
)
LAST = "[stage-1 2/2] COPY --from=build /a /a"


def graph(text: str = TEXT) -> Graph:
    return Graph(parse(text), {}, AMD64)


def build(revision: str, steps: Sequence[tuple[str, float]], **more: object) -> BuildEntry:
    runs = [StepRun(name, 100.0, 100.0 + seconds) for name, seconds in steps]
    values = {"service": "app", "final": True, "started": 1.0, "finished": 2.0, "ended": "ok", **more}
    return BuildEntry(revision, revision=revision, steps=runs, **values)  # type: ignore[arg-type]


def ask(*entries: BuildEntry, text: str = TEXT) -> list[Finding]:
    return repeated_steps(entries, "app", graph(text), Accelerated(text))


SAVE = [(COPY, 0.02), (ADD_GIT, 2.0), (COMPILE, 20.0), (LAST, 0.05)]


def test_the_longest_step_comes_first_with_cause_and_remedy() -> None:
    cold = build("a", [("[build 1/4] FROM golang", 9.0), *((name, 50.0) for name, _ in SAVE)])
    found = ask(cold, build("b", SAVE), build("c", SAVE))
    grades = [each.grade for each in found]
    assert grades == [Grade.GOOD, Grade.ADVICE, Grade.ADVICE, Grade.GOOD]
    whole, compiling, installing, small = found
    assert missing(whole.text, "4 steps", "22 s", "3 builds") == []
    assert missing(compiling.text, "20 s", "line 4", "RUN go build -a .", "line 2", "COPY . .", "go -a") == []
    assert missing(compiling.advice, "-a") == []
    assert missing(installing.text, "2.0 s", "line 3", "RUN apk add git", "line 2", "COPY . .", "apk") == []
    assert missing(installing.advice, "above line 2") == []
    assert missing(small.text, "70 ms", "below 0.1 s") == []
    assert (whole.advice, small.advice) == ("", "")
    repeated = found[1].repeated
    assert repeated is not None
    assert (repeated.line, repeated.step, repeated.seconds) == (4, "RUN go build -a .", 20.0)
    assert repeated.remedy == found[1].advice


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [build("a", SAVE)],
        [build("a", SAVE), build("a", SAVE)],  # a rebuild is no save
        [build("a", SAVE), build("b", SAVE, service="other")],
        [build("a", SAVE), build("b", SAVE, ended="failed")],
        [build("a", SAVE), build("b", SAVE, final=False)],
        [build("a", SAVE), build("b", SAVE, started=0.0)],
    ],
)
def test_without_two_builds_of_saves_the_way_to_them_is_told(entries: list[BuildEntry]) -> None:
    (found,) = ask(*entries)
    assert missing(found.text, "not known", "two builds", "different trees") == []
    assert "watcher once" in found.advice


def test_what_was_cached_in_one_of_the_last_two_is_not_repeated() -> None:
    found = ask(build("a", SAVE), build("b", SAVE), build("c", [(COPY, 0.2), (LAST, 0.3)]))
    assert [each.repeated.line for each in found if each.repeated] == [6, 2]
    (found_none,) = ask(build("a", SAVE), build("b", []))
    assert found_none.text == "no step at all"


def test_the_first_build_does_not_count_for_the_time() -> None:
    slow = [(name, 90.0) for name, _ in SAVE]
    found = ask(build("a", slow), build("b", SAVE))
    assert found[1].repeated is not None
    assert found[1].repeated.seconds == 20.0


def test_a_step_of_an_older_dockerfile_is_named_without_a_line() -> None:
    found = ask(build("a", SAVE), build("b", SAVE), text="FROM golang\nRUN go build -a .\n")
    assert missing(found[1].text, "20 s", COMPILE, "Dockerfile has changed") == []
    assert found[1].repeated is not None
    assert found[1].repeated.line is None


def test_a_variable_whose_value_changes_is_the_cause() -> None:
    text = "FROM golang\nARG VERSION\nRUN echo $VERSION\n"
    builds = [build(value, [(f"[2/2] RUN echo {value}", 3.0)]) for value in ("one", "two")]
    found = ask(*builds, text=text)
    assert found[1].text.endswith("a variable in it (VERSION) has another value in each build")


def test_the_journal_of_a_real_build_is_what_is_read(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    for number, revision in enumerate("abc"):
        with journal.build("app", revision, final=True) as hear:
            for name, seconds in SAVE:
                at = 1000.0 * number + seconds
                hear(StepFinished(parse_step(name, name, 1), at, seconds, cached=name is ADD_GIT, error=""))
    journal.close()
    found = repeated_steps(BuildJournal(tmp_path).entries(), "app", graph(), Accelerated(TEXT))
    assert [each.repeated.line for each in found if each.repeated] == [4]
    assert BuildJournal(tmp_path / "none").entries() == []
    assert BuildJournal(None).entries() == []


NAMES = st.sampled_from([COPY, ADD_GIT, COMPILE, LAST, "[internal] load", "x", "[build 9/9] RUN y", "[", ""])
STEPS = st.lists(st.tuples(NAMES, st.floats(0, 1e6)), max_size=6)


@given(st.lists(st.tuples(st.sampled_from("abcd"), STEPS), max_size=MOST_BUILDS + 2))
def test_any_journal_gives_a_ranking(builds: list[tuple[str, list[tuple[str, float]]]]) -> None:
    found = ask(*(build(revision, steps) for revision, steps in builds))
    seconds = [each.repeated.seconds for each in found if each.repeated]
    assert seconds == sorted(seconds, reverse=True)
