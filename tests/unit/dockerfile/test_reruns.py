"""Why a step of a Dockerfile runs again at each save."""

from __future__ import annotations

import pytest

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


COPIED = "a save changes what line 7 above it copies (COPY . .)"


@pytest.mark.parametrize(
    ("line", "why", "remedy"),
    [
        (
            7,
            "a save changes what it copies",
            "leave out what the build does not need, in .dockerignore",
        ),
        (8, f"{COPIED}; it installs packages with apk", "move it above line 7: it does not need the tree"),
        (
            9,
            f"{COPIED}; it downloads modules",
            "COPY go.mod go.sum ./ above it and the tree after it: modules are then downloaded once",
        ),
        (
            10,
            COPIED,
            "if it does not read the tree, move it above line 7; else copy only what it reads before it",
        ),
        (11, f"{COPIED}; it downloads something", "move it above line 7: it does not need the tree"),
        (12, f"{COPIED}; go -a", "leave -a out of it"),
        (
            15,
            f"{COPIED}; go has no cache mount",
            "mount one: RUN --mount=type=cache,target=/root/.cache/go-build …",
        ),
        (16, f"{COPIED}; go compiles what changed, from its own cache mount", ""),
        (19, "it copies from the stage base, which runs again", ""),
    ],
)
def test_what_a_save_repeats_has_a_cause_and_a_remedy(graph: Graph, line: int, why: str, remedy: str) -> None:
    assert explain(graph, line) == Rerun(why, remedy)


def test_what_is_accelerated_is_not_blamed(graph: Graph) -> None:
    changed = Accelerated(
        TEXT, (LineChange(12, "RUN", "RUN", ("-a goes",)), LineChange(15, "R", "R", ("c",)))
    )
    assert explain(graph, 15, changed) == Rerun(f"{COPIED}; go compiles what changed, from a mounted cache")
    assert explain(graph, 12, changed) == Rerun(
        f"{COPIED}; go compiles what changed, from a mounted cache, and links again because of `date`",
        "leave the date out while you develop",
    )


def test_what_is_left_as_it_is_says_why(graph: Graph) -> None:
    left = Accelerated(TEXT, (), (LineNote(12, "RUN", "USER app is a name"), LineNote(15, "RUN", "sudo")))
    assert explain(graph, 12, left) == Rerun(
        f"{COPIED}; go -a compiles everything, and the line is left as it is: USER app is a name",
        "leave -a out of it",
    )
    assert explain(graph, 15, left).why == f"{COPIED}; no cache of go's is mounted: sudo"


def test_a_step_with_nothing_above_it_has_a_cause_of_its_own(graph: Graph) -> None:
    assert explain(graph, 5, ran={5}).why == (
        "nothing above it ran: an ARG above it (VERSION) has another value, or its cached result was not "
        "used (no_cache, a new base image, pruned)"
    )
    assert explain(graph, 5, ran={5}, differ=True).why == (
        "a variable in it (VERSION) has another value in each build"
    )
    assert explain(graph, 20, ran={20}).why == "what it downloads is looked up in each build"
    assert explain(graph, 21, ran={21}).why == "a save changes what is mounted into it"
    assert explain(graph, 6, ran={5, 6}) == Rerun("line 5 above it (RUN apk add --no-cache git) runs again")


@pytest.mark.parametrize("command", ["make build", "./build.sh", "sh scripts/build.sh"])
def test_a_step_that_builds_through_make_or_a_script(command: str) -> None:
    text = f"FROM golang\nCOPY . .\nRUN {command}\n"
    graph = Graph(parse(text), {}, AMD64)
    layer = find_layer(graph, "", 3, 3, "RUN")
    assert layer is not None
    plain = explain_rerun(graph, layer, {2, 3}, Accelerated(text))
    assert plain.why == "a save changes what line 2 above it copies (COPY . .); go has no cache mount"
    changed = Accelerated(text, (LineChange(3, "RUN", "RUN", ("a cache",)),))
    assert explain_rerun(graph, layer, {2, 3}, changed).remedy == ""
