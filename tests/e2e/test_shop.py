"""The example with several services: a database, a migration and an API, brought up and kept."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import ROOT, clean_up, constant_load, until
from tests.e2e.plain_build import build_plainly, read_content
from tests.e2e.shop import Shop, container_ids
from tests.e2e.shop_writer import ShopWriter

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shop(folder: Path, engine: docker.DockerClient) -> Iterator[Shop]:
    subprocess.run([ROOT / "deploy/bases/redis", "--no-pull"], check=True, timeout=120)
    made = Shop(folder)
    yield made
    if made.process:
        made.stop()
    clean_up(engine, made)
    engine.volumes.get(f"{made.id}_orders").remove()
    shutil.rmtree(folder)


def test_the_shop_comes_up_in_order_and_follows_its_sources(shop: Shop, engine: docker.DockerClient) -> None:
    shop.start("--service", "api")  # without the worker: compiling the same world once more shows nothing new
    assert shop.watcher("wait", "--service", "api", "--timeout", "240").returncode == 0, "".join(
        shop.output[-60:]
    )
    assert shop.ask("products") == ["tea", "3", "coffee", "4"]
    assert shop.ask("orders/tea", "POST") == ["1"]
    (db,) = shop.document()["dependencies"]
    assert (db["name"], db["state"]) == ("db", "healthy")

    before = container_ids(engine, shop)
    shop.edit("migrate/main.go", 'version = "1"', 'version = "2"')
    until(lambda: shop.ask("version") == ["2"], "the migration runs again", 120)
    assert shop.watcher("wait", "--timeout", "120").returncode == 0  # api itself waits for nothing: it stays
    after = container_ids(engine, shop)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"migrate"}, "the images of the others came out the same"

    shop.edit("compose.yaml", '--save, "60"', '--save, "30"')
    until(
        lambda: container_ids(engine, shop).get("db", before["db"]) != before["db"],
        "the database is replaced",
        60,
    )
    until(lambda: shop.ask("version") == ["2"], "its volume goes on", 60)


def test_random_edits_end_equal_to_a_build_from_scratch(shop: Shop, engine: docker.DockerClient) -> None:
    """`./dev bench shop_edits` does thousands; here are a few of each kind, under load."""
    writer = ShopWriter(shop.folder, seed=20)
    with constant_load(shop, "healthz") as failures:
        for _ in range(30):
            writer.act()
            time.sleep(writer.chance.uniform(0.0, 0.3))
        writer.repair()
        done = shop.watcher("wait", "--timeout", "200")
        assert done.returncode == 0, done.stdout + "".join(shop.output[-60:])
    assert failures == []
    live = container_ids(engine, shop)
    ours = read_content(engine, engine.containers.get(live["migrate"]).attrs["Image"])
    assert ours == read_content(engine, build_plainly(engine, shop, "migrate")), "the smallest one to compile"
    logged = set(engine.containers.get(live["api"]).logs().decode().splitlines())
    assert {line for line in logged if line.startswith("edit ")} == writer.texts("api")


def test_at_the_end_the_dependencies_are_stopped_and_the_data_stays(
    shop: Shop, engine: docker.DockerClient
) -> None:
    assert shop.stop() == 0
    states = {
        each.labels["com.docker.compose.service"]: each.status
        for each in engine.containers.list(
            all=True, filters={"label": f"com.docker.compose.project={shop.id}"}
        )
    }
    assert states == {"db": "exited", "migrate": "exited"}
    assert engine.volumes.get(f"{shop.id}_orders")
