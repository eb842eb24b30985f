"""Folders that a build reads by their names, on the engine's BuildKit and on a newer one."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.buildkitd import Buildkitd, buildkitd
from tests.directory_source import DirectorySource
from watcher.buildkit import Client, MemorySource, SolveFailed, SolveRequest
from watcher.dockerfile import Accelerated, Platforms, with_folders

pytestmark = pytest.mark.engine

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
TEXT = """\
FROM scratch AS first
COPY --from=shared . /shared/
COPY . /main/
FROM scratch
COPY --from=first / /
COPY --from=docs a b/ /docs/
COPY --from=shared b/*.txt /
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Buildkitd]:
    with buildkitd() as found:
        yield found


@pytest.fixture(params=["engine", "buildkitd"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    address = ENGINE if request.param == "engine" else request.getfixturevalue("daemon").unix
    async with await Client.connect(address) as connected:
        yield connected


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name in ("main", "shared", "docs"):
        found[name] = tmp_path / name
        (found[name] / "b").mkdir(parents=True)
        (found[name] / "a").write_text(f"{name} a")
        (found[name] / "b" / "c.txt").write_text(f"{name} c")
    return found


async def built(client: Client, folders: dict[str, Path], made_from: str = "") -> dict[str, str]:
    """The files of the image, with their contents."""
    markers = {name: f"/.additional-context-{number}" for number, name in enumerate(("shared", "docs"))}
    plan = with_folders(
        Accelerated(TEXT), markers, build_args={}, target=None, platforms=Platforms.of("linux/amd64", "")
    )
    with tempfile.TemporaryFile() as file:
        request = SolveRequest(
            context=DirectorySource(folders["main"]),
            dockerfile=MemorySource({"Dockerfile": plan.text.encode()}),
            shared_key="test-named-contexts",
            contexts={marker[1:]: DirectorySource(folders[name]) for name, marker in markers.items()},
            markers={marker: marker[1:] for marker in markers.values()},
            frontend_inputs=made_from,
            exporter="tar",
            output=file,
        )
        await client.solve(request, lambda _: None)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            return {
                member.name: content.read().decode()
                for member in archive
                if member.isreg() and (content := archive.extractfile(member))
            }


def wanted(folders: dict[str, Path]) -> dict[str, str]:
    def text(folder: str, path: str) -> str:
        return (folders[folder] / path).read_text()

    return {
        "shared/a": text("shared", "a"),
        "shared/b/c.txt": text("shared", "b/c.txt"),
        "main/a": text("main", "a"),
        "main/b/c.txt": text("main", "b/c.txt"),
        "docs/a": text("docs", "a"),
        "docs/c.txt": text("docs", "b/c.txt"),
        "c.txt": text("shared", "b/c.txt"),
    }


@pytest.mark.parametrize("made_from", ["", "the same text"])
async def test_each_copy_reads_from_its_own_folder(
    client: Client, folders: dict[str, Path], made_from: str
) -> None:
    assert await built(client, folders, made_from) == wanted(folders)
    (folders["shared"] / "b" / "c.txt").write_text("changed")
    (folders["docs"] / "a").write_text("changed too")
    assert await built(client, folders, made_from) == wanted(folders)


async def test_what_a_folder_does_not_hold_is_not_found(client: Client, folders: dict[str, Path]) -> None:
    (folders["docs"] / "a").unlink()
    with pytest.raises(SolveFailed, match="not found"):
        await built(client, folders)
