"""What happens in a build, as typed events made of BuildKit's `StatusResponse` messages."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from google.protobuf.timestamp_pb2 import Timestamp

from watcher import regex
from watcher.buildkit.messages.control_pb2 import (
    StatusResponse,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
)

LONGEST_LINE = 8_000  # characters of a line; the rest is dropped before it is processed
KEPT_LINES = 4_000  # of a step, for the report when it fails

# Names look like [builder 5/5] RUN …, [2/3] COPY …, [internal] load … or [linux/amd64 final 1/2] FROM …
_NAME = regex.compile(r"\[(?:(?P<stage>[^\]]*?)\s*)?(?:\b(?P<index>\d+)/(?P<total>\d+))?\]\s")
_PLATFORM = regex.compile(r"^[a-z]+/[a-z0-9/]+\s*")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a build (a vertex of BuildKit).

    `name` is BuildKit's text, like `[builder 5/5] RUN go build`. `stage`, `index` and `total` are its
    bracketed part: empty and 0 without one. `line` is the first line of its instruction in the
    Dockerfile, 0 where that is not known: of the frontend's own steps, and of builds that are not located.
    """

    digest: str
    name: str
    stage: str
    index: int
    total: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step started; `at` is the engine's time in seconds since 1970. A step can start again after it
    finished.
    """

    step: Step
    at: float


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step ended after `seconds`; `cached` if its result was there already, `error` is empty if it
    succeeded.
    """

    step: Step
    at: float
    seconds: float
    cached: bool
    error: str


@dataclass(frozen=True, slots=True)
class StepLog:
    """Whole lines that a step wrote, without the last line break; `stream` is 1 for output, 2 for errors.

    An unfinished line is emitted when the step finishes. So lines of concurrent steps never mix.
    """

    step: Step
    at: float
    stream: int
    text: str


@dataclass(frozen=True, slots=True)
class StepStatus:
    """Progress of a part of a step, like the transfer of the context or the pull of a layer.

    `current` and `total` are in whatever `name` counts, mostly bytes; `total` is 0 when unknown.
    """

    step: Step
    at: float
    id: str
    name: str
    current: int
    total: int
    done: bool


@dataclass(frozen=True, slots=True)
class StepWarning:
    """Advice of the Dockerfile frontend (BuildKit 0.10 and newer)."""

    step: Step
    level: int
    text: str
    detail: tuple[str, ...]
    url: str


Progress = StepStarted | StepFinished | StepLog | StepStatus | StepWarning


def parse_step(digest: str, name: str, line: int = 0) -> Step:
    """Return the step that a vertex's name describes."""
    match = _NAME.match(name)
    if match is None:
        return Step(digest, name, "", 0, 0, line)
    stage = _PLATFORM.sub("", match["stage"] or "")
    return Step(digest, name, stage, int(match["index"] or 0), int(match["total"] or 0), line)


@dataclass(slots=True)
class _Vertex:
    """What is known of a step so far."""

    step: Step
    started: float = 0.0
    finished: float = 0.0
    error: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    outputs: dict[int, _Output] = field(default_factory=dict)


def _cut_line(text: str) -> str:
    return "\n".join(line[:LONGEST_LINE] for line in text.split("\n"))


class _Output:
    """One output stream of a step: bytes to lines."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, *, final: bool = False) -> str | None:
        """Return the lines that are complete now, without the last line break; None if there is none."""
        text = self._rest + self._decoder.decode(data, final)
        if final:
            self._rest = ""
            return _cut_line(text) or None
        whole, line_break, self._rest = text.rpartition("\n")
        if len(self._rest) > LONGEST_LINE:  # a step that prints for ever without ending a line
            whole, line_break, self._rest = text, "\n", ""
        return _cut_line(whole) if line_break else None


class ProgressReader:
    """Turns status messages into events and remembers what a failure report needs."""

    def __init__(self) -> None:
        self._vertices: dict[str, _Vertex] = {}
        self._failed: _Vertex | None = None
        self._lines: Mapping[str, int] = {}

    def locate(self, lines: Mapping[str, int]) -> None:
        """Set the first line of each step's instruction in the Dockerfile, by the step's digest."""
        self._lines = lines
        for digest, vertex in self._vertices.items():
            vertex.step = replace(vertex.step, line=lines.get(digest, 0))

    def read(self, data: bytes) -> Iterator[Progress]:
        """The events in one serialized `StatusResponse`, in the order to show them."""
        response = StatusResponse.FromString(data)
        for vertex in response.vertexes:
            yield from self._start_step(vertex)
        for status in response.statuses:
            yield self._read_status(status)
        for log in response.logs:
            yield from self._read_log(log)
        for warning in response.warnings:
            yield self._read_warning(warning)
        for vertex in response.vertexes:
            yield from self._finish_step(vertex)

    def end(self) -> Iterator[Progress]:
        """What is left when no more messages come: lines without an end."""
        for vertex in self._vertices.values():
            yield from self._flush_line(vertex, vertex.finished or vertex.started)

    @property
    def began(self) -> bool:
        """Return whether there was any message."""
        return bool(self._vertices)

    @property
    def failure(self) -> tuple[Step | None, tuple[str, ...]]:
        """Return the step that failed and the lines that it wrote; None and nothing if none did."""
        if self._failed is None:
            return None, ()
        return self._failed.step, tuple(self._failed.lines)

    def _known_step(self, digest: str, name: str = "") -> _Vertex:
        vertex = self._vertices.get(digest)
        if vertex is None or (name and name != vertex.step.name):
            step = parse_step(digest, name, self._lines.get(digest, 0))
            if vertex is None:
                vertex = self._vertices[digest] = _Vertex(step)
            vertex.step = step
        return vertex

    def _start_step(self, message: Vertex) -> Iterator[Progress]:
        vertex = self._known_step(message.digest, message.name)
        if message.HasField("started"):
            at = _to_seconds(message.started)
            if at > vertex.started:
                vertex.started = at
                yield StepStarted(vertex.step, at)

    def _finish_step(self, message: Vertex) -> Iterator[Progress]:
        vertex = self._known_step(message.digest)
        if not message.HasField("completed"):
            return
        at = _to_seconds(message.completed)
        if at <= vertex.finished and message.error == vertex.error:
            return
        vertex.finished, vertex.error = at, message.error
        # Steps that were stopped because another one failed are not the reason.
        if message.error and not message.error.endswith("context canceled") and self._failed is None:
            self._failed = vertex
        yield from self._flush_line(vertex, at)
        began = vertex.started or at
        yield StepFinished(vertex.step, at, max(0.0, at - began), message.cached, message.error)

    def _read_log(self, message: VertexLog) -> Iterator[Progress]:
        vertex = self._known_step(message.vertex)
        output = vertex.outputs.setdefault(message.stream, _Output())
        text = output.feed(message.msg)
        if text is not None:
            yield self._written(vertex, _to_seconds(message.timestamp), message.stream, text)

    def _flush_line(self, vertex: _Vertex, at: float) -> Iterator[Progress]:
        for stream, output in vertex.outputs.items():
            text = output.feed(b"", final=True)
            if text is not None:
                yield self._written(vertex, at, stream, text)

    def _written(self, vertex: _Vertex, at: float, stream: int, text: str) -> StepLog:
        vertex.lines += text.split("\n")
        return StepLog(vertex.step, at, stream, text)

    def _read_status(self, message: VertexStatus) -> StepStatus:
        return StepStatus(
            step=self._known_step(message.vertex).step,
            at=_to_seconds(message.timestamp),
            id=message.ID,
            name=message.name,
            current=message.current,
            total=message.total,
            done=message.HasField("completed"),
        )

    def _read_warning(self, message: VertexWarning) -> StepWarning:
        return StepWarning(
            step=self._known_step(message.vertex).step,
            level=message.level,
            text=message.short.decode("utf-8", "replace"),
            detail=tuple(line.decode("utf-8", "replace") for line in message.detail),
            url=message.url,
        )


def _to_seconds(timestamp: Timestamp) -> float:
    return timestamp.seconds + timestamp.nanos / 1e9
