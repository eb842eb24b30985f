"""Find the compose file of a project."""

from __future__ import annotations

from pathlib import Path

from watcher.errors import ConfigError

# The article's development file first; the rest in the order of docker compose.
FILE_NAMES = (
    "docker-compose-dev.yml",
    "docker-compose-dev.yaml",
    "compose-dev.yaml",
    "compose-dev.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
)
# compose-go, cli/options.go: DefaultFileNames and DefaultOverrideFileNames.
_OWN_NAMES = FILE_NAMES[4:]
_OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


def find_compose_file(project: Path, explicit: Path | None) -> Path:
    """Return `explicit` (relative to the project), or the first of `FILE_NAMES` that exists.

    Raises ConfigError if there is none.
    """
    if explicit is not None:
        path = project / explicit.expanduser()
        if not path.exists():
            raise ConfigError("compose_file", str(explicit), "there is no such file")
        return path
    for name in FILE_NAMES:
        if (project / name).exists():
            return project / name
    raise ConfigError("compose_file", None, f"there is no compose file in {project}, such as {FILE_NAMES[0]}")


def find_overrides(path: Path) -> tuple[Path, ...]:
    """Return the override file that docker compose applies by default to a name such as `compose.yaml`."""
    return tuple(each for each in override_candidates(path) if each.exists())[:1]


def override_candidates(path: Path) -> list[Path]:
    """Return the paths at which docker compose looks for an override file."""
    return [path.with_name(name) for name in _OVERRIDE_NAMES] if path.name in _OWN_NAMES else []
