"""Builds that are directed by us, on the real engine: steps lose their network, Dockerfiles are read once."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace

import docker
import pytest

from watcher.buildkit import Client, MemorySource, Progress, SolveFailed, SolveRequest, StepFinished, StepLog

pytestmark = pytest.mark.engine

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
# The devices that a step sees. They begin at lines 3 (after a remark), 7 (continued), 9 and 12.
DOCKERFILE = """\
FROM alpine AS first
# a remark
RUN echo a $(ls /sys/class/net) > /a # {mark}
FROM alpine AS second
COPY --from=first /a /a

RUN cat /a; \\
    echo b $(ls /sys/class/net) # {mark}
RUN echo c $(ls /sys/class/net)

# another
RUN echo d $(ls /sys/class/net)
LABEL {mark}=label
"""


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect(ENGINE) as connected:
        yield connected


@pytest.fixture
def mark() -> Iterator[str]:
    """A name for an image, and the end of that image."""
    chosen = f"watcher-test-{uuid.uuid4().hex[:12]}"
    yield chosen
    with closing(docker.DockerClient(base_url=ENGINE)) as engine:
        for image in engine.images.list(chosen):
            engine.images.remove(str(image.id), force=True)


def request(text: str, *lines: int) -> SolveRequest:
    return SolveRequest(
        context=MemorySource({}),
        dockerfile=MemorySource({"Dockerfile": text.encode()}),
        shared_key=uuid.uuid4().hex,
        exporter="",
        without_network=lines,
    )


async def devices(client: Client, asked: SolveRequest) -> dict[str, list[str]]:
    """What the steps that ran printed: letter -> devices."""
    events: list[Progress] = []
    await client.solve(asked, events.append)
    lines = [line.split() for each in events if isinstance(each, StepLog) for line in each.text.split("\n")]
    return {letter: sorted(names) for letter, *names in lines}


async def test_steps_of_these_lines_have_no_network_and_others_have_theirs(client: Client, mark: str) -> None:
    found = await devices(client, request(DOCKERFILE.format(mark=mark), 3, 7, 12))
    assert found["a"] == found["b"] == found["d"] == ["lo"]
    assert "eth0" in found["c"]
    # Who has a network is part of what the cache knows a step by; all else stays what it was.
    found = await devices(client, request(DOCKERFILE.format(mark=mark), 3, 12))
    assert found["a"] == ["lo"]  # as printed by the second step, which ran anew
    assert "eth0" in found["b"]
    assert await devices(client, request(DOCKERFILE.format(mark=mark), 3, 12)) == {}


async def test_the_image_is_the_one_of_a_build_that_nobody_directs(client: Client, mark: str) -> None:
    text = f'FROM alpine\nENV A=1\nRUN echo {mark} > /file\nCMD ["/file"]\nLABEL is={mark}\n'
    name = f"docker.io/library/{mark}"
    plain = replace(request(text), exporter="moby", names=(f"{name}:1",))
    await client.solve(plain, lambda _: None)
    result = await client.solve(
        replace(plain, names=(f"{name}:2",), without_network=(3,), shared_key=mark), lambda _: None
    )
    with closing(docker.DockerClient(base_url=ENGINE)) as engine:
        one, other = engine.images.get(f"{mark}:1"), engine.images.get(f"{mark}:2")
    assert other.id == result.image_id
    for key in ("Cmd", "Env", "Labels", "WorkingDir", "Entrypoint"):
        assert one.attrs["Config"][key] == other.attrs["Config"][key]
    assert len(one.attrs["RootFS"]["Layers"]) == len(other.attrs["RootFS"]["Layers"])


async def test_a_line_of_no_run_changes_nothing(client: Client, mark: str) -> None:
    text = f"FROM alpine\nENV A=1\nRUN echo a $(ls /sys/class/net) # {mark}\n"
    assert "eth0" in (await devices(client, request(text, 1, 2, 99)))["a"]


@pytest.mark.parametrize(
    "text",
    [
        "FRM scratch\n",
        "FROM alpine\nCOPY nothing /\nRUN true\n",
        "FROM scratch AS a\nFROM b.example.invalid/b\n",
        "FROM alpine\nRUN echo said; exit 3\n",
        "",
    ],
)
async def test_what_is_wrong_is_said_in_the_same_words(client: Client, text: str) -> None:
    failures = []
    for lines in ((), (2, 3)):
        with pytest.raises(SolveFailed) as caught:
            await client.solve(request(text, *lines), lambda _: None)
        reason = re.sub(r"ref \S+", "ref", caught.value.reason)  # a new one in each build
        failures.append((reason, caught.value.step, caught.value.log))
    assert failures[0] == failures[1]
    assert not client.closed


async def test_steps_are_told_once_and_by_their_names(client: Client, mark: str) -> None:
    events: list[Progress] = []
    await client.solve(request(f"FROM alpine\nRUN echo {mark}\nRUN echo more\n", 2), events.append)
    told = [each.step.name for each in events if isinstance(each, StepFinished) and "RUN" in each.step.name]
    assert told == [f"[2/3] RUN echo {mark}", "[3/3] RUN echo more"]


def steps(events: list[Progress]) -> list[str]:
    return [each.step.name for each in events if isinstance(each, StepFinished)]


def asked(events: list[Progress]) -> bool:
    """Whether the frontend read the Dockerfile."""
    return any("load build definition" in name for name in steps(events))


@pytest.mark.parametrize("lines", [(), (3,)])
async def test_a_dockerfile_is_read_once_while_its_context_is_read_every_time(
    client: Client, mark: str, lines: tuple[int, ...]
) -> None:
    text = f"FROM alpine\nCOPY . /\nRUN echo $(cat /a) $(ls /sys/class/net) # {mark}\n"
    first = replace(request(text, *lines), frontend_inputs="1", shared_key=mark)
    printed = []
    for number, made_from in enumerate("1112"):
        events: list[Progress] = []
        context = MemorySource({"a": f"version {number}".encode(), "b": b""})
        await client.solve(replace(first, context=context, frontend_inputs=made_from), events.append)
        printed += [each.text for each in events if isinstance(each, StepLog)]
        assert asked(events) is (number in {0, 3})
        assert "[3/3] RUN" in "".join(steps(events))
    assert [" ".join(each.split()[:2]) for each in printed] == [f"version {number}" for number in range(4)]
    assert all((each.split()[2:] == ["lo"]) is bool(lines) for each in printed)


async def test_another_request_is_another_dockerfile(client: Client, mark: str) -> None:
    text = f"FROM alpine AS a\nARG A\nRUN echo $A # {mark}\nFROM alpine AS b\nRUN echo last # {mark}\n"
    first = replace(request(text), frontend_inputs="1", shared_key=mark, target="a")
    for changed in (first, replace(first, build_args={"A": "1"}), replace(first, target="b")):
        events: list[Progress] = []
        await client.solve(changed, events.append)
        assert asked(events)


async def test_the_image_is_the_same_whether_the_dockerfile_was_read_or_not(
    client: Client, mark: str
) -> None:
    text = f'FROM alpine\nENV A=1\nCOPY . /\nCMD ["/file"]\nLABEL is={mark}\n'
    name = f"docker.io/library/{mark}"
    first = replace(request(text), exporter="moby", frontend_inputs="1", shared_key=mark)
    first = replace(first, context=MemorySource({"file": b"1"}))
    for number in (1, 2):
        events: list[Progress] = []
        await client.solve(replace(first, names=(f"{name}:{number}",)), events.append)
    assert not asked(events)
    with closing(docker.DockerClient(base_url=ENGINE)) as engine:
        one, other = engine.images.get(f"{mark}:1"), engine.images.get(f"{mark}:2")
    assert one.attrs["RootFS"]["Layers"] == other.attrs["RootFS"]["Layers"]
    for key in ("Cmd", "Env", "Labels", "WorkingDir", "Entrypoint"):
        assert one.attrs["Config"][key] == other.attrs["Config"][key]


async def test_after_a_failure_that_no_step_explains_the_dockerfile_is_read_again(
    client: Client, mark: str
) -> None:
    text = f"FROM alpine\nCOPY a b? /\nRUN cat /a; test -e /b1 # {mark}\n"
    first = replace(request(text), frontend_inputs="1", shared_key=mark)
    tries = [
        ({"a": b"1", "b1": b""}, True, True),
        ({"a": b"2", "b2": b""}, False, False),  # a step failed and said something
        ({"a": b"3", "b1": b""}, True, False),
        ({"b1": b""}, False, False),  # COPY failed
        ({"a": b"5", "b1": b""}, True, True),
    ]
    for files, works, anew in tries:
        events: list[Progress] = []
        solving = client.solve(replace(first, context=MemorySource(files)), events.append)
        if works:
            await solving
        else:
            with pytest.raises(SolveFailed):
                await solving
        assert asked(events) is anew


async def test_what_lies_elsewhere_is_looked_at_every_time(client: Client, mark: str) -> None:
    text = f"FROM alpine\nADD https://a.example.invalid/{mark} /\n"
    for _ in range(2):
        events: list[Progress] = []
        with pytest.raises(SolveFailed):
            await client.solve(replace(request(text), frontend_inputs="1", shared_key=mark), events.append)
        assert asked(events)
