"""Limit how far a compose project can grow while it is read: `B=$A$A…`, nested `include` and `extends`."""

from __future__ import annotations

from pathlib import Path

from watcher.compose.interpolate import TemplateError
from watcher.errors import ConfigError

MOST_FILES = 1000  # each use of a file counts, also of one that was read before
MOST_EXTENDED = 20_000  # service definitions that are merged
MOST_TEXT = 32 << 20  # characters of all values with variables, after interpolation


class Budget:
    """The limits that are left for one call of `load`."""

    def __init__(self) -> None:
        self._files, self._extended, self._text = MOST_FILES, MOST_EXTENDED, MOST_TEXT

    def count_file(self, path: Path) -> None:
        """Count the use of a file; raise ConfigError when there are too many."""
        self._files -= 1
        if self._files < 0:
            raise ConfigError(str(path), None, f"more than {MOST_FILES} files are included or extended")

    def count_extends(self, service: str) -> None:
        """Count a definition of a service; raise ConfigError when there are too many."""
        self._extended -= 1
        if self._extended < 0:
            rule = f"more than {MOST_EXTENDED} definitions are extended and merged"
            raise ConfigError(f"services.{service}", None, rule)

    def count_text(self, text: str) -> str:
        """Count an interpolated value and return it; raise TemplateError when all are too long together."""
        self._text -= len(text)
        if self._text < 0:
            raise TemplateError(
                f"all values together are longer than {MOST_TEXT >> 20} MiB after interpolation"
            )
        return text
