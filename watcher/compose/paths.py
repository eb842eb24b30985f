"""Make the relative paths of a service absolute, by the directory of the file that contains them.

This happens before services are merged (`extends`, `include`), because each file has its own directory. A
value of the wrong type is left unchanged: the reader of that key refuses it with a better message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


class BaseDirectory:
    """A directory for relative paths, and the home of the user."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._directory, self._home = directory, env.get("HOME", "")

    def path(self, text: str) -> str:
        """Return `text` as an absolute path."""
        if text.startswith("~") and self._home and text[1:2] in ("", "/"):
            text = self._home + text[1:]
        return text if text.startswith("/") else os.path.normpath(self._directory / text)

    def service(self, raw: Mapping[str, object]) -> dict[str, object]:
        """Return the service with absolute paths."""
        done = dict(raw)
        for key, rewrite in (
            ("build", self._resolve_build),
            ("env_file", self._resolve_files),
            ("label_file", self._resolve_files),
            ("volumes", self._resolve_volumes),
        ):
            if done.get(key) is not None:
                done[key] = rewrite(done[key])
        return done

    def _resolve_build(self, raw: object) -> object:
        if isinstance(raw, str):
            return self._resolve_context(raw)
        if not isinstance(raw, dict):
            return raw
        done = dict(raw)
        if "context" in raw:
            done["context"] = self._resolve_context(raw["context"])
        if "additional_contexts" in raw:
            done["additional_contexts"] = _rewrite_values(raw["additional_contexts"], self._resolve_context)
        if "ssh" in raw:
            done["ssh"] = _rewrite_values(raw["ssh"], self._resolve_file)
        return done

    def _resolve_context(self, raw: object) -> object:
        if not isinstance(raw, str) or not raw or "://" in raw or raw.startswith(("service:", *_REMOTE)):
            return raw
        return self.path(raw)

    def _resolve_file(self, raw: object) -> object:
        return self.path(raw) if isinstance(raw, str) and raw else raw

    def _resolve_files(self, raw: object) -> object:
        if isinstance(raw, list):
            return [self._resolve_files(each) for each in raw]
        if isinstance(raw, dict) and "path" in raw:
            return {**raw, "path": self._resolve_file(raw["path"])}
        return self._resolve_file(raw)

    def _resolve_volumes(self, raw: object) -> object:
        return [self._resolve_volume(each) for each in raw] if isinstance(raw, list) else raw

    def _resolve_volume(self, raw: object) -> object:
        if isinstance(raw, dict) and raw.get("type") == "bind":
            source = raw.get("source")
            return raw if _is_windows_path(source) else {**raw, "source": self._resolve_file(source)}
        if isinstance(raw, str) and raw[:1] in (".", "~"):
            source, colon, rest = raw.partition(":")
            return f"{self.path(source)}:{rest}" if colon else raw
        return raw


def _is_windows_path(raw: object) -> bool:
    """Return whether a path is absolute on Windows: it is of no use on this machine, in any directory."""
    return isinstance(raw, str) and PureWindowsPath(raw).is_absolute() and not raw.startswith("/")


def _rewrite_values(raw: object, rewrite: Callable[[object], object]) -> object:
    """Rewrite the values of `NAME: value` or `- NAME=value`."""
    if isinstance(raw, dict):
        return {name: rewrite(value) for name, value in raw.items()}
    return [_rewrite_pair(each, rewrite) for each in raw] if isinstance(raw, list) else raw


def _rewrite_pair(raw: object, rewrite: Callable[[object], object]) -> object:
    name, equals, value = raw.partition("=") if isinstance(raw, str) else ("", "", "")
    return f"{name}={rewrite(value)}" if equals else raw
