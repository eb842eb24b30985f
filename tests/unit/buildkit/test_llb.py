"""Definitions: taking the network from single steps, and building the same again in another session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.buildkit.frontend_cache import bind_to_session
from watcher.buildkit.llb import digest_of, redirect_sources, without_network
from watcher.buildkit.messages.llb_pb2 import (
    NONE,
    Definition,
    ExecOp,
    Input,
    Location,
    Op,
    Position,
    Range,
    SourceOp,
)

# An unknown field of an operation: number 11, four bytes long.
UNREAD = b"\x5a\x04kept"


@st.composite
def definitions(draw: st.DrawFn) -> tuple[Definition, list[int]]:
    """A graph with one operation a line, and which of them are exec ones (lines are counted from 1)."""
    made, execs = Definition(), []
    digests: list[str] = []
    for line in range(1, draw(st.integers(1, 8)) + 1):
        op = Op()
        kind = draw(st.sampled_from(("exec", "source", "other")))
        for digest in draw(st.lists(st.sampled_from(digests), max_size=3)) if digests else ():
            op.inputs.add(digest=digest, index=line)
        if kind == "exec":
            op.exec.CopyFrom(ExecOp())
            execs.append(line)
        elif kind == "source":
            names = draw(st.sets(st.sampled_from(("local.session", "oci.session", "local.unique", "other"))))
            op.source.CopyFrom(SourceOp(identifier="local://c", attrs=dict.fromkeys(names, "before")))
        data = op.SerializeToString() + UNREAD + bytes((0x60, line))
        digest = digest_of(data)
        digests.append(digest)
        made.ops.append(data)
        made.metadata[digest].SetInParent()
        place = Location(ranges=[Range(start=Position(line=line), end=Position(line=line))])
        made.Source.locations[digest].locations.append(place)
    return made, execs


@given(definitions(), st.sets(st.integers(0, 9)))
def test_exactly_the_exec_steps_of_these_lines_lose_their_network(
    case: tuple[Definition, list[int]], lines: set[int]
) -> None:
    before, execs = case
    kept = before.SerializeToString(deterministic=True)
    after = without_network(before, lines)
    assert before.SerializeToString(deterministic=True) == kept
    if not lines & set(execs):
        assert after is None
        return
    assert after is not None
    names = {digest_of(old): digest_of(new) for old, new in zip(before.ops, after.ops, strict=True)}
    for number, (old, new) in enumerate(zip(before.ops, after.ops, strict=True), 1):
        was, now = Op.FromString(old), Op.FromString(new)
        assert (now.exec.network == NONE) is (number in lines and number in execs)
        assert [(names[each.digest], each.index) for each in was.inputs] == [
            (each.digest, each.index) for each in now.inputs
        ]
        assert UNREAD in new
        assert digest_of(new) in after.metadata
        assert after.Source.locations[digest_of(new)] == before.Source.locations[digest_of(old)]
    assert set(after.metadata) == set(after.Source.locations) == set(names.values())
    assert without_network(after, lines) is None


@given(definitions())
def test_in_another_session_a_definition_reads_from_that_and_is_the_same_otherwise(
    case: tuple[Definition, list[int]],
) -> None:
    before, _ = case
    kept = before.SerializeToString(deterministic=True)
    after = bind_to_session(before, "new")
    assert before.SerializeToString(deterministic=True) == kept
    names = {digest_of(old): digest_of(new) for old, new in zip(before.ops, after.ops, strict=True)}
    for old, new in zip(before.ops, after.ops, strict=True):
        was, now = Op.FromString(old), Op.FromString(new)
        for name, value in now.source.attrs.items():
            if name.endswith(".session"):
                assert value == "new"
            else:
                assert (value == "before") is (name == "other")
        assert [names[each.digest] for each in was.inputs] == [each.digest for each in now.inputs]
        assert UNREAD in new
        assert was.HasField("exec") is now.HasField("exec")
    assert set(after.metadata) == set(after.Source.locations) == set(names.values())


def test_what_is_read_below_a_marker_is_read_from_the_other_context() -> None:
    made = Definition()

    def add(op: Op) -> str:
        data = op.SerializeToString() + UNREAD
        made.ops.append(data)
        made.metadata[digest_of(data)].SetInParent()
        return digest_of(data)

    attrs = {"local.session": "s", "local.followpaths": "[]", "local.sharedkeyhint": "context"}
    main = add(Op(source=SourceOp(identifier="local://context", attrs=attrs)))
    base = add(Op(source=SourceOp(identifier="docker-image://alpine")))
    copy = Op(inputs=[Input(digest=base), Input(digest=main)])
    copy.file.actions.add(secondaryInput=1).copy.src = "/.m0/a"
    copied = add(copy)
    run = Op(inputs=[Input(digest=copied), Input(digest=main)])
    run.exec.mounts.add(input=0)
    run.exec.mounts.add(input=1, selector="/.m0")
    run.exec.mounts.add(input=1, selector="/x")
    ran = add(run)
    plain = Op(inputs=[Input(digest=ran), Input(digest=main)])
    plain.file.actions.add(secondaryInput=1).copy.src = "/.m01/a"
    add(plain)

    changed = redirect_sources(made, {"/.m0": "shared"})
    assert changed is not None
    ops = [Op.FromString(data) for data in changed.ops]
    names = {digest_of(data): op.source.identifier for data, op in zip(changed.ops, ops, strict=True)}
    source, _, _, copy, run, plain = ops
    assert (source.source.identifier, dict(source.source.attrs)) == (
        "local://shared",
        {"local.session": "s", "local.sharedkeyhint": "shared"},
    )
    assert (names[copy.inputs[1].digest], copy.file.actions[0].copy.src) == ("local://shared", "/a")
    assert [names[each.digest] for each in run.inputs] == ["", "local://context", "local://shared"]
    assert [(each.input, each.selector) for each in run.exec.mounts] == [(0, ""), (2, "/"), (1, "/x")]
    assert (names[plain.inputs[1].digest], plain.file.actions[0].copy.src) == ("local://context", "/.m01/a")
    seen: set[str] = set()
    for data, op in zip(changed.ops, ops, strict=True):  # each after its inputs, and none is lost
        assert {each.digest for each in op.inputs} <= seen
        seen.add(digest_of(data))
        assert UNREAD in data
    assert set(changed.metadata) == seen
    assert redirect_sources(made, {"/.other": "x"}) is None


def test_a_changed_operation_has_the_bytes_that_go_would_give_it() -> None:
    names = ("local.unique", "zeta", "local.session", "alpha", "mid")
    op = Op(source=SourceOp(identifier="local://context", attrs=dict.fromkeys(names, "x")))
    made = Definition(ops=[op.SerializeToString()])
    (changed,) = bind_to_session(made, "session").ops
    assert changed == Op.FromString(changed).SerializeToString(deterministic=True)
    assert [changed.index(name.encode()) for name in sorted(names)] == sorted(
        changed.index(name.encode()) for name in names
    )


def test_the_kind_of_an_operation_stands_behind_its_other_fields_as_go_has_it() -> None:
    constraints = b"\x5a\x00"  # field 11, empty: Go puts it before the source, which is one of several kinds
    source = Op(source=SourceOp(identifier="local://context", attrs={"local.session": "x"}))
    (changed,) = bind_to_session(Definition(ops=[constraints + source.SerializeToString()]), "y").ops
    source.source.attrs["local.session"] = "y"
    assert changed == constraints + source.SerializeToString()


@pytest.mark.parametrize(
    "unknown",
    [
        b"\x78\x96\x01",  # field 15, a varint of two bytes
        b"\x79" + bytes(8),  # field 15, 64 bits
        b"\x7d" + bytes(4),  # field 15, 32 bits
        b"\x7a\x81\x01" + bytes(129),  # field 15, more bytes than one byte of length can say
    ],
)
def test_fields_that_are_not_known_here_keep_their_bytes(unknown: bytes) -> None:
    """A newer frontend's: whatever their type, they are told apart from the fields around them."""
    known = Op(source=SourceOp(identifier="local://context", attrs={"local.session": "x"}))
    made = Definition(ops=[unknown + known.SerializeToString() + b"\x82\x01\x00"])  # and field 16, empty
    (changed,) = bind_to_session(made, "y").ops
    known.source.attrs["local.session"] = "y"
    assert changed == unknown + b"\x82\x01\x00" + known.SerializeToString()
