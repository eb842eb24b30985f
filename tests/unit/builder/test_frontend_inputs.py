"""What BuildKit's own frontend reads is known beforehand, or there is no digest of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from watcher.builder import Recipe
from watcher.builder.base_images import BaseImage
from watcher.builder.dockerfile_variants import digest_frontend_inputs
from watcher.dockerfile import Accelerated, ImageConfig
from watcher.tree import Tree

RECIPE = Recipe(service="s", project="p", image="s:latest")
PINNED = "sha256:" + "ab" * 32
PLAN = Accelerated(f"FROM own/base@{PINNED}\n")
BASE = BaseImage(ImageConfig(id="one"), digest=PINNED)


def digest(
    folder: Path,
    recipe: Recipe = RECIPE,
    plan: Accelerated = PLAN,
    base: BaseImage = BASE,
    age: int = 0,
) -> str:
    return digest_frontend_inputs(recipe, plan, Tree(folder).scan(), {"own/base": base}, age=age)


def test_each_input_is_in_the_digest(tmp_path: Path) -> None:
    before = digest(tmp_path)
    assert before == digest(tmp_path)
    other_base = replace(BASE, config=ImageConfig(id="two"))
    found = [
        before,
        digest(tmp_path, plan=replace(PLAN, text=PLAN.text + "USER 1\n")),
        digest(tmp_path, base=other_base),
        digest(tmp_path, age=1),
    ]
    (tmp_path / ".dockerignore").write_text("*.md\n")
    found.append(digest(tmp_path))
    assert all(found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, frontend_attrs={"image-resolve-mode": "pull"}),
        replace(RECIPE, frontend_attrs={"context:other": "docker-image://x"}),
        replace(RECIPE, build_args={"BUILDKIT_SYNTAX": "docker/dockerfile:1"}),
    ],
    ids=["pull", "named context", "another frontend"],
)
def test_a_frontend_that_reads_more_has_none(tmp_path: Path, recipe: Recipe) -> None:
    assert digest(tmp_path, recipe) == ""


@pytest.mark.parametrize(
    ("base", "known"),
    [
        (BASE, True),
        (replace(BASE, digest="", here=True), True),
        (replace(BASE, digest=""), False),
        (replace(BASE, digest="sha256:of-another-tag"), False),
        (BaseImage(None, digest=PINNED), False),
    ],
    ids=["by digest", "the engine's", "by tag", "not in the text", "unknown"],
)
def test_a_base_that_can_change_has_none(tmp_path: Path, base: BaseImage, known: bool) -> None:
    assert bool(digest(tmp_path, base=base)) is known
