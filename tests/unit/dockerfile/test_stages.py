"""Stages as a graph, bases, the builder, and the files an image takes from the context."""

from __future__ import annotations

import pytest

from tests.platforms import AMD64, ARM64
from watcher.dockerfile import (
    DockerfileError,
    ImageConfig,
    Platforms,
    base_images,
    base_of,
    builder_stage,
    parse,
)
from watcher.dockerfile.stages import Graph, run_mounts
from watcher.dockerfile.state import walk_steps

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
    assert base_images(parse(MANY), {"GO": "1.23"}, "final", AMD64) == (
        "golang:1.23-alpine",
        "gcr.io/distroless/static",
        "busybox:1.36",
    )


def test_the_last_stage_is_the_target_unless_named():
    assert base_images(parse(MANY), {}, None, AMD64) == ("golang:1.22-alpine", "tools:2")


def test_the_platform_chooses_among_stages():
    graph = Graph(parse(MANY), {}, ARM64)
    assert [stage.label for stage in graph.reachable_stages("build")] == ["deps", "build-arm64", "build"]


@pytest.mark.parametrize(
    ("build", "target", "stages"),
    [
        ("linux/amd64", "", ["deps", "build-amd64", "build"]),
        ("linux/aarch64", "", ["deps", "build-arm64", "build"]),
        ("linux/amd64", "linux/arm64/v8", ["deps", "build-arm64", "build"]),
        ("linux/arm64", "amd64", ["deps", "build-amd64", "build"]),
    ],
)
def test_the_stage_of_the_platform_that_is_built_for_is_followed(
    build: str, target: str, stages: list[str]
) -> None:
    graph = Graph(parse(MANY), {}, Platforms.of(build, target))
    assert [stage.label for stage in graph.reachable_stages("build")] == stages


def test_what_builds_and_what_is_built_for_are_two() -> None:
    text = "FROM golang:$BUILDARCH AS b\nFROM alpine:$TARGETARCH$TARGETVARIANT\nCOPY --from=b /x /\n"
    assert base_images(parse(text), {}, None, Platforms.of("linux/amd64", "linux/arm/7")) == (
        "golang:amd64",
        "alpine:armv7",
    )


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("Linux/AMD64", "linux/amd64"),
        ("i386", "linux/386"),
        ("linux", "linux/riscv64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_names_of_platforms_are_brought_into_the_form_that_buildkit_uses(given: str, normal: str) -> None:
    assert Platforms.of("linux/riscv64", given).target == normal
    assert Platforms.of("linux/riscv64", given).build == "linux/riscv64"


def test_a_stage_name_wins_over_an_image_and_later_stages_do_not_count():
    text = (
        "FROM alpine AS golang\nFROM golang\nFROM later\nFROM x AS later\nFROM scratch\nCOPY --from=2 /a /\n"
    )
    assert base_images(parse(text), {}, "1", AMD64) == ("alpine",)
    assert base_images(parse(text), {}, None, AMD64) == ("later",)


def test_a_missing_target_is_named_with_those_that_exist():
    with pytest.raises(DockerfileError, match="there is no stage of this name; there are deps, build-amd64"):
        base_images(parse(MANY), {}, "nope", AMD64)


def test_a_base_that_stays_empty_says_what_to_do():
    with pytest.raises(DockerfileError, match="give the ARG a default or pass a build arg"):
        base_images(parse("ARG BASE\nFROM ${BASE}\n"), {}, None, AMD64)


def test_mounts_are_read_with_their_aliases():
    one = (
        parse("FROM a\nRUN --mount=type=cache,dst=/x,'\"id=a,b\"' --mount=src=y,destination=z x\n")
        .stages[0]
        .instructions[0]
    )
    assert run_mounts(one) == [
        {"type": "cache", "target": "/x", "id": "a,b"},
        {"type": "bind", "source": "y", "target": "z"},
    ]


def test_the_state_follows_env_arg_user_and_workdir_through_from():
    text = (
        'ARG TOP=t\nFROM base AS one\nARG TOP\nARG GIVEN=no\nENV A=1 B="${A}x ${GIVEN}"\n'
        "ENV C $TOP and more\nWORKDIR src\nUSER 5:6\nFROM one\nWORKDIR ../sub\nRUN x\n"
    )
    graph = Graph(parse(text), {"GIVEN": "yes"}, AMD64)
    base = ImageConfig(env={"A": "0"}, workdir="/home")
    step = walk_steps(graph, {"GIVEN": "yes"}, {"base": base}, graph.reachable_stages(None))[1][-1]
    assert {name: step.state.text(name) for name in "ABC"} == {"A": "1", "B": "0x yes", "C": "t and more"}
    assert (step.state.user, step.state.workdir) == ("5:6", "/home/sub")


def test_the_triggers_of_a_base_come_first():
    graph = Graph(parse("FROM base\nRUN y\n"), {}, AMD64)
    base = ImageConfig(onbuild=("WORKDIR /app", "RUN x"))
    steps = walk_steps(graph, {}, {"base": base}, graph.reachable_stages(None))[0]
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
    assert builder_stage(parse(text), None, {}, AMD64) == stage


def test_the_label_of_the_builder_may_be_another_one():
    text = (
        "FROM golang AS a\nLABEL role=compile\nRUN ./x\nFROM golang AS b\nLABEL stage=builder\nRUN ./y\n"
        "FROM alpine\nCOPY --from=a /x /\nCOPY --from=b /y /\n"
    )
    assert builder_stage(parse(text), None, {}, AMD64) == "b"
    assert builder_stage(parse(text), None, {}, AMD64, label="role=compile") == "a"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("FROM my-go-base:1 AS b\nRUN go build\n", "my-go-base:1"),
        ("ARG V=1.26\nFROM golang:${V} AS deps\nFROM deps AS b\nRUN go build\n", "golang:1.27"),
        ("FROM scratch AS b\nCOPY . .\n", None),
    ],
)
def test_the_base_of_a_stage_is_the_image_at_the_end_of_its_chain(text, base):
    assert base_of(parse(text), "b", {"V": "1.27"}, AMD64) == base
