"""Load the compose file that the settings choose. Commands import this, and nothing of a running daemon."""

from __future__ import annotations

import os
from pathlib import Path

from watcher import compose
from watcher.compose import ComposeProject
from watcher.errors import ConfigError
from watcher.settings import Settings


def compose_project(
    settings: Settings,
    seen: dict[Path, None] | None = None,
    missing_files: list[ConfigError] | None = None,
) -> ComposeProject:
    """Load the project's compose file; raise ConfigError. The lists are filled as by `compose.load`."""
    if not settings.root.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    path = compose.find_compose_file(settings.root, settings.compose_file)
    return compose.load(
        path,
        services=settings.chosen_services,
        profiles=settings.profile,
        env=dict(os.environ),
        seen=seen,
        missing_files=missing_files,
    )
