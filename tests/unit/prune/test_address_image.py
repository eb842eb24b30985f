"""The image of address containers goes with the last project that has such a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.prune.test_gone import Bench
from watcher import labels
from watcher.engine import EngineError, Removal
from watcher.prune import remove_project_objects
from watcher.prune.address_image import remove_address_image


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    return Bench(tmp_path)


async def add_address_container(bench: Bench, root: Path) -> str:
    """Give a project an address container; return its image."""
    found = await bench.engine.image(labels.ADDRESS_IMAGE)
    image = found.id if found else bench.engine.add_image(tags=(labels.ADDRESS_IMAGE,))
    own = labels.address_labels(labels.project_id(root), "web") | labels.proof_labels(image)
    name = f"{labels.ADDRESS_NAME}{root.name}"
    await bench.engine.start(await bench.engine.create(name, {"Image": image, "Labels": own}))
    return image


async def take_down(bench: Bench, root: Path) -> list[str]:
    report = await remove_project_objects(
        bench.projects(), root, labels.project_id(root), images=False, caches=False
    )
    assert report.complete
    return [verdict.name for verdict in report.removed]


async def test_down_removes_it_with_the_last_project(bench: Bench) -> None:
    shop, blog = bench.project("shop"), bench.project("blog")
    await add_address_container(bench, shop)
    await add_address_container(bench, blog)
    assert await take_down(bench, shop) == [f"{labels.ADDRESS_NAME}shop"]
    assert await bench.engine.image(labels.ADDRESS_IMAGE)
    assert await take_down(bench, blog) == [f"{labels.ADDRESS_NAME}blog", labels.ADDRESS_IMAGE]
    assert await bench.engine.image(labels.ADDRESS_IMAGE) is None
    assert await take_down(bench, blog) == []


async def test_a_stopped_address_container_keeps_it(bench: Bench) -> None:
    shop, blog = bench.project("shop"), bench.project("blog")
    await add_address_container(bench, shop)
    await add_address_container(bench, blog)
    (other,) = [item for item in await bench.engine.containers() if item.name.endswith("blog")]
    await bench.engine.stop(other.id, 0.0)
    await take_down(bench, shop)
    assert await bench.engine.image(labels.ADDRESS_IMAGE)


async def test_it_goes_with_a_deleted_project(bench: Bench) -> None:
    root = bench.project()
    await add_address_container(bench, root)
    root.rmdir()
    done = await bench.remove()
    assert [verdict.name for verdict in done.verdicts][:2] == [
        f"{labels.ADDRESS_NAME}shop",
        labels.ADDRESS_IMAGE,
    ]
    assert done.forgotten == [labels.project_id(root)]


async def test_a_name_that_a_user_gave_it_keeps_it(bench: Bench) -> None:
    image = bench.engine.add_image(tags=(labels.ADDRESS_IMAGE, "mine:1"))
    assert await remove_address_image(bench.engine) == ()
    assert await bench.engine.image(image)


async def test_an_engine_that_refuses_is_no_failure_of_the_command(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine.add_image(tags=(labels.ADDRESS_IMAGE,))

    async def refuse(ref: str) -> Removal:
        raise EngineError(f"{ref} is used by a build")

    monkeypatch.setattr(bench.engine, "remove_image", refuse)
    assert await remove_address_image(bench.engine) == ()
