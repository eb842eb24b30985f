"""A copy of the example with several services, examples/shop."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import docker
import httpx

from tests.e2e.conftest import ROOT, Project, free_port


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


def container_ids(engine: docker.DockerClient, shop: Shop) -> dict[str, str]:
    found = engine.containers.list(
        all=True, ignore_removed=True, filters={"label": f"com.docker.compose.project={shop.id}"}
    )
    live = (each for each in found if ".old-" not in str(each.name))
    return {each.labels["com.docker.compose.service"]: str(each.id) for each in live}
