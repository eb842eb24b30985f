"""Why a step of a Dockerfile runs again at each save."""

from __future__ import annotations

import pytest

from tests.facts import missing
from tests.platforms import AMD64
from watcher.dockerfile import (
    Accelerated,
    Graph,
    LineChange,
    LineNote,
    Rerun,
    explain_rerun,
    find_layer,
    parse,
)

TEXT = """\
# syntax comment
ARG GLOBAL=1
FROM golang:alpine AS base
ARG VERSION
RUN apk add --no-cache git
WORKDIR /src
COPY . .
RUN apk add --no-cache make
RUN go mod download
RUN protoc --go_out=. api.proto
RUN curl -fsSL https://example.com/tool -o /tool
RUN go build -a -ldflags "-X main.date=$(date)" -o /app .

FROM base AS more
RUN go vet ./...
RUN --mount=type=cache,target=/root/.cache/go-build go build ./cmd/other

FROM alpine
COPY --from=base /app /app
ADD https://example.com/data /data
RUN --mount=type=bind,target=/tree ls /tree
"""
SAVED = {7, 8, 9, 10, 11, 12, 15, 16, 19}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(parse(TEXT), {}, AMD64)


def explain(
    graph: Graph, line: int, plan: Accelerated | None = None, ran: set[int] = SAVED, *, differ: bool = False
) -> Rerun:
    for stage in graph.dockerfile.stages:
        for one in stage.instructions:
            if one.line == line:
                name = stage.name or f"stage-{stage.index}"
                for index in range(1, 20):
                    for total in range(1, 20):
                        layer = find_layer(graph, name, index, total, one.keyword)
                        if layer and layer.line == line:
                            plan = plan or Accelerated(TEXT)
                            return explain_rerun(graph, layer, ran, plan, variables_differ=differ)
    raise AssertionError(line)


def test_a_step_is_found_by_its_stage_and_place(graph: Graph) -> None:
    """`FROM` counts where it is an image, not where it is a stage (`more`)."""
    for stage, index, total, keyword, line in [
        ("base", 1, 9, "FROM", 3),
        ("base", 2, 9, "RUN", 5),
        ("base", 3, 9, "WORKDIR", 6),
        ("base", 9, 9, "RUN", 12),
        ("more", 1, 2, "RUN", 15),
        ("stage-2", 2, 4, "COPY", 19),
    ]:
        found = find_layer(graph, stage, index, total, keyword)
        assert found is not None
        assert found.line == line
    for stage, index, total, keyword in [
        ("base", 2, 8, "RUN"),  # another file by now
        ("base", 2, 9, "COPY"),
        ("base", 0, 9, "RUN"),
        ("base", 10, 9, "RUN"),
        ("gone", 1, 1, "RUN"),
    ]:
        assert find_layer(graph, stage, index, total, keyword) is None


def test_of_a_single_stage_the_name_is_empty() -> None:
    graph = Graph(parse("FROM golang\nCOPY . .\nRUN go build\n"), {}, AMD64)
    found = find_layer(graph, "", 3, 3, "RUN")
    assert found is not None
    assert found.line == 3


COPIED = ("save changes", "line 7", "COPY . .")


@pytest.mark.parametrize(
    ("line", "why", "remedy"),
    [
        (7, ("save changes", "it copies"), (".dockerignore",)),
        (8, (*COPIED, "installs packages", "apk"), ("move it above line 7",)),
        (9, (*COPIED, "downloads modules"), ("COPY go.mod go.sum ./", "above", "tree after it", "once")),
        (10, COPIED, ("does not read the tree", "above line 7", "copy only", "before it")),
        (11, (*COPIED, "downloads something"), ("move it above line 7",)),
        (12, (*COPIED, "go -a"), ("leave -a out",)),
        (15, (*COPIED, "no cache mount"), ("RUN --mount=type=cache,target=/root/.cache/go-build",)),
        (16, (*COPIED, "compiles what changed", "own cache mount"), ()),
        (19, ("copies from", "stage base", "runs again"), ()),
    ],
)
def test_what_a_save_repeats_has_a_cause_and_a_remedy(
    graph: Graph, line: int, why: tuple[str, ...], remedy: tuple[str, ...]
) -> None:
    found = explain(graph, line)
    assert missing(found.why, *why) == []
    assert missing(found.remedy, *remedy) == []
    assert bool(found.remedy) == bool(remedy)


def test_what_is_accelerated_is_not_blamed(graph: Graph) -> None:
    changed = Accelerated(
        TEXT, (LineChange(12, "RUN", "RUN", ("-a goes",)), LineChange(15, "R", "R", ("c",)))
    )
    compiles = explain(graph, 15, changed)
    assert missing(compiles.why, *COPIED, "compiles what changed", "mounted cache") == []
    assert compiles.remedy == ""
    links = explain(graph, 12, changed)
    assert missing(links.why, *COPIED, "compiles what changed", "links again", "`date`") == []
    assert missing(links.remedy, "leave the date out") == []


def test_what_is_left_as_it_is_says_why(graph: Graph) -> None:
    left = Accelerated(TEXT, (), (LineNote(12, "RUN", "USER app is a name"), LineNote(15, "RUN", "sudo")))
    whole = explain(graph, 12, left)
    assert missing(whole.why, *COPIED, "go -a", "everything", "left as it is", "USER app is a name") == []
    assert missing(whole.remedy, "leave -a out") == []
    uncached = explain(graph, 15, left)
    assert missing(uncached.why, *COPIED, "no cache", "sudo") == []


def test_a_step_with_nothing_above_it_has_a_cause_of_its_own(graph: Graph) -> None:
    why = explain(graph, 5, ran={5}).why
    assert missing(why, "nothing above it", "ARG", "VERSION", "no_cache", "base image", "pruned") == []
    why = explain(graph, 5, ran={5}, differ=True).why
    assert missing(why, "variable", "VERSION", "another value", "each build") == []
    assert missing(explain(graph, 20, ran={20}).why, "downloads", "each build") == []
    assert missing(explain(graph, 21, ran={21}).why, "save", "mounted into it") == []
    below = explain(graph, 6, ran={5, 6})
    assert missing(below.why, "line 5", "RUN apk add --no-cache git", "runs again") == []
    assert below.remedy == ""


@pytest.mark.parametrize("command", ["make build", "./build.sh", "sh scripts/build.sh"])
def test_a_step_that_builds_through_make_or_a_script(command: str) -> None:
    text = f"FROM golang\nCOPY . .\nRUN {command}\n"
    graph = Graph(parse(text), {}, AMD64)
    layer = find_layer(graph, "", 3, 3, "RUN")
    assert layer is not None
    plain = explain_rerun(graph, layer, {2, 3}, Accelerated(text))
    assert missing(plain.why, "line 2", "COPY . .", "no cache mount") == []
    changed = Accelerated(text, (LineChange(3, "RUN", "RUN", ("a cache",)),))
    assert explain_rerun(graph, layer, {2, 3}, changed).remedy == ""
