"""The engine crashes in the middle of a build: the change is built and live after it, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import Project, until
from tests.private_engine import PrivateEngine, private_engine
from watcher.buildkit import Client, UsageInfo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MARK = "made-by-the-slow-step"
# Slow enough to be killed in it, and without a compiler: the engine has no Go cache yet.
DOCKERFILE = f"""\
FROM alpine AS builder
WORKDIR /www
COPY health .
RUN : {MARK} && dd if=/dev/zero of=ballast bs=1M count=8 2>/dev/null && sleep 3

FROM alpine
STOPSIGNAL SIGKILL
COPY --from=builder /www /www
CMD ["busybox", "httpd", "-f", "-p", "9000", "-h", "/www"]
"""


@pytest.fixture
def crashing() -> Iterator[PrivateEngine]:
    with private_engine(Path(tempfile.mkdtemp(prefix="watcher-engine-"))) as engine:
        with closing(docker.from_env()) as machine, engine.client() as own:
            own.images.load(b"".join(machine.images.get("alpine").save(named=True)))
        yield engine


@pytest.fixture
def page(crashing: PrivateEngine, folder: Path) -> Iterator[Project]:
    """A project whose service answers with a file."""
    made = Project(folder)
    (made.folder / "Dockerfile").write_text(DOCKERFILE)
    set_page(made, "1")
    yield made
    if made.process:
        made.stop()
    shutil.rmtree(folder)


def set_page(project: Project, version: str) -> None:
    (project.folder / "health").write_text(json.dumps({"version": version}))


def slow_steps(engine: PrivateEngine) -> list[UsageInfo]:
    """Return the records of the slow step."""

    async def read() -> list[UsageInfo]:
        client = await Client.connect(engine.endpoint)
        try:
            return [each for each in await client.disk_usage() if MARK in each.description]
        finally:
            await client.close()

    return asyncio.run(read())


def test_a_crash_of_the_engine_in_a_build_costs_that_build_and_nothing_else(
    crashing: PrivateEngine, page: Project
) -> None:
    page.start("--engine", crashing.endpoint, "--prune.keep", "1")
    assert page.wait()["outcome"] == "live", "".join(page.output)
    set_page(page, "2")
    until(lambda: any(each.in_use for each in slow_steps(crashing)), "the slow step runs", 60)
    crashing.crash()
    until(
        lambda: not json.loads(page.watcher("status", "--json").stdout)["engine"]["up"],
        "the loss is seen",
        60,
    )
    status = page.status()
    assert status["failed"] is None, status["failed"]
    crashing.start()
    assert page.wait()["outcome"] == "live", "".join(page.output)
    assert page.health()["version"] == "2"
    until(lambda: len(slow_steps(crashing)) == 1, "only the record of the kept build is left", 60)
    assert not slow_steps(crashing)[0].in_use
    assert not [line for line in page.output if "Traceback" in line], "".join(page.output)
    failed = {name: each for name, each in page.metrics().items() if 'outcome="failed"' in name}
    assert failed
    assert not any(failed.values()), "the engine's crash is not a failure of the tree"
    with crashing.client() as client:
        found = client.images.list(filters={"label": page.label()})
        assert len(found) <= 2, [each.tags for each in found]
