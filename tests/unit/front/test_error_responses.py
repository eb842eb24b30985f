"""The front's own answers."""

from __future__ import annotations

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.front import Unavailable
from watcher.front.error_responses import accept_of, answer, preferred_type

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
FAILED = Unavailable(
    "The build failed", "Fix <it>.", ('./main.go:7:2: undefined: "<script>"',), retry_after=3
)


def parsed(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """What a strict client makes of an answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.receive_data(raw)
    connection.receive_data(b"")
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data == (b"", True)
    return response, body


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        (BROWSER, "text/html"),
        ("TEXT/HTML", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/json, */*;q=0.5", "application/json"),
        ("text/html;q=0.5, application/json;q=0.9", "application/json"),
        ("text/plain, application/json", "text/plain"),
        ("text/*", "text/plain"),
        ("text/*;q=0.3, text/html;q=0.7", "text/html"),
        ("text/plain;q=0, */*", "text/html"),
        ("image/png", "text/plain"),
        ("text/event-stream", "text/plain"),
        ("text/html;q=nonsense", "text/plain"),
        ("text/html;q=0", "text/plain"),
        (";;,,;q=", "text/plain"),
    ],
)
def test_the_form_is_the_one_that_the_client_likes_best(accept: str, kind: str) -> None:
    assert preferred_type(accept) == kind


def test_a_browser_gets_a_page_with_the_compilers_lines_and_nothing_that_could_run() -> None:
    response, body = parsed(answer(503, FAILED, accept=BROWSER))
    assert dict(response.headers)[b"content-type"] == b"text/html; charset=utf-8"
    assert b"default-src 'none'" in dict(response.headers)[b"content-security-policy"]
    assert b"undefined: &quot;&lt;script&gt;&quot;" in body
    assert b"Fix &lt;it&gt;." in body
    assert b"<script" not in body
    assert b'http-equiv="refresh" content="3"' in body


def test_only_a_page_that_was_got_reloads_itself() -> None:
    assert b"refresh" not in answer(503, FAILED, accept=BROWSER, method=b"POST")
    assert b"refresh" not in answer(502, FAILED, accept=BROWSER)


def test_a_program_gets_json() -> None:
    response, body = parsed(answer(503, FAILED, accept="application/json"))
    assert dict(response.headers)[b"retry-after"] == b"3"
    assert json.loads(body) == {
        "error": "Service Unavailable",
        "title": FAILED.title,
        "text": FAILED.text,
        "lines": list(FAILED.lines),
    }


def test_others_get_text() -> None:
    response, body = parsed(answer(503, FAILED))
    assert (response.status_code, response.reason) == (503, b"Service Unavailable")
    assert body.decode() == f"{FAILED.title}\n{FAILED.text}\n{FAILED.lines[0]}\n"


def test_an_answer_to_head_has_the_length_but_no_body() -> None:
    response, body = parsed(answer(503, FAILED, method=b"HEAD"), "HEAD")
    assert int(dict(response.headers)[b"content-length"]) > 0
    assert body == b""


def test_lines_that_are_no_unicode_do_not_hinder() -> None:
    _, body = parsed(answer(503, Unavailable("t", "x", ("\udcff",))))
    assert body == b"t\nx\n?\n"


def test_only_503_says_when_to_come_back() -> None:
    for status in (400, 408, 431, 502):
        assert b"Retry-After" not in answer(status, FAILED)


@given(
    st.sampled_from([400, 408, 431, 502, 503]),
    st.builds(Unavailable, st.text(), st.text(), st.lists(st.text()).map(tuple)),
    st.sampled_from(["", BROWSER, "application/json"]),
)
def test_whatever_is_to_be_said_the_answer_is_well_formed(
    status: int, what: Unavailable, accept: str
) -> None:
    response, body = parsed(answer(status, what, accept=accept))
    assert response.status_code == status
    assert body.decode()


@given(st.text())
def test_no_accept_field_is_too_odd(accept: str) -> None:
    assert preferred_type(accept) in {"text/plain", "text/html", "application/json"}


def test_accept_fields_are_joined() -> None:
    head = b"GET / HTTP/1.1\r\nAccept: text/html;q=0.1\r\nX: y\r\naccept: application/json\r\n\r\n"
    assert preferred_type(accept_of(head)) == "application/json"
    assert accept_of(b"GET / HTTP/1.1\r\n\r\n") == ""
