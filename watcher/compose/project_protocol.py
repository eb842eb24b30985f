"""What a service refers to outside of itself, as its readers see it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from watcher.compose.field import Field
from watcher.compose.spec import SecretSource


class Project(Protocol):
    """The project around a service. Every method raises ConfigError, at `field` for an unknown `key`."""

    @property
    def name(self) -> str:
        """The project's name."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """The environment by which values are replaced."""
        ...

    def network_name(self, field: Field, key: str) -> str:
        """The engine's name of a declared network."""
        ...

    def volume_name(self, field: Field, key: str) -> str:
        """The engine's name of a declared volume."""
        ...

    def secret_source(self, field: Field, key: str) -> str | bytes:
        """The file of a declared secret, or its content."""
        ...

    def config_source(self, field: Field, key: str) -> str | bytes:
        """The file of a declared config, or its content."""
        ...

    def warn(self, text: str) -> None:
        """Tell the user what is not done as the file says."""
        ...

    def build_secret(self, field: Field, key: str, id_: str) -> SecretSource:
        """The source of a declared secret, for a build."""
        ...

    def read_env(self, path: Path, into: dict[str, str], *, own: Mapping[str, str], raw: bool) -> None:
        """Add a file's variables to `into`; `own` are those that the service sets itself."""
        ...

    def read_labels(self, path: Path, into: dict[str, str]) -> None:
        """Add a label file's entries to `into`; in it only what came before is a variable."""
        ...

    def read_json(self, field: Field, path: str) -> str:
        """The content of a JSON file beside the compose file, without spaces."""
        ...

    def track_file(self, path: Path) -> None:
        """Remember a file that may come later."""
        ...
