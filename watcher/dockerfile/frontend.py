"""What a `# syntax=` frontend can do, by its name.

Without the directive the engine's own frontend reads the file: BuildKit 0.8 (Engine 20.10) knows
`RUN --mount` and not `RUN --network`, 0.9 and newer know both. Versions: `RUN` in BuildKit's Dockerfile
reference (`--mount` 1.2, `--network` 1.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from watcher import regex

_DOCKER = regex.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::([\w.-]+))?(?:@[\w:]+)?")
_VERSION = regex.compile(r"(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Abilities:
    """Whether `RUN --mount=type=cache` and `RUN --network` are understood. None: the engine decides."""

    mounts: bool
    network: bool | None


def frontend_abilities(syntax: str | None) -> Abilities:
    """Return what the frontend of a `# syntax=` directive (None: there is none) understands."""
    if syntax is None:
        return Abilities(mounts=True, network=None)
    match = _DOCKER.fullmatch(syntax)
    if match is None:
        return Abilities(mounts=False, network=False)
    version = _VERSION.match(match[1] or "")
    if version is None or version[2] is None:
        return Abilities(mounts=True, network=True)  # latest, master, 1: all newer than what is needed
    numbers = (int(version[1]), int(version[2]))
    early_labs = "experimental" in syntax or "labs" in syntax
    return Abilities(numbers >= (1, 2) or early_labs, numbers >= (1, 3))
