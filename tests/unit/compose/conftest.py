from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from watcher.compose import ComposeProject, ServiceSpec, load


class Compose(Protocol):
    """Writes files into a project named `shop` and loads its compose file."""

    root: Path

    def write(self, name: str, text: str) -> Path: ...

    def load(
        self,
        text: str,
        *,
        service: str | None = "web",
        env: Mapping[str, str] = {},
        profiles: Sequence[str] = (),
    ) -> ComposeProject: ...

    def service(self, keys: str, *, env: Mapping[str, str] = {}, top: str = "") -> ServiceSpec: ...


class _Compose:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def load(
        self,
        text: str,
        *,
        service: str | None = "web",
        env: Mapping[str, str] = {},
        profiles: Sequence[str] = (),
    ) -> ComposeProject:
        path = self.write("compose.yaml", text)
        return load(path, services=(service,) if service else (), env=env, profiles=profiles)

    def service(self, keys: str, *, env: Mapping[str, str] = {}, top: str = "") -> ServiceSpec:
        """The service `web` with an image and these keys (flow mappings or lines)."""
        lines = textwrap.dedent(keys).strip("\n")
        image = "" if lines.startswith(("image:", "build:")) or "\nimage:" in lines else "image: busybox\n"
        body = textwrap.indent(image + lines, "    ")
        text = f"services:\n  web:\n{body}\n{textwrap.dedent(top)}"
        return self.load(text, env=env).services["web"]


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    root = tmp_path / "shop"
    root.mkdir()
    return _Compose(root)
