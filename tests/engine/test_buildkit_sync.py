"""What a build receives is what the source lists, and nothing that is ignored."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.directory_source import DirectorySource
from watcher.buildkit import (
    Client,
    MemorySource,
    SolveFailed,
    SolveRequest,
    parse_dockerignore,
)

pytestmark = pytest.mark.engine

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
Listing = dict[str, tuple[str, object]]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.DockerClient(base_url=ENGINE)) as connected:
        yield connected


def read_back(engine: docker.DockerClient, image: str) -> Listing:
    """What the image has under /ctx, as the tar of the engine tells it."""
    container = engine.containers.create(image, "nothing")
    try:
        stream, _ = container.get_archive("/ctx")
        data = io.BytesIO(b"".join(stream))
    finally:
        container.remove()
    found: Listing = {}
    with tarfile.open(fileobj=data, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            path = member.name.removeprefix("ctx").removeprefix("/")
            if not path:
                continue
            assert member.uid == member.gid == 0
            mode = stat.S_IMODE(member.mode)
            if member.issym():
                found[path] = ("link", member.linkname)
            elif member.isdir():
                found[path] = ("directory", mode)
            else:
                file = archive.extractfile(member)
                assert file is not None
                found[path] = (f"file {mode:o}", file.read())
    return found


def listed(source: DirectorySource) -> Listing:
    """The same of a source."""
    found: Listing = {}
    for entry in source.entries():
        mode = stat.S_IMODE(entry.mode)
        if stat.S_ISLNK(entry.mode):
            found[entry.path] = ("link", entry.linkname)
        elif stat.S_ISDIR(entry.mode):
            found[entry.path] = ("directory", mode)
        else:
            with source.open(entry.path) as file:
                found[entry.path] = (f"file {mode:o}", file.read())
    return found


async def build(source: DirectorySource, name: str, key: str) -> str:
    """Build an image of the whole context; its id."""
    async with await Client.connect(ENGINE) as client:
        request = SolveRequest(
            context=source,
            dockerfile=MemorySource({"Dockerfile": b"FROM scratch\nCOPY . /ctx/\n"}),
            shared_key=key,
            names=(f"docker.io/library/{name}:latest",),
        )
        return (await client.solve(request, lambda _event: None)).image_id


def remove(engine: docker.DockerClient, built: Iterable[str]) -> None:
    """Remove images by id: all but the newest have lost their name to it."""
    for image in built:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(image, force=True)


ODD = os.fsdecode(b"\xff\xfe")
NAMES = st.sampled_from(
    [
        "a",
        "b",
        "a-b",
        "a.go",
        ".hidden",
        "sp ace",
        "é",
        "new\nline",
        "*",
        "[x]",
        "A",
        "!b",
        ODD,
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
NODES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=50), st.sampled_from([0o644, 0o755, 0o600, 0o4755, 0o444])),
    st.tuples(st.just("large"), st.binary(max_size=3), st.just(0o644)),
    st.tuples(st.just("directory"), st.just(b""), st.sampled_from([0o755, 0o700, 0o1777, 0o2755])),
    st.tuples(
        st.just("link"), st.sampled_from([b"a", b"../b", b"/etc/passwd", b"nowhere", b"."]), st.just(0)
    ),
)
TREES = st.lists(st.tuples(PATHS, NODES), max_size=12)
PATTERNS = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "*.go",
            "**/a",
            "a/*",
            "!a/b",
            "!**/a.go",
            "*",
            "!é",
            "sp ace",
            ".hidden",
            "[ab]",
            "#",
            "/b/",
            "?",
        ]
    ),
    max_size=4,
)


def takes_odd_names(engine: docker.DockerClient) -> bool:
    """Names that are not UTF-8: since Engine 28, fsutil's messages hold them to that."""
    return int(engine.version()["Version"].split(".")[0]) < 28


def make(root: Path, tree: list[tuple[str, tuple[str, bytes, int]]]) -> None:
    """Make what of the tree can be made; whatever stands in the way of a later part wins."""
    for path, (kind, data, mode) in tree:
        target = os.path.join(root, path)
        if os.path.realpath(os.path.dirname(target)) != os.path.dirname(target):
            # A link stands in the way; nothing is made through it.
            continue
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if kind == "directory":
                os.mkdir(target)
            elif kind == "link":
                os.symlink(data, target)
            else:
                with open(target, "xb") as file:
                    file.write(data * 100_000 if kind == "large" else data)
            if kind != "link":
                os.chmod(target, mode)
        except (FileExistsError, NotADirectoryError):
            continue


# Without shrinking: every attempt at a smaller example would be four builds more.
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.reuse, Phase.generate],
)
@given(before=TREES, tree=TREES, patterns=PATTERNS)
def test_copying_the_context_gives_what_the_source_lists(
    engine: docker.DockerClient,
    before: list[tuple[str, tuple[str, bytes, int]]],
    tree: list[tuple[str, tuple[str, bytes, int]]],
    patterns: list[str],
):
    """Two trees after each other under one key: the second must not keep anything of the first."""
    if not takes_odd_names(engine):
        before, tree = ([(path.replace(ODD, "odd"), node) for path, node in part] for part in (before, tree))
    name = f"watcher-sync-{uuid.uuid4().hex[:12]}"
    built: list[str] = []
    root = Path(tempfile.mkdtemp()).resolve()
    ignore = "\n".join([*patterns, "!.hidden"])
    try:
        for part in (before, tree):
            for child in os.listdir(root):
                path = os.path.join(root, child)
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            make(root, part)
            # One file is always there: an engine refuses to copy from a context without any.
            (root / ".hidden").unlink(missing_ok=True) if not (root / ".hidden").is_dir() else None
            if not (root / ".hidden").exists():
                (root / ".hidden").write_bytes(b"here")
            (root / ".dockerignore").write_text(ignore)
            expected = listed(DirectorySource(root, parse_dockerignore(ignore)))
            # The source lists all; it is the engine that reads .dockerignore and asks without what is
            # ignored.
            built.append(asyncio.run(build(DirectorySource(root), name, name)))
            assert read_back(engine, f"{name}:latest") == expected
            # The source has left out what is ignored itself.
            built.append(
                asyncio.run(build(DirectorySource(root, parse_dockerignore(ignore)), name, name + "-2"))
            )
            assert read_back(engine, f"{name}:latest") == expected
    finally:
        shutil.rmtree(root)
        remove(engine, built)


def test_a_name_that_is_not_utf8_arrives_or_is_told_by_its_path(engine: docker.DockerClient, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ODD).write_bytes(b"content")
    name = f"watcher-sync-{uuid.uuid4().hex[:12]}"
    built: list[str] = []
    try:
        if takes_odd_names(engine):
            built.append(asyncio.run(build(DirectorySource(tmp_path), name, name)))
            assert read_back(engine, f"{name}:latest") == listed(DirectorySource(tmp_path))
        else:
            with pytest.raises(SolveFailed, match=r'"sub/\\xff\\xfe" is not UTF-8'):
                built.append(asyncio.run(build(DirectorySource(tmp_path), name, name)))
    finally:
        remove(engine, built)


def test_ten_thousand_files_arrive_and_one_change_sends_one_file(engine: docker.DockerClient, tmp_path: Path):
    for number in range(10_000):
        directory = tmp_path / f"pkg{number % 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"file{number}.go").write_bytes(b"package p // %d" % number)
    opened: list[str] = []

    class Counting(DirectorySource):
        def read(self, path: str, /) -> bytes:
            opened.append(path)
            return super().read(path)

    name = f"watcher-sync-{uuid.uuid4().hex[:12]}"
    built: list[str] = []
    try:
        built.append(asyncio.run(build(Counting(tmp_path), name, name)))
        assert len(opened) == 10_000
        opened.clear()
        (tmp_path / "pkg7" / "file7.go").write_bytes(b"package changed")
        source = Counting(tmp_path)
        built.append(asyncio.run(build(source, name, name)))
        assert opened == ["pkg7/file7.go"]
        assert read_back(engine, f"{name}:latest") == listed(DirectorySource(tmp_path))
    finally:
        remove(engine, built)
