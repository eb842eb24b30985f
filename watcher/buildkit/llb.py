"""Change what BuildKit's frontend makes of a Dockerfile: a definition (LLB).

Operations name their inputs by the digest of their bytes, and each follows its inputs (moby/buildkit,
client/llb/marshal.go): so all that follow a changed one are changed too. The others keep their bytes, and all
keep what is not read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping

from watcher.buildkit.messages.llb_pb2 import NONE, Definition, Op

_MAIN = "local://context"
_HINT = "local.sharedkeyhint"
_SELECTION = ("local.followpaths", "local.includepattern", "local.excludepatterns")
_KINDS = range(2, 10)  # fields of an operation, one of which is its kind (solver/pb/ops.proto, Op)


def without_network(definition: Definition, lines: Collection[int]) -> Definition | None:
    """`definition` with no network for the exec steps of these lines; None if none of them has one."""
    wanted = {
        digest
        for digest, places in definition.Source.locations.items()
        for place in places.locations
        if any(each.start.line in lines for each in place.ranges)
    }

    def cut(digest: str, op: Op) -> bool:
        if digest not in wanted or not op.HasField("exec") or op.exec.network == NONE:
            return False
        op.exec.network = NONE
        return True

    return rewrite_ops(definition, cut)


def find_first_lines(definition: Definition) -> dict[str, int]:
    """First line of each operation's instruction: digest -> line, for those that come from one."""
    return {
        digest: min(each.start.line for place in places.locations for each in place.ranges)
        for digest, places in definition.Source.locations.items()
        if any(place.ranges for place in places.locations)
    }


def redirect_sources(definition: Definition, markers: Mapping[str, str]) -> Definition | None:
    """`definition` with what it reads below a marker of the main context read from another context.

    `markers`: absolute path -> the other context's name (`dir-name` of the session). None: nothing does.
    """
    made: dict[str, bytes] = {}  # marker -> the source of its context
    ops = {digest_of(data): Op.FromString(data) for data in definition.ops}

    def other(marker: str, main: str) -> str:
        """Return the digest of the source that takes the place of the main context's."""
        if marker not in made:
            op = Op.FromString(ops[main].SerializeToString())
            name = markers[marker]
            op.source.identifier = f"local://{name}"
            for attr in _SELECTION:
                op.source.attrs.pop(attr, None)
            op.source.attrs[_HINT] = name
            made[marker] = op.SerializeToString()
        return digest_of(made[marker])

    def move(_: str, op: Op) -> bool:
        moved = False
        for action in op.file.actions:
            if action.HasField("copy") and (found := _split_marker(action.copy.src, markers)):
                source = op.inputs[action.secondaryInput]
                if (ops.get(source.digest) or Op()).source.identifier == _MAIN:
                    source.digest = other(found[0], source.digest)
                action.copy.src = found[1]
                moved = True
        for mount in op.exec.mounts:
            if mount.input >= 0 and (found := _split_marker(mount.selector, markers)):
                digest = other(found[0], op.inputs[mount.input].digest)
                mount.input = len(op.inputs)
                op.inputs.add().digest = digest
                mount.selector = found[1]
                moved = True
        return moved

    changed = rewrite_ops(definition, move)
    if changed is None:
        return None
    changed.ops[:] = [*made.values(), *changed.ops]
    main = next((digest for digest, op in ops.items() if op.source.identifier == _MAIN), "")
    for data in made.values():
        if main in definition.metadata:
            changed.metadata[digest_of(data)].CopyFrom(definition.metadata[main])
    return changed


def _split_marker(path: str, markers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the marker above a path, and the path from there on."""
    for marker in markers:
        if path == marker or path.startswith(f"{marker}/"):
            return marker, path[len(marker) :] or "/"
    return None


def rewrite_ops(definition: Definition, change: Callable[[str, Op], bool]) -> Definition | None:
    """Return a copy with operations changed by `change`, which returns whether it did; None if none was.

    Bytes stay as they are, or become what Go would write: newer BuildKits name a step by the digest of what
    they marshal again, not of what they were sent (moby/buildkit, solver/llbsolver/vertex.go,
    `recomputeDigests`), and fields that are not known here would be written in another order.
    """
    renamed: dict[str, str] = {}
    ops: list[bytes] = []
    for data in definition.ops:
        digest, op = digest_of(data), Op.FromString(data)
        touched = change(digest, op)
        written = _as_go_writes(op) if touched else data
        for each in op.inputs:
            if each.digest in renamed:
                written = written.replace(each.digest.encode(), renamed[each.digest].encode())
        if written != data:
            renamed[digest] = digest_of(written)
        ops.append(written)
    if not renamed:
        return None
    changed = Definition.FromString(definition.SerializeToString())
    changed.ops[:] = ops
    for old, new in renamed.items():
        if old in changed.metadata:
            changed.metadata[new].CopyFrom(changed.metadata[old])
            del changed.metadata[old]
        if old in changed.Source.locations:
            changed.Source.locations[new].CopyFrom(changed.Source.locations[old])
            del changed.Source.locations[old]
    return changed


def _as_go_writes(op: Op) -> bytes:
    """The bytes that Go gives an operation: by number, but what kind of operation it is behind all else."""
    pieces = list(_split_fields(op.SerializeToString(deterministic=True)))
    pieces.sort(key=lambda piece: (piece[0] in _KINDS, piece[0]))
    return b"".join(data for _, data in pieces)


def _split_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message, each with its number (protobuf's encoding: a key, then a value)."""
    at = 0
    while at < len(data):
        start = at
        key, at = _read_varint(data, at)
        match key & 7:
            case 0:
                _, at = _read_varint(data, at)
            case 2:
                length, at = _read_varint(data, at)
                at += length
            case kind:
                at += 8 if kind == 1 else 4
        yield key >> 3, data[start:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


def digest_of(data: bytes) -> str:
    """Return the name of an operation."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
