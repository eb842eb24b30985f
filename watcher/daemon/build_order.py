"""Which builds begin first when one save changes the trees of several services.

Services that share a context are all built after a save in it. The one whose own folder the save is in is the
one that the user waits for; the others mostly turn out unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

from watcher.builder import Recipe
from watcher.builder.dockerfile_variants import original_dockerfile
from watcher.dockerfile import Platforms, main_packages
from watcher.observers.events import Change
from watcher.tree import Snapshot


def find_owners(changed: Collection[str], folders: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the services with the deepest folder that holds all `changed` paths; all paths are absolute.

    A folder that holds those of all services distinguishes none of them.
    """
    if not changed:
        return frozenset()
    common = PurePosixPath(os.path.commonpath({path.rpartition("/")[0] or "/" for path in changed}))
    everything = PurePosixPath(os.path.commonpath([each for own in folders.values() for each in own]))
    depths = {
        name: max(
            (
                len(PurePosixPath(each).parts)
                for each in own
                if common.is_relative_to(each) and not everything.is_relative_to(each)
            ),
            default=0,
        )
        for name, own in folders.items()
    }
    deepest = max(depths.values(), default=0)
    return frozenset(name for name, depth in depths.items() if depth and depth == deepest)


class BuildOrder:
    """Knows the folders of the services of a project, as of their last scans."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, ...]] = {}  # by service

    def remove(self, service: str) -> None:
        """Forget a service that is no longer managed."""
        self._folders.pop(service, None)

    def choose_first(
        self, recipe: Recipe, snapshot: Snapshot, context: str, changes: Collection[Change]
    ) -> frozenset[str]:
        """Return the services whose builds begin before this one's, which these changes caused."""
        text = original_dockerfile(recipe, snapshot) or ""
        packages = _packages_of(text, recipe.target, frozenset(recipe.build_args.items()), recipe.platform)
        root = context.rstrip("/")
        own = tuple(f"{root}/{each}".rstrip("/") for each in packages)
        self._folders[recipe.service] = own or (context,)
        changed = [f"{root}/{change.path.rstrip('/')}" for change in changes]
        owners = find_owners(changed, self._folders)
        return frozenset() if recipe.service in owners else owners


@lru_cache(maxsize=256)
def _packages_of(
    text: str, target: str | None, build_args: frozenset[tuple[str, str]], platform: str
) -> tuple[str, ...]:
    return tuple(sorted(main_packages(text, target, dict(build_args), Platforms.of_this_machine(platform))))
