"""Build the responses of the front itself (400, 408, 502, 503 …) in the media type the client prefers.

A browser gets a small self-contained page that retries, a program gets JSON or text, depending on `Accept`
(RFC 9110, section 12.5.1).
"""

from __future__ import annotations

import json
from html import escape

from watcher.front.framing import all_fields
from watcher.front.model import Unavailable

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_KINDS = ("text/plain", "text/html", "application/json")  # the first is for those who have no preference

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{refresh}<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 12vh auto; padding: 0 1.5rem }}
h1 {{ font-size: 1.4rem }}
pre {{ font: 14px/1.5 ui-monospace, monospace; padding: 1rem; overflow-x: auto;
       border: 1px solid; border-left: 4px solid #c33; border-radius: 4px }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
{lines}</main>
</body>
</html>
"""


def answer(status: int, what: Unavailable, *, method: bytes = b"GET", accept: str = "") -> bytes:
    """Build a complete HTTP/1.1 response with the text `what`; the connection closes after it.

    `accept` is the value of the request's Accept field, empty when it has none. A HEAD request gets no body.
    """
    kind = preferred_type(accept)
    if kind == "text/html":
        text = _build_page(status, what, again=method == b"GET")
    elif kind == "application/json":
        text = json.dumps(
            {
                "error": _REASONS[status],
                "title": what.title,
                "text": what.text,
                "lines": list(what.lines),
            }
        )
    else:
        text = "\n".join((what.title, what.text, *what.lines, ""))
    body = text.encode(errors="replace")
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Server: watcher",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if kind == "text/html":
        head.append("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'")
    if status == 503:
        head.append(f"Retry-After: {what.retry_after}")
    return "\r\n".join((*head, "", "")).encode("ascii") + (b"" if method == b"HEAD" else body)


def accept_of(head: bytes) -> str:
    """Return the Accept field of a request head that has been accepted; empty when there is none."""
    return ",".join(value for name, value in all_fields(head) if name == "accept")


def preferred_type(accept: str) -> str:
    """Return the media type that `accept` prefers among text, HTML and JSON; text if they are equal.

    Of types with the same quality one that is named wins over one that only a wildcard covers, then the one
    that is named first.
    """
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    best, best_rank = _KINDS[0], (0.0, 0, 0)
    for kind in _KINDS:
        patterns = ("*/*", kind.partition("/")[0] + "/*", kind)
        matches = [
            (patterns.index(name), -place, quality)
            for place, (name, quality) in enumerate(ranges)
            if name in patterns
        ]
        exactness, place, quality = max(matches, default=(0, 0, 0.0))
        if quality > 0 and (quality, exactness, place) > best_rank:
            best, best_rank = kind, (quality, exactness, place)
    return best


def _media_range(part: str) -> tuple[str, float]:
    """`text/html;q=0.9` as ("text/html", 0.9); a quality that is no number counts as 0."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _build_page(status: int, what: Unavailable, *, again: bool) -> str:
    """Return the page for browsers. With `again` it reloads itself, which is safe for a GET only."""
    seconds = max(what.retry_after, 1)
    lines = "\n".join(escape(line) for line in what.lines)
    return _PAGE.format(
        refresh=f'<meta http-equiv="refresh" content="{seconds}">\n' if again and status == 503 else "",
        title=escape(what.title),
        text=escape(what.text),
        lines=f"<pre>{lines}</pre>\n" if lines else "",
    )
