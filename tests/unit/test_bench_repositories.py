"""What `bench repositories` changes in a Dockerfile, and what it reads of a daemon's lines."""

from __future__ import annotations

import pytest

from bench._repositories import Edit, NotHad, Repository, adapt_dockerfile
from bench.repositories import compare_images, name_own_caches, repeated_step

PLAIN = Repository("x", "example.com/x", "v1.0.0", "x.go", (("build",),))


def test_bases_become_images_that_are_here() -> None:
    text = "# syntax = docker/dockerfile:1.3\nFROM --platform=$BUILDPLATFORM golang:1.21-alpine as build\n"
    text += "FROM build AS tests\nFROM gcr.io/distroless/static\nFROM scratch\nFROM ${RUNTIME}\n"
    adapted, said = adapt_dockerfile(PLAIN, text)
    assert adapted == (
        "#\nFROM --platform=$BUILDPLATFORM golang:alpine as build\n"
        "FROM build AS tests\nFROM alpine\nFROM scratch\nFROM ${RUNTIME}\n"
    )
    assert said == ["FROM golang:1.21-alpine → golang:alpine", "FROM gcr.io/distroless/static → alpine"]


def test_an_edit_that_no_longer_fits_is_said() -> None:
    one = Repository("x", "example.com/x", "v1.0.0", "x.go", (), edits=(Edit("npm ci", "true", "no npm"),))
    assert adapt_dockerfile(one, "FROM alpine\nRUN npm ci\n") == (
        "FROM alpine\nRUN true\n",
        ["'npm ci' → 'true' (no npm)"],
    )
    with pytest.raises(NotHad, match="npm ci"):
        adapt_dockerfile(one, "FROM alpine\n")


def test_images_are_compared_by_what_each_path_is() -> None:
    assert compare_images({"a": "1"}, {"a": "1"}) == "equal"
    assert compare_images({"a": "1", "b": "2"}, {"a": "2", "c": "3"}) == "3 differ: a, b, c"


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("       0.2 s  build 5/6  RUN go build", ("0.2 s", "build 5/6  RUN go build")),
        ("    1 min 09 s  builder 6/6  RUN make", ("1 min 09 s", "builder 6/6  RUN make")),
        ("       25 ms  build 4/6  COPY . .", ("25 ms", "build 4/6  COPY . .")),
        ("      cached  build 3/6  WORKDIR /src", None),
        ("20:03:32  · building 1234", None),
    ],
)
def test_a_step_that_ran_is_read_from_its_line(line: str, step: tuple[str, str] | None) -> None:
    assert repeated_step(line) == step


def test_cache_mounts_of_the_dockerfile_get_ids_of_their_own() -> None:
    text = (
        "RUN --mount=type=cache,target=/c go build\nRUN --mount=target=/c,type=cache go test\n"
        "RUN --mount=type=cache,id=x,target=/c true\nRUN --mount=type=bind,target=/c true\n"
    )
    first, second, *others = name_own_caches(text, "run").splitlines()
    digest = first.partition("id=run-")[2].split()[0]
    assert first == f"RUN --mount=type=cache,target=/c,id=run-{digest} go build"
    assert second == f"RUN --mount=target=/c,type=cache,id=run-{digest} go test"
    assert others == text.splitlines()[2:]
