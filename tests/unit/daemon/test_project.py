"""What of a project must never be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loaded_settings import load
from watcher.daemon.compose_project import compose_project
from watcher.daemon.project import secrets_of

COMPOSE = """
services:
  web:
    build:
      context: .
      args: {GITHUB_TOKEN: build-argument, ENV: dev}
      secrets: [netrc, from_env]
    environment: {DB_PASSWORD: from-environment, LEVEL: verbose, API_KEY: ""}
    depends_on: [db]
  db:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: of-the-database}
secrets:
  netrc: {file: ./netrc}
  from_env: {environment: SOME_SECRET}
"""


def test_secrets_are_found_by_their_names_and_in_build_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "netrc").write_text("machine example.com\n  password of-the-file\n")
    monkeypatch.setenv("SOME_SECRET", "of-the-shell")
    settings = load(
        project=tmp_path, build={"args": {"NPM_TOKEN": "of-the-settings"}}, http={"token": "of-the-api"}
    )
    assert set(secrets_of(compose_project(settings), settings)) == {
        "of-the-settings",
        "of-the-api",
        "from-environment",
        "of-the-database",
        "build-argument",
        "of-the-shell",
        "machine example.com",
        "password of-the-file",
    }


def test_a_secret_that_a_container_reads_from_a_file_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_LOGIN", "of-the-container")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "compose.yaml").write_text(
        "services: {web: {build: ., secrets: [login], configs: [open]}}\n"
        "secrets: {login: {environment: DB_LOGIN}}\nconfigs: {open: {content: of-a-config}}\n"
    )
    settings = load(project=tmp_path)
    assert set(secrets_of(compose_project(settings), settings)) == {"of-the-container"}


def test_a_secret_file_that_is_missing_is_the_builds_own_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", "of-the-shell")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    settings = load(project=tmp_path)
    assert "from-environment" in set(secrets_of(compose_project(settings), settings))
