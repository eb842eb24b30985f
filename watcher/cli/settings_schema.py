"""The JSON schema of `watcher.toml`, by which editors complete, explain and check settings.

`python -m watcher.cli.settings_schema > config/watcher.schema.json` writes the file; a test compares both.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from watcher.settings import SHARED_SETTINGS, Settings

SCHEMA_NAME = "watcher.schema.json"
SCHEMA_LINE = f"#:schema ./{SCHEMA_NAME}"  # Taplo and Even Better TOML read this first line
_SIZE = r"^\s*\d*\.?\d+\s*([bB]|[bB][iI][tT]|[kKmMgGtTpPeE]([iI]?[bB]([iI][tT])?)?)?\s*$"
_UNUSED = ("title", "format")
_NOT_IN_TOML = ("project", "per_service")  # the file lies in the project; `service` has the sections


def build_schema() -> dict[str, Any]:
    """Return the schema, in the draft that TOML editors know."""
    generated = Settings.model_json_schema(ref_template="#/definitions/{model}")
    definitions = {name: _clean(part) for name, part in sorted(generated["$defs"].items())}
    properties = {
        name: _clean(part) for name, part in generated["properties"].items() if name not in _NOT_IN_TOML
    }
    for section, names in SHARED_SETTINGS.items():
        whole = definitions[f"{section.capitalize()}Settings"]
        rest = {name: part for name, part in whole["properties"].items() if name not in names}
        definitions[f"{section.capitalize()}OfService"] = {**whole, "properties": rest}
        own = definitions["ServiceSettings"]["properties"]
        own[section] = {"$ref": f"#/definitions/{section.capitalize()}OfService"}
    properties["service"] = {
        "description": properties["service"]["description"] + " Or sections of one: [service.NAME.deploy].",
        "anyOf": [
            {"type": "string"},
            {"type": "object", "additionalProperties": {"$ref": "#/definitions/ServiceSettings"}},
        ],
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "watcher.toml",
        "description": "Settings of the watcher for one project.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "definitions": definitions,
    }


def render_schema() -> str:
    """Return the text of the file."""
    return json.dumps(build_schema(), indent=1, ensure_ascii=False) + "\n"


def _clean(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the schema without what TOML does not have (null) or editors do not use."""
    part = {name: value for name, value in part.items() if name not in _UNUSED}
    if "$ref" in part:
        return {"$ref": part["$ref"]}  # next to it draft 7 ignores everything
    if part.get("default", ...) is None:
        del part["default"]
    kinds = [_clean(kind) for kind in part.pop("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        part |= kinds[0]
    elif kinds:  # a size: a number of bytes, or text with a unit
        smallest = part.pop("ge", 0)
        part["anyOf"] = [_size_kind(kind, smallest) for kind in kinds]
    for name in ("items", "additionalProperties"):
        if isinstance(part.get(name), dict):
            part[name] = _clean(part[name])
    if "properties" in part:
        part["properties"] = {name: _clean(each) for name, each in part["properties"].items()}
    return part


def _size_kind(kind: dict[str, Any], smallest: int) -> dict[str, Any]:
    return kind | ({"minimum": smallest} if kind["type"] == "integer" else {"pattern": _SIZE})


if __name__ == "__main__":
    sys.stdout.write(render_schema())
