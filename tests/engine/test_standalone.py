"""An image of a BuildKit beside the engine, loaded as an archive; the engine's own plays the part."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from watcher.builder import BuildkitConnection, ImageBuilder, Recipe
from watcher.engine import DockerEngine
from watcher.errors import UserError
from watcher.observers.events import Fanout
from watcher.reconcile.ports import Scan
from watcher.tree import Tree, revision

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


async def test_the_image_is_loaded_under_both_names_or_the_missing_exporter_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /\nENV NAME=value\n")
    (tmp_path / "file").write_text(uuid.uuid4().hex)
    snapshot = Tree(tmp_path).scan()
    scan = Scan(revision(snapshot, {}), snapshot, 0.0)
    name = f"wt-{uuid.uuid4().hex[:10]}"
    recipe = Recipe(service="s", project=name, image=f"{name}:latest")
    engine = await DockerEngine.open(ENGINE)
    connection = BuildkitConnection(engine.endpoint, engine, standalone=True)
    builder = ImageBuilder(recipe, engine=engine, connection=connection, observer=Fanout())
    try:
        if (await engine.info()).store != "containerd":  # there the engine's BuildKit has no such exporter
            with pytest.raises(UserError, match='exporter "docker" could not be found'):
                await builder.build(scan, forced=False)
            return
        built = await builder.build(scan, forced=False)
        await builder.sizes.wait()
        for tag in (recipe.image, recipe.tag(scan.revision)):
            image = await engine.image(tag)
            assert image is not None
            assert image.id == built.image
            assert image.env["NAME"] == "value"
        assert (await builder.build(scan, forced=False)).reused
        await builder.sizes.wait()
        for tag in (recipe.image, recipe.tag(scan.revision)):
            await engine.remove_image(tag)
    finally:
        await connection.close()
        await engine.close()
