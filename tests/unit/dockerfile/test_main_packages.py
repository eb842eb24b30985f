"""Which folders of the context a Dockerfile compiles programs of."""

from __future__ import annotations

import pytest

from watcher.dockerfile import Platforms, main_packages

HEAD = "FROM golang:alpine AS b\nWORKDIR /src\nCOPY . .\n"


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ("RUN go build -o /out ./cmd/api", {"cmd/api"}),
        ("ARG SERVICE\nRUN CGO_ENABLED=0 go build -o /out ./$SERVICE", {"worker"}),
        ("ARG SERVICE=x\nRUN go build -o /out ./cmd/${SERVICE}/", {"cmd/worker"}),
        ("ENV A=api\nRUN go build ./$A && go install ./tools/gen", {"api", "tools/gen"}),
        ("RUN go build", {""}),
        ("RUN go build -o /out .", {""}),
        ("RUN go build -C worker -o /out .", {"worker"}),
        ("RUN go build ./worker/main.go", {"worker"}),
        ("RUN go build /src/worker", {"worker"}),
        ("RUN go build /elsewhere/worker", set()),
        ("RUN go build ./...", set()),
        ("RUN go build example.com/shop/api", set()),
        ("RUN go build ./$(cat name)", set()),
        ("RUN cd worker && go build .", set()),
        ("RUN go test ./api", set()),
        ("RUN make", set()),
        ("RUN 'unfinished", set()),
    ],
)
def test_folders_are_relative_to_the_context(steps: str, found: set[str]) -> None:
    text = f"{HEAD}{steps}\nFROM alpine\nCOPY --from=b /out /out\n"
    platforms = Platforms.of("linux/amd64", "")
    assert main_packages(text, None, {"SERVICE": "worker"}, platforms) == found


def test_only_stages_that_the_target_needs_count() -> None:
    text = f"{HEAD}RUN go build ./api\nFROM golang AS c\nRUN go build ./other\nFROM b AS final\n"
    assert main_packages(text, "final", {}, Platforms.of("linux/amd64", "")) == {"api"}


@pytest.mark.parametrize("text", ["", "FROM", "RUN go build ./a", "FROM $NONE\nRUN go build ./a"])
def test_a_broken_dockerfile_has_none(text: str) -> None:
    assert main_packages(text, None, {}, Platforms.of("linux/amd64", "")) == frozenset()
