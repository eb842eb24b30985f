"""A build from the client's side: what it returns, tells and raises, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.directory_source import DirectorySource
from tests.process import open_files
from tests.unit.buildkit.fake_engine import Build, FakeEngine, running
from watcher.buildkit import (
    CacheImport,
    Client,
    ConnectError,
    ContextChanged,
    ContextEntry,
    Credentials,
    FileEntry,
    MemorySource,
    Progress,
    RpcError,
    SolveFailed,
    SolveRequest,
    StepFinished,
    StepLog,
    StepStarted,
    filesync,
)
from watcher.buildkit import client as client_module
from watcher.buildkit.grpc import frame_message
from watcher.buildkit.messages.auth_pb2 import CredentialsRequest, CredentialsResponse
from watcher.buildkit.messages.control_pb2 import BytesMessage, StatusResponse, Vertex, VertexLog
from watcher.buildkit.messages.fsutil_pb2 import Packet
from watcher.buildkit.messages.health_pb2 import HealthCheckResponse
from watcher.buildkit.messages.secrets_pb2 import GetSecretRequest, GetSecretResponse
from watcher.buildkit.selection import FilterOptions, select_entries
from watcher.buildkit.solve import SolvePatience
from watcher.buildkit.sources import ContextSource, read_whole

DOCKERFILE = MemorySource({"Dockerfile": b"FROM scratch\n"})
IMAGE = {"containerimage.digest": "sha256:1"}


def request(context: ContextSource | None = None, **more: object) -> SolveRequest:
    values: dict[str, object] = {
        "context": context or MemorySource({"main.go": b"package main"}),
        "dockerfile": DOCKERFILE,
        "shared_key": "project",
    }
    return SolveRequest(**(values | more))  # type: ignore[arg-type]


def ignore(_event: Progress) -> None:
    pass


async def take_context(build: Build) -> dict[str, str]:
    await build.receive()
    return IMAGE


async def wait_forever(build: Build) -> dict[str, str]:
    await asyncio.Event().wait()
    return IMAGE


async def test_the_result_is_what_the_exporter_says():
    async with running(FakeEngine(take_context)) as (client, _):
        result = await client.solve(request(), ignore)
    assert result.image_id == "sha256:1"


async def test_a_build_has_ended_entirely_when_its_result_is_there():
    async with running(FakeEngine(take_context)) as (client, _):
        before = asyncio.all_tasks()
        await client.solve(request(), ignore)
        left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}  # type: ignore[union-attr]
    assert [name for name in left if name.startswith(("_Solve.", "Session."))] == []


async def test_the_context_that_was_used_longest_ago_is_forgotten_first():
    async with running(FakeEngine(take_context)) as (client, _):
        first, second = client._cache_of("first"), client._cache_of("second")
        for number in range(client_module._KEPT_CONTEXTS - 2):
            client._cache_of(f"other {number}")
        assert client._cache_of("first") is first
        client._cache_of("one more than are kept")
        assert client._cache_of("first") is first
        assert client._cache_of("second") is not second


async def test_everything_asked_for_is_in_the_message():
    engine = FakeEngine(take_context)
    async with running(engine) as (client, _):
        await client.solve(
            request(
                filename="build.Dockerfile",
                target="final",
                build_args={"ENV": "dev"},
                labels={"a.b": "c"},
                platform="linux/arm64",
                no_cache=True,
                add_hosts={"db": "10.0.0.1", "mq": "10.0.0.2"},
                network="host",
                frontend_attrs={"ulimit": "nofile=1"},
                names=("docker.io/library/a:1", "docker.io/library/a:2"),
                exporter_attrs={"compression": "uncompressed"},
                cache_imports=(CacheImport(type="registry", attrs={"ref": "r/x"}),),
                entitlements=("network.host",),
            ),
            ignore,
        )
    message = engine.builds[0].request
    assert dict(message.FrontendAttrs) == {
        "filename": "build.Dockerfile",
        "target": "final",
        "build-arg:ENV": "dev",
        "label:a.b": "c",
        "platform": "linux/arm64",
        "no-cache": "",
        "add-hosts": "db=10.0.0.1,mq=10.0.0.2",
        "force-network-mode": "host",
        "image-resolve-mode": "local",
        "ulimit": "nofile=1",
    }
    assert message.Frontend == "dockerfile.v0"
    assert message.ExporterDeprecated == "moby"
    assert dict(message.ExporterAttrsDeprecated) == {
        "name": "docker.io/library/a:1,docker.io/library/a:2",
        "compression": "uncompressed",
    }
    assert [(each.Type, dict(each.Attrs)) for each in message.Cache.Imports] == [("registry", {"ref": "r/x"})]
    assert list(message.Entitlements) == ["network.host"]


async def test_the_engine_receives_exactly_the_context():
    files = {"main.go": b"package main", "cmd/a/a.go": b"x" * 3_000_000, "empty": b"", "cmd/b.go": b"b"}
    engine = FakeEngine(take_context)
    async with running(engine) as (client, _):
        await client.solve(request(MemorySource(files)), ignore)
    kept = engine.kept["project", "context"]
    assert kept.contents == files
    assert list(kept.stats) == ["cmd", "cmd/a", "cmd/a/a.go", "cmd/b.go", "empty", "main.go"]
    assert all(each.uid == each.gid == 0 for each in kept.stats.values())


async def test_only_what_changed_is_sent_again():
    engine = FakeEngine(take_context)
    files = {f"pkg/file{number}.go": b"%d" % number for number in range(200)}
    async with running(engine) as (client, _):
        await client.solve(request(MemorySource(files)), ignore)
        files["pkg/file7.go"] = b"changed"
        files["pkg/new.go"] = b"new"
        del files["pkg/file9.go"]
        await client.solve(request(MemorySource(files)), ignore)
        await client.solve(request(MemorySource(files), shared_key="other"), ignore)
    assert len(engine.builds[0].requested) == 200
    assert engine.builds[1].requested == ["pkg/file7.go", "pkg/new.go"]
    assert len(engine.builds[2].requested) == 200
    assert engine.kept["project", "context"].contents == files


async def test_patterns_that_the_source_has_applied_are_not_applied_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("a.go", "b.md"):
        (tmp_path / name).write_bytes(b"x")
    applied: list[FilterOptions] = []

    def noting(entries: Sequence[ContextEntry], wanted: FilterOptions) -> Sequence[ContextEntry]:
        applied.append(wanted)
        return select_entries(entries, wanted)

    async def script(build: Build) -> dict[str, str]:
        await build.receive(exclude_patterns=["*.md"])
        assert list(build.engine.kept["project", "context"].contents) == ["a.go"]
        await build.receive(exclude_patterns=["*.go"])
        assert list(build.engine.kept["project", "context"].contents) == []
        return IMAGE

    monkeypatch.setattr(filesync, "select_entries", noting)
    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(DirectorySource(tmp_path, ["*.md"])), ignore)
    assert [wanted.exclude for wanted in applied] == [(), ("*.go",)]


async def test_encoded_names_in_a_request_are_decoded():
    async def script(build: Build) -> dict[str, str]:
        found = await build.receive(followpaths=["%C3%A9+x", "a%2Bb"], followpaths_encoded=["1"])
        assert list(found.contents) == ["a+b", "é x"]
        found = await build.receive(followpaths=["a+b"])
        assert list(found.contents) == ["a+b"]
        return IMAGE

    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(MemorySource({"é x": b"1", "a+b": b"2", "c": b"3"})), ignore)


async def test_a_request_for_what_has_no_contents_fails_the_build():
    async def script(build: Build) -> dict[str, str]:
        with build.session.open("/moby.filesync.v1.FileSync/DiffCopy", [("dir-name", "context")]) as call:
            await call.send(frame_message(Packet(type=Packet.PACKET_REQ, ID=7).SerializeToString()))
            while await call.receive():
                pass
        return IMAGE

    async with running(FakeEngine(script)) as (client, _):
        with pytest.raises(SolveFailed, match="entry 7, which has none"):
            await client.solve(request(), ignore)


async def test_the_engines_own_trouble_with_the_context_is_told():
    async def script(build: Build) -> dict[str, str]:
        with build.session.open("/moby.filesync.v1.FileSync/DiffCopy", [("dir-name", "context")]) as call:
            await call.send(
                frame_message(Packet(type=Packet.PACKET_ERR, data=b"disk full").SerializeToString())
            )
            while await call.receive():
                pass
        return IMAGE

    async with running(FakeEngine(script)) as (client, _):
        with pytest.raises(SolveFailed, match="could not take the context: disk full"):
            await client.solve(request(), ignore)


async def test_an_engine_that_wants_utf8_is_explained_with_the_path():
    async def script(build: Build) -> dict[str, str]:
        await build.receive()
        raise RpcError(
            13, "grpc: failed to unmarshal the received message: string field contains invalid UTF-8"
        )

    odd = os.fsdecode(b"sub/caf\xe9.go")
    async with running(FakeEngine(script)) as (client, _):
        with pytest.raises(SolveFailed, match=r'"sub/caf\\xe9\.go" is not UTF-8') as failed:
            await client.solve(request(MemorySource({"a": b"", "é": b"", odd: b""})), ignore)
        assert "invalid" not in failed.value.reason
        with pytest.raises(SolveFailed, match="failed to unmarshal"):
            await client.solve(request(MemorySource({"a": b"", "é": b""})), ignore)


async def test_progress_is_told_in_order_and_lines_stay_whole():
    async def script(build: Build) -> dict[str, str]:
        vertex = Vertex(digest="d", name="[builder 2/5] RUN go build")
        vertex.started.seconds = 10
        await build.tell(StatusResponse(vertexes=[vertex]))
        for part in (b"one\ntw", b"o\nthree \xc3", b"\xa9"):
            await build.tell(StatusResponse(logs=[VertexLog(vertex="d", stream=2, msg=part)]))
        vertex.completed.seconds = 12
        await build.tell(StatusResponse(vertexes=[vertex]))
        return IMAGE

    events: list[Progress] = []
    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(), events.append)
    assert [type(event) for event in events] == [StepStarted, StepLog, StepLog, StepLog, StepFinished]
    assert [event.text for event in events if isinstance(event, StepLog)] == ["one", "two", "three é"]
    assert (events[0].step.stage, events[0].step.index, events[0].step.total) == ("builder", 2, 5)
    assert isinstance(events[-1], StepFinished)
    assert events[-1].seconds == 2.0


async def test_a_failed_build_names_its_step_and_brings_what_it_wrote():
    async def script(build: Build) -> dict[str, str]:
        vertex = Vertex(digest="d", name="[builder 5/5] RUN go build")
        await build.tell(StatusResponse(vertexes=[vertex]))
        await build.tell(
            StatusResponse(logs=[VertexLog(vertex="d", stream=2, msg=b"./a.go:3: undefined: x\n")])
        )
        vertex.error = "exit code: 1"
        vertex.completed.seconds = 1
        stopped = Vertex(digest="e", name="[other 1/1] RUN", error="context canceled")
        stopped.completed.seconds = 1
        await build.tell(StatusResponse(vertexes=[stopped, vertex]))
        raise RpcError(2, "failed to solve: exit code: 1")

    async with running(FakeEngine(script)) as (client, _):
        with pytest.raises(SolveFailed) as caught:
            await client.solve(request(), ignore)
        assert not client.closed
    assert caught.value.step == "[builder 5/5] RUN go build"
    assert caught.value.log == ("./a.go:3: undefined: x",)
    assert caught.value.reason == "failed to solve: exit code: 1"


async def test_a_listener_that_raises_ends_the_build_with_its_error():
    async def script(build: Build) -> dict[str, str]:
        vertex = Vertex(digest="d", name="x")
        vertex.started.seconds = 1
        await build.tell(StatusResponse(vertexes=[vertex]))
        return await wait_forever(build)

    def listen(_event: Progress) -> None:
        raise ZeroDivisionError

    async with running(FakeEngine(script)) as (client, _):
        with pytest.raises(ZeroDivisionError):
            await client.solve(request(), listen)


async def test_progress_that_arrives_after_the_result_is_delivered_before_it():
    late: list[asyncio.Task[None]] = []

    async def script(build: Build) -> dict[str, str]:
        vertex = Vertex(digest="d", name="[builder 2/5] RUN go build")
        vertex.started.seconds = 10
        await build.tell(StatusResponse(vertexes=[vertex]))
        vertex.completed.seconds = 12

        async def end_later() -> None:
            await asyncio.sleep(0.05)  # after the answer to the build is on its way
            await build.tell(StatusResponse(vertexes=[vertex]))
            await engine.progress[build.request.Ref].put(None)

        late.append(asyncio.create_task(end_later()))
        return IMAGE

    engine = FakeEngine(script)
    engine.end_progress = False
    events: list[Progress] = []
    async with running(engine) as (client, _):
        await client.solve(request(), events.append)
        assert [type(event) for event in events] == [StepStarted, StepFinished]
        await late[0]


async def test_progress_that_never_ends_does_not_hold_back_the_result():
    engine = FakeEngine(take_context)
    engine.end_progress = False
    async with running(engine, patience=SolvePatience(0.01, 0.01)) as (client, _):
        assert (await client.solve(request(), ignore)).image_id == "sha256:1"


async def test_progress_that_ends_before_the_result_ends_no_build():
    """The patience is for what comes after the result; the result itself can take any time."""

    async def script(build: Build) -> dict[str, str]:
        await engine.progress[build.request.Ref].put(None)
        await asyncio.sleep(0.1)
        return IMAGE

    engine = FakeEngine(script)
    async with running(engine, patience=SolvePatience(0.01, 0.01)) as (client, _):
        assert (await client.solve(request(), ignore)).image_id == "sha256:1"


async def test_several_builds_at_once_do_not_disturb_each_other():
    engine = FakeEngine(take_context)
    contexts = [{f"file{number}": bytes([number]) * 100_000} for number in range(10)]
    async with running(engine) as (client, _):
        await asyncio.gather(
            *(
                client.solve(request(MemorySource(files), shared_key=str(number)), ignore)
                for number, files in enumerate(contexts)
            )
        )
    assert [engine.kept[str(number), "context"].contents for number in range(10)] == contexts


async def test_the_session_is_healthy_and_serves_nothing_unknown():
    answers: list[object] = []

    async def script(build: Build) -> dict[str, str]:
        answer = await build.session.unary("/grpc.health.v1.Health/Check", b"")
        answers.append(HealthCheckResponse.FromString(answer).status)
        for method in ("/moby.sshforward.v1.SSH/CheckAgent", "/moby.filesync.v1.Auth/FetchToken"):
            with pytest.raises(RpcError) as caught:
                await build.session.unary(method, b"")
            answers.append(caught.value.code)
        with pytest.raises(RpcError, match="no access allowed to dir 'home'") as caught:
            await build.receive("home")
        answers.append(caught.value.code)
        return IMAGE

    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(), ignore)
    assert answers == [HealthCheckResponse.SERVING, 12, 12, 5]


async def test_secrets_come_from_memory_or_files_and_unknown_ones_are_not_found(tmp_path: Path):
    (tmp_path / "token").write_bytes(b"from a file")
    answers: list[object] = []

    async def script(build: Build) -> dict[str, str]:
        for name in ("memory", "file", "gone", "HTTP_AUTH_HEADER_x"):
            message = GetSecretRequest(ID=name).SerializeToString()
            try:
                answer = await build.session.unary("/moby.buildkit.secrets.v1.Secrets/GetSecret", message)
                answers.append(GetSecretResponse.FromString(answer).data)
            except RpcError as error:
                answers.append(error.code)
        return IMAGE

    values = {"memory": b"\0secret", "file": tmp_path / "token", "gone": tmp_path / "gone"}
    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(secrets=values), ignore)
    assert answers == [b"\0secret", b"from a file", 5, 5]


async def test_registry_logins_come_from_the_callers_function_in_a_thread():
    threads: list[str] = []
    answers: list[tuple[str, str]] = []

    def find(host: str) -> Credentials | None:
        threads.append(threading.current_thread().name)
        return Credentials("me", "hush") if host == "registry.example" else None

    async def script(build: Build) -> dict[str, str]:
        for host in ("registry.example", "other.example"):
            message = CredentialsRequest(Host=host).SerializeToString()
            answer = CredentialsResponse.FromString(
                await build.session.unary("/moby.filesync.v1.Auth/Credentials", message)
            )
            answers.append((answer.Username, answer.Secret))
        return IMAGE

    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(credentials=find), ignore)
    assert answers == [("me", "hush"), ("", "")]
    assert all(name.startswith("buildkit") for name in threads)
    assert "hush" not in repr(Credentials("me", "hush"))


async def send_archive(build: Build) -> dict[str, str]:
    with build.session.open("/moby.filesync.v1.FileSend/DiffCopy", [("exporter-md-x", "y")]) as call:
        for part in (b"one", b"", b"two" * 500_000):
            await call.send(frame_message(BytesMessage(data=part).SerializeToString()))
        call.end()
        assert await call.receive() == []
    return IMAGE


async def test_what_an_exporter_sends_is_written_to_the_output(tmp_path: Path):
    with (tmp_path / "image.tar").open("wb") as file:
        async with running(FakeEngine(send_archive)) as (client, _):
            await client.solve(request(exporter="docker", output=file), ignore)
        assert not file.closed
    assert (tmp_path / "image.tar").read_bytes() == b"one" + b"two" * 500_000


async def test_an_output_that_cannot_be_written_fails_the_build():
    with open("/dev/full", "wb", buffering=0) as file:
        async with running(FakeEngine(send_archive)) as (client, _):
            with pytest.raises(OSError, match="No space left"):
                await client.solve(request(exporter="docker", output=file), ignore)


async def test_an_exporter_that_sends_a_file_nobody_wants_is_refused():
    async with running(FakeEngine(send_archive)) as (client, _):
        with pytest.raises(SolveFailed, match="is not served"):
            await client.solve(request(exporter="docker"), ignore)


class Changing:
    """A directory in which something happens to a file at a chosen moment."""

    def __init__(self, root: Path, moment: str, change: str) -> None:
        self.root, self.moment, self.change = root, moment, change
        self.inner = DirectorySource(root)

    def entries(self) -> Sequence[ContextEntry]:
        entries = self.inner.entries()
        if self.moment == "listed":
            self._change()
        return entries

    def open(self, path: str) -> BinaryIO:
        file = self.inner.open(path)
        if path == "b.go" and self.moment == "opened":
            self._change()
        return file

    def unchanged(self, path: str, fd: int, /) -> bool:
        return self.inner.unchanged(path, fd)

    def _change(self) -> None:
        path = self.root / "b.go"
        if self.change == "grown":
            with path.open("ab") as file:
                file.write(b"more")
        elif self.change == "rewritten":
            path.write_bytes(b"X" * path.stat().st_size)
        elif self.change == "cut":
            path.write_bytes(b"")
        elif self.change == "replaced":
            (self.root / "new").write_bytes(path.read_bytes())
            (self.root / "new").rename(path)
        elif self.change == "gone":
            path.unlink()
        elif self.change == "linked":
            path.unlink()
            path.symlink_to("a.go")


class ChangingWhole(Changing):
    """The same, for a file that is read in one piece."""

    def read(self, path: str, /) -> bytes:
        size = next(entry.size for entry in self.inner.entries() if entry.path == path)

        def unchanged(path: str, fd: int) -> bool:
            if path == "b.go" and self.moment == "opened":
                self._change()
            return self.inner.unchanged(path, fd)

        return read_whole(self.root, path, size, unchanged)


@pytest.mark.parametrize("size", [10, 700_000, 3_000_000])
@pytest.mark.parametrize("kind", [Changing, ChangingWhole])
@pytest.mark.parametrize(
    ("moment", "change"),
    [(moment, change) for moment in ("listed", "opened") for change in ("grown", "rewritten", "cut")]
    + [("listed", "replaced"), ("listed", "gone"), ("listed", "linked")],
)
async def test_a_file_that_changes_fails_the_build_and_is_named(
    tmp_path: Path, moment: str, change: str, size: int, kind: type[Changing]
):
    (tmp_path / "a.go").write_bytes(b"a")
    (tmp_path / "b.go").write_bytes(b"b" * size)
    os.utime(tmp_path / "b.go", ns=(1, 1))
    engine = FakeEngine(take_context)
    async with running(engine) as (client, _):
        with pytest.raises(ContextChanged, match="changed while") as caught:
            await client.solve(request(kind(tmp_path, moment, change)), ignore)
        assert caught.value.path == "b.go"
        assert ("project", "context") not in engine.kept or not engine.kept["project", "context"].contents
        # The connection is as good as before.
        (tmp_path / "b.go").unlink(missing_ok=True)
        await client.solve(request(DirectorySource(tmp_path)), ignore)
    assert engine.kept["project", "context"].contents["a.go"] == b"a"


async def test_a_size_that_was_never_true_fails_the_build():
    class Wrong(MemorySource):
        def entries(self) -> Sequence[ContextEntry]:
            return [FileEntry("a", 0o100644, 5, 1)]

    async with running(FakeEngine(take_context)) as (client, _):
        with pytest.raises(ContextChanged):
            await client.solve(request(Wrong({"a": b"four"})), ignore)


async def test_a_pipe_in_a_context_is_refused_by_name():
    class Pipe(MemorySource):
        def entries(self) -> Sequence[ContextEntry]:
            return [FileEntry("fifo", 0o010644, 0, 1)]

    async with running(FakeEngine(take_context)) as (client, _):
        with pytest.raises(Exception, match="'fifo' is no file, directory or link"):
            await client.solve(request(Pipe({})), ignore)


async def test_a_lost_connection_ends_the_build_and_closes_the_client():
    async with running(FakeEngine(wait_forever)) as (client, near):
        solving = asyncio.create_task(client.solve(request(), ignore))
        await client.workers()
        await near.tear()
        with pytest.raises(ConnectError):
            await solving
        assert client.closed
        with pytest.raises(ConnectError):
            await client.workers()


async def test_a_session_that_the_engine_ends_fails_the_build():
    async def script(build: Build) -> dict[str, str]:
        await build.session._connection.close()
        return await wait_forever(build)

    async with running(FakeEngine(script), patience=SolvePatience(rest=0.01)) as (client, _):
        with pytest.raises(SolveFailed, match="ended the session"):
            await client.solve(request(), ignore)


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0)


async def test_cancelling_at_any_moment_leaves_nothing_behind(tmp_path: Path):
    for number in range(40):
        (tmp_path / f"file{number}").write_bytes(os.urandom(60_000))
    chosen = random.Random(7)
    finished = 0

    async def script(build: Build) -> dict[str, str]:
        await build.receive("dockerfile")
        await build.receive(followpaths=[".dockerignore"])
        await build.receive()
        vertex = Vertex(digest="d", name="x")
        for second in range(5):
            vertex.started.seconds = second + 1
            await build.tell(StatusResponse(vertexes=[vertex]))
        return IMAGE

    engine = FakeEngine(script)
    async with running(engine) as (client, _):
        await client.workers()
        before = asyncio.all_tasks()
        descriptors = open_files()
        for number in range(200):
            solving = asyncio.create_task(
                client.solve(request(DirectorySource(tmp_path), shared_key=str(number)), ignore)
            )
            for _ in range(chosen.randrange(400)):
                await asyncio.sleep(0)
            solving.cancel()
            (outcome,) = await asyncio.gather(solving, return_exceptions=True)
            finished += not isinstance(outcome, asyncio.CancelledError)
            assert open_files() <= descriptors
        await until(lambda: engine.running == 0)
        await until(lambda: asyncio.all_tasks() == before)
        assert not client._connection._streams
        # And it still builds.
        assert (await client.solve(request(), ignore)).image_id == "sha256:1"
    assert finished < 150


def ends_slowly(ended: asyncio.Event) -> FakeEngine:
    """An engine that takes until `ended` to stop a build, and ends the progress of the build then."""

    async def script(build: Build) -> dict[str, str]:
        compiling = Vertex(digest="d", name="[2/2] RUN go build")
        compiling.started.seconds = 1
        await build.tell(StatusResponse(vertexes=[compiling]))
        try:
            return await wait_forever(build)
        finally:
            await ended.wait()

    return FakeEngine(script)


async def test_a_cancelled_build_returns_when_the_engine_has_ended_it():
    """The next build often has the same steps, and old engines drop them with this one."""
    ended, seen = asyncio.Event(), list[Progress]()
    engine = ends_slowly(ended)
    async with running(engine) as (client, _):
        solving = asyncio.create_task(client.solve(request(), seen.append))
        await until(lambda: seen)
        solving.cancel()
        done, _ = await asyncio.wait((solving,), timeout=0.05)
        assert not done
        ended.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(solving, 5)
        assert not engine.running


async def test_a_build_is_cancelled_at_once_where_builds_share_steps_safely():
    ended, seen = asyncio.Event(), list[Progress]()
    engine = ends_slowly(ended)
    async with running(engine) as (client, _):
        client.start_next_at_once()
        solving = asyncio.create_task(client.solve(request(), seen.append))
        await until(lambda: seen)
        solving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(solving, 5)
        assert engine.running
        ended.set()


async def test_an_engine_that_does_not_end_a_cancelled_build_holds_nothing_up():
    ended, seen = asyncio.Event(), list[Progress]()
    async with running(ends_slowly(ended), patience=SolvePatience(stopped=0.01)) as (client, _):
        solving = asyncio.create_task(client.solve(request(), seen.append))
        await until(lambda: seen)
        solving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(solving, 5)
        ended.set()


async def test_a_second_cancel_does_not_wait_for_the_engine():
    ended, seen = asyncio.Event(), list[Progress]()
    async with running(ends_slowly(ended)) as (client, _):
        solving = asyncio.create_task(client.solve(request(), seen.append))
        await until(lambda: seen)
        solving.cancel()
        await asyncio.wait((solving,), timeout=0.05)
        solving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(solving, 1)
        ended.set()


async def test_closing_the_client_ends_its_threads():
    async with running(FakeEngine(take_context)) as (client, _):
        await client.solve(request(), ignore)
        assert any(thread.name.startswith("buildkit") for thread in threading.enumerate())
    assert not any(thread.name.startswith("buildkit") for thread in threading.enumerate())
    with pytest.raises(ConnectError):
        await client.solve(request(), ignore)


async def test_closing_twice_is_harmless():
    async with running(FakeEngine(take_context)) as (client, _):
        await client.close()
        await client.close()
        assert client.closed
        assert isinstance(client, Client)
