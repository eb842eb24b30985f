"""A variable of the environment that cannot be read is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loaded_settings import load
from watcher.cli.main import main
from watcher.errors import EXIT_CONFIG, ConfigError


@pytest.mark.parametrize(
    ("variable", "value", "shape"),
    [
        ("WATCHER_BUILD__ARGS", "A=1", '{"NAME": "VALUE"}'),
        ("WATCHER_WATCH__IGNORE", "*.md", '["ONE", "ANOTHER"]'),
        ("watcher_build__args", "A=1", '{"NAME": "VALUE"}'),
        ("WATCHER_BUILD", "fast", '{"NAME": "VALUE"}'),
        ("WATCHER_SERVICES", "web", '["ONE", "ANOTHER"]'),
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


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WATCHER_SERVICES", "web", """WATCHER_SERVICES = 'web': must be JSON, as ["ONE", "ANOTHER"]"""),
        ("WATCHER_PROFILE", "[dev", """WATCHER_PROFILE = '[dev': must be JSON, as ["ONE", "ANOTHER"]"""),
        ("WATCHER_BUILD__ARGS", "A=1", """WATCHER_BUILD__ARGS = 'A=1': must be JSON, as {"NAME": "VALUE"}"""),
        ("WATCHER_SERVICES", '"web"', """services = 'web': must be a list, like ["ONE", "ANOTHER"]"""),
    ],
)
def test_a_command_names_the_variable_that_is_no_json(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as caught:
        main(["run"])
    assert caught.value.code == EXIT_CONFIG
    assert capsys.readouterr().err == f"watcher: {said}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('services = "web"', """services = 'web': must be a list, like ["ONE", "ANOTHER"]"""),
        ("services = [1]", "services.0 = 1: input should be a valid string"),
        ('[build]\nargs = "A=1"', "build.args = 'A=1': must be a table of names and values"),
        ("build = 1", "build = 1: must be a section of settings"),
        ("[service]\nweb = 1", "service.web = 1: must be a section of settings"),
        ("[service.web]\nsoak = 1", "service.web.soak = 1: no such setting"),
        ("[build]\nparallel = 0", "build.parallel = 0: input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_value_in_the_file_is_named_with_the_rule(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "watcher.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(project=tmp_path)
    assert str(caught.value).startswith(said)


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
