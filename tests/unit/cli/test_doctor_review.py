"""The review of a service, with what its compose file says, as the doctor shows it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.cli.doctor import Finding, Grade, examine_project
from watcher.cli.doctor.go_needs import find_needs
from watcher.settings import Settings
from watcher.tree import Tree

# docker-py leaves the socket of a connection that could not be made to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

EXAMPLES = Path(__file__).parents[3] / "examples"
DOCKERFILE = """\
FROM golang:1.26 AS b
COPY . .
FROM scratch
HEALTHCHECK NONE
USER 1
COPY --from=b /app /app
COPY _envs/env_$ENV.yaml /
ARG ENV
CMD ["/app"]
"""


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


async def examine(root: Path) -> list[Finding]:
    settings = Settings(project=root, engine=f"unix://{root}/none.sock", http={"port": 0})
    return [finding async for finding in examine_project(settings)]


async def test_the_compose_file_decides_with_the_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "_envs").mkdir()
    (tmp_path / "_envs" / "env_dev.yaml").write_text("a: b\n")
    (tmp_path / ".env.local").write_text("TOKEN=abc\n")
    (tmp_path / "main.go").write_text('package main\nvar zone, _ = time.LoadLocation("x")\n')
    (tmp_path / "compose.yaml").write_text(
        "services:\n  app:\n    build: {context: ., args: {ENV: dev, UNUSED: 1}}\n    ports: ['9000']\n"
        "  web: {build: ., depends_on: {app: {condition: service_healthy}}}\n"
    )
    told = [f"{one.grade} {one.text}" for one in await examine(tmp_path)]
    expected = [
        "advice line 7 uses ENV, which line 8 declares",
        "error line 7 copies _envs/env_.yaml, which does not exist",
        "taste the build arg UNUSED of the compose file",
        "error web waits until this service is healthy",
        "advice line 3: main.go loads time zones, and scratch has none",
        "advice line 2 copies .env.local (passwords or tokens) into a build stage",
    ]
    for start in expected:
        assert [each for each in told if each.startswith(start)], (start, told)


@pytest.mark.parametrize("name", ["go-server", "shop"])
async def test_the_examples_have_no_error_and_no_wrong_argument(name: str) -> None:
    found = await examine(EXAMPLES / name)
    reviewed = [one for one in found if one.topic in ("Dockerfile", "build context")]
    assert reviewed
    assert not [one for one in reviewed if one.grade is Grade.ERROR]
    assert not [
        one for one in reviewed if " uses " in one.text or "secret" in one.text or "scratch" in one.text
    ]


def test_what_go_files_need_is_read_off_them(tmp_path: Path) -> None:
    (tmp_path / "zone.go").write_text('package main\nvar z, _ = time.LoadLocation("Europe/Berlin")\n')
    (tmp_path / "client.go").write_text('package main\nfunc f() { http.Get("https://example.com") }\n')
    (tmp_path / "x_test.go").write_text('package main\nvar z, _ = time.LoadLocation("Europe/Berlin")\n')
    assert find_needs(Tree(tmp_path).scan()) == ("zone.go", "client.go")
    (tmp_path / "data.go").write_text('package main\nimport _ "time/tzdata"\n')
    (tmp_path / "client.go").write_text('package main\nfunc f() { http.Get("http://localhost/health") }\n')
    assert find_needs(Tree(tmp_path).scan()) == ("", "")
