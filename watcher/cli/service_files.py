"""Name the service of a project, its file, and the log in the background. Imports almost nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from watcher import labels
from watcher.errors import ConfigError
from watcher.system.state_dir import state_folder


def service_name(root: Path, *, platform: str = sys.platform) -> str:
    """Return the name of the systemd unit, or of the launchd agent on macOS."""
    project = labels.project_id(root)
    return f"watcher.{project}" if platform == "darwin" else f"watcher-{project}.service"


def service_file(
    root: Path, environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform
) -> Path:
    """Return the file of the unit or agent, whether it exists or not."""
    name = service_name(root, platform=platform)
    if platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{name}.plist"
    base = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "systemd" / "user" / name


def has_service(root: Path) -> bool:
    """Return whether `watcher service install` was run for the project."""
    try:
        return service_file(root).exists()
    except (OSError, RuntimeError):  # no home
        return False


def log_file(project: str) -> Path:
    """Return the log file of a daemon in the background; raise ConfigError without a state folder."""
    try:
        return state_folder() / project / "daemon.log"
    except RuntimeError as error:
        raise ConfigError("XDG_STATE_HOME", None, f"must be set where there is no home: {error}") from error
