"""Pull an image and sum up the progress of its layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import docker

from watcher.engine.values import EngineError

EVERY = 0.5  # seconds between two reports
_ARRIVED = frozenset({"Download complete", "Pull complete", "Extracting", "Verifying Checksum"})


class LayerProgress:
    """The progress of all layers together: received bytes and known bytes."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}

    def add_status(self, said: Mapping[str, Any]) -> None:
        """Add one line of the engine's response."""
        layer, status = str(said.get("id") or ""), str(said.get("status") or "")
        detail = said.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._done[layer], self._total[layer] = int(detail.get("current") or 0), int(detail["total"])
        elif status in _ARRIVED and layer in self._total:
            self._done[layer] = self._total[layer]

    @property
    def total_bytes(self) -> tuple[int, int]:
        """Return received bytes and known bytes."""
        return sum(self._done.values()), sum(self._total.values())


def pull_image(client: docker.APIClient, ref: str, platform: str, show: Callable[[int, int], None]) -> None:
    """Pull `ref`; raise EngineError with the engine's message. Blocking."""
    api: Any = client
    layers, shown = LayerProgress(), time.monotonic()
    lines: Iterable[Mapping[str, Any]] = api.pull(ref, platform=platform or None, stream=True, decode=True)
    for said in lines:
        if error := said.get("error"):
            raise EngineError(str(error))
        layers.add_status(said)
        if time.monotonic() - shown >= EVERY and layers.total_bytes[1]:
            shown = time.monotonic()
            show(*layers.total_bytes)
