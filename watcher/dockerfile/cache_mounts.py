"""The cache mounts that acceleration adds: how they are written, and how they are found again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from watcher import regex
from watcher.dockerfile.caches import ROOT, Owner
from watcher.dockerfile.parse import parse
from watcher.dockerfile.spans import Edit
from watcher.dockerfile.stages import run_mounts
from watcher.dockerfile.state import StageStep

_NOT_PLAIN = regex.compile(r"[^\w.-]")
_SHARED = regex.compile(
    r"watcher-[0-9a-f]{12}-[0-9a-f]{10}-(?:gocache(?:-(?:cgo|asm)-[0-9a-f]{10})?|gomodcache)"
)


@dataclass(frozen=True, slots=True)
class OwnCache:
    """A cache mount that acceleration put in: its id at the engine, where it is mounted, in which stage."""

    id: str
    target: str
    stage: str
    modules: bool = False  # it is a module cache; else it is a build cache
    owner: Owner = ROOT  # another owner is another cache, also with the same id

    def mount_at(self, target: str) -> str:
        """Return the value of a `--mount` of this cache at another place."""
        return cache_mount(self.id, target, self.owner)


def cache_names(cache_scope: str) -> tuple[str, ...]:
    """Return the prefixes of the ids of this scope's cache mounts."""
    return f"{plain_scope(cache_scope)}-gocache", f"{plain_scope(cache_scope)}-gomodcache"


def is_shared_cache(name: str) -> bool:
    """Return whether an id is of a cache that several projects can use."""
    return _SHARED.fullmatch(name) is not None


def own_caches(text: str, cache_scope: str, shared_scope: str = "") -> tuple[OwnCache, ...]:
    """Return the cache mounts of these scopes in an accelerated text, each id once.

    Raises DockerfileError.
    """
    ours = cache_names(cache_scope)
    start = f"{plain_scope(shared_scope)}-" if shared_scope else None
    found: dict[str, OwnCache] = {}
    for stage in parse(text).stages:
        for one in stage.instructions:
            for mount in run_mounts(one) if one.keyword == "RUN" else ():
                name = mount.get("id", "")
                shared = start is not None and name.startswith(start) and is_shared_cache(name)
                if mount["type"] == "cache" and (shared or name.startswith(ours)):
                    modules = name.startswith(ours[1]) or (shared and name.endswith("-gomodcache"))
                    owner = Owner(mount.get("uid", ""), mount.get("gid", ""))
                    own = OwnCache(name, mount["target"], stage.label, modules, owner)
                    found.setdefault(own.id, own)
    return tuple(found.values())


def add_flag(step: StageStep, flag: str, reason: str) -> Edit:
    """Put a flag behind the instruction's keyword."""
    return Edit(step.one.keyword_stop, step.one.keyword_stop, f" {flag}", reason)


def add_mount(step: StageStep, value: str, reason: str) -> Edit:
    """Add a `--mount`."""
    return add_flag(step, f"--mount={value}", reason)


def cache_mount(key: str, target: str, who: Owner) -> str:
    """Return the value of a `--mount` for a cache that concurrent builds share."""
    return f"type=cache,sharing=shared,id={key},target={target}{who.mount_options()}"


def plain_scope(scope: str) -> str:
    """Return the scope as a mount option can carry it; distinct scopes stay distinct."""
    plain = _NOT_PLAIN.sub("-", scope)
    if plain == scope:
        return plain
    return f"{plain}-{hashlib.sha256(scope.encode(errors='surrogateescape')).hexdigest()[:8]}"
