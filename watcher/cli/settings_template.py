"""The text of `config/watcher.toml`: every setting with its default, commented out, made from `settings.py`.

`python -m watcher.template > config/watcher.toml` writes it anew; a test keeps the file equal to this.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from watcher.settings import Settings

_HEAD = """\
# Settings of the watcher for this project. Everything here is a default: take the # away to change it.
# The command line (--http.port 9002) and the environment (WATCHER_HTTP__PORT=9002) win over this file;
# what is not set anywhere comes from the compose file.
"""
_WIDTH = 100
_NOT_HERE = frozenset({"project"})  # the file is found by it


def render() -> str:
    """The whole file."""
    plain, sections = [], []
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            sections.append(_section(name, field.default))
        elif name not in _NOT_HERE:
            plain.append("\n".join(_setting(name, field, field.default)))
    return "\n".join((_HEAD, *(f"{text}\n" for text in (*plain, *sections)))).rstrip() + "\n"


def _section(name: str, section: BaseModel) -> str:
    lines = [*_comment(type(section).__doc__ or ""), f"[{name}]"]
    for key, field in type(section).model_fields.items():
        lines += ["", *_setting(key, field, getattr(section, key))]
    return "\n".join(lines)


def _setting(name: str, field: FieldInfo, value: Any) -> Iterator[str]:
    yield from _comment(field.description or "")
    yield f"#{name} = {_toml(value)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def _toml(value: Any) -> str:
    """A default as TOML; one that is not set is shown as an empty string, which says: your value here."""
    if value is None:
        return '""'
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
            if value
            else "{}"
        )
    return json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    sys.stdout.write(render())
