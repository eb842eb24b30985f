"""Every error that this client raises on purpose.

=====================  ====================================================================
`ConnectError`         nothing answers at the address, it refuses, or the connection was lost
`SolveFailed`          the build ran and failed: a step, a missing image, a wrong Dockerfile
`ContextChanged`       a file of the context changed while it was being sent
`ProtocolError`        the other side broke HTTP/2, gRPC or BuildKit's own protocol
`RpcError`             a call other than a build was answered with a gRPC error
=====================  ====================================================================
"""

from __future__ import annotations


class BuildkitError(Exception):
    """Base of all errors of this package."""


class ConnectError(BuildkitError):
    """No usable server at the address, or the connection was lost. Reconnecting can help."""


class ProtocolError(BuildkitError):
    """The other side sent what HTTP/2, gRPC or BuildKit's protocols do not allow at this point."""


class RpcError(BuildkitError):
    """A call was answered with a gRPC error: `code` is its number, `message` its text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message or f"gRPC status {code}")
        self.code = code
        self.message = message


class ContextChanged(BuildkitError):
    """The file `path` changed after the scan: the build cannot be used, and needs a new snapshot."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} changed while it was sent to the build")
        self.path = path


class SolveFailed(BuildkitError):
    """A build failed. `reason` is BuildKit's own text; its wording differs between versions.

    `step` is the name of the step that failed, empty if none began; `log` are the lines that it wrote, in
    order. `line` is the first line of its instruction in the Dockerfile, 0 if unknown.
    """

    def __init__(self, reason: str, *, step: str = "", log: tuple[str, ...] = (), line: int = 0) -> None:
        super().__init__(f"{step}: {reason}" if step else reason)
        self.reason = reason
        self.step = step
        self.log = log
        self.line = line
