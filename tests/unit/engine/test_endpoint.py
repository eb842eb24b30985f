"""Where the engine is, as the docker CLI would find it, and what cannot be used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from watcher.engine.endpoint import DEFAULT, client_arguments, describe_error
from watcher.errors import ConfigError

pytestmark = pytest.mark.libraries

CERTIFICATES = Path(__file__).parents[2] / "certificates"
TLS = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(CERTIFICATES)}


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")  # docker-py looks for contexts beside it
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)


def found(endpoint: str | None = None, **environ: str) -> dict[str, Any]:
    return client_arguments(endpoint, {"PATH": "/bin", **environ})


def add_context(folder: Path, name: str, host: str, *, tls: bool = False) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
    if tls:
        files = folder / "contexts" / "tls" / digest / "docker"
        files.mkdir(parents=True)
        for file in ("ca.pem", "cert.pem", "key.pem"):
            (files / file).write_bytes((CERTIFICATES / file).read_bytes())


def test_what_is_asked_for_wins_over_the_environment_and_that_over_the_context(tmp_path: Path) -> None:
    assert found() == {"base_url": DEFAULT}
    add_context(tmp_path, "desk", "unix:///desk.sock")
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "desk"}))
    assert found() == {"base_url": "unix:///desk.sock"}
    assert found(DOCKER_HOST="unix:///env.sock") == {"base_url": "unix:///env.sock"}
    assert found("unix:///cli.sock", DOCKER_HOST="unix:///env.sock") == {"base_url": "unix:///cli.sock"}


def test_a_context_may_be_named_by_the_environment(tmp_path: Path) -> None:
    add_context(tmp_path, "other", "unix:///other.sock")
    assert found(DOCKER_CONTEXT="other") == {"base_url": "unix:///other.sock"}
    assert found(DOCKER_CONTEXT="default") == {"base_url": DEFAULT}


def test_tls_comes_with_the_environment_or_with_the_context_and_not_to_a_socket(tmp_path: Path) -> None:
    environment = found(DOCKER_HOST="tcp://engine.test:2376", **TLS)["tls"]
    assert environment.cert == (str(CERTIFICATES / "cert.pem"), str(CERTIFICATES / "key.pem"))
    assert environment.ca_cert == str(CERTIFICATES / "ca.pem")
    assert environment.verify
    assert found("tcp://engine.test:2376", **TLS)["tls"].verify
    assert "tls" not in found("unix:///some.sock", **TLS)
    add_context(tmp_path, "far", "tcp://far.test:2376", tls=True)
    context = found(DOCKER_CONTEXT="far")
    assert context["base_url"] == "tcp://far.test:2376"
    assert context["tls"].verify
    assert Path(context["tls"].ca_cert).name == "ca.pem"


@pytest.mark.parametrize(
    ("endpoint", "environ", "words"),
    [
        ("ssh://me@far.test", {}, r"^engine = 'ssh://me@far.test': an engine over ssh cannot be used"),
        (None, {"DOCKER_HOST": "ssh://far.test"}, r"^DOCKER_HOST = 'ssh://far.test': an engine over ssh"),
        (None, {"DOCKER_CONTEXT": "far"}, r"^docker context = 'ssh://far.test': an engine over ssh"),
        (None, {"DOCKER_CONTEXT": "nosuch"}, r"^DOCKER_CONTEXT = 'nosuch': there is no such context"),
        (
            None,
            {"DOCKER_HOST": "tcp://x:1", "DOCKER_CERT_PATH": "/nosuch"},
            r"^DOCKER_CERT_PATH = '/nosuch': .*certificate",
        ),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, endpoint: str | None, environ: dict[str, str], words: str
) -> None:
    add_context(tmp_path, "far", "ssh://far.test")
    with pytest.raises(ConfigError, match=words):
        found(endpoint, **environ)


def test_a_context_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    add_context(tmp_path, "bad", "unix:///x.sock")
    next(tmp_path.rglob("meta.json")).write_text("{")
    with pytest.raises(ConfigError, match=r"^docker context = 'bad': cannot be read"):
        found(DOCKER_CONTEXT="bad")


def test_why_is_what_the_system_said_however_deep_it_lies():
    inner = FileNotFoundError(2, "No such file or directory")
    wrapped = RuntimeError("Error while fetching", ConnectionError("Connection aborted.", inner))
    assert describe_error(wrapped) == "no such file or directory"
    assert describe_error(RuntimeError("x")) == "x"
    looped = RuntimeError("a")
    looped.__context__ = RuntimeError("b", looped)
    assert describe_error(looped) == "a"
