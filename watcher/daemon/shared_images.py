"""One image for several services: built once, labelled for one of them, pruned when none of them needs it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

from watcher.builder import ImageBuilder, Recipe, full_reference
from watcher.engine import Engine
from watcher.prune import Needed
from watcher.reconcile.ports import Built, Scan
from watcher.tree import Snapshot


def share_recipes(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Return recipes by service, the same one but for its name where images have the same name.

    The first service owns such an image. What any of their containers runs decides how it is built.
    """
    users: defaultdict[str, list[str]] = defaultdict(list)
    for name, recipe in recipes.items():
        users[full_reference(recipe.image)].append(name)
    return {
        name: _share(recipe, [recipes[user] for user in users[full_reference(recipe.image)]])
        for name, recipe in recipes.items()
    }


def _share(recipe: Recipe, users: list[Recipe]) -> Recipe:
    if len(users) == 1:
        return recipe
    owner, *rest = users
    commands = [
        command
        for each in rest
        for command in (each.runs.entrypoint, each.runs.command, each.runs.health, *each.runs.others)
        if command
    ]
    runs = replace(owner.runs, others=(*owner.runs.others, *commands))
    return replace(recipe, owner=owner.service, runs=runs)


class SharedImages:
    """Knows which services use which image. `Needed` is what pruning must leave."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[Callable[[], str], Callable[[], Needed]]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._last: dict[str, tuple[str, str]] = {}  # by owner: what was built last, and its image

    def add(self, service: str, owner: Callable[[], str], needed: Callable[[], Needed]) -> None:
        """Take a service into account, whose image is the owner's."""
        self._users[service] = owner, needed

    def remove(self, service: str) -> None:
        """Take a service into account no longer."""
        self._users.pop(service, None)

    def needed_by_all(self) -> tuple[Needed, ...]:
        """Return what each service needs."""
        return tuple(needed() for _, needed in self._users.values())

    def needed(self, service: str) -> Needed:
        """Return what all services need that use an image of this one."""
        own = self._users[service][1]()
        for name, (owner, needed) in self._users.items():
            if name != service and owner() == service:
                other = needed()
                live = {other.live} if other.live else set()
                own = replace(
                    own,
                    ids=own.ids | other.ids | live,
                    revisions=own.revisions | other.revisions,
                    failed=(own.failed | other.failed) - {own.live, *live},
                )
        return own

    def lock(self, owner: str) -> asyncio.Lock:
        """Return the lock that is held while an image of this owner is built."""
        return self._locks[owner]

    def find(self, owner: str, content: str) -> str | None:
        """Return the image that was built last, if it was of this content."""
        known, image = self._last.get(owner, ("", ""))
        return image if known == content else None

    def remember(self, owner: str, content: str, image: str) -> None:
        """Remember what was built last."""
        self._last[owner] = content, image


class SharedImageBuilder:
    """Builds the images of one service, or takes the one that another service has just built of the same."""

    def __init__(self, builder: ImageBuilder, images: SharedImages, engine: Engine) -> None:
        self._builder, self._images, self._engine = builder, images, engine

    async def build(self, scan: Scan[Snapshot], *, forced: bool) -> Built:
        """Build, or find the image; see `reconcile.ports.Builder`."""
        recipe = self._builder.recipe
        if not recipe.owner:
            return await self._builder.build(scan, forced=forced)
        content = _digest(recipe, scan.snapshot)
        async with self._images.lock(recipe.owner):
            known = None if forced else self._images.find(recipe.owner, content)
            if known and await self._engine.image(known):
                await self._engine.tag(known, recipe.tag(scan.revision))  # the build finds it by that
            built = await self._builder.build(scan, forced=forced)
            self._images.remember(recipe.owner, content, built.image)
            return built


def _digest(recipe: Recipe, snapshot: Snapshot) -> str:
    """Return a digest of everything that decides the image."""
    inputs = sorted(recipe.inputs().items())
    return hashlib.sha256(repr((snapshot.digest, inputs)).encode("utf-8", "surrogateescape")).hexdigest()
