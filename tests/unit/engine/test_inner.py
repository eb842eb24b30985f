"""A log is read to a measure, whatever a container prints."""

import io
import struct
from typing import Any

import pytest

from watcher.engine import inner


class Api:
    """The parts of docker-py that reading a log takes, over bytes as the engine sends them."""

    def __init__(self, sent: bytes, *, tty: bool) -> None:
        self.raw, self.tty, self.closed = io.BytesIO(sent), tty, False

    def inspect_container(self, _: str) -> Any:
        return {"Config": {"Tty": self.tty}}

    def _url(self, path: str, container: str) -> str:
        return path.format(container)

    def _get(self, *_: Any, **__: Any) -> Any:
        return self

    def _raise_for_status(self, _: Any) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def framed(*parts: bytes) -> bytes:
    return b"".join(
        struct.pack(">BxxxI", 1 + number % 2, len(part)) + part for number, part in enumerate(parts)
    )


@pytest.mark.parametrize("tty", [True, False])
def test_a_log_is_told_line_by_line(tty: bool) -> None:
    sent = b"one\ntwo\xff\n" if tty else framed(b"one\n", b"", b"tw", b"o\xff\n")
    api = Api(sent, tty=tty)
    assert inner.read_logs(api, "c", 30) == ("one", "two\ufffd")
    assert api.closed


def test_of_a_log_without_measure_the_end_is_told_and_lines_are_cut() -> None:
    api = Api(framed(*[b"a" * 1_000_000] * 20, b"\nlast\n"), tty=False)
    first, last = inner.read_logs(api, "c", 30)
    assert last == "last"
    assert first == "a" * len(first)
    assert len(first) < 10_000


def test_no_more_than_a_bound_is_read() -> None:
    api = Api(framed(*[b"a" * 1_000] * 1_000), tty=False)
    inner.read_logs(api, "c", 30, most_bytes=200_000)
    assert api.raw.tell() < 300_000


def test_a_frame_that_ends_early_ends_the_log() -> None:
    assert inner.read_logs(Api(framed(b"one\n") + b"\x01\0\0\0\0\0\0\x09tw", tty=False), "c", 30) == (
        "one",
        "tw",
    )
