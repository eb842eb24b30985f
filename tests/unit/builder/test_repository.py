"""Where a build asks git and `.git` is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.builder import missing_repository
from watcher.tree import Tree

HEAD = "FROM golang AS b\nWORKDIR /src\nCOPY . .\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "Makefile").write_text(
        "# git describe names it\nVERSION := $(shell git -C . describe --tags --always)\nbuild:\n\tgo build\n"
    )
    (tmp_path / "version.sh").write_text("#!/bin/sh\ngit rev-parse --short HEAD\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def told(root: Path, run: str, **tree: tuple[str, ...]) -> str:
    return missing_repository(f"{HEAD}{run}\n", Tree(root, **tree).scan())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "where"),
    [
        ("RUN make build", "line 2 of Makefile runs `git describe`"),
        ("RUN cd x && make", "line 2 of Makefile"),
        ("RUN ./version.sh > v", "line 2 of version.sh runs `git rev-parse`"),
        (
            'RUN go build -ldflags "-X main.v=$(git log -1 --format=%h)"',
            "line 4 of the Dockerfile runs `git log`",
        ),
        ("RUN git --no-pager -c core.abbrev=7 show", "line 4 of the Dockerfile runs `git show`"),
        ("RUN go build -buildvcs=true", "line 4 of the Dockerfile has -buildvcs"),
        ("RUN goreleaser build", "line 4 of the Dockerfile runs goreleaser"),
    ],
)
def test_it_is_told_what_asks_git(root: Path, run: str, where: str) -> None:
    said = told(root, run)
    assert said.startswith(where)
    assert '"!**/.git"' in said


@pytest.mark.parametrize(
    "run",
    [
        "RUN go build",
        "RUN apk add git make && go build",
        "RUN git clone https://example.com/x && git config --global user.name x",
        "RUN go build -buildvcs=false",
        "RUN go build -buildvcs=auto",
    ],
)
def test_nothing_is_told_where_nothing_asks(root: Path, run: str) -> None:
    assert told(root, run) == ""


def test_nothing_is_told_where_it_would_be_the_same_with_docker(root: Path) -> None:
    (root / ".dockerignore").write_text(".git*\n")
    assert told(root, "RUN make") == ""
    (root / ".dockerignore").write_text("*.md\n")
    assert told(root, "RUN make")
    assert told(root, "RUN make", ignore=("!**/.git",)) == ""


def test_of_a_repository_that_is_taken_in_only_a_commit_or_tag_is_a_change(root: Path) -> None:
    tree = Tree(root, ignore=("!**/.git",))
    before = tree.scan()
    assert ".git/HEAD" in before.files
    for churn in ("index", "objects/pack/p.pack", "logs/HEAD", "COMMIT_EDITMSG", "index.lock"):
        path = root / ".git" / churn
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        after = tree.scan()
        assert f".git/{churn}" in after.files  # it is sent all the same
        assert after.digest == before.digest
    for mark in ("refs/heads/main", "refs/tags/v1", "packed-refs", "HEAD"):
        path = root / ".git" / mark
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{mark}\n")
        after = tree.scan()
        assert after.digest != before.digest
        before = after
