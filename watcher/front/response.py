"""One response as its bytes come in: what to pass on now, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

from watcher.front.framing import HEAD_END, Body, Counted, Malformed, RequestHead, UntilClose, read_response

_LINE_END = b"\r\n"
_CLOSE = b"Connection: close\r\n\r\n"


class Response:
    """Interim responses, head, body and trailers of the answer to one request.

    `status` is 0 until the final head was seen. `switched`: the connection speaks another protocol from now
    on (101, or 2xx to CONNECT), whose first bytes are `leftover`. `not_reusable`: the backend sent more than
    the response, so its connection cannot be reused. `add_headers` can add fields to the final head. A head
    of more than `longest` bytes is refused. `announces_end`: the final head got a `Connection: close`
    (RFC 9112, section 9.6).
    """

    __slots__ = (
        "_add_headers",
        "_body",
        "_buffer",
        "_longest",
        "_request",
        "announces_end",
        "done",
        "keep_alive",
        "leftover",
        "not_reusable",
        "status",
        "switched",
    )

    def __init__(
        self, request: RequestHead, longest: int, add_headers: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._request = request
        self._longest = longest
        self._add_headers = add_headers
        self._body: Body | None = None
        self._buffer = b""
        self.announces_end = False
        self.status = 0
        self.keep_alive = True
        self.done = False
        self.switched = False
        self.leftover = b""
        self.not_reusable = False

    @property
    def until_close(self) -> bool:
        """Return whether the end of the connection is the end of the response."""
        return isinstance(self._body, UntilClose)

    @property
    def has_end(self) -> bool:
        """Return whether a body of a length that was announced is on its way."""
        return isinstance(self._body, Counted) and not self.done

    def consume(self, data: bytes, *, announce_end: bool = False) -> bytes:
        """Return the bytes to pass on: those of `data`, in order. Raises `Malformed`.

        `announce_end`: if the final head ends in `data`, it announces the end of the connection.
        """
        if self._body is not None:
            return self._through_body(data, 0)
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        while True:
            end = data.find(HEAD_END, at) + len(HEAD_END)
            if end < len(HEAD_END):
                if len(data) - at > self._longest:
                    most = f"the {self._longest} bytes that front.answer_head_size allows"
                    raise Malformed(f"the head of the response is longer than {most}")
                self._buffer = data[at:]
                return data[:at]
            head = read_response(data[at:end], self._request.method)
            if head.status >= 200 or head.status == 101:
                break
            at = end
        if head.status == 101 and not self._request.upgrade:
            raise Malformed("101 Switching Protocols, which was not asked for")
        self.status = head.status
        self.keep_alive = head.keep_alive
        if head.status == 101 or (self._request.method == b"CONNECT" and head.status < 300):
            self.switched = True
            self.leftover = data[end:]
            return data
        self._body = head.body
        self.announces_end = announce_end and head.keep_alive
        if self._add_headers is None and not self.announces_end:
            return self._through_body(data, end)
        shown = data[at:end] if self._add_headers is None else self._add_headers(data[at:end])
        if self.announces_end:
            shown = shown[: -len(_LINE_END)] + _CLOSE
        return data[:at] + shown + self._through_body(data, end)[end:]

    def _through_body(self, data: bytes, start: int) -> bytes:
        """`data` up to the end of the response; the body starts or continues at `start`."""
        body = self._body
        if body is None or self.done:
            self.not_reusable = True
            return b""
        end = start if body.done else body.consume(data, start)
        self.done = body.done
        if end == len(data):
            return data
        self.not_reusable = True
        return data[:end]
