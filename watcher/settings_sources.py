"""Read settings from the environment and `watcher.toml`, and convert errors of their validation."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from watcher.errors import ConfigError

TOML_NAME = "watcher.toml"
_LARGEST_TOML = 1 << 20  # bytes
ENV_PREFIX = "WATCHER_"
_LIST, _TABLE = '["ONE", "ANOTHER"]', '{"NAME": "VALUE"}'
_RULES = {  # by pydantic's type of error; its own texts name types of Python
    "tuple_type": f"must be a list, like {_LIST}",
    "dict_type": "must be a table of names and values",
    "model_type": "must be a section of settings",
}


class PrefixedEnvironment(PydanticBaseSettingsSource):
    """The variables with our prefix: a variable JSON without prefix does not set `--json`."""

    def __init__(self, settings_cls: type[BaseSettings], environment: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._environment = environment

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of the environment."""
        return self._environment.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """Return all values with our prefix."""
        return {name: value for name, value in self._environment().items() if name != "json"}


class TomlSource(PydanticBaseSettingsSource):
    """Reads `watcher.toml`, with errors that name the file and line. A missing file is empty."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self._path = path

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Raise NotImplementedError: `__call__` returns the whole file."""
        raise NotImplementedError(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """Return the content of the file; raise ConfigError if it cannot be read or is not TOML."""
        try:
            found = self._path.stat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_TOML:
                rule = f"must be a regular file of at most {_LARGEST_TOML >> 10} KiB"
                raise ConfigError(TOML_NAME, str(self._path), rule)
            data = tomllib.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(TOML_NAME, None, f"cannot be read: {error}") from error
        except RecursionError:
            raise ConfigError(TOML_NAME, None, "is nested too deeply") from None
        if isinstance(data.get("service"), dict):
            data["per_service"] = data.pop("service")
        elif "per_service" in data:
            raise ConfigError(
                f"{TOML_NAME}: per_service", None, "no such setting; write [service.NAME.deploy]"
            )
        if "project" in data:
            raise ConfigError(
                f"{TOML_NAME}: project", data["project"], "cannot be set in the project's own file"
            )
        return data


def check_environment(environ: Mapping[str, str], known: Collection[str]) -> None:
    """Raise ConfigError for a variable with our prefix that is not a setting.

    `known` are the names of settings; pydantic checks the levels below.
    """
    names = {name.upper() for name in known}
    for variable, value in environ.items():
        name = variable.upper().removeprefix(ENV_PREFIX)
        if variable.upper().startswith(ENV_PREFIX) and name.partition("__")[0] not in names:
            raise ConfigError(variable, value, "no such setting; `watcher run --help` lists them")


def config_error(error: ValidationError | SettingsError, settings: type[BaseModel]) -> ConfigError:
    """Return the first problem of a failed validation of `settings` as one error: field, value, rule."""
    if isinstance(error, SettingsError):
        return _find_invalid_json(error, settings)
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SettingsError):  # pydantic wraps it if the settings are those of a command
        return _find_invalid_json(cause, settings)
    place = ["service" if part == "per_service" else part for part in first["loc"]]
    field = ".".join(map(str, place)) or "settings"
    if error.title == "Cli":
        field = field.partition(".")[2] or field  # the command's name
    if first["type"] == "extra_forbidden":
        return ConfigError(field, first["input"], "no such setting; `watcher run --help-settings` lists them")
    rule = _RULES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return ConfigError(field, first["input"], rule[:1].lower() + rule[1:])


def _find_invalid_json(error: SettingsError, settings: type[BaseModel]) -> ConfigError:
    """Return an error for the variable that is not JSON: pydantic-settings names only its group."""
    for variable, value in os.environ.items():
        name = variable.upper()
        if not name.startswith(ENV_PREFIX):
            continue
        annotation: Any = settings
        for part in name.removeprefix(ENV_PREFIX).lower().split("__"):
            fields = getattr(annotation, "model_fields", {})
            annotation = fields[part].annotation if part in fields else None
        kind = get_origin(annotation) or annotation
        section = isinstance(kind, type) and issubclass(kind, BaseModel)
        if not section and kind not in (dict, list, tuple):
            continue
        try:
            json.loads(value)
        except ValueError:
            shape = _TABLE if section or kind is dict else _LIST
            return ConfigError(variable, value, f"must be JSON, as {shape}")
    return ConfigError("settings", None, str(error))
