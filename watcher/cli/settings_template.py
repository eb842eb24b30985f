"""The text of `config/watcher.toml`: every setting of `settings.py` with its default, commented out.

`python -m watcher.cli.settings_template > config/watcher.toml` writes the file; a test compares both.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from watcher.cli.settings_schema import SCHEMA_LINE
from watcher.settings import Settings

_HEAD = f"""\
{SCHEMA_LINE}

# Settings of the watcher for this project. Every line shows the default: remove the # to change it.
# The command line (--http.port 9002) and the environment (WATCHER_HTTP__PORT=9002) override this file.
# A setting that is set nowhere comes from the compose file.
"""
_PER_SERVICE = """\
# Sections of one service, over those above. `services` chooses the services then, not `service`.
#[service.NAME.deploy]
#startup_timeout = 60.0
"""
_WIDTH = 100
_NOT_HERE = frozenset({"project", "per_service"})  # locates the file; shown as `_PER_SERVICE`


def render_settings() -> str:
    """Return the whole file."""
    plain, sections = [], []
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            sections.append(_render_section(name, field.default))
        elif name not in _NOT_HERE:
            plain.append("\n".join(_render_setting(name, field, field.default)))
    sections.append(_PER_SERVICE)
    return "\n".join((_HEAD, *(f"{text}\n" for text in (*plain, *sections)))).rstrip() + "\n"


def _render_section(name: str, section: BaseModel) -> str:
    lines = [*_wrap_comment(type(section).__doc__ or ""), f"[{name}]"]
    for key, field in type(section).model_fields.items():
        lines += ["", *_render_setting(key, field, getattr(section, key))]
    return "\n".join(lines)


def _render_setting(name: str, field: FieldInfo, value: Any) -> Iterator[str]:
    yield from _wrap_comment(field.description or "")
    yield f"#{name} = {_format_value(value)}"


def _wrap_comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def _format_value(value: Any) -> str:
    """Return a default as TOML. An unset one is an empty string, to be filled in."""
    if value is None:
        return '""'
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key} = {_format_value(item)}" for key, item in value.items()) + " }"
            if value
            else "{}"
        )
    return json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    sys.stdout.write(render_settings())
