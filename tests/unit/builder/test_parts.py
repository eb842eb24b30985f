"""Small parts of a build: step names, versions, base images that are looked up."""

import pytest

from tests.platforms import AMD64
from watcher.builder.base_images import DEFAULT_PATIENCE, Lookups
from watcher.builder.connection import _at_least
from watcher.builder.steps import PULL_EVERY, OriginalStepNames, StepCounter
from watcher.buildkit.progress import StepFinished, StepStarted, StepStatus, parse_step
from watcher.diagnosis.diagnose import build_failure
from watcher.dockerfile import Accelerated, Level, accelerate
from watcher.observers import events
from watcher.observers.events import BuildStepProgress, Event, Fanout

FILE = """FROM golang:alpine AS b
RUN echo a && {sign}
   # why
   go   build -a {sign}
    -o /x . {sign}
 && echo z
"""


def accelerated(text: str) -> Accelerated:
    made = accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={"golang:alpine": None},
        cache_scope="p",
    )
    assert made.changes
    return made


@pytest.mark.parametrize("sign", ["\\", "`"])
def test_a_step_over_several_lines_is_told_as_the_file_has_it(sign: str) -> None:
    text = FILE.format(sign=sign)
    text = f"# escape=`\n{text}" if sign == "`" else text
    line = 3 if sign == "`" else 2
    names = OriginalStepNames(text, accelerated(text))
    step = parse_step("1", "[b 2/2] RUN --mount=type=cache … echo a && GOGC=400 go build -o /x .", line)
    assert names.is_changed(step)
    assert names.name_step(step) == "[b 2/2] RUN echo a && go build -a -o /x . && echo z"


@pytest.mark.parametrize(
    ("name", "line", "changed"),
    [
        ("[b 1/3] FROM docker.io/library/golang:alpine", 1, False),
        ("[b 2/3] RUN echo a 1.2", 3, False),
        ("[b 3/3] RUN --mount=type=cache go build -o /x1.2", 4, True),
        ("[internal] load build definition from Dockerfile", 0, False),
        ("[b 3/3] RUN --mount=type=cache go build -o /x1.2", 0, True),  # not located: it may be
        ("[b 1/3] FROM docker.io/library/golang:alpine", 0, False),
        ("[b 2/2] RUN echo from a trigger of the base", 1, False),
    ],
)
def test_a_step_is_known_by_its_line(name: str, line: int, changed: bool) -> None:
    text = "FROM golang:alpine AS b\nARG V=1.2\nRUN echo a $V\nRUN go build -o /x$V\n"
    names = OriginalStepNames(text, accelerated(text))
    step = parse_step("1", name, line)
    assert names.is_changed(step) is changed
    assert names.name_step(step) == ("[b 3/3] RUN go build -o /x$V" if line == 4 else name)


def test_the_error_of_a_step_shows_the_command_of_the_file() -> None:
    text, told = "FROM golang:alpine AS b\nRUN go build -o /x\n", Told()
    counter = StepCounter("s", "r", told)
    counter.start(OriginalStepNames(text, accelerated(text)))
    error = 'process "/bin/sh -c GOGC=400 go build -o /x" did not complete successfully: exit code: 1'
    step = parse_step("1", "[b 2/2] RUN --mount=type=cache GOGC=400 go build -o /x", 2)
    counter(StepFinished(step, 0.0, 0.0, cached=False, error=error))
    (finished,) = told.events
    assert isinstance(finished, events.BuildStepFinished)
    assert finished.error == 'process "RUN go build -o /x" did not complete successfully: exit code: 1'
    assert finished.name == "[b 2/2] RUN go build -o /x"


def test_nothing_was_changed_in_a_file_that_is_built_as_it_is() -> None:
    text = "FROM golang:alpine AS b\nRUN go build\n"
    assert not OriginalStepNames(text, Accelerated(text)).is_changed(parse_step("1", "[b 2/2] RUN go build"))


@pytest.mark.parametrize(("line", "touched"), [(1, False), (2, False), (3, True)])
@pytest.mark.parametrize("run", ["RUN go build", "run \\\n  # why\n\n  go build"])
def test_a_step_that_lost_only_its_network_was_touched(run: str, line: int, touched: bool) -> None:
    """As on an engine that does not know `RUN --network`: the text says nothing of it."""
    text = f"FROM golang:alpine AS b\nRUN echo go build -o /x .\n{run} -o /x . \\\n  && echo z\n"
    counter = StepCounter("s", "r", Fanout())
    counter.start(OriginalStepNames(text, Accelerated(text, no_network_lines=(3,))))
    counter(StepStarted(parse_step("1", "[b 2/3] RUN something", line), 0.0))
    assert counter.touched is touched


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("20.10.24+dfsg1", False),
        ("23.0.1", True),
        ("28.5.2", True),
        ("0.0.0-20250101", None),
        ("dev", None),
        ("", None),
    ],
)
def test_an_engine_is_new_enough_or_not_or_does_not_say(version: str, known: bool | None) -> None:
    assert _at_least(version, (23, 0)) is known


def test_only_lookups_of_base_images_are_waited_for_in_impatience() -> None:
    one = parse_step("1", "[internal] load metadata for docker.io/library/golang:alpine")
    two = parse_step("2", "[internal] load metadata for registry.test:5000/x/y:1")
    other = parse_step("3", "[internal] load build context")
    looking = Lookups()
    assert not looking.follow(StepStarted(other, 0.0), 100.0)
    assert [looking.until] == [None]
    assert looking.follow(StepStarted(one, 0.0), 101.0)
    assert looking.follow(StepStarted(two, 0.0), 102.0)
    two_names = ["golang:alpine", "registry.test:5000/x/y:1"]
    assert (list(looking.pending), looking.until) == (two_names, 101.0 + DEFAULT_PATIENCE.first)
    assert looking.follow(StepFinished(one, 0.0, 0.0, cached=False, error=""), 103.0)
    assert (looking.pending, looking.until) == (("registry.test:5000/x/y:1",), 102.0 + DEFAULT_PATIENCE.first)
    looking.follow(StepFinished(two, 0.0, 0.0, cached=False, error=""), 104.0)
    assert looking.until is None


def test_a_from_that_asks_for_its_image_itself_is_a_lookup_and_a_pull_is_not() -> None:
    """As in a build of a Dockerfile that was read before, whose base image was pruned since."""
    step = parse_step("1", "[a 1/2] FROM docker.io/library/golang:alpine@sha256:12")
    looking = Lookups()

    def status(name: str, *, done: bool) -> StepStatus:
        return StepStatus(step, 0.0, name, name, 0, 0, done)

    assert not looking.follow(StepStarted(step, 0.0), 100.0)
    assert not looking.follow(status("sha256:34", done=False), 100.0)
    assert looking.follow(status("resolve docker.io/library/golang:alpine@sha256:12", done=False), 101.0)
    looking.follow(status("resolve docker.io/library/golang:alpine@sha256:12", done=False), 105.0)
    assert (looking.pending, looking.until) == (("golang:alpine@sha256:12",), 101.0 + DEFAULT_PATIENCE.first)
    assert looking.follow(status("resolve docker.io/library/golang:alpine@sha256:12", done=True), 106.0)
    assert looking.until is None


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (
            "[internal] load metadata for docker.io/library/nosuch:image",
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: "
            'failed to do request: Head "https://registry.example.test/v2": dial tcp: no such host',
        ),
        (
            "[internal] load metadata for docker.io/library/nosuch:image",
            "failed to solve: nosuch:image: failed to resolve source metadata for "
            "docker.io/library/nosuch:image: "
            'failed to do request: Head "https://registry.example.test/v2": dial tcp: no such host',
        ),
    ],
)
def test_a_base_image_that_is_not_to_be_had_is_named(step: str, reason: str) -> None:
    failure = build_failure(step, reason, ())
    assert failure.summary.startswith(
        "the base image nosuch:image was not found locally and could not be pulled: "
    )
    assert failure.summary.endswith(
        'failed to do request: Head "https://registry.example.test/v2": dial tcp: no such host'
    )
    assert "check the network" in failure.hint
    assert "docker login" not in failure.hint  # no login helps where no registry answers
    assert "module" not in failure.hint


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def test_the_layers_of_a_base_image_are_added_up_and_told_now_and_then() -> None:
    told, step = Told(), parse_step("sha256:1", "[builder 1/3] FROM docker.io/library/golang:alpine")
    counter = StepCounter("s", "r", told)

    def status(at: float, id: str, current: int, total: int, step=step) -> None:
        counter(StepStatus(step, at, id, "downloading", current, total, done=False))

    status(10.0, "sha256:a", 0, 100)
    status(10.1, "sha256:b", 30, 1000)
    status(10.2, "sha256:b", 40, 1000)
    status(10.1 + PULL_EVERY, "sha256:a", 50, 100)
    status(11.0 + PULL_EVERY, "extracting sha256:a", 5, 100)
    status(12.0, "resolve docker.io/library/golang:alpine", 0, 0)
    status(13.0, "sha256:b", 7, 9, step=parse_step("sha256:2", "[internal] load build context"))
    found = [event for event in told.events if isinstance(event, BuildStepProgress)]
    assert [(event.done, event.total) for event in found] == [(0, 100), (30, 1100), (90, 1100)]
    assert found[0].name == step.name


def test_a_build_that_goes_on_is_not_ended_for_a_silent_registry() -> None:
    looking, limit = Lookups(), DEFAULT_PATIENCE.first
    base = parse_step("f", "[b 1/3] FROM docker.io/library/golang@sha256:12")
    run, copy = parse_step("r", "[b 2/3] RUN make"), parse_step("c", "[b 3/3] COPY . .")
    internal = parse_step("i", "[internal] load build context")
    looking.follow(StepStarted(base, 0.0), 100.0)
    name = "resolve docker.io/library/golang@sha256:12"
    looking.follow(StepStatus(base, 0.0, name, name, 0, 0, done=False), 101.0)
    assert looking.follow(StepStarted(run, 0.0), 102.0)
    assert [looking.until] == [None]
    looking.follow(StepStarted(copy, 0.0), 103.0)
    looking.follow(StepFinished(run, 0.0, 0.0, cached=False, error=""), 150.0)
    assert [looking.until] == [None], "the COPY runs"
    assert looking.follow(StepFinished(copy, 0.0, 0.0, cached=False, error=""), 160.0)
    assert looking.until == 160.0 + limit
    looking.follow(StepStarted(internal, 0.0), 161.0)
    assert looking.until == 160.0 + limit
    assert looking.pending == ("golang@sha256:12",)
