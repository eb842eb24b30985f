"""The article's own Dockerfile: what is asked of it, and what it becomes."""

from __future__ import annotations

import pytest

from tests.platforms import AMD64
from watcher.dockerfile import Accelerated, ImageConfig, Level, accelerate, base_images, builder_stage, parse

ARTICLE = """\
FROM golang:alpine AS builder
LABEL stage=builder
RUN apk add --no-cache gcc libc-dev
WORKDIR /workspace
COPY . .
RUN CGO_ENABLED=0 GOOS=linux go build -a -o mygoexecutable .

FROM alpine AS final
ARG ENV
WORKDIR /
COPY --from=builder /workspace/mygoexecutable .
COPY --from=builder /workspace/_envs/env_$ENV.yaml ./_envs/
CMD ["./mygoexecutable"]
"""
GOLANG = ImageConfig(env={"GOPATH": "/go", "PATH": "/go/bin:/usr/local/go/bin:/usr/bin:/bin"}, workdir="/go")
BASES = {"golang:alpine": GOLANG, "alpine": ImageConfig()}


def made(level: Level, *, without_network: bool = False) -> Accelerated:
    return accelerate(
        ARTICLE,
        level=level,
        build_args={"ENV": "dev"},
        target=None,
        platforms=AMD64,
        bases=BASES,
        cache_scope="go-server",
        compile_without_network=without_network,
        keep_programs=False,
    )


def test_its_bases_are_the_two_images():
    assert base_images(parse(ARTICLE), {"ENV": "dev"}, None, AMD64) == ("golang:alpine", "alpine")


def test_a_build_of_the_builder_needs_only_its_base():
    assert base_images(parse(ARTICLE), {}, "builder", AMD64) == ("golang:alpine",)


def test_its_builder_is_the_labelled_stage():
    assert builder_stage(parse(ARTICLE), None, {}, AMD64) == "builder"
    assert builder_stage(parse(ARTICLE), "builder", {}, AMD64) is None


def test_off_gives_the_file_as_it_is():
    assert made(Level.OFF) == Accelerated(ARTICLE)


@pytest.mark.parametrize(("level", "flags"), [(Level.EXACT, ""), (Level.FAST, " -ldflags=-w")])
def test_only_the_compile_line_changes(level, flags):
    result = made(level)
    lines, before = result.text.split("\n"), ARTICLE.split("\n")
    assert lines[5] == (
        "RUN --mount=type=cache,sharing=shared,id=go-server-gocache,target=/root/.cache/go-build"
        " --mount=type=cache,sharing=shared,id=go-server-gomodcache,target=/go/pkg/mod"
        f" CGO_ENABLED=0 GOOS=linux GOGC=400 go build{flags} -o mygoexecutable ."
    )
    assert lines[:5] + lines[6:] == before[:5] + before[6:]
    assert [change.line for change in result.changes] == [6]
    assert (result.left_alone, result.without_network) == ((), ())


def test_the_network_goes_only_when_the_caller_says_that_the_modules_are_there():
    result = made(Level.EXACT, without_network=True)
    assert " --network=none CGO_ENABLED=0" in result.text
    assert result.without_network == (6,)
