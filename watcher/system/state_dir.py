"""The folder in which the watchers of this user keep state between runs."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return the folder with the state of all projects. Raises RuntimeError without a home."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "watcher"


def targets_folder() -> Path:
    """Return the folder with a file for each running watcher, for Prometheus. Raises RuntimeError."""
    return state_folder() / "targets"


def network_folder() -> Path:
    """Return the folder that address containers see. Raises RuntimeError without a home."""
    return state_folder() / "network"
