"""A variable of the environment that cannot be read is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loaded_settings import load
from watcher.errors import ConfigError


@pytest.mark.parametrize(
    ("variable", "value", "shape"),
    [
        ("WATCHER_BUILD__ARGS", "A=1", '{"NAME": "VALUE"}'),
        ("WATCHER_WATCH__IGNORE", "*.md", '["ONE", "ANOTHER"]'),
        ("watcher_build__args", "A=1", '{"NAME": "VALUE"}'),
    ],
)
def test_a_value_that_is_no_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, shape: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("WATCHER_HTTP__PORT", "1")
    with pytest.raises(ConfigError) as caught:
        load()
    assert (caught.value.field, caught.value.value) == (variable, value)
    assert caught.value.rule == f"must be JSON, as {shape}"


@pytest.mark.parametrize("kind", ["fifo", "folder", "huge"])
def test_a_settings_file_that_is_none_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "watcher.toml"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.touch()
        os.truncate(file, 1 << 30)
    with pytest.raises(ConfigError, match=r"must be a regular file of at most 1024 KiB"):
        load(project=tmp_path)


def test_a_file_that_is_nested_too_deeply_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text("a = " + "[" * 50_000 + "]" * 50_000)
    with pytest.raises(ConfigError, match="is nested too deeply"):
        load(project=tmp_path)
