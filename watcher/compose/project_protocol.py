"""Declare what the readers of a service use of the project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from watcher.compose.build_spec import SecretSource
from watcher.compose.field import Field


class Project(Protocol):
    """The project of a service. Every method raises ConfigError, at `field` for an unknown `key`."""

    @property
    def name(self) -> str:
        """Return the name of the project."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """Return the variables for interpolation."""
        ...

    def network_name(self, field: Field, key: str) -> str:
        """Return the engine's name of a declared network."""
        ...

    def volume_name(self, field: Field, key: str) -> str:
        """Return the engine's name of a declared volume."""
        ...

    def secret_source(self, field: Field, key: str) -> str | bytes:
        """Return the path of a declared secret (str) or its content (bytes)."""
        ...

    def config_source(self, field: Field, key: str) -> str | bytes:
        """Return the path of a declared config (str) or its content (bytes)."""
        ...

    def warn(self, text: str) -> None:
        """Warn the user about a key that is not applied as written."""
        ...

    def build_secret(self, field: Field, key: str, id_: str) -> SecretSource:
        """Return the source of a declared secret for a build."""
        ...

    def read_env(self, field: Field, into: dict[str, str], *, own: Mapping[str, str], raw: bool) -> None:
        """Add the variables of the file that `field` names to `into`; `own` are those of the service."""
        ...

    def read_labels(self, field: Field, into: dict[str, str]) -> None:
        """Add the entries of the label file that `field` names to `into`.

        Only earlier entries are variables in it.
        """
        ...

    def read_json(self, field: Field, path: str) -> str:
        """Return the content of a JSON file next to the compose file, without spaces."""
        ...

    def track_file(self, path: Path) -> None:
        """Add a file to those whose changes reload the project, also if it does not exist yet."""
        ...
