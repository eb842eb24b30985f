"""The progress of a pull, summed up over its layers, and its errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import docker
import pytest

from watcher.engine import DockerEngine, EngineError, pulling

LINES: list[dict[str, Any]] = [
    {"status": "Pulling from library/redis", "id": "alpine"},
    {"status": "Downloading", "id": "a", "progressDetail": {"current": 10, "total": 100}},
    {"status": "Downloading", "id": "b", "progressDetail": {"current": 5, "total": 50}},
    {"status": "Downloading", "id": "c", "progressDetail": {}},
    {"status": "Download complete", "id": "a", "progressDetail": {}},
    {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 900}},
]


class Client:
    def __init__(self, *lines: dict[str, Any]) -> None:
        self.lines, self.asked = lines, dict[str, Any]()

    def pull(self, ref: str, **options: Any) -> Iterator[dict[str, Any]]:
        self.asked = {"ref": ref, **options}
        return iter(self.lines)


class StuckClient:
    """A client whose pulls end on `release`: a registry that stops to answer."""

    def __init__(self) -> None:
        self.release, self.begun = threading.Event(), 0

    def pull(self, ref: str, **_: Any) -> Iterator[dict[str, Any]]:
        self.begun += 1
        self.release.wait(20)
        return iter(())

    def start(self, container: str) -> None:
        """Start at once."""


def pull(client: Client, platform: str = "") -> list[tuple[int, int]]:
    shown: list[tuple[int, int]] = []
    pulling.pull_image(cast(docker.APIClient, client), "redis", platform, lambda *sums: shown.append(sums))
    return shown


def test_bytes_of_all_layers_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "EVERY", 0.0)
    client = Client(*LINES)
    assert pull(client, "linux/arm64") == [(10, 100), (15, 150), (15, 150), (105, 150), (105, 150)]
    assert (client.asked["ref"], client.asked["platform"]) == ("redis", "linux/arm64")


def test_a_short_pull_shows_no_progress() -> None:
    assert pull(Client(*LINES)) == []


def test_an_error_in_the_middle_of_a_pull_is_raised() -> None:
    with pytest.raises(EngineError, match="unexpected EOF"):
        pull(Client(LINES[0], {"error": "unexpected EOF", "errorDetail": {}}, LINES[1]))


async def test_pulls_that_hang_leave_the_other_calls_their_threads_and_can_be_cancelled() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    client = StuckClient()
    engine = DockerEngine(cast(docker.APIClient, client))
    pulls = [asyncio.create_task(engine.pull(f"image-{number}")) for number in range(3)]
    try:
        async with asyncio.timeout(10):
            while client.begun < len(pulls):
                await asyncio.sleep(0.001)
            await engine.start("container")
            for task in pulls:
                task.cancel()
            ended = await asyncio.gather(*pulls, return_exceptions=True)
        assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
    finally:
        client.release.set()
