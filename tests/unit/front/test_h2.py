"""HTTP/2 is followed by the heads of its frames only."""

from __future__ import annotations

from itertools import pairwise

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.front.h2 import PREFACE, Streams, goaway

pytestmark = pytest.mark.libraries


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


SETTINGS = frame(4, 0, 0)
OPEN = frame(1, 0x4, 1, b"headers")
LAST_DATA = frame(0, 0x1, 1, b"x" * 100)


def streams(*, client: bytes = b"", server: bytes = b"") -> Streams:
    it = Streams()
    it.from_client(PREFACE + client)
    it.from_server(server)
    return it


def test_a_stream_is_open_until_the_server_has_ended_it() -> None:
    it = streams(client=SETTINGS + OPEN, server=SETTINGS)
    assert (it.open, it.last) == (1, 1)
    it.from_client(frame(0, 0x1, 1, b"body"))
    assert it.open == 1
    it.from_client(frame(1, 0x5, 3, b"next"))
    assert (it.open, it.last) == (2, 3)
    it.from_server(LAST_DATA)
    assert it.open == 1
    it.from_server(frame(3, 0, 3, b"\0\0\0\0"))
    assert it.open == 0
    it.from_client(frame(1, 0x5, 1, b"trailers of a stream that is over"))
    assert it.open == 0


def test_a_stream_that_the_client_gives_up_is_over() -> None:
    it = streams(client=OPEN)
    it.from_client(frame(3, 0, 1, b"\0\0\0\x08"))
    assert it.open == 0


def test_nothing_is_put_in_before_the_servers_first_frame_or_into_a_header_block() -> None:
    it = streams()
    assert it.boundary == -1
    it.from_server(SETTINGS)
    assert it.boundary == len(SETTINGS)
    head, rest = frame(1, 0, 1, b"part"), frame(9, 0x4, 1, b"rest")
    it.from_server(head)
    assert (it.boundary, it.at_boundary) == (0, False)
    it.from_server(rest[:5])
    assert it.boundary == -1
    it.from_server(rest[5:])
    assert it.at_boundary
    assert it.boundary == len(rest) - 5


FRAMES = st.builds(
    frame,
    st.sampled_from([0, 1, 2, 3, 4, 6, 8, 9, 0x21]),
    st.sampled_from([0, 0x1, 0x4, 0x5]),
    st.integers(0, 9),
    st.binary(max_size=40),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 300), max_size=12))
def test_frames_are_followed_however_they_are_cut(frames: list[bytes], steps: list[int]) -> None:
    data = SETTINGS + b"".join(frames)
    whole = streams(client=data, server=data)
    cut = Streams()
    places = sorted({0, len(data), *(at for at in steps if at < len(data))})
    cut.from_client(PREFACE[:7])
    cut.from_client(PREFACE[7:])
    ends = [0]
    for each in (SETTINGS, *frames):
        ends.append(ends[-1] + len(each))
    for begin, end in pairwise(places):
        cut.from_client(data[begin:end])
        cut.from_server(data[begin:end])
        if cut.boundary > 0:
            assert begin + cut.boundary in ends
    assert (cut.open, cut.last, cut.at_boundary) == (whole.open, whole.last, whole.at_boundary)


def test_a_real_client_understands_the_frames() -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
    announced, final = (client.receive_data(SETTINGS + goaway())[-1], client.receive_data(goaway(1))[-1])
    assert isinstance(announced, h2.events.ConnectionTerminated)
    assert isinstance(final, h2.events.ConnectionTerminated)
    assert (announced.last_stream_id, announced.error_code) == (2**31 - 1, 0)
    assert (final.last_stream_id, final.error_code) == (1, 0)
