"""A docker-py client whose answers are written down: what is asked, and what a real engine answered."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import docker
import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

API = "1.41"
NO_SUCH = (404, {"message": "no such thing"})
Answer = tuple[int, Any]


class Asked(tuple[str, dict[str, list[str]], Any]):
    """A request: "METHOD /path" without the version, its query, its body."""


class Answers(BaseAdapter):
    """Answers by "METHOD /path": a status and JSON or bytes; several in turn from a list. Else 404."""

    def __init__(self, routes: Mapping[str, Answer | list[Answer]] | None = None) -> None:
        super().__init__()
        self.routes = dict(routes or {})
        self.asked: list[Asked] = []

    def send(
        self, request: requests.PreparedRequest, *_: Any, stream: bool = False, **__: Any
    ) -> requests.Response:
        url = urlsplit(str(request.url))
        name = f"{request.method} {unquote(url.path).removeprefix(f'/v{API}')}"
        body = request.body
        if body and request.headers.get("Content-Type") == "application/json":
            body = json.loads(body)
        self.asked.append(Asked((name, parse_qs(url.query), body)))
        found = self.routes.get(name, NO_SUCH)
        status, value = found.pop(0) if isinstance(found, list) else found
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, str(request.url)
        response.headers["Content-Type"] = "application/json"
        response.raw = HTTPResponse(io.BytesIO(data), status=status, preload_content=False)
        return response

    def close(self) -> None:
        pass

    def names(self) -> list[str]:
        """The requests so far, without query and body."""
        return [name for name, _, _ in self.asked]

    def client(self) -> docker.APIClient:
        """A client that asks here."""
        made = docker.APIClient("tcp://engine.test:2375", version=API)
        made.mount("http://", self)
        return made
