"""The header fields that the front adds when asked to. By default it adds none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExtraHeaders:
    """Headers to add: `forwarded` names the client to the app, `revision` the live revision to the client."""

    forwarded: bool = False  # X-Forwarded-For, -Proto, -Port to each request
    revision: bool = False  # X-Watcher-Revision and Server-Timing to each final response

    def to_request(self, head: bytes, peer: str, port: int) -> bytes:
        """`head` with the client's address and the port that it called; fields that it has stay."""
        lines = f"X-Forwarded-For: {peer}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: {port}\r\n\r\n"
        return head[:-2] + lines.encode("ascii")

    def to_response(self, head: bytes, revision: str, held: float) -> bytes:
        """`head` with the revision that answered and the time (seconds) that the request was held."""
        lines = f"X-Watcher-Revision: {revision}\r\nServer-Timing: held;dur={held * 1000:.1f}\r\n\r\n"
        return head[:-2] + lines.encode("latin-1")
