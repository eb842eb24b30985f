"""Which clients the daemon answers.

A web page in the developer's browser can send requests to loopback too. Three checks keep it out:

- Host (DNS rebinding): a name that a stranger can make point here is refused. On loopback only loopback
  names are taken; beyond it also addresses, the machine's own name and names without a dot, as in a compose
  network.
- Origin and Sec-Fetch-Site (cross-site request forgery): a request made by another site is refused. There is
  no CORS, so that another site cannot read anything either.
- a token, a must when the daemon listens beyond loopback, and asked for wherever one is set:
  `Authorization: Bearer …`. The page itself holds no data and is open; its script takes the token from
  `/#token=…`, which is never sent, and keeps it in the session storage. That belongs to this port alone.
  A cookie would not: all ports of a host share cookies (RFC 6265, section 8.5), so the browser would send it
  to the very app that the watcher runs.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from email.utils import formatdate
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher.errors import ConfigError

OPEN_PATHS = frozenset({"/", "/livez", "/readyz"})  # the page and probes; they hold no data

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, can only be reached from this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    address = _address(name)
    return bool(address and address.is_loopback)


def require_token(host: str, token: str | None) -> None:
    """Raises ConfigError when `host` is more than loopback and there is no token."""
    if not token and not is_loopback(host):
        raise ConfigError("http.token", None, f"must be set when http.host = {host!r} is not loopback")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class Guard:
    """ASGI middleware: pass only allowed requests, and add the headers common to all answers."""

    def __init__(self, app: ASGIApp, *, host: str, token: str | None) -> None:
        """`host` is where the daemon listens; `token` is asked for wherever there is one."""
        self._app = app
        self._local = is_loopback(host)
        self._token = token or ""
        self._names = {host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on to the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers["date"] = formatdate(usegmt=True)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._known(host):
            return _refuse(421, f"the host {host!r} is not a name of this daemon; use localhost")
        origin = headers.get("origin")
        if origin is not None and not _same_origin(origin, host):
            return _refuse(403, f"requests made by {origin!r} are not answered")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and scope["method"] != "GET":
            return _refuse(403, "requests made by another site are not answered")
        return None if not self._token or scope["path"] in OPEN_PATHS else self._admission(headers)

    def _known(self, host: str) -> bool:
        """Whether no other site can make `host`, a Host header, resolve to this daemon."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if is_loopback(name):
            return True
        if self._local or not name:
            return False
        return name in self._names or "." not in name or _address(name) is not None

    def _admission(self, headers: Headers) -> Response | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._equal(given.strip(), self._token):
            return None
        return _refuse(
            401,
            "a token is needed: send 'Authorization: Bearer …'; in a browser open /#token=…",
            {"www-authenticate": "Bearer"},
        )

    @staticmethod
    def _equal(given: str, wanted: str) -> bool:
        return secrets.compare_digest(given.encode(), wanted.encode())


def _same_origin(origin: str, host: str) -> bool:
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _refuse(code: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, code, headers)
