"""Services that share an image: one build, and a prune that leaves what any of them needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from tests.fake_engine import FakeEngine
from watcher.builder import ImageBuilder, Recipe
from watcher.daemon.shared_images import SharedImageBuilder, SharedImages, share_recipes
from watcher.dockerfile import Runs
from watcher.prune import Needed
from watcher.reconcile.ports import Built, Scan
from watcher.tree import Snapshot, Tree


def recipe(service: str, image: str = "shop", **more: object) -> Recipe:
    return Recipe(service=service, project="p", image=image, **more)  # type: ignore[arg-type]


class Builder:
    """Builds an image for each content, slowly."""

    def __init__(self, recipe: Recipe, engine: FakeEngine, built: list[str]) -> None:
        self.recipe, self.engine, self.built = recipe, engine, built

    async def build(self, scan: Scan[Snapshot], *, forced: bool) -> Built:
        tag = self.recipe.tag(scan.revision)
        if not forced and (found := await self.engine.image(tag)):
            return Built(found.id, reused=True)
        self.built.append(self.recipe.service)
        await asyncio.sleep(0)
        return Built(self.engine.add_image(tags=[tag]))


def builders(*recipes: Recipe) -> tuple[list[SharedImageBuilder], list[str]]:
    engine, images, built = FakeEngine(), SharedImages(), list[str]()
    made = [
        SharedImageBuilder(cast(ImageBuilder, Builder(each, engine, built)), images, engine)
        for each in share_recipes({each.service: each for each in recipes}).values()
    ]
    return made, built


def scan(folder: Path, revision: str) -> Scan[Snapshot]:
    return Scan(revision * 64, Tree(folder).scan(), 0.0)


def test_services_with_images_of_other_names_share_nothing() -> None:
    recipes = {"a": recipe("a", "one"), "b": recipe("b", "two")}
    assert share_recipes(recipes) == recipes


def test_the_first_service_owns_the_image_and_all_commands_decide_how_it_is_built() -> None:
    recipes = share_recipes(
        {
            "a": recipe("a", runs=Runs(command=("api",))),
            "b": recipe("b", "shop:latest", runs=Runs(("go", "run"))),
        }
    )
    assert [each.labelled_service for each in recipes.values()] == ["a", "a"]
    assert {each.runs for each in recipes.values()} == {Runs(command=("api",), others=(("go", "run"),))}


async def test_two_services_are_built_once(tmp_path: Path) -> None:
    (first, second), built = builders(recipe("a"), recipe("b"))
    one, other = await asyncio.gather(
        first.build(scan(tmp_path, "1"), forced=False), second.build(scan(tmp_path, "2"), forced=False)
    )
    assert built == ["a"]
    assert (one.image, one.reused) == (other.image, False)
    assert other.reused


async def test_another_tree_is_another_build(tmp_path: Path) -> None:
    (first, second), built = builders(recipe("a"), recipe("b"))
    before = await first.build(scan(tmp_path, "1"), forced=False)
    (tmp_path / "main.go").write_text("package main")
    after = await second.build(scan(tmp_path, "2"), forced=False)
    assert built == ["a", "b"]
    assert before.image != after.image


async def test_a_build_that_was_asked_for_is_made(tmp_path: Path) -> None:
    (first, second), built = builders(recipe("a"), recipe("b"))
    await first.build(scan(tmp_path, "1"), forced=False)
    await second.build(scan(tmp_path, "2"), forced=True)
    assert built == ["a", "b"]


def test_what_any_service_needs_of_a_shared_image_stays() -> None:
    images = SharedImages()
    images.add(
        "a", lambda: "a", lambda: Needed("i2", frozenset({"c2"}), frozenset({"r2"}), frozenset({"i1"}))
    )
    images.add(
        "b", lambda: "a", lambda: Needed("i1", frozenset({"c1"}), frozenset({"r1"}), frozenset({"i3"}))
    )
    images.add("c", lambda: "c", lambda: Needed("i9"))
    assert images.needed("a") == Needed(
        "i2", frozenset({"c1", "c2", "i1"}), frozenset({"r1", "r2"}), frozenset({"i3"})
    )
    assert images.needed("b").live == "i1"
    images.remove("b")
    assert images.needed("a").ids == {"c2"}
