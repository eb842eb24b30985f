"""Private parts of the libraries are used in one file each, and exist in every version that is allowed."""

from __future__ import annotations

import ast
import json
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import requests
from docker.types.daemon import CancellableStream

from watcher.engine import private_api

ROOT = Path(__file__).parents[3]
WATCHER = ROOT / "watcher"


def foreign_private_names(path: Path) -> set[str]:
    """The private attributes that a file takes of values that are not `self`, a class or a module of ours."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def test_docker_py_is_private_in_one_file_only() -> None:
    files = [path for path in (WATCHER / "engine").glob("*.py") if foreign_private_names(path)]
    assert [path.name for path in files] == ["private_api.py"]
    names = foreign_private_names(files[0])
    # `_version` belongs to the instance, `_response` to a stream.
    assert {name for name in names if not hasattr(docker.APIClient, name)} == {"_version", "_response"}
    assert "_response" in vars(CancellableStream(iter(()), requests.Response()))


def test_watchdogs_inner_module_is_imported_in_one_file_only() -> None:
    files = [
        path.name for path in WATCHER.rglob("*.py") if "watchdog.observers.inotify" in path.read_text("utf-8")
    ]
    assert files == ["watchdog_inotify.py"]


@pytest.mark.parametrize("package", ["docker", "watchdog"])
def test_a_library_with_private_parts_in_use_has_an_upper_bound(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (pin,) = (each for each in project["dependencies"] if each.startswith(package + ">"))
    assert ",<" in pin


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 404 if "gone" in self.path else 200
        self.answer(status, {"message": "no such thing"} if status == 404 else {"path": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(409 if "gone" in self.path else 201, {"message": "in use", "body": body})

    def answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def client() -> Iterator[docker.APIClient]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made = docker.APIClient(base_url=f"http://127.0.0.1:{server.server_port}", version="1.40")
        try:
            yield made
        finally:
            made.close()
            server.shutdown()
            thread.join()


@pytest.mark.libraries
def test_an_answer_comes_as_plain_data_in_the_version_that_was_set(client: docker.APIClient) -> None:
    assert private_api.get_json(client, "/info", params={"type": ["image"]}, timeout=9) == {
        "path": "/v1.40/info?type=image"
    }
    private_api.set_version(client, "1.41")
    assert client.api_version == "1.41"
    assert private_api.get_json(client, "/info", params={}, timeout=9) == {"path": "/v1.41/info"}


@pytest.mark.libraries
def test_a_stream_is_read_as_it_comes_and_an_error_is_dockers(client: docker.APIClient) -> None:
    with private_api.open_stream(client, "/images/{0}/get", "a/b", timeout=9) as answer:
        assert json.loads(answer.raw.read()) == {"path": "/v1.40/images/a/b/get"}
    with pytest.raises(docker.errors.NotFound, match="no such thing"):
        private_api.open_stream(client, "/images/{0}/get", "gone")


@pytest.mark.libraries
def test_a_body_is_posted_as_json_and_a_refusal_is_dockers(client: docker.APIClient) -> None:
    private_api.post_json(client, "/volumes/create", {"Name": "v"})
    with pytest.raises(docker.errors.APIError, match="in use"):
        private_api.post_json(client, "/gone", {"Name": "v"})


def test_an_engine_is_opened_in_one_place() -> None:
    files = [path.name for path in WATCHER.rglob("*.py") if "DockerEngine.open(" in path.read_text("utf-8")]
    # the image room's process is one of its own: it shares no connection with a daemon; and `watcher image`
    # imports nothing that builds, which takes longer than its other imports together
    assert sorted(files) == ["engine_connection.py", "image.py", "process.py"]
