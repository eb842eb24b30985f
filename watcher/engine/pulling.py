"""Pull an image: sum up the progress of its layers, and end a pull that has stalled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker
import requests.exceptions
import urllib3.exceptions

from watcher.engine import private_api
from watcher.engine.values import EngineError, PullProgress

_ARRIVED = frozenset({"Download complete", "Pull complete", "Extracting", "Verifying Checksum"})


@dataclass(frozen=True, slots=True)
class PullTimes:
    """How often a pull reports its progress, and when it is given up. In seconds."""

    report_every: float = 0.5
    stalled: float = 300.0  # without a line of the engine


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
        done, total = self._done.copy(), self._total.copy()  # a thread adds to them
        return sum(done.values()), sum(total.values())


class ImagePull:
    """One pull of `ref`. `run` blocks in a thread; the other methods may be called meanwhile."""

    def __init__(self, client: docker.APIClient, ref: str, platform: str, *, stalled: float) -> None:
        """Give up after `stalled` seconds without a line of the engine."""
        self._client, self._ref, self._platform, self._stalled = client, ref, platform, stalled
        self._response: Any = None
        self._is_cancelled = False
        self._heard = time.monotonic()
        self._layers = LayerProgress()

    @property
    def progress(self) -> PullProgress:
        """Return how much has arrived, and for how long nothing has."""
        received, known = self._layers.total_bytes
        return PullProgress(received, known, silent=time.monotonic() - self._heard)

    def run(self) -> None:
        """Pull; raise EngineError with the engine's message, or docker-py's errors."""
        try:
            self._response = private_api.open_pull(
                self._client, self._ref, self._platform, timeout=self._stalled
            )
            with contextlib.closing(self._response):
                if self._is_cancelled:
                    return
                for said in private_api.read_json_lines(self._client, self._response):
                    self._heard = time.monotonic()
                    if error := said.get("error"):
                        raise EngineError(str(error))
                    self._layers.add_status(said)
        except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise EngineError(f"nothing arrived for {self._stalled:g} s") from error

    def cancel(self) -> None:
        """Close the connection: the engine ends a pull that nobody follows.

        Otherwise the next pull of the same image would join the stalled download. A request that the engine
        has not begun to answer ends when it counts as stalled.
        """
        self._is_cancelled = True
        if self._response is not None:
            private_api.shut_down(self._response)
