"""Run watched projects and plain `docker build`s next to the measured project of `./dev bench disk`."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import httpx

from bench._disk import Meter, find_family
from bench._peers import Docker
from tests.e2e.conftest import LONG, Project
from watcher import labels
from watcher.system import lock

_DOCKERFILE = """\
FROM {golang} AS builder
WORKDIR /{name}
COPY main.go ./
RUN GOCACHE=/tmp/cache CGO_ENABLED=0 go build -o /{name}/program main.go && rm -rf /tmp/cache
FROM {alpine}
RUN echo {name} >/name
COPY --from=builder /{name}/program /program
CMD ["/program"]
"""
_MAIN = 'package main\n\nfunc main() {{ println("{}") }}\n'


class Watched(Project):
    """A copy of the example with its daemon, queried through its API: a command would take seconds."""

    def _call_api(self) -> httpx.Client:
        running = lock.find_running(labels.project_id(self.folder.resolve()))
        url = running.url if running else ""
        return httpx.Client(base_url=url or "http://127.0.0.1:9", trust_env=False, timeout=LONG + 30)

    def _is_answering(self) -> bool:
        try:
            with self._call_api() as api:
                return api.get("/api/status").is_success
        except httpx.HTTPError:
            return False

    def use_caches_of(self, other: Watched) -> None:
        """Use the other project's Go caches, so the first build is not a cold one."""
        shown = other.watcher("dockerfile").stdout
        mounts = " ".join(
            dict.fromkeys(word for word in shown.split() if word.startswith("--mount=type=cache"))
        )
        dockerfile = self.folder / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text().replace("RUN CGO", f"RUN {mounts} CGO"))

    def wait(self) -> dict[str, Any]:
        """Wait until the tree is live or failed."""
        with self._call_api() as api:
            return dict(api.post("/api/wait", params={"timeout": LONG}).raise_for_status().json())

    def live(self) -> None:
        """Wait until the tree is live; a cold compile can take longer than one wait."""
        while (settled := self.wait())["outcome"] == "timeout":
            pass
        assert settled["outcome"] == "live", (settled, "".join(self.output[-40:]))

    def cached_steps(self) -> tuple[int, int]:
        """Rebuild the live tree; return the number of cached steps and of all steps."""
        with self._call_api() as api:
            last = api.post("/api/rebuild").raise_for_status().json()["last_build"]
            api.post("/api/wait", params={"timeout": LONG, "after_build": last}).raise_for_status()
        return self.steps_of_last_build()

    def steps_of_last_build(self) -> tuple[int, int]:
        """Return the number of cached steps and of all steps."""
        with self._call_api() as api:
            build = api.get("/api/status").json()["services"][0]["last_build"]
        return build["cached_steps"], build["step_count"]

    def times_forgotten(self) -> int:
        """Return how often this daemon said that BuildKit forgot steps with those that it removed."""
        return sum("BuildKit forgot" in line for line in list(self.output))


class PlainBuilds:
    """`docker build` of a small program without a cache mount."""

    def __init__(self, docker_cli: Docker, meter: Meter, parent: Path, bases: dict[str, str]) -> None:
        """`bases` are the images golang and alpine."""
        self.name = f"disk-neighbour-{uuid.uuid4().hex[:8]}"
        self._docker, self._meter = docker_cli, meter
        self._folder = parent / self.name
        self._folder.mkdir()
        (self._folder / "Dockerfile").write_text(_DOCKERFILE.format(name=self.name, **bases))
        self.records: set[str] = set()
        self.images: set[str] = set()
        self.changed = 0
        self.cached: list[int] = []

    @property
    def _image_tag(self) -> str:
        return f"{self.name}:{self.changed}"

    def change(self) -> None:
        """Change the program and build; record its cache records and its image.

        Each build has its own tag: an engine with the containerd store removes an image that loses its tag.
        """
        (self._folder / "main.go").write_text(_MAIN.format(uuid.uuid4().hex))
        self.changed += 1
        self._build_image()
        self.records |= find_family(self._meter.records(), self.name)
        self.images.add(self._docker.run("image", "inspect", "-f", "{{.Id}}", self._image_tag))

    def repeat(self) -> None:
        """Build again without a change, and count the cached steps."""
        self.cached.append(sum(" CACHED" in line for line in self._build_image().splitlines()))

    def _build_image(self) -> str:
        command = [
            "buildx",
            "build",
            "--load",
            "--progress=plain",
            "--provenance=false",
            "-t",
            self._image_tag,
        ]
        return self._docker.run(*command, str(self._folder), both=True)

    def lost(self) -> tuple[int, int]:
        """Return how many of its records and images are gone."""
        here = {record.id for record in self._meter.records()}
        return len(self.records - here), sum(not self._existing_ids(image) for image in self.images)

    def _existing_ids(self, image: str) -> bool:
        try:
            self._meter.client.images.get(image)
        except docker.errors.ImageNotFound:
            return False
        return True

    def remove(self) -> None:
        """Remove its images."""
        for image in self.images:
            with contextlib.suppress(docker.errors.APIError):
                self._meter.client.images.remove(image, force=True)


class Work:
    """Runs the neighbours in a thread until it is ended."""

    def __init__(self, act: Callable[[int], None]) -> None:
        """`act` is called with 0, 1, 2 …"""
        self._act, self._ended = act, threading.Event()
        self._failure: BaseException | None = None
        self.rounds = 0
        self._thread = threading.Thread(target=self._run_rounds, daemon=True)
        self._thread.start()

    def _run_rounds(self) -> None:
        try:
            while not self._ended.wait(1):
                self._act(self.rounds)
                self.rounds += 1
        except (Exception, SystemExit) as error:
            self._failure = error

    def end(self) -> None:
        """Wait for the current round. Raises its error."""
        self._ended.set()
        self._thread.join(timeout=600)
        if self._failure:
            raise self._failure
