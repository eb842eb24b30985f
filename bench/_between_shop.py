"""examples/shop with a service that calls its API, and clients outside of it: for bench/between.py."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EVERY = 10  # each so many versions are a save in the package that all services share
SERVICES = ("api", "worker", "migrate")
TIMEOUT = 20.0  # seconds for a request from outside

_API = """\
package main

import (
	"io"
	"net/http"
	"time"
)

const benchVersion = "%d"

func init() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			time.Sleep(300 * time.Millisecond)
		}
		io.WriteString(w, benchVersion)
	})
}
"""
_SHARED = "package orders\n\nconst benchVersion = %d\n\nfunc init() { println(benchVersion) }\n"
_CALLER = """\
FROM golang:alpine AS builder
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /out .

FROM alpine
COPY --from=builder /out /service
CMD ["/service"]
"""
_SERVICE = """
  caller:
    build: ./caller
    image: {name}-caller
    ports: ["127.0.0.1:{caller}:9000"]
"""


def write_shop(folder: Path, name: str, ports: tuple[int, int], caller: str, *, published: bool) -> None:
    """Copy the example, with a service `caller` and what `docker compose watch` needs."""
    shutil.copytree(ROOT / "examples" / "shop", folder)
    (folder / "api" / "bench.go").write_text(_API % 0)
    (folder / "caller").mkdir()
    (folder / "caller" / "main.go").write_text(caller)
    (folder / "caller" / "go.mod").write_text("module caller\n\ngo 1.21\n")
    (folder / "caller" / "Dockerfile").write_text(_CALLER)
    path = folder / "compose.yaml"
    text = path.read_text().replace("name: shop\n", f"name: {name}\n")
    old = 'ports: ["127.0.0.1:${SHOP_PORT:-9000}:9000"]'
    assert old in text
    text = text.replace(old, f'ports: ["127.0.0.1:{ports[0]}:9000"]' if published else 'expose: ["9000"]')
    for service in SERVICES:
        old = f"    build: {{context: ., args: {{SERVICE: {service}}}}}\n"
        assert old in text
        watched = ", ".join(f"{{action: rebuild, path: ./{each}}}" for each in (service, "shared"))
        text = text.replace(old, f"{old}    image: {name}-{service}\n    develop: {{watch: [{watched}]}}\n")
    text = text.replace("\nvolumes:\n", f"{_SERVICE.format(name=name, caller=ports[1])}\nvolumes:\n")
    path.write_text(text)


def save_shop(folder: Path, version: int) -> None:
    """Save a version of the API; each tenth time the shared package too."""
    saves = {"api/bench.go": _API % version}
    if version % EVERY == 0:
        saves["shared/orders/bench.go"] = _SHARED % version
    for name, text in saves.items():
        new = (folder / name).with_suffix(".new~")
        new.write_text(text)
        new.replace(folder / name)


class OutsideClients:
    """Clients on this machine that call the published port all the time; they repeat no request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, Any]] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Call while the context lasts."""
        threads = [
            threading.Thread(target=self._run, args=(name, kept), daemon=True)
            for name, kept in (("outside", True), ("outside, new", False))
        ]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._stopped.set()
            for each in threads:
                each.join(TIMEOUT + 5)

    def stats(self) -> dict[str, dict[str, Any]]:
        """Return what was counted, as the service `caller` does."""
        with self._lock:
            return {name: {**found, "Errors": dict(found["Errors"])} for name, found in self._found.items()}

    def _run(self, name: str, kept: bool) -> None:
        mine: dict[str, Any] = {"Requests": 0, "Failed": 0, "Worst": 0.0, "Errors": Counter(), "First": {}}
        with self._lock:
            self._found[name] = mine
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        while not self._stopped.is_set():
            begun, said, error = time.monotonic(), "", ""
            try:
                connection.request("GET", "/", headers={} if kept else {"Connection": "close"})
                answer = connection.getresponse()
                said = answer.read().decode()
                error = "" if answer.status == http.client.OK else f"status {answer.status}"
            except (OSError, http.client.HTTPException) as failure:
                error = type(failure).__name__
                connection.close()
            took = time.monotonic() - begun
            with self._lock:
                mine["Requests"] += 1
                mine["Worst"] = max(mine["Worst"], took)
                if error:
                    mine["Failed"] += 1
                    mine["Errors"][error] += 1
                else:
                    mine["First"].setdefault(said, time.time())
            time.sleep(0.01)
        connection.close()
