"""Any history of saves, deaths, strangers' hands, engine outages and killed daemons, against what must hold.

A healthy container has the traffic whenever one exists; nothing of a stranger's is touched; nothing is left.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.deploy.virtual import VirtualLoop
from tests.unit.deploy.world import NAME, Daemon, World
from watcher.deploy import probe
from watcher.errors import EngineUnavailable
from watcher.reconcile.ports import Deployed

T = TypeVar("T")
HISTORIES = int(os.environ.get("WATCHER_HISTORIES", "100"))  # the long run is WATCHER_HISTORIES=5000
REACTION = 6.0  # virtual seconds in which everything that happened must have been answered


class Histories(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.numbers = itertools.count(1)
        self.away = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @property
    def daemon(self) -> Daemon:
        assert self.world.daemon
        return self.world.daemon

    @initialize(
        fronts=st.booleans(),
        kind=st.sampled_from(["plain", "exclusive", "sandboxed"]),
        soak=st.sampled_from([0.0, 3.0, 600.0]),
    )
    def begin(self, fronts: bool, kind: str, soak: float) -> None:
        async def begin() -> None:
            self.world = World(fronts=fronts)
            self.world.recipe.exclusive = kind == "exclusive"
            self.world.recipe.pause_container = kind == "sandboxed"
            self.world.policy = type(self.world.policy)(startup_timeout=5.0, soak=soak, drain=1.0)
            await self.world.begin()

        self.run(begin())
        self.patch = mock.patch.object(probe, "probe_http", self.world.answer)
        self.patch.start()

    # What happens.

    def _deploy(self, revision: str, image: str) -> None:
        async def deploy() -> None:
            deployed = await self.world.deploy(revision, image)
            if not self.away and image not in self.world.silent:
                assert isinstance(deployed, Deployed), deployed

        self.run(deploy())

    @rule()
    def save(self) -> None:
        self._deploy(f"r{next(self.numbers)}", self.world.image())

    @rule(exits=st.booleans())
    def save_what_fails(self, exits: bool) -> None:
        self._deploy(f"r{next(self.numbers)}", self.world.image(exit_code=1 if exits else None, silent=True))

    @rule(moment=st.sampled_from([0.0, 0.002, 0.05, 1.0]), live=st.booleans())
    def save_what_hangs_while_one_dies(self, moment: float, live: bool) -> None:
        async def both() -> None:
            image = self.world.image(silent=True)
            deploy = asyncio.create_task(self.world.deploy(f"r{next(self.numbers)}", image))
            await asyncio.sleep(moment)
            await self._end(live=live)
            await deploy

        self.run(both())

    async def _end(self, *, live: bool) -> None:
        """The live one ends, or any other that runs."""
        current = self.daemon.deployer.container
        for box in await self.world.mine():
            if box.running and (current is not None and box.id == current.id) == live:
                self.world.engine.end(box.id, 1)
                return

    @rule(live=st.booleans())
    def one_ends(self, live: bool) -> None:
        self.run(self._end(live=live))

    @precondition(lambda self: self.daemon.deployer.container)
    @rule()
    def the_live_one_turns_unhealthy(self) -> None:
        async def unhealthy() -> None:
            current = self.daemon.deployer.container
            if current and current.id in {box.id for box in await self.world.mine()}:
                self.world.say_unhealthy(current.id)

        self.run(unhealthy())

    @precondition(lambda self: self.daemon.deployer.container)
    @rule(how=st.sampled_from(["restart", "remove", "rename", "pause"]))
    def somebody_meddles_with_the_live_one(self, how: str) -> None:
        async def meddle() -> None:
            current = self.daemon.deployer.container
            if current is None or current.id not in {box.id for box in await self.world.mine()}:
                return
            if how == "restart":
                await self.world.engine.stop(current.id, 0)
                await self.world.engine.start(current.id)
            elif how == "remove":
                await self.world.engine.remove_by_force(current.id)
            elif how == "pause":
                self.world.engine.pause(current.id)
                await asyncio.sleep(1.0)
                box = await self.world.engine.container(current.id)
                if box and box.paused:
                    self.world.engine.unpause(current.id)
            else:
                await self.world.engine.rename(current.id, f"theirs-{next(self.numbers)}")

        self.run(meddle())

    @rule(how=st.sampled_from(["end", "remove"]))
    def somebody_meddles_with_the_networks(self, how: str) -> None:
        async def meddle() -> None:
            for holder in await self.world.holders():
                if how == "remove":
                    await self.world.engine.remove_by_force(holder.id)
                elif holder.running:
                    self.world.engine.end(holder.id, 137)

        self.run(meddle())

    @rule(name=st.sampled_from([NAME, f"{NAME}.other", "other"]))
    def a_stranger_comes(self, name: str) -> None:
        async def come() -> None:
            if await self.world.engine.container(name) is None:
                await self.world.stranger(name)

        self.run(come())

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(calls=st.integers(0, 12), most=st.integers(1, 12))
    def the_engine_goes_away_during_a_save(self, calls: int, most: int) -> None:
        first = self.daemon.engine.calls + calls
        away = range(first, first + most)
        self.away = True

        def faults(number: int, _name: str, done: bool) -> Exception | None:
            return EngineUnavailable("away") if number in away and not done else None

        self.daemon.engine.rule = faults
        self._deploy(f"r{next(self.numbers)}", self.world.image())
        self.daemon.engine.rule = lambda *_: None
        self.away = False

        async def back() -> None:
            await self.daemon.deployer.check()
            await self.daemon.deployer.remove_orphans()

        self.run(back())

    @rule(calls=st.integers(0, 20), done=st.booleans())
    def the_daemon_is_killed_during_a_save(self, calls: int, done: bool) -> None:
        daemon = self.daemon
        last = daemon.engine.calls + calls

        def faults(number: int, _name: str, now: bool) -> None:
            daemon.engine.killed = daemon.engine.killed or (number >= last and now == done)

        async def kill() -> None:
            daemon.engine.rule = faults
            daemon.spawn(self.world.deploy(f"r{next(self.numbers)}", self.world.image()))
            await asyncio.sleep(1.0)
            daemon.kill()
            await self.world.begin()

        self.run(kill())

    # What must hold.

    async def _answered(self) -> None:
        """Time to react; what was lost is put back, as the loop does it."""
        await asyncio.sleep(REACTION)
        if lost := self.daemon.deployer.lost:
            await self.world.deploy(lost.revision, lost.image)
            await asyncio.sleep(REACTION)

    @invariant()
    def what_is_healthy_has_the_traffic(self) -> None:
        async def look() -> None:
            await self._answered()
            await self.world.untouched()
            live = self.daemon.deployer.container
            assert (live is not None) == any(map(self.world.healthy, await self.world.mine()))
            if live:
                assert await self.world.serving() == live.revision
                assert self.daemon.deployer.lost is None

        self.run(look())

    def teardown(self) -> None:
        async def end() -> None:
            await self.world.settle(1000.0)
            await self.world.hold()
            await self.daemon.stop()
            await self.world.nothing_left()
            await self.world.untouched()
            await self.world.end()

        try:
            self.run(end())
        finally:
            self.patch.stop()
            self.runner.close()


Histories.TestCase.settings = settings(
    max_examples=HISTORIES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestHistories = Histories.TestCase
