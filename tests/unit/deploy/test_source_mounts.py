"""Sources that the container reads through bind mounts: what of the tree they cover, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.deploy.world import NAME, World
from watcher.compose import BuildSpec, MountSpec, ServiceSpec
from watcher.deploy.source_mounts import SourceMount, digest_mounted, source_mounts, unwatched_sources
from watcher.observers.events import DeployOutcome
from watcher.reconcile.ports import Deployed
from watcher.tree import Tree


def spec(root: Path, *mounts: tuple[str, str] | tuple[str, str, bool]) -> ServiceSpec:
    """A service with bind mounts; sources are relative to `root`."""
    made = []
    for source, target, *rest in mounts:
        kind: Any = "volume" if not source else "bind"
        given = str(root / source) if source else "cache"
        made.append(MountSpec(type=kind, source=given, target=target, read_only=bool(rest)))
    return ServiceSpec(
        name="svc", project_name="p", image="svc", build=BuildSpec(context=root), mounts=tuple(made)
    )


def covered(root: Path, *mounts: tuple[str, str] | tuple[str, str, bool]) -> set[str]:
    """The files of the tree that count for the container."""
    found = source_mounts(spec(root, *mounts), root)
    paths = [entry.path for entry in Tree(root).scan().entries() if not entry.is_dir]
    return {path for path in paths if any(mount.covers(path) for mount in found)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("main.go", "go.mod", "Dockerfile", "templates/index.html", "tmp/main", "data/app.db"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (tmp_path / "elsewhere").mkdir()
    return root


SOURCES = {"main.go", "go.mod", "Dockerfile", "templates/index.html"}


def test_a_mount_of_the_context_covers_all_but_what_the_program_writes(tree: Path) -> None:
    assert covered(tree, (".", "/app")) == SOURCES


def test_a_mount_that_cannot_be_written_to_covers_everything_in_it(tree: Path) -> None:
    assert covered(tree, (".", "/app", True)) == SOURCES | {"tmp/main", "data/app.db"}


def test_a_mount_of_a_folder_or_of_one_file_covers_that(tree: Path) -> None:
    assert covered(tree, ("templates", "/t")) == {"templates/index.html"}
    assert covered(tree, ("main.go", "/app/main.go")) == {"main.go"}
    assert covered(tree, ("templat", "/t")) == set()


def test_a_mount_of_the_folder_above_the_context_covers_the_context(tree: Path) -> None:
    assert covered(tree, ("..", "/src")) == SOURCES
    assert covered(tree, ("..", "/src"), ("", "/src/project/templates")) == SOURCES - {"templates/index.html"}


def test_what_another_mount_hides_does_not_count(tree: Path) -> None:
    assert covered(tree, (".", "/app"), ("", "/app/templates")) == SOURCES - {"templates/index.html"}


def test_a_volume_and_a_folder_elsewhere_cover_nothing(tree: Path) -> None:
    assert covered(tree, ("", "/app"), ("../elsewhere", "/e")) == set()


def test_a_context_that_is_a_link_is_known_by_where_it_leads(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree)
    assert source_mounts(spec(tree, (".", "/app")), link) == (SourceMount("/app", "", read_only=False),)


@pytest.mark.parametrize("change", ["content", "mode", "new", "gone", "name"])
def test_the_digest_follows_what_the_container_sees(tree: Path, change: str) -> None:
    mounts = source_mounts(spec(tree, ("templates", "/t")), tree)
    page = tree / "templates/index.html"
    before = digest_mounted(mounts, Tree(tree).scan())
    (tree / "main.go").write_text("not mounted")
    assert digest_mounted(mounts, Tree(tree).scan()) == before
    match change:
        case "content":
            page.write_text("other")
        case "mode":
            page.chmod(0o755)
        case "new":
            (tree / "templates/new.html").write_text("new")
        case "gone":
            page.unlink()
        case _:
            page.rename(tree / "templates/renamed.html")
    assert digest_mounted(mounts, Tree(tree).scan()) != before


def test_no_mounts_have_no_digest(tree: Path) -> None:
    assert digest_mounted((), Tree(tree).scan()) == ""
    assert digest_mounted(source_mounts(spec(tree, ("data", "/data")), tree), Tree(tree).scan()) == ""


# Sources that nobody watches.


def unwatched(root: Path, context: str, *mounts: tuple[str, str]) -> tuple[str, ...]:
    return unwatched_sources(spec(root, *mounts), root, Tree(root / context).scan())


def test_sources_beside_the_context_are_not_watched(tree: Path) -> None:
    (tree / "docker").mkdir()
    assert unwatched(tree, "docker", (".", "/app")) == (".",)
    assert unwatched(tree, ".", (".", "/app"), ("docker", "/d")) == ()


def test_sources_that_the_ignore_file_leaves_out_are_not_watched(tree: Path) -> None:
    (tree / "internal").mkdir()
    (tree / "internal/x.go").write_text("package x")
    (tree / ".dockerignore").write_text("*\n!go.mod\n")
    assert unwatched(tree, ".", ("internal", "/internal"), ("templates", "/t")) == ("internal",)
    (tree / ".dockerignore").write_text("")
    assert unwatched(tree, ".", ("internal", "/internal")) == ()


def test_folders_of_others_and_of_data_are_not_looked_into(tree: Path) -> None:
    (tree.parent / "elsewhere/a.go").write_text("package a")
    (tree / "vendor").mkdir()
    (tree / "vendor/v.go").write_text("package v")
    (tree / ".dockerignore").write_text("vendor\n")
    assert unwatched(tree, ".", ("../elsewhere", "/e"), (".", "/app"), ("missing", "/m")) == ()


# What a deploy makes of it.


async def test_the_same_image_with_other_sources_mounted_is_replaced(world: World) -> None:
    daemon = await world.begin()
    seen = {"one": "a", "two": "b", "three": "b"}
    daemon.deployer._mounted = lambda revision: seen[revision]
    image = world.image()
    first = await world.good("one", image)
    second = await world.good("two", image)
    assert second != first, "its process has read the old sources"
    assert await world.deploy("three", image) == Deployed(second, DeployOutcome.UNCHANGED)
    await world.settle()
    assert await world.named() == {NAME: "running"}
    await world.hold()


async def test_which_sources_a_container_has_read_outlives_the_daemon(world: World) -> None:
    daemon = await world.begin()
    daemon.deployer._mounted = lambda _: "a"
    image = world.image()
    first = await world.good("one", image)
    await world.settle()
    daemon.kill()
    second = await world.begin()
    second.deployer._mounted = lambda revision: "a" if revision == "two" else "b"
    assert await world.deploy("two", image) == Deployed(first, DeployOutcome.UNCHANGED)
    assert await world.good("three", image) != first


async def test_new_sources_that_do_not_start_leave_the_old_container_serving(world: World) -> None:
    daemon = await world.begin()
    daemon.deployer._mounted = lambda revision: revision
    image = world.image()
    await world.good("one", image)
    world.silent.add(image)  # from now on the program does not come up: it does not compile
    await world.deploy("two", image)
    world.silent.discard(image)
    assert daemon.deployer.live == "one"
    assert await world.serving() == "one"
