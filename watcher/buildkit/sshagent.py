"""Serves `moby.sshforward.v1.SSH`: lets the steps of a build use the user's SSH agent.

A step with `RUN --mount=type=ssh` finds a socket; each connection to it becomes a call with messages that
carry the bytes of the agent's protocol (draft-miller-ssh-agent, section 3). A build can list the keys and
request signatures, nothing else: whatever would change the agent is answered with a failure on the agent's
behalf (moby/buildkit, session/sshforward/sshprovider/agentprovider.go, does the same).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from watcher.buildkit.errors import RpcError
from watcher.buildkit.grpc import NOT_FOUND, UNAVAILABLE, Handler, ServerCall, answer_unary, frame_message
from watcher.buildkit.messages.ssh_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse

_CHECK = "/moby.sshforward.v1.SSH/CheckAgent"
_FORWARD = "/moby.sshforward.v1.SSH/ForwardAgent"

_ID = "buildkit.ssh.id"  # metadata of a call: which of the agents
_DEFAULT = "default"  # what `RUN --mount=type=ssh` means when it names none
_ALLOWED = frozenset((11, 13))  # SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST
_FAILURE = b"\0\0\0\1\5"  # SSH_AGENT_FAILURE
_LENGTH = 4  # bytes of the length before a message
_LONGEST = 256 * 1024  # bytes of a message that OpenSSH's agent takes


def ssh_agents(sockets: Mapping[str, Path]) -> dict[str, Handler]:
    """Return the handlers of `moby.sshforward.v1.SSH` for agents by id; none without agents.

    An engine that finds no handler reports that no agent is forwarded.
    """

    async def connect(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        path = sockets.get(name)
        if path is None:
            raise RpcError(NOT_FOUND, f"no SSH agent {name!r} is forwarded to this build")
        try:
            return await asyncio.open_unix_connection(path)
        except OSError as error:
            text = f"the SSH agent {name!r} at {path} does not answer: {error.strerror}"
            raise RpcError(UNAVAILABLE, text) from error

    async def check(request: bytes) -> bytes:
        _, writer = await connect(CheckAgentRequest.FromString(request).ID or _DEFAULT)
        writer.close()
        return CheckAgentResponse().SerializeToString()

    async def forward(call: ServerCall) -> None:
        name = call.metadata.get(_ID, [""])[0] or _DEFAULT
        reader, writer = await connect(name)
        requests = _Requests(call)
        try:
            while (request := await requests.next()) is not None:
                answer = _FAILURE
                if request[_LENGTH] in _ALLOWED:
                    writer.write(request)
                    answer = await reader.readexactly(_LENGTH)
                    answer += await reader.readexactly(int.from_bytes(answer, "big"))
                await call.send(frame_message(BytesMessage(data=answer).SerializeToString()))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise RpcError(UNAVAILABLE, f"the SSH agent {name!r} went away: {error}") from error
        finally:
            writer.close()

    return {_CHECK: answer_unary(check), _FORWARD: forward} if sockets else {}


class _Requests:
    """The agent's messages in a call, which can be cut anywhere."""

    def __init__(self, call: ServerCall) -> None:
        self._call = call
        self._bytes = bytearray()

    async def next(self) -> bytes | None:
        """Return the next message with its length; None at the end. Raises `RpcError` for a wrong one."""
        while (end := self._end_connection()) is None:
            batch = await self._call.receive()
            if not batch:
                return None
            self._bytes += b"".join(BytesMessage.FromString(message).data for message in batch)
        message = bytes(self._bytes[:end])
        del self._bytes[:end]
        return message

    def _end_connection(self) -> int | None:
        """Return where the first message ends, None while it is not complete."""
        if len(self._bytes) < _LENGTH:
            return None
        size = int.from_bytes(self._bytes[:_LENGTH], "big")
        if not 0 < size <= _LONGEST:
            raise RpcError(UNAVAILABLE, f"a build sent its SSH agent a message of {size} bytes")
        return _LENGTH + size if len(self._bytes) >= _LENGTH + size else None
