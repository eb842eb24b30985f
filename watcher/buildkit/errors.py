"""Every error that this client raises on purpose.

=====================  ====================================================================
`ConnectError`         nothing answers at the address, it refuses, or the connection was lost
`SolveFailed`          the build ran and failed: a step, a missing image, a wrong Dockerfile
`ContextChanged`       a file of the context changed while it was being sent
`ProtocolError`        the other side broke HTTP/2, gRPC or BuildKit's own protocol
`RpcError`             a call other than a build was answered with a gRPC error
`IgnorePatternError`   a pattern of an ignore file cannot be used
=====================  ====================================================================
"""

from __future__ import annotations


class BuildkitError(Exception):
    """Base of all errors of this package."""


class IgnorePatternError(BuildkitError):
    """A pattern cannot be used. `pattern` is its text, `rule` what is wrong with it."""

    def __init__(self, pattern: str, rule: str) -> None:
        super().__init__(f"ignore pattern {pattern!r}: {rule}")
        self.pattern = pattern
        self.rule = rule
