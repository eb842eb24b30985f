"""Certificates for a buildkitd, and which BuildKit the settings mean."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.fake_engine import FakeEngine
from tests.loaded_settings import load
from watcher.builder import BuildkitConnection, EngineConnection, certificates
from watcher.buildkit import Worker
from watcher.daemon.engine_access import connect_buildkit
from watcher.dockerfile import Platforms
from watcher.engine import DockerEngine, SystemInfo
from watcher.errors import ConfigError

CERTIFICATES = Path(__file__).parents[2] / "certificates"


class Engine(FakeEngine):
    endpoint = "unix:///engine.sock"

    def tls(self) -> None:
        return None


def test_the_engines_own_buildkit_is_used_unless_another_is_named(tmp_path: Path) -> None:
    engine: Any = Engine()
    own = EngineConnection.over(engine)
    assert connect_buildkit(load(project=tmp_path), own) is own.built_in
    build = {"buildkit": "tcp://build.test:1234", "buildkit_certs": CERTIFICATES}
    assert connect_buildkit(load(project=tmp_path, build=build), own).standalone


async def test_buildkits_worker_says_what_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Worker("w", {}, ("linux/arm64", "linux/amd64"), "v0.20.0")]

    class Client:
        closed = False

        async def workers(self) -> list[Worker]:
            return found

        def start_next_at_once(self) -> None:
            pass

        async def close(self) -> None:
            pass

    async def connect(*_: object, **__: object) -> Client:
        return Client()

    monkeypatch.setattr("watcher.builder.connection.Client.connect", connect)
    engine: Any = Engine()
    connection = BuildkitConnection("unix:///engine.sock", engine)
    assert await connection.platforms("") == Platforms("linux/arm64", "linux/arm64")
    assert await connection.platforms("linux/amd64") == Platforms("linux/arm64", "linux/amd64")
    await connection.close()
    found[:] = [Worker("w", {}, ("linux/riscv64",), "")]  # another machine answers at that address
    assert (await connection.platforms("")).build == "linux/riscv64"


@pytest.mark.parametrize(
    ("executors", "forgets"),
    [(["oci"], False), (["containerd"], True), (["oci", "containerd"], True), ([""], True)],
)
async def test_a_buildkitd_forgets_nothing_where_it_is_its_own_store(
    monkeypatch: pytest.MonkeyPatch, executors: list[str], forgets: bool
) -> None:
    label = "org.mobyproject.buildkit.worker.executor"
    found = [Worker(name, {label: name} if name else {}, ("linux/amd64",), "v0.26.3") for name in executors]

    class Client:
        closed = False

        async def workers(self) -> list[Worker]:
            return found

        def start_next_at_once(self) -> None:
            pass

    async def connect(*_: object, **__: object) -> Client:
        return Client()

    monkeypatch.setattr("watcher.builder.connection.Client.connect", connect)
    engine: Any = Engine()
    connection = BuildkitConnection("unix:///buildkitd.sock", engine, standalone=True)
    assert await connection.forgets_when_pruned() is forgets


@pytest.mark.parametrize(("store", "forgets"), [("containerd", True), ("overlay2", False)])
async def test_an_engine_forgets_with_the_containerd_store(store: str, forgets: bool) -> None:
    class Stored(Engine):
        async def info(self) -> SystemInfo:
            return replace(await super().info(), store=store)

    engine: Any = Stored()
    assert await BuildkitConnection("unix:///engine.sock", engine).forgets_when_pruned() is forgets


@pytest.mark.parametrize(
    ("worker", "engine_version", "known"),
    [
        ("v0.12.0", "20.10.24", True),
        ("v0.8.3", "28.0.0", False),
        ("", "28.0.0", True),
        ("", "20.10.24", False),
        ("", "dev", True),  # it is tried: the frontend says if it knows no networks
    ],
)
async def test_steps_lose_their_network_where_the_frontend_knows_that(
    monkeypatch: pytest.MonkeyPatch, worker: str, engine_version: str, known: bool
) -> None:
    connection = connection_to(monkeypatch, worker, engine_version)
    assert await connection.supports_run_network() is known
    connection.record_refused_network()
    assert not await connection.supports_run_network()


@pytest.mark.parametrize(
    ("worker", "engine_version", "safe"),
    [
        ("v0.14.0", "26.1.0", True),
        ("v0.13.2", "28.0.0", False),
        ("v0.0.0+unknown-moby", "28.5.2", True),
        ("v0.0.0+unknown-moby", "26.1.4", False),
        ("", "20.10.24+dfsg1", False),
        ("", "dev", False),  # waiting for the end of a stopped build is right with any of them
    ],
)
async def test_a_build_waits_for_the_stopped_one_where_builds_lose_shared_steps(
    monkeypatch: pytest.MonkeyPatch, worker: str, engine_version: str, safe: bool
) -> None:
    client: Any = await connection_to(monkeypatch, worker, engine_version).client()
    assert client.starts_at_once is safe


def connection_to(monkeypatch: pytest.MonkeyPatch, worker: str, engine_version: str) -> BuildkitConnection:
    """A connection to an engine of this version whose BuildKit says that it is `worker`."""

    class Client:
        closed = False
        starts_at_once = False

        def start_next_at_once(self) -> None:
            self.starts_at_once = True

        async def workers(self) -> list[Worker]:
            return [Worker("w", {}, ("linux/amd64",), worker)]

    async def connect(*_: object, **__: object) -> Client:
        return Client()

    class Versioned(Engine):
        async def info(self) -> SystemInfo:
            return replace(await super().info(), version=engine_version)

    monkeypatch.setattr("watcher.builder.connection.Client.connect", connect)
    engine: Any = Versioned()
    return BuildkitConnection("unix:///engine.sock", engine)


async def test_an_engine_connection_lasts_as_long_as_its_context() -> None:
    class Closing(Engine):
        closed = False

        async def close(self) -> None:
            self.closed = True

    engine = Closing()
    async with EngineConnection.over(cast(DockerEngine, engine)) as opened:
        assert opened.engine is engine
        assert not engine.closed
    assert engine.closed


def test_certificates_are_read_or_named(tmp_path: Path) -> None:
    assert certificates(None) is None
    made = certificates(CERTIFICATES)
    assert made is not None
    assert made.check_hostname
    assert certificates(CERTIFICATES) is not made  # each connection changes its own
    with pytest.raises(ConfigError, match=r"^build\.buildkit_certs = .*must hold ca.pem, cert.pem and key"):
        certificates(tmp_path)


@pytest.mark.parametrize("missing", ["ca.pem", "cert.pem", "key.pem"])
def test_each_certificate_file_is_needed(tmp_path: Path, missing: str) -> None:
    for name in {"ca.pem", "cert.pem", "key.pem"} - {missing}:
        shutil.copy(CERTIFICATES / name, tmp_path / name)
    with pytest.raises(ConfigError, match="must hold"):
        certificates(tmp_path)


@pytest.mark.parametrize(
    "address", ["/run/buildkitd.sock", "ssh://host", "unix://relative", "docker-container://x"]
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=r"^build\.buildkit"):
        load(project=tmp_path, build={"buildkit": address})
