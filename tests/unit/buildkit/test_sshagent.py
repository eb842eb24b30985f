"""A build that uses an SSH agent: what it may ask, and what it is told when there is none."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from tests.ssh_agent import (
    FAILURE,
    ONE_KEY,
    REMOVE_ALL_IDENTITIES,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    agent,
    message,
)
from tests.unit.buildkit.fake_engine import Build, FakeEngine, running
from tests.unit.buildkit.test_solve import IMAGE, ignore, request
from watcher.buildkit.errors import RpcError
from watcher.buildkit.grpc import frame_message
from watcher.buildkit.messages.ssh_pb2 import BytesMessage, CheckAgentRequest

CHECK, FORWARD = "/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"


async def check(build: Build, name: str) -> None:
    await build.session.unary(CHECK, CheckAgentRequest(ID=name).SerializeToString())


async def talk(build: Build, pieces: list[bytes], expected: int, name: str | None = None) -> bytes:
    """Send the pieces one by one; what comes back, up to `expected` bytes or the end."""
    answer = b""
    with build.session.open(FORWARD, [("buildkit.ssh.id", name)] if name else []) as call:
        for piece in pieces:
            await call.send(frame_message(BytesMessage(data=piece).SerializeToString()))
        while len(answer) < expected and (batch := await call.receive()):
            answer += b"".join(BytesMessage.FromString(each).data for each in batch)
        call.end()
    return answer


@given(
    kinds=st.lists(
        st.sampled_from([REQUEST_IDENTITIES, SIGN_REQUEST, REMOVE_ALL_IDENTITIES, 17, 25]), min_size=1
    ),
    cuts=st.sets(st.integers(1, 60)),
)
def test_a_build_may_list_keys_and_sign_wherever_its_messages_are_cut(
    kinds: list[int], cuts: set[int]
) -> None:
    sent = b"".join(message(kind, b"body" * (kind == SIGN_REQUEST)) for kind in kinds)
    edges = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    expected = b"".join(ONE_KEY if kind == REQUEST_IDENTITIES else message(FAILURE) for kind in kinds)
    got: list[bytes] = []

    async def script(build: Build) -> dict[str, str]:
        await check(build, "default")
        got.append(await talk(build, pieces, len(expected)))
        return IMAGE

    async def main() -> list[int]:
        with tempfile.TemporaryDirectory() as folder:
            async with agent(Path(folder) / "agent") as asked, running(FakeEngine(script)) as (client, _):
                await client.solve(request(ssh={"default": Path(folder) / "agent"}), ignore)
        return asked

    asked = asyncio.run(main())
    assert got == [expected]
    assert asked == [kind for kind in kinds if kind in (REQUEST_IDENTITIES, SIGN_REQUEST)]


async def test_agents_go_by_their_ids(tmp_path: Path):
    answers: list[bytes] = []
    refusals: list[str] = []

    async def script(build: Build) -> dict[str, str]:
        answers.append(await talk(build, [message(REQUEST_IDENTITIES)], len(ONE_KEY), "work"))
        for name in ("default", "gone"):
            try:
                await check(build, name)
            except RpcError as error:
                refusals.append(error.message)
        return IMAGE

    async with agent(tmp_path / "agent"), running(FakeEngine(script)) as (client, _):
        await client.solve(request(ssh={"work": tmp_path / "agent", "gone": tmp_path / "gone"}), ignore)
    assert answers == [ONE_KEY]
    absent, silent = refusals
    assert missing(absent, "no SSH agent", "default") == []
    assert missing(silent, "SSH agent", "gone", tmp_path / "gone", "No such file or directory") == []


@pytest.mark.parametrize("sent", [b"\0\0\0\0", b"\xff\xff\xff\xff\x0b"])
async def test_what_is_no_message_of_the_protocol_ends_the_connection(tmp_path: Path, sent: bytes):
    got: list[str] = []

    async def script(build: Build) -> dict[str, str]:
        try:
            await talk(build, [sent], 1)
        except RpcError as error:
            got.append(error.message)
        return IMAGE

    async with agent(tmp_path / "agent") as asked, running(FakeEngine(script)) as (client, _):
        await client.solve(request(ssh={"default": tmp_path / "agent"}), ignore)
    size = int.from_bytes(sent[:4], "big")
    (said,) = got
    assert missing(said, "SSH agent", size, "bytes") == []
    assert asked == []


async def test_an_agent_that_goes_away_in_the_middle_is_told(tmp_path: Path):
    got: list[str] = []

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def script(build: Build) -> dict[str, str]:
        try:
            await talk(build, [message(REQUEST_IDENTITIES)], 1)
        except RpcError as error:
            got.append(error.message)
        return IMAGE

    server = await asyncio.start_unix_server(hang_up, tmp_path / "agent")
    async with running(FakeEngine(script)) as (client, _):
        await client.solve(request(ssh={"default": tmp_path / "agent"}), ignore)
    server.close()
    assert len(got) == 1
    assert got[0].startswith("the SSH agent 'default' went away: ")
