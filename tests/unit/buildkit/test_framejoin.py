"""Frames that are joined mean what they meant apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived
from hypothesis import given
from hypothesis import strategies as st

from watcher.buildkit.framejoin import FrameJoiner

LARGEST = 40
Frame = tuple[bytes, bytes]  # type, flags and stream; content

HEADS = st.builds(
    lambda kind, flags, stream: bytes((kind, flags)) + stream.to_bytes(4, "big"),
    st.sampled_from([0, 0, 0, 0, 1, 3, 8]),
    st.sampled_from([0, 0, 0, 1, 8]),
    st.sampled_from([1, 1, 3]),
)
FRAMES = st.lists(st.tuples(HEADS, st.binary(max_size=LARGEST)), max_size=20)


def wire(frames: list[Frame]) -> bytes:
    return b"".join(len(content).to_bytes(3, "big") + head + content for head, content in frames)


def read(data: bytes) -> Iterator[Frame]:
    while data:
        stop = 9 + int.from_bytes(data[:3], "big")
        assert stop <= len(data), "only whole frames are handed on"
        yield data[3:9], data[9:stop]
        data = data[stop:]


def plain(head: bytes) -> bool:
    return head.startswith(b"\0\0")


def meaning(frames: Iterator[Frame] | list[Frame]) -> list[Frame]:
    """The frames with all plain data that stands together put together."""
    found: list[Frame] = []
    for head, content in frames:
        if found and plain(head) and found[-1][0] == head:
            found[-1] = head, found[-1][1] + content
        else:
            found.append((head, content))
    return found


@given(FRAMES, st.lists(st.integers(1, 60), max_size=30), st.sampled_from([b"", b"a preface of twenty four"]))
def test_however_the_bytes_arrive_they_mean_the_same(
    frames: list[Frame], cuts: list[int], preface: bytes
) -> None:
    data, joiner = preface + wire(frames), FrameJoiner(preface=len(preface), largest=LARGEST)
    out = b""
    for cut in [*cuts, len(data)]:
        out += joiner.feed(data[:cut])
        data = data[cut:]
    assert out.startswith(preface)
    made = list(read(out[len(preface) :]))
    assert meaning(made) == meaning(frames)
    assert all(len(content) <= LARGEST for _, content in made)


@given(FRAMES)
def test_what_arrives_together_becomes_as_few_frames_as_can_be(frames: list[Frame]) -> None:
    made = list(read(FrameJoiner(preface=0, largest=LARGEST).feed(wire(frames))))
    for (head, content), (after, more) in pairwise(made):
        if plain(head) and head == after:
            assert len(content) + len(more) > LARGEST


@given(FRAMES, st.integers(0, 1000))
def test_a_frame_that_is_too_large_reaches_h2_as_it_is(frames: list[Frame], cut: int) -> None:
    last = (LARGEST + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1" + b"x" * 10
    joiner, data = FrameJoiner(preface=0, largest=LARGEST), wire(frames) + last
    assert (joiner.feed(data[:cut]) + joiner.feed(data[cut:])).endswith(last)
    assert joiner.feed(b"and more") == b"and more"


@pytest.mark.parametrize("joined", [False, True])
def test_h2_counts_the_same_for_its_windows(joined: bool) -> None:
    client, server = (H2Connection(H2Configuration(client_side=side)) for side in (True, False))
    client.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
    for number in range(100):
        client.send_data(1, b"%d" % number)
    data = client.data_to_send()
    events = server.receive_data(FrameJoiner(preface=24, largest=16384).feed(data) if joined else data)
    found = [event for event in events if isinstance(event, DataReceived)]
    assert len(found) == (1 if joined else 100)
    assert sum(event.flow_controlled_length for event in found) == 190
    assert b"".join(event.data for event in found) == b"".join(b"%d" % number for number in range(100))
    assert server.remote_flow_control_window(1) == 65535 - 190
