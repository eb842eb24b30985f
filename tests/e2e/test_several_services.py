"""Several services of one compose file, built from one module with a shared package: each by itself."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import httpx
import pytest

from tests.e2e.case_project import CaseProject
from tests.e2e.conftest import LONG, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
WEB, API = 0, 1  # indices of their ports in the compose file


class SeveralServices(CaseProject):
    """A copy of the case whose services are asked for by name."""

    def outcome(self, service: str) -> str:
        done = self.watcher("wait", "--json", "--timeout", str(LONG), "--service", service)
        assert done.stdout, done.stderr + "".join(self.output[-40:])
        return str(json.loads(done.stdout)["outcome"])

    def services(self) -> list[str]:
        document = json.loads(self.watcher("status", "--json").stdout)
        return [service["name"] for service in document["services"]]


@pytest.fixture(scope="module")
def several(folder: Path, engine: docker.DockerClient) -> Iterator[SeveralServices]:
    made = SeveralServices(folder, "several-services")
    try:
        made.start()
        yield made
    finally:
        made.remove(engine)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def requests_to(several: SeveralServices, *ports: int) -> Iterator[list[str]]:
    """Requests to these services without a pause; what failed is in the list."""
    failures: list[str] = []
    stop = threading.Event()

    def ask(port: int) -> None:
        while not stop.is_set():
            try:
                several.get(port=port)
            except httpx.HTTPError as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def container(engine: docker.DockerClient, several: SeveralServices, service: str) -> str:
    return str(engine.containers.get(f"{several.id}-{service}-1").id)


def test_all_built_services_are_live_each_at_its_port(several: SeveralServices) -> None:
    assert several.services() == ["api", "web"]
    assert (several.outcome("api"), several.outcome("web")) == ("live", "live")
    assert (several.get(port=WEB), several.get(port=API)) == ("web one shared 1", "api one shared 1")


def test_a_save_replaces_only_the_service_that_it_changes(
    several: SeveralServices, engine: docker.DockerClient
) -> None:
    web = container(engine, several, "web")
    with requests_to(several, WEB, API) as failures:
        several.replace("cmd/api/main.go", "api one", "api two")
        assert (several.outcome("api"), several.outcome("web")) == ("live", "live")
        assert (several.get(port=WEB), several.get(port=API)) == ("web one shared 1", "api two shared 1")
        assert container(engine, several, "web") == web
    assert failures == []


def test_one_that_does_not_compile_holds_up_no_other(several: SeveralServices) -> None:
    with requests_to(several, WEB, API) as failures:
        several.replace("cmd/web/main.go", "func main() {", "func main() { broken")
        assert several.outcome("web") == "failed"
        several.replace("cmd/api/main.go", "api two", "api three")
        assert several.outcome("api") == "live"
        assert (several.get(port=WEB), several.get(port=API)) == ("web one shared 1", "api three shared 1")
        several.replace("cmd/web/main.go", "func main() { broken", "func main() {")
        several.replace("shared/shared.go", '"1"', '"2"')
        assert (several.outcome("api"), several.outcome("web")) == ("live", "live")
        assert (several.get(port=WEB), several.get(port=API)) == ("web one shared 2", "api three shared 2")
    assert failures == []


def test_services_come_and_go_with_the_compose_file(
    several: SeveralServices, engine: docker.DockerClient
) -> None:
    api = container(engine, several, "api")
    with requests_to(several, API) as failures:
        several.replace("compose.yaml", "  web:\n", "  page:\n")
        until(lambda: several.services() == ["api", "page"], "web is page now", 60)
        assert several.outcome("page") == "live"
        assert several.get(port=WEB) == "web one shared 2"
        assert engine.containers.list(all=True, filters={"name": f"{several.id}-web"}) == []
        assert container(engine, several, "api") == api
    assert failures == []
    assert several.stop() == 0
