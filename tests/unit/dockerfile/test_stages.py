"""Stages as a graph, bases, the builder, and the files an image takes from the context."""

from __future__ import annotations

import pytest

from watcher.dockerfile import (
    DockerfileError,
    ImageConfig,
    base_images,
    base_of,
    builder_stage,
    context_files,
    parse,
)
from watcher.dockerfile.stages import Graph, mounts
from watcher.dockerfile.state import walk

MANY = """\
ARG GO=1.22
ARG KIND
FROM --platform=$BUILDPLATFORM golang:${GO}-${KIND:-alpine} AS deps
RUN go mod download
FROM deps AS build-amd64
RUN make
FROM deps AS build-arm64
RUN make
FROM build-${TARGETARCH} AS build
FROM node:20 AS web
FROM gcr.io/distroless/static AS final
COPY --from=build /app /app
COPY --from=busybox:1.36 /bin/sh /sh
FROM golang:dev AS dev
FROM scratch
COPY --from=0 /x /
RUN --mount=from=tools:2,target=/t /t/x
"""


def test_only_what_the_target_reaches_is_a_base():
    assert base_images(parse(MANY), {"GO": "1.23"}, "final") == (
        "golang:1.23-alpine",
        "gcr.io/distroless/static",
        "busybox:1.36",
    )


def test_the_last_stage_is_the_target_unless_named():
    assert base_images(parse(MANY), {}, None) == ("golang:1.22-alpine", "tools:2")


def test_the_platform_chooses_among_stages():
    graph = Graph(parse(MANY), {}, "linux/arm64")
    assert [stage.label for stage in graph.reachable("build")] == ["deps", "build-arm64", "build"]


def test_a_stage_name_wins_over_an_image_and_later_stages_do_not_count():
    text = (
        "FROM alpine AS golang\nFROM golang\nFROM later\nFROM x AS later\nFROM scratch\nCOPY --from=2 /a /\n"
    )
    assert base_images(parse(text), {}, "1") == ("alpine",)
    assert base_images(parse(text), {}, None) == ("later",)


def test_a_missing_target_is_named_with_those_that_exist():
    with pytest.raises(DockerfileError, match="there is no stage of this name; there are deps, build-amd64"):
        base_images(parse(MANY), {}, "nope")


def test_a_base_that_stays_empty_says_what_to_do():
    with pytest.raises(DockerfileError, match="give the ARG a default or pass a build arg"):
        base_images(parse("ARG BASE\nFROM ${BASE}\n"), {}, None)


def test_mounts_are_read_with_their_aliases():
    one = (
        parse("FROM a\nRUN --mount=type=cache,dst=/x,'\"id=a,b\"' --mount=src=y,destination=z x\n")
        .stages[0]
        .instructions[0]
    )
    assert mounts(one) == [
        {"type": "cache", "target": "/x", "id": "a,b"},
        {"type": "bind", "source": "y", "target": "z"},
    ]


def test_the_state_follows_env_arg_user_and_workdir_through_from():
    text = (
        'ARG TOP=t\nFROM base AS one\nARG TOP\nARG GIVEN=no\nENV A=1 B="${A}x ${GIVEN}"\n'
        "ENV C $TOP and more\nWORKDIR src\nUSER 5:6\nFROM one\nWORKDIR ../sub\nRUN x\n"
    )
    graph = Graph(parse(text), {"GIVEN": "yes"}, "linux/amd64")
    base = ImageConfig(env={"A": "0"}, workdir="/home")
    step = walk(graph, {"GIVEN": "yes"}, {"base": base}, graph.reachable(None))[1][-1]
    assert {name: step.state.text(name) for name in "ABC"} == {"A": "1", "B": "0x yes", "C": "t and more"}
    assert (step.state.user, step.state.workdir) == ("5:6", "/home/sub")


def test_the_triggers_of_a_base_come_first():
    graph = Graph(parse("FROM base\nRUN y\n"), {}, "linux/amd64")
    base = ImageConfig(onbuild=("WORKDIR /app", "RUN x"))
    steps = walk(graph, {}, {"base": base}, graph.reachable(None))[0]
    assert [(step.one.body.text, step.inherited, step.state.workdir) for step in steps] == [
        ("/app", True, "/"),
        ("x", True, "/app"),
        ("y", False, "/app"),
    ]


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("FROM golang AS b\nRUN go build -o x\nFROM alpine\nCOPY --from=b /x /\n", "b"),
        ("FROM golang\nRUN go install ./...\nFROM alpine\nCOPY --from=0 /x /\n", "0"),
        ("FROM golang AS b\nRUN make\nFROM alpine\nCOPY --from=b /x /\n", "b"),
        (
            "FROM golang AS b\nRUN go build\nFROM b AS t\nRUN go test .\nFROM alpine\nCOPY --from=t /x /\n",
            "b",
        ),
        (
            'FROM golang AS b\nLABEL a=b "stage"="builder"\nRUN ./x\nFROM alpine\nCOPY --from=b /x /\n',
            "b",
        ),
        ("FROM golang AS b\nRUN go build\nFROM alpine AS f\n", None),
        ("FROM golang\nRUN go build\n", None),
        ("FROM node AS w\nRUN npm ci\nFROM alpine\nCOPY --from=w /x /\n", None),
    ],
)
def test_the_builder_is_the_stage_that_compiles(text, stage):
    assert builder_stage(parse(text), None) == stage


def test_the_label_of_the_builder_may_be_another_one():
    text = (
        "FROM golang AS a\nLABEL role=compile\nRUN ./x\nFROM golang AS b\nLABEL stage=builder\nRUN ./y\n"
        "FROM alpine\nCOPY --from=a /x /\nCOPY --from=b /y /\n"
    )
    assert builder_stage(parse(text), None) == "b"
    assert builder_stage(parse(text), None, label="role=compile") == "a"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("FROM my-go-base:1 AS b\nRUN go build\n", "my-go-base:1"),
        ("ARG V=1.26\nFROM golang:${V} AS deps\nFROM deps AS b\nRUN go build\n", "golang:1.27"),
        ("FROM scratch AS b\nCOPY . .\n", None),
    ],
)
def test_the_base_of_a_stage_is_the_image_at_the_end_of_its_chain(text, base):
    assert base_of(parse(text), "b", {"V": "1.27"}) == base


@pytest.mark.parametrize(
    ("copies", "files"),
    [
        ("COPY --from=b /src/app .", ("app",)),
        ("COPY --from=b /src/_envs/env_$ENV.yaml ./_envs/", ("_envs/env_dev.yaml",)),
        ("COPY _envs/env_${ENV}.yaml /etc/", ("_envs/env_dev.yaml",)),
        ("COPY ./static /static\nADD https://example.com/x /x", ("static",)),
        ("COPY --from=b /src /src", (".",)),
        ("COPY --from=b /conf/c.yaml /c", ("deploy/c.yaml",)),
        ("COPY --from=busybox /bin/sh /sh", ()),
        ("COPY --from=b /usr/bin/tool /x", ()),
        ('COPY ["a b.txt", "/x"]', ("a b.txt",)),
        ("COPY conf_$UNKNOWN.yaml /x", ("conf_*.yaml",)),
    ],
)
def test_the_files_that_the_image_takes_are_traced_to_the_context(copies, files):
    builder = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nCOPY deploy/ /conf\nRUN go build\n"
    text = f"{builder}FROM alpine\nARG ENV\n{copies}\n"
    assert context_files(parse(text), {"ENV": "dev"}, None) == files
