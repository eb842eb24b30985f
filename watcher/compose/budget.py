"""How much a compose project may grow while it is read: `B=$A$A…`, `include` and `extends` that multiply."""

from __future__ import annotations

from pathlib import Path

from watcher.compose.interpolate import TemplateError
from watcher.errors import ConfigError

MOST_FILES = 1000  # read or used again
MOST_EXTENDED = 20_000  # definitions put together
MOST_TEXT = 32 << 20  # characters of all values in which variables were replaced


class Budget:
    """What is left of it, for one call of `load`."""

    def __init__(self) -> None:
        self._files, self._extended, self._text = MOST_FILES, MOST_EXTENDED, MOST_TEXT

    def count_file(self, path: Path) -> None:
        """A file is used; raises ConfigError."""
        self._files -= 1
        if self._files < 0:
            raise ConfigError(str(path), None, f"more than {MOST_FILES} files are included or extended")

    def count_extends(self, service: str) -> None:
        """A definition of a service is looked at; raises ConfigError."""
        self._extended -= 1
        if self._extended < 0:
            rule = f"more than {MOST_EXTENDED} definitions are extended and laid over each other"
            raise ConfigError(f"services.{service}", None, rule)

    def count_text(self, text: str) -> str:
        """A value after its variables were replaced; raises TemplateError."""
        self._text -= len(text)
        if self._text < 0:
            raise TemplateError(f"with variables replaced, all values are more than {MOST_TEXT >> 20} MiB")
        return text
