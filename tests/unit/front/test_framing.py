"""Where messages end, and what is refused: pure functions over bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.front.framing import (
    Chunked,
    Counted,
    Malformed,
    all_fields,
    read_request,
    read_response,
    syntax_error,
)
from watcher.front.framing import UntilClose as Until

pytestmark = pytest.mark.libraries

LINE = b"POST / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 0),
        (LINE + b"\r\n", 0),
        (LINE + b"Content-Length: 0\r\n\r\n", 0),
        (LINE + b"content-LENGTH:\t 0012 \r\n\r\n", 12),
        (LINE + b"Content-Length: 9223372036854775807\r\n\r\n", 9223372036854775807),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 5),
        (b"WHATEVER http://a/b?c#d HTTP/1.0\r\nContent-Length: 5\r\n\r\n", 5),
    ],
)
def test_a_request_has_the_length_that_it_declares(head: bytes, length: int) -> None:
    body = read_request(head).body
    assert isinstance(body, Counted)
    assert body.done is (length == 0)
    assert body.consume(bytes(20), 3) == 3 + min(length, 17)
    assert body.done is (length <= 17)


@pytest.mark.parametrize(
    "coding", [b"chunked", b"Chunked", b" chunked ", b"gzip, chunked", b"gzip,deflate,\tchunked"]
)
def test_a_request_whose_last_coding_is_chunked_is_chunked(coding: bytes) -> None:
    assert isinstance(read_request(LINE + b"Transfer-Encoding:" + coding + b"\r\n\r\n").body, Chunked)


REFUSED = {
    "length and coding": LINE + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n",
    "coding and length": LINE + CHUNKED + b"Content-Length: 3\r\n\r\n",
    "two lengths that differ": LINE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "two lengths alike": LINE + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "list of lengths": LINE + b"Content-Length: 3, 3\r\n\r\n",
    "length with sign": LINE + b"Content-Length: +3\r\n\r\n",
    "negative length": LINE + b"Content-Length: -3\r\n\r\n",
    "hexadecimal length": LINE + b"Content-Length: 0x3\r\n\r\n",
    "length with underscore": LINE + b"Content-Length: 1_0\r\n\r\n",
    "length of two words": LINE + b"Content-Length: 3 4\r\n\r\n",
    "empty length": LINE + b"Content-Length:\r\n\r\n",
    "length leftover 64 bits": LINE + b"Content-Length: 99999999999999999999\r\n\r\n",
    "folded length": LINE + b"Content-Length:\r\n 3\r\n\r\n",
    "coding other than chunked": LINE + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunked not last": LINE + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "chunked twice": LINE + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    "chunked in two fields": LINE + CHUNKED + CHUNKED + b"\r\n",
    "chunked then identity": LINE + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n",
    "identity then chunked twice": LINE + b"Transfer-Encoding: chunked, identity, chunked\r\n\r\n",
    "almost chunked": LINE + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked with a vertical tab": LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunked in quotes": LINE + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "chunked with a parameter": LINE + b"Transfer-Encoding: a;b, chunked\r\n\r\n",
    "empty coding": LINE + b"Transfer-Encoding:\r\n\r\n",
    "empty coding before chunked": LINE + b"Transfer-Encoding: , chunked\r\n\r\n",
    "coding in HTTP/1.0": b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n",
    "space before colon": LINE + b"Content-Length : 3\r\n\r\n",
    "tab before colon": LINE + b"Content-Length\t: 3\r\n\r\n",
    "space before name": b"POST / HTTP/1.1\r\n Host: test\r\n\r\n",
    "obs-fold": LINE + b"A: b\r\n c\r\n\r\n",
    "obs-fold with tab": LINE + b"A: b\r\n\tc\r\n\r\n",
    "NUL in a value": LINE + b"A: b\0c\r\n\r\n",
    "NUL in a name": LINE + b"A\0: b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\n\r\n",
    "bare LF after the line": b"GET / HTTP/1.1\nHost: test\r\n\r\n",
    "bare LF between fields": LINE + b"A: b\nContent-Length: 3\r\n\r\n",
    "bare LF empty line": LINE + b"A: b\n\nGET /evil HTTP/1.1\r\n\r\n",
    "bare CR in a value": LINE + b"A: b\rContent-Length: 3\r\n\r\n",
    "bare CR before CRLF": LINE + b"A: b\r\r\n\r\n",
    "control character": LINE + b"A: \x01\r\n\r\n",
    "no colon": LINE + b"abc\r\n\r\n",
    "no name": LINE + b": b\r\n\r\n",
    "space in a name": LINE + b"A B: c\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n\r\n",
    "HTTP/1.10": b"GET / HTTP/1.10\r\n\r\n",
    "http": b"GET / http/1.1\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n\r\n",
    "space at the end": b"GET / HTTP/1.1 \r\n\r\n",
    "tabs": b"GET\t/\tHTTP/1.1\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\n\r\n",
    "no method": b" / HTTP/1.1\r\n\r\n",
    "method that is no token": b"G(T / HTTP/1.1\r\n\r\n",
    "nothing": b"\r\n\r\n",
    "CONNECT with a body": b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
    "CONNECT with chunks": b"CONNECT a:1 HTTP/1.1\r\n" + CHUNKED + b"\r\n",
}


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_could_be_understood_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        read_request(head)


@pytest.mark.parametrize("head", [head for head in REFUSED.values() if head.startswith(b"POST")])
def test_it_is_refused_as_well_with_a_method_that_the_parser_does_not_know(head: bytes) -> None:
    with pytest.raises(Malformed):
        read_request(b"FROBNICATE" + head[4:])


def test_a_head_that_is_not_whole_is_refused() -> None:
    with pytest.raises(Malformed, match="does not end"):
        read_request(b"GET / HTTP/1.1\r\nHost: test\r\n")


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: keep-alive, Close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: closer\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", False),
    ],
)
def test_a_request_says_whether_its_connection_lives_on(head: bytes, keep: bool) -> None:
    assert read_request(head).keep_alive is keep


def test_an_upgrade_needs_both_fields_and_connect_is_one() -> None:
    upgrade = b"Upgrade: websocket\r\n"
    assert read_request(b"GET / HTTP/1.1\r\nConnection: x, Upgrade\r\n" + upgrade + b"\r\n").upgrade
    assert not read_request(b"GET / HTTP/1.1\r\n" + upgrade + b"\r\n").upgrade
    assert read_request(b"CONNECT a:1 HTTP/1.1\r\n\r\n").upgrade


@pytest.mark.parametrize(
    ("head", "method", "kind", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", Counted, True),
        (b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n", b"GET", Chunked, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", b"GET", Until, False),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"GET", Until, False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", b"POST", Until, False),
        (b"HTTP/1.1 999 What\r\n\r\n", b"GET", Until, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", None, True),
        (b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n", b"HEAD", None, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"HEAD", None, True),
        (b"HTTP/1.1 204 No Content\r\n" + CHUNKED + b"\r\n", b"GET", None, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", b"GET", None, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"CONNECT", None, True),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", b"CONNECT", Counted, True),
        (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", b"GET", None, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", Counted, False),
    ],
)
def test_a_response_ends_where_rfc_9112_says(
    head: bytes, method: bytes, kind: type | None, keep: bool
) -> None:
    response = read_response(head, method)
    assert response.keep_alive is keep
    if kind is None:
        assert response.body.done
    else:
        assert isinstance(response.body, kind)
        assert not response.body.done


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + CHUNKED + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"hello\r\n\r\n",
    ],
)
def test_a_response_that_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        read_response(head, b"GET")


BAD_CHUNKS = {
    "no size": b"\r\n",
    "size that is no number": b"zz\r\n",
    "size with 0x": b"0x3\r\nabc\r\n",
    "negative size": b"-3\r\nabc\r\n",
    "size with plus": b"+3\r\nabc\r\n",
    "size with underscore": b"1_0\r\n",
    "space before the size": b" 3\r\nabc\r\n",
    "space after the size": b"3 \r\nabc\r\n",
    "size leftover 64 bits": b"FFFFFFFFFFFFFFFFF\r\n",
    "LF after the size": b"3\nabc\r\n",
    "CR after the size": b"3\rabc\r\n",
    "LF in an extension": b"3;a\nabc\r\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n",
    "NUL in an extension": b"3;a\0\r\nabc\r\n",
    "data too long": b"3\r\nabcd\r\n",
    "LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "other bytes after the data": b"3\r\nabcXX0\r\n\r\n",
    "LF after the last chunk": b"0\n\r\n",
    "LF at the very end": b"0\r\n\n",
    "LF in the trailers": b"0\r\nA: b\n\r\n",
    "NUL in the trailers": b"0\r\nA: \0\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "length in the trailers": b"0\r\nContent-Length: 5\r\n\r\n",
    "coding in the trailers": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
@pytest.mark.parametrize("step", [1, 1000])
def test_bad_chunks_are_refused_however_they_arrive(body: bytes, step: int) -> None:
    chunked = Chunked()

    def feed() -> None:
        for at in range(0, len(body), step):
            chunked.consume(body[at : at + step], 0)

    with pytest.raises(Malformed):
        feed()


def test_trailers_that_name_a_protocol_change_nothing() -> None:
    body = b"0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    chunked = Chunked()
    assert chunked.consume(body + b"GET", 0) == len(body)
    assert chunked.done


PIECES = st.one_of(
    st.binary(min_size=1, max_size=20), st.sampled_from([b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"\r", b"\n"])
)
TRAILERS = st.lists(st.sampled_from([b"A: b", b"Empty:", b"X-Long: " + b"y" * 50]), max_size=3)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    chunks = draw(st.lists(st.lists(PIECES, min_size=1, max_size=4).map(b"".join), max_size=5))
    extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b;c"']))
    out = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    trailers = b"".join(line + b"\r\n" for line in draw(TRAILERS))
    return out + draw(st.sampled_from([b"0", b"000"])) + extension + b"\r\n" + trailers + b"\r\n"


@given(
    chunked_bodies(),
    st.binary(max_size=12) | st.just(b"0\r\n\r\n\r\n"),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_a_chunked_body_ends_at_the_same_byte_however_it_is_split(
    body: bytes, after: bytes, sizes: list[int]
) -> None:
    data, chunked, at, turn = body + after, Chunked(), 0, 0
    while not chunked.done:
        assert at < len(body)
        part = data[at : at + sizes[turn % len(sizes)]]
        end = chunked.consume(part, 0)
        assert end == len(part) or chunked.done
        at += end
        turn += 1
    assert at == len(body)


@given(chunked_bodies(), st.binary(max_size=30), st.binary(max_size=30))
def test_a_chunked_body_is_found_inside_other_bytes(body: bytes, before: bytes, after: bytes) -> None:
    chunked = Chunked()
    assert chunked.consume(before + body + after, len(before)) == len(before) + len(body)
    assert chunked.done


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\nHost", b"GET\n", b"\0", b"\x80\x01", b" GET", b"GET /\0", b"\n"]
)
def test_a_beginning_that_can_never_become_a_head_is_named(start: bytes) -> None:
    assert syntax_error(start)


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: \xff\r\n", b"\r"])
def test_a_beginning_that_may_become_a_head_is_not(start: bytes) -> None:
    assert syntax_error(start) == ""


def test_all_fields_of_a_head_can_be_had() -> None:
    head = b"FROB /\xff HTTP/1.1\r\nAccept: a\r\naccept: b \r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    assert all_fields(head)[:2] == [("accept", "a"), ("accept", "b")]
