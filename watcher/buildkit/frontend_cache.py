"""Reuse what the frontend made of a Dockerfile in the next build: everything about that is here.

The frontend's result is a definition (LLB), which BuildKit solves again with the contexts of another session.
The caller decides when two builds have equal inputs, see `SolveRequest.frontend_inputs`.
"""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from watcher.buildkit.llb import rewrite_ops
from watcher.buildkit.messages.llb_pb2 import Definition, Op

# The attributes by which a source belongs to one client's session (moby/buildkit, solver/pb/attr.go).
_SESSIONS = ("local.session", "oci.session")
_UNIQUE = "local.unique"
_REUSABLE = ("docker-image://", "local://")


@dataclass(frozen=True, slots=True)
class FrontendResult:
    """A definition, and metadata such as the image's configuration."""

    definition: Definition
    metadata: Mapping[str, bytes]

    @property
    def is_reusable(self) -> bool:
        """Return whether the frontend read nothing outside of the build, such as a URL."""
        sources = [op.source for op in map(Op.FromString, self.definition.ops) if op.HasField("source")]
        return bool(sources) and all(each.identifier.startswith(_REUSABLE) for each in sources)


class FrontendCache:
    """Holds the last reusable result for one context."""

    def __init__(self) -> None:
        self._key: Hashable | None = None
        self._result: FrontendResult | None = None

    def find(self, key: Hashable | None, session: str) -> FrontendResult | None:
        """Return the result for `key`, with the contexts of this session; None if it is not here."""
        if key is None or self._result is None or key != self._key:
            return None
        return FrontendResult(bind_to_session(self._result.definition, session), self._result.metadata)

    def store(self, key: Hashable | None, result: FrontendResult) -> None:
        """Hold a result if it can be reused, instead of the one before; without a key nothing changes."""
        if key is not None:
            self._key, self._result = key, result if result.is_reusable else None

    def clear(self) -> None:
        """Forget the result."""
        self._result = None


def bind_to_session(definition: Definition, session: str) -> Definition:
    """Return `definition` with its contexts read from this session, which makes them other sources."""

    def move(_: str, op: Op) -> bool:
        attrs = op.source.attrs
        new = {name: session for name in _SESSIONS if name in attrs}
        if _UNIQUE in attrs:
            new[_UNIQUE] = secrets.token_hex(16)
        if new:
            attrs.update(new)
        return bool(new)

    return rewrite_ops(definition, move) or definition
