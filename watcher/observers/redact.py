"""Make every text of an event safe to show: short lines, no secrets, no control characters.

The redactor wraps all observers, so no observer has to hide secrets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from watcher import regex
from watcher.observers.events import (
    BuildStepOutput,
    ContainerOutput,
    Event,
    FrontExchange,
    FrontHeld,
    InternalError,
    Observer,
    SourceEvents,
)
from watcher.observers.printable import LONGEST, cut, printable, without_controls
from watcher.observers.secrets import long_forms, short_forms
from watcher.observers.split_secrets import SplitSecrets

HIDDEN = "•••"

_NAME = r"[\w.-]*(?:password|passwd|passphrase|secret|token|credential|api_?key|private_?key|jwt|dsn)\w*"
# Each hides the text between its two groups. A pattern is tried if the text contains its first item.
_CREDENTIALS = (
    ("://", regex.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/]+(@)")),
    ("://", regex.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/:@]{16,}(@)")),  # a token in place of the user
    ("@", regex.compile(r"([\w.+%-]*:)[^\s:@/()•]+(@(?:tcp|udp|unix|cloudsql)\(|@/\w)")),
    ("", regex.compile(r"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/-]{8,}=*()")),
    ("=", regex.compile(rf"(?i)\b({_NAME}=)(?:\"[^\"]*\"|'[^']*'|[^\s\"'&;,]+)()")),
    (":", regex.compile(rf"(?i)(\"{_NAME}\"\s*:\s*\")[^\"]*()")),
    ("eyJ", regex.compile(r"()\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*()")),  # a JSON Web Token
    (
        "",
        regex.compile(
            r"()\b(?:gh[opsur]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{18,}|xox[a-z]-[\w-]{18,}|[rs]k_live_\w{18,}"
            r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,})()"
        ),
    ),
)
_UNTOUCHED = (FrontExchange, FrontHeld, SourceEvents)  # many, and without text
_SEVERAL_LINES = {(BuildStepOutput, "text"), (ContainerOutput, "text"), (InternalError, "traceback")}


class Mask:
    """Replace known secrets in all their forms, passwords in URLs and DSNs, credentials by their shape."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        secrets = tuple(secrets)
        # The longest first: a secret that contains another one is hidden whole.
        self.forms = long_forms(secrets)
        known = sorted(self.forms, key=len, reverse=True)
        words = sorted(short_forms(secrets), key=len, reverse=True)
        self._known = regex.one_off("|".join(map(regex.escape, known))) if known else None
        words = [regex.escape(word) for word in words]
        self._words = regex.one_off(rf"(^|[^\w])(?:{'|'.join(words)})($|[^\w])") if words else None

    def mask_text(self, text: str) -> str:
        """Return `text` with secrets hidden. Control characters inside a secret are removed."""
        shown = self._plain(text)
        bare = without_controls(text)
        if bare != text and (hidden := self._plain(bare)).count(HIDDEN) > shown.count(HIDDEN):
            return hidden
        return shown

    def _plain(self, text: str) -> str:
        if self._known:
            text = self._known.sub(HIDDEN, text)
        if self._words:
            for _ in range(2):  # of two with one space between them, the first takes the space
                text = self._words.sub(lambda match: f"{match[1]}{HIDDEN}{match[2]}", text)
        for needed, pattern in _CREDENTIALS:
            if needed in text:
                text = pattern.sub(_hide, text)
        return text

    def mask_value(self, value: Any, *, lines: bool = False) -> Any:
        """Return `value` with all its texts safe to show; the same object if nothing changed."""
        if isinstance(value, str):
            if isinstance(value, Enum):
                return value
            # Cut twice: a secret across the first cut would not be known.
            return printable(cut(self.mask_text(cut(value, 2 * LONGEST))), lines=lines)
        if isinstance(value, tuple):
            masked = tuple(self.mask_value(item) for item in value)
            return masked if any(new is not old for new, old in zip(masked, value, strict=True)) else value
        if is_dataclass(value) and not isinstance(value, type):
            old = {field.name: getattr(value, field.name) for field in fields(value)}
            new = {
                name: self.mask_value(item, lines=(type(value), name) in _SEVERAL_LINES)
                for name, item in old.items()
            }
            changed = {name: item for name, item in new.items() if item is not old[name]}
            return replace(value, **changed) if changed else value
        return value


def _hide(match: regex.Match) -> str:
    return f"{match[1]}{HIDDEN}{match[2]}"


class Redactor:
    """An observer that masks each event and passes it to `inner`."""

    def __init__(self, inner: Observer, secrets: Iterable[str] = ()) -> None:
        self._inner = inner
        self._secrets = frozenset(secrets)
        self._mask = Mask(self._secrets)
        self._split = SplitSecrets(self._mask.forms, HIDDEN)

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Hide these secrets too."""
        self._secrets |= frozenset(secrets)
        self._mask = Mask(self._secrets)
        self._split = SplitSecrets(self._mask.forms, HIDDEN)

    def notify(self, event: Event) -> None:
        """Pass on the masked event."""
        if isinstance(event, _UNTOUCHED):
            self._inner.notify(event)
            return
        shown = self._mask.mask_value(event)
        if isinstance(shown, BuildStepOutput):
            shown = self._without_pieces(shown, ("build", shown.revision, shown.step))
        elif isinstance(shown, ContainerOutput):
            shown = self._without_pieces(shown, ("container", shown.container))
        self._inner.notify(shown)

    def _without_pieces(
        self, event: BuildStepOutput | ContainerOutput, stream: tuple[str, ...]
    ) -> BuildStepOutput | ContainerOutput:
        text = self._split.hide_pieces((event.service, *stream), event.text)
        return event if text == event.text else replace(event, text=text)
