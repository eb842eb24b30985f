"""Each call of the engine: what is asked of it, and what its answers and refusals become."""

from __future__ import annotations

import asyncio
import io
import ssl
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import docker
import docker.errors
import pytest

from tests.unit.engine.answers import NO_SUCH, Answer, Answers
from watcher.engine import DockerEngine, EngineError, image_size
from watcher.engine.archive import ByteReader, Unreadable
from watcher.engine.calls import EngineCalls
from watcher.engine.disk_usage import read_usage
from watcher.engine.streams import batch_log, read_events
from watcher.engine.values import ContainerCommand, NewFile, Removal
from watcher.errors import ConfigError, EngineUnavailable

IN_USE = (409, {"message": "it is in use"})
BROKEN = (500, {"message": "the disk is on fire"})
NONE = (204, b"")
INFO = {"ServerVersion": "20.10.24", "Driver": "overlay2"}


def engine_of(routes: dict[str, Answer | list[Answer]]) -> tuple[Answers, DockerEngine]:
    answers = Answers(routes)
    return answers, DockerEngine(answers.client())


def inspected(name: str = "1", **more: Any) -> dict[str, Any]:
    state = {"Status": "running"}
    return {"Id": name, "Name": f"/{name}", "Image": "i", "Config": {}, "State": state, **more}


async def test_podman_is_recognized_and_known_by_its_address() -> None:
    raw = {**INFO, "ServerVersion": "4.3.1", "ID": "another one for each answer", "BuildahVersion": "1.28.2"}
    _, engine = engine_of({"GET /info": (200, raw)})
    info = await engine.info()
    assert (info.product, info.identity) == ("Podman", "tcp://engine.test:2375")


async def test_what_an_engine_says_of_itself() -> None:
    raw = {
        **INFO,
        "DriverStatus": [["Backing Filesystem", "extfs"]],
        "Architecture": "x86_64",
        "DockerRootDir": "/var/lib/docker",
        "Name": "desk",
        "SystemTime": "2026-03-04T05:06:07Z",
        "ID": "ABCD",
    }
    _, engine = engine_of({"GET /info": (200, raw)})
    info = await engine.info()
    assert (info.version, info.api, info.store, info.endpoint) == (
        "20.10.24",
        "1.41",
        "overlay2",
        "tcp://engine.test:2375",
    )
    assert (info.architecture, info.data_root, info.host, info.id) == (
        "x86_64",
        "/var/lib/docker",
        "desk",
        "ABCD",
    )
    assert info.clock > 0
    assert engine.tls() is None


async def test_a_snapshotter_is_the_containerd_store_and_what_is_missing_is_empty() -> None:
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    _, engine = engine_of({"GET /info": [(200, {**INFO, "DriverStatus": status}), (200, INFO)]})
    assert (await engine.info()).store == "containerd"
    info = await engine.info()
    assert (info.store, info.architecture, info.data_root, info.host, info.id, info.clock) == (
        "overlay2",
        "",
        "",
        "",
        "",
        0.0,
    )


async def test_images_are_filtered_and_one_that_is_gone_is_none() -> None:
    answers, engine = engine_of(
        {"GET /images/json": (200, [{"Id": "sha256:1"}]), "GET /images/a:1/json": (200, {"Id": "sha256:2"})}
    )
    assert [image.id for image in await engine.images(labels=["a=b"], dangling=True)] == ["sha256:1"]
    assert answers.asked[0][1]["filters"] == ['{"label": ["a=b"], "dangling": ["true"]}']
    await engine.images()
    assert answers.asked[1][1].get("filters", ["{}"]) == ["{}"]
    found = await engine.image("a:1")
    assert found is not None
    assert found.id == "sha256:2"
    assert await engine.image("gone:1") is None


async def test_the_size_of_an_image_is_the_sum_of_its_layers_on_a_classic_store() -> None:
    history = [{"Size": 5, "CreatedBy": "CMD x"}, {"Size": 7}]
    answers, engine = engine_of({"GET /info": (200, INFO), "GET /images/a/history": (200, history)})
    assert await engine.image_size("a") == 12
    assert await engine.image_size("gone") is None
    assert answers.names().count("GET /info") == 1
    assert await engine.last_step("a") == "CMD x"
    assert await engine.last_step("gone") == ""


async def test_an_image_without_steps_has_no_last_one() -> None:
    _, engine = engine_of({"GET /images/a/history": [(200, []), (200, [{"CreatedBy": None}])]})
    assert await engine.last_step("a") == ""
    assert await engine.last_step("a") == ""


async def test_an_image_is_read_as_its_archive_or_is_none() -> None:
    _, engine = engine_of({"GET /images/a/get": (200, b"archive")})
    assert await engine.read_image("a", lambda body: body.read(4) + body.read()) == b"archive"
    assert await engine.read_image("gone", lambda body: body.read()) is None


async def test_reading_an_image_ends_when_it_is_cancelled() -> None:
    _, engine = engine_of({"GET /images/a/get": (200, b"archive")})
    loop, begun, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    cancelled = asyncio.Event()

    def visit(body: ByteReader) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(cancelled.wait(), loop).result(10)
        try:
            body.read(1)
        except Unreadable:
            loop.call_soon_threadsafe(ended.set)
            raise

    work = asyncio.create_task(engine.read_image("a", visit))
    await asyncio.wait_for(begun.wait(), 10)
    work.cancel()
    await asyncio.wait([work])
    cancelled.set()
    await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.parametrize(
    ("answer", "removal"), [(NONE, Removal.REMOVED), (NO_SUCH, Removal.GONE), (IN_USE, Removal.IN_USE)]
)
async def test_a_removal_says_what_became_of_it(answer: Answer, removal: Removal) -> None:
    if answer == NONE:
        answer = (200, [])
    _, engine = engine_of({"DELETE /images/a": answer, "DELETE /networks/n": answer})
    assert await engine.remove_image("a") is removal
    assert await engine.remove_network("n") is removal


async def test_a_removal_that_fails_otherwise_is_an_error_with_its_status() -> None:
    forbidden = (403, {"message": "it has active endpoints"})
    _, engine = engine_of({"DELETE /images/a": BROKEN, "DELETE /networks/n": [forbidden, BROKEN]})
    with pytest.raises(EngineError, match="the disk is on fire") as failed:
        await engine.remove_image("a")
    assert failed.value.status == 500
    assert await engine.remove_network("n") is Removal.IN_USE
    with pytest.raises(EngineError, match="on fire"):
        await engine.remove_network("n")


async def test_a_tag_is_split_at_its_last_colon() -> None:
    answers, engine = engine_of({"POST /images/a/tag": (201, b"")})
    await engine.tag("a", "localhost:5000/b:2")
    assert answers.asked[0][1] == {"repo": ["localhost:5000/b"], "tag": ["2"], "force": ["0"]}


CALLS: list[Callable[[DockerEngine], Awaitable[object]]] = [
    lambda engine: engine.tag("a", "b:1"),
    lambda engine: engine.create("name", {}),
    lambda engine: engine.start("1"),
    lambda engine: engine.rename("1", "name"),
    lambda engine: engine.connect("1", "n", {}),
    lambda engine: engine.put_files("1", [NewFile("/a", b"")]),
    lambda engine: engine.execute("1", ContainerCommand(("true",))),
]


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_to_something_that_is_gone_is_an_error_with_status_404(
    call: Callable[[DockerEngine], Awaitable[object]],
) -> None:
    _, engine = engine_of({})
    with pytest.raises(EngineError) as failed:
        await call(engine)
    assert failed.value.status == 404


async def test_containers_are_listed_also_when_they_do_not_run() -> None:
    raw = {"Id": "1", "ImageID": "i", "State": "exited"}
    answers, engine = engine_of({"GET /containers/json": (200, [raw])})
    assert [found.id for found in await engine.containers(labels=["a"])] == ["1"]
    query = answers.asked[0][1]
    assert (query["all"], query["filters"]) == (["1"], ['{"label": ["a"]}'])


async def test_a_container_has_the_ports_of_the_one_whose_network_it_joined() -> None:
    ports = {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    network = {"Ports": ports, "Networks": {"n": {"IPAddress": "10.0.0.2"}}}
    answers, engine = engine_of(
        {
            "GET /containers/app/json": (
                200,
                inspected("app", HostConfig={"NetworkMode": "container:pause"}),
            ),
            "GET /containers/pause/json": [(200, inspected("pause", NetworkSettings=network)), NO_SUCH],
            "GET /containers/alone/json": (200, inspected("alone", NetworkSettings=network)),
        }
    )
    found = await engine.container("app")
    assert found is not None
    assert (found.id, found.ports, found.addresses) == ("app", {"80/tcp": (("", 8080),)}, {"n": "10.0.0.2"})
    left = await engine.container("app")  # the other one is gone
    assert left is not None
    assert (left.ports, left.joined) == ({}, "pause")
    answers.asked.clear()
    alone = await engine.container("alone")
    assert alone is not None
    assert alone.addresses == {"n": "10.0.0.2"}
    assert answers.names() == ["GET /containers/alone/json"]
    assert await engine.container("gone") is None


async def test_a_container_is_made_and_returns_its_id() -> None:
    answers, engine = engine_of({"POST /containers/create": (201, {"Id": "new"})})
    assert await engine.create("web", {"Image": "i"}, platform="linux/arm64") == "new"
    _, query, body = answers.asked[0]
    assert (query["name"], query["platform"], body["Image"]) == (["web"], ["linux/arm64"], "i")


@pytest.mark.parametrize(("seconds", "said"), [(2.6, "3"), (0.2, "0"), (-4, "0")])
async def test_a_stop_waits_whole_seconds(seconds: float, said: str) -> None:
    answers, engine = engine_of({"POST /containers/1/stop": NONE})
    await engine.stop("1", seconds)
    assert answers.asked[0][1] == {"t": [said]}
    await engine.stop("gone", 1)


VOLUMES = [
    {"Type": "volume", "Name": "a" * 64, "Destination": "/a"},
    {"Type": "volume", "Name": "b" * 64, "Destination": "/b"},
]


async def test_a_container_goes_with_each_of_its_anonymous_volumes() -> None:
    answers, engine = engine_of(
        {
            "GET /containers/web/json": (200, inspected("id", Mounts=VOLUMES)),
            "DELETE /containers/id": NONE,
            f"DELETE /volumes/{'a' * 64}": BROKEN,
            f"DELETE /volumes/{'b' * 64}": NONE,
        }
    )
    assert await engine.remove("web") is Removal.REMOVED
    assert answers.names()[2:] == [f"DELETE /volumes/{letter * 64}" for letter in "ab"]
    answers.asked.clear()
    assert await engine.remove("web", volumes=False) is Removal.REMOVED
    assert answers.names()[1:] == ["DELETE /containers/id"]
    assert await engine.remove("gone") is Removal.GONE


async def test_the_volumes_of_a_container_that_stays_stay() -> None:
    answers, engine = engine_of(
        {"GET /containers/web/json": (200, inspected("id", Mounts=VOLUMES)), "DELETE /containers/id": IN_USE}
    )
    assert await engine.remove("web") is Removal.IN_USE
    assert answers.names()[1:] == ["DELETE /containers/id"]


async def test_connecting_sends_the_whole_endpoint_and_disconnecting_never_fails() -> None:
    answers, engine = engine_of(
        {
            "POST /networks/n/connect": (200, b""),
            "POST /networks/n/disconnect": [(200, b""), BROKEN],
            "POST /containers/1/rename": NONE,
            "POST /containers/1/start": NONE,
        }
    )
    await engine.connect("1", "n", {"Aliases": ["web"]})
    assert answers.asked[0][2] == {"Container": "1", "EndpointConfig": {"Aliases": ["web"]}}
    await engine.disconnect("1", "n")
    await engine.disconnect("1", "n")
    await engine.disconnect("1", "gone")
    await engine.rename("1", "new")
    await engine.start("1")
    assert answers.names()[1:] == [
        "POST /networks/n/disconnect",
        "POST /networks/n/disconnect",
        "POST /networks/gone/disconnect",
        "POST /containers/1/rename",
        "POST /containers/1/start",
    ]
    assert answers.asked[4][1] == {"name": ["new"]}


async def test_files_are_put_into_a_container_as_an_archive() -> None:
    answers, engine = engine_of({"PUT /containers/1/archive": (200, b"")})
    await engine.put_files("1", [NewFile("/run/secret", b"s", uid=5, gid=6, mode=0o440)])
    _, query, body = answers.asked[0]
    assert query["path"] == ["/"]
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.uid, member.gid, member.mode) == ("run/secret", 5, 6, 0o440)
        content = archive.extractfile(member)
        assert content is not None
        assert content.read() == b"s"


async def test_a_log_that_cannot_be_read_is_empty() -> None:
    _, engine = engine_of({"GET /containers/1/json": (200, inspected()), "GET /containers/1/logs": BROKEN})
    assert await engine.logs("1", tail=3) == ()
    assert await engine.logs("gone", tail=3) == ()


async def test_nothing_follows_from_a_container_that_is_gone() -> None:
    _, engine = engine_of({})
    assert [batch async for batch in engine.follow("gone", since=0, tail=1)] == []


async def test_an_archive_that_the_engine_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [[{"stream": "loading"}, {"error": "no space left"}], [{"stream": "done"}]]
    monkeypatch.setattr(docker.APIClient, "load_image", lambda *_, **__: iter(said.pop(0)))
    _, engine = engine_of({})
    with pytest.raises(EngineError, match="no space left"):
        await engine.load(io.BytesIO(b"archive"))
    await engine.load(io.BytesIO(b"archive"))


async def test_a_network_is_made_unless_one_has_exactly_its_name() -> None:
    config = {"Name": "shop", "Labels": {"a": "b"}}
    answers, engine = engine_of(
        {
            "GET /networks": [(200, [{"Name": "shop-2"}]), (200, [{"Name": "shop"}])],
            "POST /networks/create": (201, {"Id": "n"}),
        }
    )
    await engine.ensure_network(config)
    assert answers.asked[-1][0::2] == ("POST /networks/create", config)
    answers.asked.clear()
    await engine.ensure_network(config)
    assert answers.names() == ["GET /networks"]


async def test_networks_are_listed_by_label_and_a_volume_is_asked_for() -> None:
    answers, engine = engine_of(
        {"GET /networks": (200, [{"Id": "1", "Name": "n"}]), "POST /volumes/create": (201, {})}
    )
    assert [network.id for network in await engine.networks(labels=["a"])] == ["1"]
    assert answers.asked[0][1] == {"filters": ['{"label": ["a"]}']}
    await engine.ensure_volume({"Name": "v"})
    assert answers.asked[1][0::2] == ("POST /volumes/create", {"Name": "v"})


async def test_usage_is_asked_again_when_something_goes_while_it_is_measured() -> None:
    answers = Answers({"GET /system/df": [NO_SUCH, NO_SUCH, (200, {"LayersSize": 5}), *[NO_SUCH] * 3]})
    calls = EngineCalls(answers.client())
    assert (await read_usage(calls, whole=False, pause=0)).layers == 5
    with pytest.raises(EngineError) as failed:
        await read_usage(calls, whole=False, pause=0)
    assert failed.value.status == 404
    assert len(answers.asked) == 6
    assert answers.asked[0][1] == {}  # before 1.42 all is measured


@pytest.mark.parametrize(
    ("whole", "kinds"),
    [(False, ["image", "build-cache"]), (True, ["image", "build-cache", "container", "volume"])],
)
async def test_a_newer_engine_measures_only_what_is_asked_for(whole: bool, kinds: list[str]) -> None:
    answers = Answers({"GET /v1.42/system/df": (200, {})})
    client = answers.client()
    vars(client)["_version"] = "1.42"
    await DockerEngine(client).usage(whole=whole)
    assert answers.asked[0][1] == {"type": kinds}


class Stream:
    """An endless answer of docker-py: ends when it is closed."""

    def __init__(self, items: list[Any], error: BaseException | None = None) -> None:
        self.items, self.error, self.closed = items, error, False

    def __iter__(self) -> Iterator[Any]:
        yield from self.items
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


async def test_events_are_those_of_containers_until_the_engine_goes() -> None:
    actor = {"ID": "1", "Attributes": {"name": "web"}}
    stream = Stream([{"Action": "die", "Actor": actor}, {}], docker.errors.DockerException("gone"))
    found = [event async for event in read_events(stream)]
    assert [(event.action, event.container, event.attributes) for event in found] == [
        ("die", "1", {"name": "web"}),
        ("", "", {}),
    ]
    assert stream.closed


async def test_a_log_comes_in_batches_and_its_stream_is_closed() -> None:
    stream = Stream([b"one\ntwo\n", b"three"])
    lines = [line.text async for batch in batch_log(stream) for line in batch]
    assert lines == ["one", "two", "three"]
    assert stream.closed


async def test_an_event_stream_that_ends_means_that_the_engine_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, engine = engine_of({})
    asked: list[dict[str, Any]] = []

    def events(_: docker.APIClient, **arguments: Any) -> Stream:
        asked.append(arguments)
        return Stream([{"Action": "start"}])

    monkeypatch.setattr(docker.APIClient, "events", events)
    found = engine.events(labels=["a"], since=5.7)
    assert (await anext(found)).action == "start"
    with pytest.raises(EngineUnavailable):
        await anext(found)
    assert asked == [{"since": 5, "filters": {"type": ["container"], "label": ["a"]}, "decode": True}]


@pytest.mark.parametrize("server", [{"ApiVersion": "1.40"}, {"ApiVersion": "1.60", "MinAPIVersion": "1.46"}])
async def test_the_newest_version_that_both_know_is_spoken(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker.APIClient, "version", lambda *_, **__: server)
    engine = await DockerEngine.open("tcp://engine.test:2375")
    assert engine._client.api_version == server.get("MinAPIVersion", "1.40")
    await engine.close()
    monkeypatch.setattr(docker.APIClient, "version", lambda *_, **__: {"ApiVersion": "1.60"})
    engine = await DockerEngine.open("tcp://engine.test:2375")
    assert engine._client.api_version == "1.45"
    await engine.close()


async def test_an_engine_that_is_not_there_is_named_with_its_address() -> None:
    with pytest.raises(EngineUnavailable, match=r"tcp://127\.0\.0\.1:1\b.*refused"):
        await DockerEngine.open("tcp://127.0.0.1:1")


async def test_an_error_has_its_message_and_status_and_an_engine_with_tls_a_context() -> None:
    error = EngineError("in use", 409)
    assert (str(error), error.status) == ("in use", 409)
    client = Answers().client()
    client.base_url, client.verify = "https://engine.test:2376", False
    context = DockerEngine(client).tls()
    assert context is not None
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_NONE
    client.verify = "/nowhere/ca.pem"
    with pytest.raises(ConfigError, match="DOCKER_CERT_PATH"):
        DockerEngine(client).tls()


async def test_a_command_returns_its_status_and_its_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Response:
        closed = False

        def close(self) -> None:
            self.closed = True

    class Output(Stream):
        _response = Response()

    output = Output([b"one\ntw", b"o\n", *[b"line %d\n" % number for number in range(40)]])
    monkeypatch.setattr(docker.APIClient, "exec_start", lambda *_, **__: output)
    answers, engine = engine_of(
        {
            "POST /containers/1/exec": (201, {"Id": "e"}),
            "GET /exec/e/json": [(200, {"ExitCode": 3}), (200, {"ExitCode": None})],
        }
    )
    command = ContainerCommand(("go", "version"), user="app", workdir="/w", environment=("A=1",))
    status, lines = await engine.execute("1", command)
    assert (status, len(lines), lines[-1]) == (3, 30, "line 39")
    body = answers.asked[0][2]
    assert (body["Cmd"], body["User"], body["WorkingDir"], body["Env"]) == (
        ["go", "version"],
        "app",
        "/w",
        ["A=1"],
    )
    assert output.closed
    assert output._response.closed
    assert (await engine.execute("1", command))[0] == 0


async def test_the_size_on_a_containerd_store_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def archive_size(archive: ByteReader, layers: dict[str, int]) -> int:
        read.append(archive.read())
        return 12

    monkeypatch.setattr(image_size, "archive_size", archive_size)
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    _, engine = engine_of(
        {
            "GET /info": (200, {**INFO, "DriverStatus": status}),
            "GET /images/a/json": (200, {"Id": "sha256:1"}),
            "GET /images/b/json": (200, {"Id": "sha256:2"}),
            "GET /images/sha256:1/get": (200, b"archive"),
        }
    )
    assert (await engine.image_size("a"), await engine.image_size("a")) == (12, 12)
    assert read == [b"archive"]
    assert await engine.image_size("gone") is None
    assert await engine.image_size("b") is None  # it went after it was looked up
