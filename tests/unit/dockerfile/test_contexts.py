"""Named contexts: images in place of names, markers in place of folders, line by line."""

from __future__ import annotations

import pytest

from watcher.dockerfile import Accelerated, DockerfileError, Platforms, with_folders, with_images

PLATFORMS = Platforms.of("linux/amd64", "")


def images(text: str, **names: str) -> str:
    return with_images(text, names, build_args={}, target=None, platforms=PLATFORMS)


def folders(text: str, *names: str) -> str:
    markers = {name: f"/.m{number}" for number, name in enumerate(names)}
    plan = with_folders(Accelerated(text), markers, build_args={}, target=None, platforms=PLATFORMS)
    return plan.text


def test_an_image_takes_the_place_of_its_name() -> None:
    text = "FROM base AS a\nCOPY --from=tools /t /t\nRUN --mount=type=bind,from=tools,target=/x ls\nFROM a\n"
    assert images(text, base="alpine:3", tools="repo/tools:1") == (
        "FROM alpine:3 AS a\nCOPY --from=repo/tools:1 /t /t\n"
        "RUN --mount=type=bind,from=repo/tools:1,target=/x ls\nFROM a\n"
    )
    assert images(text) == text


def test_a_stage_of_that_name_is_no_context() -> None:
    text = "FROM alpine AS tools\nFROM alpine\nCOPY --from=tools /t /t\n"
    assert images(text, tools="x") == text
    assert folders(text, "tools") == text


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("COPY --from=shared . /src", "COPY  /.m0 /src"),
        ("COPY --from=shared / /src", "COPY  /.m0 /src"),
        ("COPY --from=shared a.go /b/c/ *.mod /src/", "COPY  /.m0/a.go /.m0/b/c/ /.m0/*.mod /src/"),
        ("COPY --chown=1:1 --from=shared ../../x /src", "COPY --chown=1:1  /.m0/x /src"),
        ("COPY --from=shared $A/x /src", "COPY  /.m0/$A/x /src"),
        ("COPY --from=shared a a a", "COPY  /.m0/a /.m0/a a"),
        ('COPY --from=shared ["a b", "/c"]', 'COPY  ["/.m0/a b", "/c"]'),
        ("COPY --from=shared \\\n  a \\\n  b /src", "COPY  \\\n  /.m0/a \\\n  /.m0/b /src"),
        ("COPY --from=other a /src", "COPY  /.m1/a /src"),
        ("COPY a /src", "COPY a /src"),
        (
            "RUN --mount=type=bind,from=shared,target=/x ls",
            "RUN --mount=type=bind,target=/x,source=/.m0 ls",
        ),
        (
            "RUN --mount=from=shared,src=go,dst=/x,ro ls",
            "RUN --mount=dst=/x,ro,source=/.m0/go ls",
        ),
    ],
)
def test_a_marker_takes_the_place_of_a_folder(line: str, made: str) -> None:
    assert folders(f"FROM alpine\nARG A\n{line}\n", "shared", "other") == f"FROM alpine\nARG A\n{made}\n"


def test_a_stage_cannot_begin_with_a_folder() -> None:
    with pytest.raises(DockerfileError, match="shared is a folder of additional_contexts"):
        folders("FROM shared\n", "shared")
