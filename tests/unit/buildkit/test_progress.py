"""Status messages become events that can be shown as they come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.buildkit import Progress, StepFinished, StepLog, StepStarted, StepStatus, StepWarning
from watcher.buildkit.messages.control_pb2 import (
    StatusResponse,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
)
from watcher.buildkit.progress import KEPT_LINES, LONGEST_LINE, ProgressReader, parse_step


@pytest.mark.parametrize(
    ("name", "stage", "index", "total"),
    [
        ("[builder 5/5] RUN go build", "builder", 5, 5),
        ("[2/3] COPY . .", "", 2, 3),
        ("[internal] load build context", "internal", 0, 0),
        ("[linux/amd64 final 1/2] FROM alpine", "final", 1, 2),
        ("[linux/arm/v7 1/2] FROM alpine", "", 1, 2),
        ("[stage-1 10/12] RUN [ -f x ]", "stage-1", 10, 12),
        ("[my stage2 1/1] RUN x", "my stage2", 1, 1),
        ("[auth] library/alpine:pull token", "auth", 0, 0),
        ("exporting to image", "", 0, 0),
        ("[odd", "", 0, 0),
        ("", "", 0, 0),
    ],
)
def test_a_steps_name_tells_stage_and_number(name: str, stage: str, index: int, total: int):
    step = parse_step("sha256:1", name)
    assert (step.name, step.stage, step.index, step.total) == (name, stage, index, total)


def read(*messages: StatusResponse) -> list[Progress]:
    reader = ProgressReader()
    events = [event for message in messages for event in reader.read(message.SerializeToString())]
    return [*events, *reader.end()]


def vertex(digest: str = "d", started: int = 0, completed: int = 0, **more: object) -> StatusResponse:
    message = Vertex(digest=digest, name="[builder 1/2] RUN x", **more)  # type: ignore[arg-type]
    if started:
        message.started.seconds = started
    if completed:
        message.completed.seconds = completed
    return StatusResponse(vertexes=[message])


def log(text: bytes, stream: int = 1, digest: str = "d") -> StatusResponse:
    return StatusResponse(logs=[VertexLog(vertex=digest, stream=stream, msg=text)])


def times(events: list[Progress]) -> list[tuple[type[Progress], float]]:
    return [(type(event), event.at) for event in events if not isinstance(event, StepWarning)]


def test_a_step_starts_and_finishes_once_however_often_it_is_reported():
    events = read(
        vertex(),
        vertex(started=5),
        vertex(started=5),
        vertex(started=5, completed=8),
        vertex(started=5, completed=8),
    )
    assert times(events) == [(StepStarted, 5.0), (StepFinished, 8.0)]
    assert isinstance(events[1], StepFinished)
    assert (events[1].seconds, events[1].cached, events[1].error) == (3.0, False, "")


def test_a_step_that_runs_again_is_told_again():
    events = read(vertex(started=5, completed=5), vertex(started=7), vertex(started=7, completed=9))
    assert times(events) == [
        (StepStarted, 5.0),
        (StepFinished, 5.0),
        (StepStarted, 7.0),
        (StepFinished, 9.0),
    ]


def test_the_times_of_a_step_are_exact_to_a_fraction_of_a_second():
    message = vertex(started=10, completed=12)
    message.vertexes[0].started.nanos = 250_000_000
    message.vertexes[0].completed.nanos = 750_000_000
    started, finished = read(message)
    assert isinstance(started, StepStarted)
    assert isinstance(finished, StepFinished)
    assert (started.at, finished.at) == (10.25, 12.75)


def test_a_cached_step_says_so():
    (_, finished) = read(vertex(started=1, completed=1, cached=True))
    assert isinstance(finished, StepFinished)
    assert finished.cached


def test_lines_of_two_streams_and_two_steps_do_not_mix():
    events = read(
        log(b"a", 1), log(b"b", 2), log(b"c", 1, "e"), log(b"1\n", 1), log(b"2\n", 2), log(b"3\n", 1, "e")
    )
    assert [
        (event.step.digest, event.stream, event.text) for event in events if isinstance(event, StepLog)
    ] == [
        ("d", 1, "a1"),
        ("d", 2, "b2"),
        ("e", 1, "c3"),
    ]


def test_a_last_line_without_an_end_is_told_before_the_step_finishes():
    events = read(vertex(started=1), log(b"dots..."), vertex(started=1, completed=2))
    assert [type(event) for event in events] == [StepStarted, StepLog, StepFinished]


def test_lines_that_come_after_the_end_of_their_step_are_not_lost():
    events = read(vertex(started=1, completed=2), log(b"late"))
    assert isinstance(events[-1], StepLog)
    assert events[-1].text == "late"


@settings(deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_no_byte_of_the_output_is_lost_or_doubled_however_it_is_cut(data: bytes, cuts: list[int]):
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [log(data[start:end]) for start, end in pairwise(edges)]
    lines = [line for event in read(*parts) if isinstance(event, StepLog) for line in event.text.split("\n")]
    text = data.decode("utf-8", "replace")
    assert lines == ([] if not text else text.removesuffix("\n").split("\n"))


def test_statuses_and_warnings_are_passed_on():
    status = VertexStatus(ID="transferring", vertex="d", name="transferring", current=3, total=10)
    done = VertexStatus(ID="transferring", vertex="d", current=10, total=10)
    done.completed.seconds = 1
    warning = VertexWarning(vertex="d", level=1, short=b"short", detail=[b"long"], url="https://docs.example")
    events = read(StatusResponse(statuses=[status, done], warnings=[warning]))
    assert [(event.current, event.done) for event in events if isinstance(event, StepStatus)] == [
        (3, False),
        (10, True),
    ]
    assert [(event.text, event.detail, event.url) for event in events if isinstance(event, StepWarning)] == [
        ("short", ("long",), "https://docs.example")
    ]


def test_the_failure_is_the_first_real_one_with_all_its_lines():
    reader = ProgressReader()
    for message in (
        vertex("a", started=1),
        vertex("b", started=1),
        log(b"one\n", 2, "b"),
        vertex("a", started=1, completed=2, error="context canceled"),
        log(b"two", 1, "b"),
        vertex("b", started=1, completed=2, error="exit code: 1"),
        vertex("c", started=2, completed=3, error="exit code: 2"),
    ):
        list(reader.read(message.SerializeToString()))
    step, lines = reader.failure
    assert step is not None
    assert (step.name, lines) == ("[builder 1/2] RUN x", ("one", "two"))


def test_a_line_without_an_end_is_cut_and_a_step_keeps_its_newest_lines():
    reader = ProgressReader()
    list(reader.read(vertex(started=1).SerializeToString()))
    told = [event for _ in range(50) for event in reader.read(log(b"a" * 10_000).SerializeToString())]
    assert all(isinstance(event, StepLog) and len(event.text) == LONGEST_LINE for event in told)
    for number in range(KEPT_LINES):
        list(reader.read(log(b"%d\n" % number).SerializeToString()))
    list(reader.read(vertex(started=1, completed=2, error="exit code: 1").SerializeToString()))
    step, lines = reader.failure
    assert step is not None
    assert lines == tuple(str(number) for number in range(KEPT_LINES))
