"""Advice for the file itself, and the diff that shows an acceleration."""

from __future__ import annotations

import pytest

from tests.facts import missing
from tests.platforms import AMD64
from watcher.dockerfile import ImageConfig, Level, accelerate, diff, lint


def advice(text: str) -> list[tuple[int, str]]:
    return [(note.line, note.reason) for note in lint(text, build_args={}, target=None, platforms=AMD64)]


GOOD = """\
FROM golang:1.22 AS b
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -o app .
FROM alpine
COPY --from=b /src/app /app
"""


def test_a_good_file_gets_no_advice():
    assert advice(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("go build -o", "go build -a -o", 6, "go build -a"),
        ("WORKDIR /src", 'ENV GOFLAGS="-v -a"', 2, "GOFLAGS=-a"),
        ("-o app .", "-o app . && go clean -cache", 6, "go clean"),
        ("COPY go.mod go.sum ./", "COPY . .", 3, "before go mod download"),
        ("RUN go mod download", "RUN true", 5, "go.mod and go.sum alone"),
        ("-o app .", "-o app .\nRUN apk add gcc", 7, "behind line 5"),
        ("FROM alpine\nCOPY --from=b /src/app /app\n", "", 1, "whole toolchain"),
        ("FROM golang", "# syntax=docker/dockerfile:1\nFROM golang", 1, "registry"),
    ],
)
def test_a_slow_habit_is_named_with_its_line(old, new, line, why):
    found = advice(GOOD.replace(old, new))
    assert [number for number, reason in found if why in reason] == [line]


def test_the_diff_gives_a_reason_for_each_changed_line_and_each_one_left():
    text = GOOD.replace("go build", "go build -a") + "ONBUILD RUN go build\n"
    text = text.replace("RUN go mod download\n", "RUN go mod download\nONBUILD RUN go vet\n")
    result = accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={
            "golang:1.22": ImageConfig(env={"GOPATH": "/go", "CGO_ENABLED": "0"}),
            "alpine": ImageConfig(),
        },
        cache_scope="p",
        keep_programs=False,
    )
    lines = diff(text, result).splitlines()
    assert lines[:2] == ["--- Dockerfile", "+++ Dockerfile (accelerated)"]
    assert "-RUN go build -a -o app ." in lines
    assert any(
        line.startswith("+RUN --mount=type=cache") and line.endswith(" go build -o app .") for line in lines
    )
    assert any(missing(line, "# line 4", "modules") == [] for line in lines)
    assert sum(line.startswith("# line 7: ") for line in lines) == 4
    assert lines[-1].startswith("# line 5 is left as it is: an ONBUILD runs in builds of other files")


def test_the_diff_of_no_change_is_empty():
    text = "FROM alpine\nCMD x\n"
    result = accelerate(
        text, level=Level.EXACT, build_args={}, target=None, platforms=AMD64, bases={}, cache_scope="p"
    )
    assert diff(text, result) == ""


@pytest.mark.parametrize(
    "middle",
    [
        "COPY --from=modules /go/pkg/mod /go/pkg/mod\nCOPY . .\nRUN go build\n",
        "COPY --from=modules /go /go\nCOPY . .\nRUN go build\n",
        "COPY . .\nRUN --mount=type=cache,target=/go/pkg/mod go build\n",
        "COPY . .\nRUN go build -mod=vendor\n",
        "ENV GOFLAGS=-mod=vendor\nCOPY . .\nRUN go build\n",
        "COPY vendor ./vendor\nCOPY . .\nRUN go build\n",
    ],
)
def test_modules_that_come_otherwise_need_no_layer_of_their_own(middle):
    text = f"FROM golang AS modules\nRUN go mod download\nFROM golang\nWORKDIR /src\n{middle}"
    assert not [reason for _, reason in advice(text) if "go.mod and go.sum alone" in reason]
    plain = "FROM golang\nWORKDIR /src\nCOPY . .\nRUN go build\n"
    assert [reason for _, reason in advice(plain) if "go.mod and go.sum alone" in reason]


def test_modules_that_are_vendored_need_no_layer_of_their_own():
    plain = "FROM golang\nWORKDIR /src\nCOPY . .\nRUN go build\n"
    found = lint(plain, build_args={}, target=None, platforms=AMD64, vendored=True)
    assert not [note for note in found if "go.mod and go.sum alone" in note.reason]
