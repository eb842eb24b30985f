"""Settings as tests need them: made of keyword arguments, and refused as the command line refuses them."""

from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from watcher.settings import Settings
from watcher.settings_sources import config_error


def load(**values: Any) -> Settings:
    """Settings from `values`, environment and file; raises ConfigError."""
    try:
        return Settings(**values)
    except (ValidationError, SettingsError) as error:
        raise config_error(error, Settings) from error
