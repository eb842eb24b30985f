"""From a path in the output of a build or program to the user's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.builder.recipe import Recipe
from watcher.builder.source_locator import SourceLocator
from watcher.tree import Tree

DOCKERFILE = """FROM golang:alpine AS builder
WORKDIR /src
COPY . .
RUN go build -o /app ./cmd/app
FROM alpine
COPY --from=builder /app /app
"""
RUN_LINE = 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "Dockerfile": DOCKERFILE,
        "go.mod": "module example.test/shop\n",
        "cmd/app/main.go": "package main\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def locator(root: Path, **fields: str) -> SourceLocator:
    recipe = Recipe(service="s", project="p", image="s:latest", **fields)  # type: ignore[arg-type]
    return SourceLocator(recipe, Tree(root).scan())


def test_a_path_of_a_step_is_a_file_of_the_project(root: Path) -> None:
    where = locator(root, folder="services/shop").locate_in_build(RUN_LINE)
    assert where("cmd/app/main.go", "", ()) == "services/shop/cmd/app/main.go"
    assert where("./main.go", "example.test/shop/cmd/app", ()) == "services/shop/cmd/app/main.go"
    assert where("other.go", "", ()) is None


def test_a_path_of_a_program_is_that_of_its_compile_stage(root: Path) -> None:
    found = locator(root)
    assert found.locate_in_container("/src/cmd/app/main.go") == "cmd/app/main.go"
    assert found.locate_in_container("example.test/shop/cmd/app/main.go") == "cmd/app/main.go"
    assert found.locate_in_container("/usr/local/go/src/net/http/server.go") is None


def test_nothing_is_located_without_a_dockerfile_that_can_be_parsed(root: Path) -> None:
    (root / "Dockerfile").write_text("FROM golang:alpine\nFLY me\n")
    assert locator(root).locate_in_container("/src/cmd/app/main.go") is None
    (root / "Dockerfile").unlink()
    assert locator(root).locate_in_container("/src/cmd/app/main.go") is None


def test_the_dockerfile_is_named_as_the_user_knows_it(root: Path) -> None:
    assert locator(root, folder="a", dockerfile="../b/Dockerfile").dockerfile == "b/Dockerfile"
    inline = locator(root, inline=DOCKERFILE)
    assert inline.dockerfile == "dockerfile_inline"
    assert inline.locate_in_container("/src/cmd/app/main.go") == "cmd/app/main.go"


def test_a_module_file_that_is_huge_names_no_module(root: Path) -> None:
    (root / "go.mod").write_text("module example.test/shop\n" + "//" * (1 << 20))
    assert locator(root).locate_in_container("example.test/shop/cmd/app/main.go") is None
    (root / "go.mod").write_text("module example.test/shop\n" + "//" * 1000)
    assert locator(root).locate_in_container("example.test/shop/cmd/app/main.go") == "cmd/app/main.go"
