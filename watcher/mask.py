"""Makes every text of an event fit to be shown: no secrets, and nothing that cannot be encoded.

Stands between the stages and all observers, so that none of them has to think of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from watcher import regex
from watcher.observe import Event, FrontExchange, FrontHeld, Observer, SourceEvents

HIDDEN = "•••"
SHORTEST = 6  # characters; a shorter value would be found in innocent words

_SECRET_NAME = regex.compile(
    r"(?i)pass(word|wd|phrase)?$|pwd$|secret|token|credential|auth(?:$|[^o]|o(?:$|[^r]))|(api|access|private|_)key"
)
_USERINFO = regex.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@")
_SCHEME = regex.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/-]{8,}=*")
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_UNTOUCHED = (FrontExchange, FrontHeld, SourceEvents)  # many, and without text


def secret_values(named: Mapping[str, str]) -> tuple[str, ...]:
    """The values of those variables or build arguments whose names say that they are secret."""
    return tuple(value for name, value in named.items() if _SECRET_NAME.search(name))


class Mask:
    """Replaces known secret values, passwords in URLs and HTTP credentials."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first, so that one that contains another is hidden whole.
        known = sorted({value for value in secrets if len(value) >= SHORTEST}, key=len, reverse=True)
        self._known = regex.one_off("|".join(map(regex.escape, known))) if known else None

    def text(self, text: str) -> str:
        """`text` with secrets hidden and undecodable bytes shown as U+FFFD."""
        if self._known:
            text = self._known.sub(HIDDEN, text)
        if "://" in text:
            text = _USERINFO.sub(lambda match: f"{match[1]}:{HIDDEN}@", text)
        text = _SCHEME.sub(lambda match: f"{match[1]} {HIDDEN}", text)
        return text if text.isascii() else text.translate(_SURROGATES)

    def value(self, value: Any) -> Any:
        """`value` with all texts in it masked; the same object when there was nothing to hide."""
        if isinstance(value, str):
            return value if isinstance(value, Enum) else self.text(value)
        if isinstance(value, tuple):
            masked = tuple(self.value(item) for item in value)
            return masked if any(new is not old for new, old in zip(masked, value, strict=True)) else value
        if is_dataclass(value) and not isinstance(value, type):
            old = {field.name: getattr(value, field.name) for field in fields(value)}
            new = {name: self.value(item) for name, item in old.items()}
            changed = {name: item for name, item in new.items() if item is not old[name]}
            return replace(value, **changed) if changed else value
        return value


class Masking:
    """An observer that masks each event and hands it on to `inner`."""

    def __init__(self, inner: Observer, secrets: Iterable[str] = ()) -> None:
        self._inner = inner
        self._secrets = frozenset(secrets)
        self._mask = Mask(self._secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these too from now on."""
        self._secrets |= frozenset(secrets)
        self._mask = Mask(self._secrets)

    def notify(self, event: Event) -> None:
        """Hand on `event`, masked."""
        self._inner.notify(event if isinstance(event, _UNTOUCHED) else self._mask.value(event))
