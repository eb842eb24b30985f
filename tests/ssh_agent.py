"""An SSH agent of one key that signs nothing, and notes what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

REQUEST_IDENTITIES, IDENTITIES_ANSWER, SIGN_REQUEST, FAILURE = 11, 12, 13, 5
REMOVE_ALL_IDENTITIES = 19


def message(kind: int, body: bytes = b"") -> bytes:
    """A message of the agent's protocol (draft-miller-ssh-agent, section 3)."""
    return (1 + len(body)).to_bytes(4, "big") + bytes((kind,)) + body


ONE_KEY = message(IDENTITIES_ANSWER, b"\0\0\0\1" + b"\0\0\0\3key" + b"\0\0\0\7comment")


@asynccontextmanager
async def agent(path: Path) -> AsyncIterator[list[int]]:
    """The agent listens at `path` while the context lasts; gives the kinds of what it was asked."""
    asked: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while length := await reader.readexactly(4):
                body = await reader.readexactly(int.from_bytes(length, "big"))
                asked.append(body[0])
                writer.write(ONE_KEY if body[0] == REQUEST_IDENTITIES else message(FAILURE))
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield asked
    finally:
        server.close()
