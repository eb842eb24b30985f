"""The example with several services: a database, a migration and an API, brought up and kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from tests.e2e.conftest import ROOT, Project, clean_up, free_port, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class Shop(Project):
    """A copy of the example under a name and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.id, self.folder, self.port = folder.name, folder, free_port()
        self.command = (sys.executable, "-m", "watcher")
        shutil.copytree(ROOT / "examples" / "shop", folder)
        self.compose = folder / "compose.yaml"
        text = self.compose.read_text().replace("name: shop", f"name: {self.id}")
        self.compose.write_text(text.replace("${SHOP_PORT:-9000}", str(self.port)))
        self.process, self.output = None, []

    def ask(self, path: str, method: str = "GET") -> Any:
        url = f"http://127.0.0.1:{self.port}/{path}"
        answer = httpx.request(method, url, trust_env=False, timeout=120)
        return answer.json() if answer.is_success else None

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.watcher("status", "--json").stdout))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))


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


def container_ids(engine: docker.DockerClient, shop: Shop) -> dict[str, str]:
    found = engine.containers.list(
        all=True, ignore_removed=True, filters={"label": f"com.docker.compose.project={shop.id}"}
    )
    live = (each for each in found if ".old-" not in each.name)
    return {each.labels["com.docker.compose.service"]: each.id for each in live}


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
    shop.watcher("wait", "--service", "api", "--timeout", "120")
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
