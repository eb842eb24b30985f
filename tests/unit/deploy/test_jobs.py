"""A managed service that others wait for to complete: it runs once for each image, and then is live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.facts import missing
from tests.unit.deploy.world import NAME, World
from watcher.errors import UserError
from watcher.observers.events import DeployOutcome
from watcher.reconcile.ports import Deployed


@pytest.fixture
async def jobs() -> AsyncIterator[World]:
    made = World(fronts=False)
    made.recipe.ports, made.recipe.completes = (), True
    yield made
    for daemon in made.daemons:
        await daemon.deployer.close(stop=True)


async def test_a_job_is_live_once_it_has_ended_well(jobs: World) -> None:
    daemon = await jobs.begin()
    image = jobs.image()
    deploy = asyncio.create_task(jobs.deploy("one", image))
    await jobs.settle(600.0)  # longer than `startup_timeout`
    assert not deploy.done()
    (box,) = await jobs.mine()
    jobs.engine.end(box.id, 0)
    assert isinstance(await deploy, Deployed)
    await jobs.settle()
    assert (await jobs.named(), daemon.deployer.live) == ({NAME: "exited"}, "one")


async def test_a_job_that_fails_is_told_and_the_one_before_is_not_run_again(jobs: World) -> None:
    daemon = await jobs.begin()
    first = await jobs.good("one", jobs.image(exit_code=0))
    failed = await jobs.deploy("two", jobs.image(exit_code=3))
    assert isinstance(failed, UserError)
    assert missing(failed.failure.summary, "job", "exit status 3", "what it says") == []
    assert failed.failure.lines == ("what it says",)
    await jobs.settle()
    starts = [event.container for _, _, event in jobs.engine._past if event.action == "start"]
    assert starts.count(first) == 1
    assert daemon.deployer.live == "one"


async def test_a_job_runs_again_for_another_image_only(jobs: World) -> None:
    await jobs.begin()
    image = jobs.image(exit_code=0)
    first = await jobs.good("one", image)
    same = await jobs.deploy("two", image)
    assert isinstance(same, Deployed)
    assert (same.container, same.outcome) == (first, DeployOutcome.UNCHANGED)
    assert await jobs.good("three", jobs.image(exit_code=0)) != first


async def test_a_job_that_has_completed_is_adopted_after_the_end_of_the_watcher(jobs: World) -> None:
    daemon = await jobs.begin()
    container = await jobs.good("one", jobs.image(exit_code=0))
    await jobs.settle()
    await daemon.deployer.close(stop=True)
    after = await jobs.begin()
    assert after.deployer.container
    assert (after.deployer.container.id, after.deployer.live) == (container, "one")


async def test_a_job_that_was_cut_off_is_not_taken_for_complete(jobs: World) -> None:
    await jobs.begin()
    deploy = asyncio.create_task(jobs.deploy("one", jobs.image()))
    await jobs.settle(1.0)
    deploy.cancel()
    await asyncio.gather(deploy, return_exceptions=True)
    after = await jobs.begin()
    assert after.deployer.live is None
    assert await jobs.mine() == []
