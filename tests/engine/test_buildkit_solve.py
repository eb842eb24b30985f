"""Builds on the real engine: images, progress, failures, secrets, registries, cancelling."""

from __future__ import annotations

import asyncio
import io
import os
import random
import tarfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.directory_source import DirectorySource
from tests.process import open_files
from tests.registry import registry, small_image
from watcher.buildkit import (
    Client,
    ContextChanged,
    ContextSource,
    Credentials,
    MemorySource,
    Progress,
    SolveFailed,
    SolveRequest,
    StepFinished,
    StepLog,
    StepStarted,
)

pytestmark = pytest.mark.engine

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
EMPTY = MemorySource({})


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect(ENGINE) as connected:
        yield connected


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    with closing(docker.DockerClient(base_url=ENGINE)) as connected:
        yield connected


@pytest.fixture
def name(engine: docker.DockerClient) -> Iterator[str]:
    """A name for an image, and the end of that image."""
    chosen = f"watcher-test-{uuid.uuid4().hex[:12]}"
    yield chosen
    for image in engine.images.list(chosen):
        engine.images.remove(str(image.id), force=True)


def ignore(_event: Progress) -> None:
    pass


def request(dockerfile: str, context: ContextSource = EMPTY, **more: object) -> SolveRequest:
    values: dict[str, object] = {"shared_key": uuid.uuid4().hex, "exporter": ""}
    source = MemorySource({"Dockerfile": dockerfile.encode()})
    return SolveRequest(context=context, dockerfile=source, **(values | more))  # type: ignore[arg-type]


def read_back(engine: docker.DockerClient, image: str, path: str) -> dict[str, tarfile.TarInfo | bytes]:
    """What is under a path of an image: contents of files, the tar's word on everything else."""
    container = engine.containers.create(image, "nothing")
    try:
        stream, _ = container.get_archive(path)
        data = io.BytesIO(b"".join(stream))
    finally:
        container.remove()
    with tarfile.open(fileobj=data) as archive:
        return {
            member.name: file.read() if member.isreg() and (file := archive.extractfile(member)) else member
            for member in archive
        }


async def test_an_image_holds_what_was_sent_and_has_its_names(
    client: Client, engine: docker.DockerClient, name: str
):
    context = MemorySource({"a/b.txt": b"hello", "big": b"x" * 3_000_000})
    result = await client.solve(
        request(
            "FROM scratch\nCOPY . /ctx\n",
            context,
            exporter="moby",
            names=(f"docker.io/library/{name}:1", f"docker.io/library/{name}:2"),
            labels={"test": name},
        ),
        ignore,
    )
    image = engine.images.get(f"{name}:1")
    assert image.id == engine.images.get(f"{name}:2").id == result.image_id
    assert image.labels["test"] == name
    found = read_back(engine, name + ":1", "/ctx")
    assert found["ctx/a/b.txt"] == b"hello"
    assert found["ctx/big"] == b"x" * 3_000_000


async def test_progress_tells_stages_and_lines_even_when_two_stages_run_at_once(client: Client):
    mark = uuid.uuid4().hex
    script = "RUN for i in 1 2 3 4 5; do echo {0} $i; printf '{0} '; echo end $i; done # {1}\n"
    dockerfile = (
        "FROM alpine AS one\n" + script.format("one", mark)
        + "FROM alpine AS two\n" + script.format("two", mark)
        + "FROM scratch\nCOPY --from=one /bin/sh /1\nCOPY --from=two /bin/sh /2\n"
    )  # fmt: skip
    events: list[Progress] = []
    await client.solve(request(dockerfile), events.append)
    lines: dict[str, list[str]] = {"one": [], "two": []}
    for event in events:
        if isinstance(event, StepLog) and event.step.stage in lines:
            lines[event.step.stage] += event.text.split("\n")
    for stage, found in lines.items():
        assert found == [line for i in range(1, 6) for line in (f"{stage} {i}", f"{stage} end {i}")]
    run = [event for event in events if event.step.name.startswith("[one 2/2] RUN")]
    assert isinstance(run[0], StepStarted)
    assert (run[0].step.index, run[0].step.total) == (2, 2)
    assert isinstance(run[-1], StepFinished)
    assert not run[-1].cached


async def test_an_unchanged_build_is_cached_and_gives_the_same_image(
    client: Client, engine: docker.DockerClient, name: str
):
    again = request(
        f"FROM alpine\nCOPY . /ctx\nRUN echo {name}\n",
        MemorySource({"a": name.encode()}),
        exporter="moby",
        names=(f"docker.io/library/{name}:1",),
    )
    first = await client.solve(again, ignore)
    events: list[Progress] = []
    second = await client.solve(again, events.append)
    assert first.image_id == second.image_id
    cached = {event.step.index for event in events if isinstance(event, StepFinished) and event.cached}
    assert cached >= {2, 3}


async def test_a_failing_command_is_named_with_its_output(client: Client):
    dockerfile = f"FROM alpine\nRUN echo out; echo err >&2; exit 3 # {uuid.uuid4().hex}\n"
    with pytest.raises(SolveFailed) as caught:
        await client.solve(request(dockerfile), ignore)
    assert caught.value.step.startswith("[2/2] RUN echo out")
    assert sorted(caught.value.log) == ["err", "out"]
    assert "3" in caught.value.reason


@pytest.mark.parametrize(
    ("dockerfile", "text"),
    [
        ("FRM scratch\n", "FRM"),
        ("FROM scratch\nCOPY nothing /\n", "nothing"),
        ("FROM scratch AS a\nFROM b\n", "b"),
        ("", "empty"),
    ],
)
async def test_a_wrong_dockerfile_fails_with_the_engines_reason(client: Client, dockerfile: str, text: str):
    with pytest.raises(SolveFailed, match=text):
        await client.solve(request(dockerfile), ignore)
    assert not client.closed


async def test_an_unknown_exporter_fails_soon(client: Client):
    with pytest.raises(SolveFailed, match="nonsense"):
        await client.solve(request("FROM scratch\n", exporter="nonsense"), ignore)


async def test_secrets_reach_the_step_and_nothing_else(client: Client, tmp_path: Path):
    (tmp_path / "token").write_bytes(b"from a file")
    mark = uuid.uuid4().hex
    dockerfile = (
        "FROM alpine\n"
        "RUN --mount=type=secret,id=one --mount=type=secret,id=two "
        f"cat /run/secrets/one; echo; cat /run/secrets/two; echo; ls /run/secrets # {mark}\n"
    )
    events: list[Progress] = []
    secrets = {"one": b"in memory", "two": tmp_path / "token"}
    await client.solve(request(dockerfile, secrets=secrets), events.append)
    lines = [line for event in events if isinstance(event, StepLog) for line in event.text.split("\n")]
    assert lines == ["in memory", "from a file", "one", "two"]


async def test_a_required_secret_that_is_missing_fails_by_name(client: Client):
    dockerfile = f"FROM alpine\nRUN --mount=type=secret,id=absent,required true # {uuid.uuid4().hex}\n"
    with pytest.raises(SolveFailed, match="absent"):
        await client.solve(request(dockerfile), ignore)


async def test_a_private_base_image_is_pulled_with_the_callers_login(client: Client):
    asked: list[str] = []

    def find(host: str) -> Credentials:
        asked.append(host)
        return Credentials("me", "hush")

    with registry(small_image(uuid.uuid4().hex), login="me:hush") as served:
        dockerfile = f"FROM {served.image}\nCOPY a /\n"
        await client.solve(request(dockerfile, MemorySource({"a": b""}), credentials=find), ignore)
    assert set(asked) == {served.host}


async def test_a_private_base_image_without_a_login_fails_with_its_name(client: Client):
    with registry(small_image(uuid.uuid4().hex), login="me:hush") as served:
        with pytest.raises(SolveFailed, match=served.host):
            await client.solve(request(f"FROM {served.image}\n"), ignore)
        assert served.refused


async def test_the_file_of_an_exporter_is_received(client: Client, tmp_path: Path):
    context = MemorySource({"a": b"x" * 1_000_000, "b/c": b"c"})
    with (tmp_path / "rootfs.tar").open("wb") as file:
        await client.solve(request("FROM scratch\nCOPY . /\n", context, exporter="tar", output=file), ignore)
    with tarfile.open(tmp_path / "rootfs.tar") as archive:
        assert {member.name: member.size for member in archive if member.isreg()} == {
            "a": 1_000_000,
            "b/c": 1,
        }


async def test_a_file_that_changes_before_it_is_sent_fails_the_build(client: Client, tmp_path: Path):
    (tmp_path / "a").write_bytes(b"as it was listed")
    source = DirectorySource(tmp_path)
    source.entries()
    (tmp_path / "a").write_bytes(b"as it is now")
    build = request("FROM scratch\nCOPY . /\n", source)
    with pytest.raises(ContextChanged) as caught:
        await client.solve(build, ignore)
    assert caught.value.path == "a"


async def test_several_builds_share_one_connection(client: Client, engine: docker.DockerClient, name: str):
    async def build(number: int) -> str:
        context = MemorySource({"n": b"%d" % number * 200_000})
        names = (f"docker.io/library/{name}:{number}",)
        result = await client.solve(
            request("FROM scratch\nCOPY n /\n", context, exporter="moby", names=names), ignore
        )
        return result.image_id

    images = await asyncio.gather(*map(build, range(5)))
    assert [engine.images.get(f"{name}:{number}").id for number in range(5)] == images
    assert read_back(engine, f"{name}:3", "/n")["n"] == b"3" * 200_000


async def test_the_cache_is_listed_and_one_record_of_it_removed(client: Client):
    mark = uuid.uuid4().hex
    await client.solve(
        request(f"FROM alpine\nRUN --mount=type=cache,target=/c-{mark} touch /c-{mark}/x\n"), ignore
    )
    (record,) = [
        each for each in await client.disk_usage(["type==exec.cachemount"]) if mark in each.description
    ]
    assert not record.in_use
    removed = await client.prune([f"id=={record.id}"])
    assert [each.id for each in removed] == [record.id]
    assert record.id not in {each.id for each in await client.disk_usage()}


def processes_with(text: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if text.encode() in command:
            found.append(int(path.parent.name))
    return found


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0.01)


async def test_cancelling_a_build_ends_the_process_that_it_runs(client: Client):
    mark = f"6{uuid.uuid4().int % 10**9}"
    running = asyncio.Event()

    def listen(event: Progress) -> None:
        if isinstance(event, StepLog) and event.text == "running":
            running.set()

    solving = asyncio.create_task(
        client.solve(request(f"FROM alpine\nRUN echo running; sleep {mark}\n"), listen)
    )
    await running.wait()
    await until(lambda: processes_with(mark))
    solving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await solving
    await until(lambda: not processes_with(mark))


@pytest.mark.timeout(300)
async def test_200_builds_cancelled_at_random_moments_leave_nothing(client: Client, tmp_path: Path):
    for number in range(30):
        (tmp_path / f"file{number}").write_bytes(os.urandom(50_000))
    chosen = random.Random(11)
    key = uuid.uuid4().hex
    dockerfile = "FROM alpine\nCOPY . /ctx\nRUN cat /ctx/* | md5sum\nRUN sleep 0.05\n"
    cancelled = 0
    before = asyncio.all_tasks()
    descriptors = open_files()
    threads = set(threading.enumerate())
    for number in range(200):
        (tmp_path / "file0").write_bytes(os.urandom(50_000))
        context = DirectorySource(tmp_path)
        directed = (3, 4) if number % 2 else ()
        solving = asyncio.create_task(
            client.solve(request(dockerfile, context, shared_key=key, without_network=directed), ignore)
        )
        done, _ = await asyncio.wait([solving], timeout=chosen.uniform(0, 0.3))
        solving.cancel()
        (outcome,) = await asyncio.gather(solving, return_exceptions=True)
        assert done or isinstance(outcome, asyncio.CancelledError)
        cancelled += not done
        assert open_files() <= descriptors
    assert asyncio.all_tasks() <= before
    assert not client._connection._streams
    assert {
        thread for thread in set(threading.enumerate()) - threads if not thread.name.startswith("buildkit")
    } == set()
    assert cancelled > 50
    # The connection is as good as before.
    await client.solve(request(dockerfile, DirectorySource(tmp_path), shared_key=key), ignore)
