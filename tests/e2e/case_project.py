"""A case: a small project in `cases/` that once failed, copied and run by a real daemon."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import docker
import httpx

from tests.e2e.conftest import Project, clean_up, free_port

CASES = Path(__file__).parent / "cases"
COMPOSE_PROJECT = "com.docker.compose.project"


class CaseProject(Project):
    """A copy of `cases/NAME` in `folder`, under a compose project name and host ports of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.id, self.folder = folder.name, folder
        self.command = (sys.executable, "-m", "watcher")
        self.process, self.output = None, []
        self.ports: list[int] = []
        shutil.copytree(CASES / name, folder)
        for file in sorted([*folder.glob("compose*.y*ml"), *folder.glob("docker-compose*.y*ml")]):
            text = re.sub(r"^name: .*$", f"name: {self.id}", file.read_text(), flags=re.MULTILINE)
            file.write_text(re.sub(r"127\.0\.0\.1:21\d{3}:", self._new_port, text))

    def _new_port(self, _match: re.Match[str]) -> str:
        self.ports.append(free_port())
        return f"127.0.0.1:{self.ports[-1]}:"

    def get(self, path: str = "/", port: int = -1) -> str:
        """The answer's text; `port` is an index into the compose files' ports, by default the last one."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        answer = httpx.get(url, trust_env=False, timeout=60)
        answer.raise_for_status()
        return answer.text

    def replace(self, name: str, old: str, new: str) -> None:
        """Save the file with `old` replaced, as an editor does."""
        file = self.folder / name
        text = file.read_text()
        assert old in text, (name, old)
        file.write_text(text.replace(old, new))

    def wait_live(self) -> dict[str, Any]:
        """Wait until the tree on disk is live; fails with the daemon's last lines."""
        settled = self.wait()
        assert settled["outcome"] == "live", (settled, "".join(self.output[-40:]))
        return settled

    def wait_failed(self) -> dict[str, Any]:
        """Wait until the tree on disk is known to fail."""
        settled = self.wait()
        assert settled["outcome"] == "failed", (settled, "".join(self.output[-40:]))
        return settled

    def remove(self, engine: docker.DockerClient) -> None:
        """Stop the daemon and remove everything the case left at the engine and on disk."""
        if self.process:
            self.stop()
        mine = {"label": f"{COMPOSE_PROJECT}={self.id}"}
        for container in engine.containers.list(all=True, filters={**mine}):
            container.remove(force=True)
        clean_up(engine, self)
        for network in engine.networks.list(filters={**mine}):
            network.remove()
        for volume in engine.volumes.list(filters={**mine}):
            volume.remove()
        shutil.rmtree(self.folder)
