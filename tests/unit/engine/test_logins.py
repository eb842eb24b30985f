"""Logins at registries, out of docker's own configuration and credential helpers."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from watcher.engine import EngineError, Login, find_login

HELPER = """#!/bin/sh
read -r server
case "$server" in
    registry.test) echo '{"Username": "helped", "Secret": "s1"}' ;;
    https://index.docker.io/v1/) echo '{"Username": "hub", "Secret": "s2"}' ;;
    token.test) echo '{"Username": "<token>", "Secret": "t1"}' ;;
    broken.test) echo 'the keychain is locked'; exit 1 ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    helper = tmp_path / "docker-credential-test"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    return lambda **config: (tmp_path / "config.json").write_text(json.dumps(config))


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_without_a_configuration_nobody_is_logged_in(configure: Any) -> None:
    assert find_login("registry.test") is None


def test_a_plain_login_is_found_by_host_and_docker_hub_by_the_host_that_is_asked(configure: Any) -> None:
    configure(
        auths={
            "registry.test:5000": auth("me:secret:with:colons"),
            "https://index.docker.io/v1/": auth("hub:word"),
            "token.test": {"identitytoken": "t2"},
            "empty.test": {},
        }
    )
    assert find_login("registry.test:5000") == Login("me", "secret:with:colons")
    assert find_login("registry-1.docker.io") == Login("hub", "word")
    assert find_login("token.test") == Login("", "t2")
    assert find_login("empty.test") is None
    assert find_login("other.test") is None
    assert "secret" not in repr(find_login("registry.test:5000"))


def test_a_credential_store_is_asked(configure: Any) -> None:
    configure(credsStore="test", auths={"plain.test": auth("me:secret")})
    assert find_login("registry.test") == Login("helped", "s1")
    assert find_login("registry-1.docker.io") == Login("hub", "s2")
    assert find_login("token.test") == Login("", "t1")
    assert find_login("plain.test") == Login("me", "secret")
    assert find_login("other.test") is None


def test_a_helper_of_one_registry_is_asked_for_that_one(configure: Any) -> None:
    configure(credHelpers={"registry.test": "test"})
    assert find_login("registry.test") == Login("helped", "s1")
    assert find_login("token.test") is None


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"credsStore": "test"}, "the keychain is locked"),
        ({"credsStore": "nosuch"}, "docker-credential-nosuch, which is not installed"),
        ({"auths": {"broken.test": "text"}}, "Invalid configuration for registry broken.test"),
    ],
)
def test_what_does_not_work_is_said(configure: Any, config: dict[str, Any], rule: str) -> None:
    configure(**config)
    with pytest.raises(EngineError, match=rule):
        find_login("broken.test")
