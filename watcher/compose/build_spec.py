"""Define the values of a build section. Every path is absolute unless a field says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SecretSource:
    """The source of a build secret: a file, or the value of an environment variable."""

    id: str
    file: Path | None = None
    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """The build section.

    `dockerfile` is relative to the context, or absolute if it is outside of it; `dockerfile_inline` holds the
    text instead. `ssh` maps the id of an agent to the path of its socket, empty for the agent of the user.
    `additional_contexts` holds absolute paths or other values that BuildKit accepts (`docker-image://…`,
    URLs).
    """

    context: Path
    dockerfile: str = "Dockerfile"
    dockerfile_inline: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    ssh: Mapping[str, str] = field(default_factory=dict)
    additional_contexts: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    network: str = ""
    shm_size: int = 0
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()  # stages to build without the cache
    pull: bool = False
    cache_from: tuple[Mapping[str, str], ...] = ()  # each with a `type`
    entitlements: tuple[str, ...] = ()
