"""Which container serves, which one can take the traffic back, and where the fronts send requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from watcher.deploy.address_container import AddressContainer
from watcher.deploy.model import ContainerRecipe, DeployPolicy, ForwardTarget, Live
from watcher.deploy.retirement import Retirement
from watcher.front import Front


class Traffic:
    """The serving state of one service. Change it only while holding `lock`, to keep the order of events.

    `live` serves. `previous` takes the traffic back if the live one fails: it runs on behind the front, and
    is stopped in `recreate`. `lost` was live and ended on its own; it is removed once another one is live.
    `paused` is the id of the live container while it is frozen.
    """

    def __init__(
        self,
        recipe: ContainerRecipe,
        *,
        fronts: Mapping[int, Front],
        policy: DeployPolicy,
        retirement: Retirement,
        address: AddressContainer,
    ) -> None:
        self.recipe, self.fronts, self.policy = recipe, fronts, policy
        self._retirement, self._address = retirement, address
        self.lock = asyncio.Lock()
        self.live: Live | None = None
        self.lost: Live | None = None
        self.paused = ""
        self._previous: Live | None = None
        self.previous_runs = False  # whether `previous` runs on, or was stopped to make way
        self._soaking: asyncio.Task[None] | None = None

    @property
    def previous(self) -> Live | None:
        """Return the container that takes the traffic back if the live one fails."""
        return self._previous

    @property
    def side_by_side(self) -> bool:
        """Return whether a new container starts side by side with the old one, or in its place."""
        return bool(self.fronts) and not self.recipe.exclusive

    def all(self) -> Iterator[Live]:
        """Return the containers that serve, or can serve again."""
        yield from (live for live in (self.live, self._previous, self.lost) if live)

    def is_live(self, container: str) -> bool:
        """Return whether the container with this id serves."""
        return self.live is not None and container == self.live.id

    def reconfigure(
        self, recipe: ContainerRecipe, *, fronts: Mapping[int, Front], policy: DeployPolicy
    ) -> None:
        """Continue with these. New fronts send their requests to what is live."""
        before, self.fronts = self.fronts, fronts
        self.recipe, self.policy = recipe, policy
        if self._previous and set(self._previous.backends) != set(recipe.ports):
            self.keep_previous(None)  # it could not take the traffic of these ports back
        for port, front in fronts.items():
            if front not in before.values():
                front.switch(self.live.backends.get(port) if self.live else None)

    def switch_to(self, live: Live, *, old_runs: bool) -> None:
        """Send requests to `live`, and keep the one before for the soak time. It runs on if `old_runs`."""
        old, self.live = self.live, live
        self.point_fronts()
        if old_runs:
            self.keep_previous(old)
            self.previous_runs = True
        if old and set(old.backends) != set(live.backends):
            self.keep_previous(None)  # it could not take the traffic of these ports back
        self.retire_lost()
        if self._previous:
            self._soaking = asyncio.create_task(self._soak())

    def point_fronts(self) -> None:
        """Send requests to what is live; hold them while nothing is."""
        serves = self.live if self.live and self.live.id != self.paused else None
        for port, front in self.fronts.items():
            front.switch(serves.backends.get(port) if serves else None)
        starting = serves is not None and not serves.backends and not serves.answered
        target = (
            ForwardTarget(serves.id, serves.revision, serves.answered, starting)
            if serves
            else ForwardTarget()
        )
        self._address.point(target)

    def hold_requests(self) -> None:
        """Hold requests whatever is live."""
        for front in self.fronts.values():
            front.switch(None)
        self._address.point(ForwardTarget())

    def step_down(self) -> Live | None:
        """Take the traffic from the live container, which possibly gets it back; its end is not a loss."""
        old, self.live = self.live, None
        self.keep_previous(old)
        self.point_fronts()
        return old

    def keep_previous(self, old: Live | None) -> None:
        """Keep `old` to take the traffic back if necessary; retire the one that was kept before."""
        if before := self.take_previous():
            self._retirement.retire(before)
        self._previous, self.previous_runs = old, False

    def take_previous(self) -> Live | None:
        """Return the container that could take the traffic back; it is not kept for that any more."""
        if self._soaking:
            self._soaking.cancel()
        previous, self._previous, self._soaking = self._previous, None, None
        return previous

    def retire_lost(self) -> None:
        """Remove the container that was live before and ended."""
        if self.lost:
            self._retirement.retire(self.lost)
            self.lost = None

    async def _soak(self) -> None:
        await asyncio.sleep(self.policy.soak)
        async with self.lock:
            self._soaking = None
            self.keep_previous(None)
