"""`watcher dockerfile`: the diff and its reasons, for people and for programs, with and without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from watcher.cli import commands
from watcher.errors import WatcherError
from watcher.settings import Settings

COMPOSE = "services:\n  web:\n    build: .\n    image: web\n    ports: ['127.0.0.1:19000:9000']\n"
DOCKERFILE = """FROM golang:alpine AS builder
WORKDIR /workspace
COPY . .
RUN CGO_ENABLED=0 go build -a -o app .
RUN su nobody -c "go vet ./..."
FROM alpine
COPY --from=builder /workspace/app .
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "main.go").write_text("package main\n")
    return load(project=tmp_path, engine="tcp://127.0.0.1:9")


def test_a_person_sees_a_diff_with_reasons(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.dockerfile(settings, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["--- Dockerfile", "+++ Dockerfile (accelerated)"]
    assert "-RUN CGO_ENABLED=0 go build -a -o app ." in lines
    (added,) = (line for line in lines if line.startswith("+RUN"))
    assert "--mount=type=cache" in added
    assert " -a " not in added
    assert any(line.startswith("# line 4: -a compiles the standard library") for line in lines)
    assert any(line.startswith("# line 5 is left as it is: su changes the user") for line in lines)
    assert any(line.startswith("# line 3, with or without the watcher: go.mod and go.sum") for line in lines)
    assert missing(lines[-1], "base images", "not inspected") == []


def test_a_program_gets_the_same_as_json(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.dockerfile(settings, as_json=True) == 0
    (web,) = json.loads(capsys.readouterr().out)["services"]
    assert (web["service"], web["dockerfile"], web["level"]) == ("web", "Dockerfile", "exact")
    (change,) = web["changes"]
    assert change["line"] == 4
    assert change["before"] == DOCKERFILE.splitlines()[3]
    assert change["after"] == web["text"].splitlines()[3]
    assert len(change["reasons"]) >= 3
    assert {note["line"] for note in web["left_alone"]} == {5}
    assert web["advice"]
    assert web["unknown"]


def test_the_level_is_the_settings_one(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    build = settings.build.model_copy(update={"accelerate": "off"})
    assert commands.dockerfile(settings.model_copy(update={"build": build}), as_json=False) == 0
    assert capsys.readouterr().out.startswith("# Dockerfile is built as it is (build.accelerate is off)\n")
    build = settings.build.model_copy(update={"accelerate": "fast"})
    assert commands.dockerfile(settings.model_copy(update={"build": build}), as_json=False) == 0
    assert "a debugger loses symbols" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_named_with_line_and_rule(settings: Settings) -> None:
    (settings.root / "Dockerfile").write_text("FROM golang\nFLY me\n")
    with pytest.raises(WatcherError, match=r"^Dockerfile: line 2, 'FLY me': FLY is not an instr"):
        commands.dockerfile(settings, as_json=False)
