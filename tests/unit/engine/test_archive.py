"""Sizes read from archives are those of the classic store."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence

import pytest

from watcher.engine.archive import Unreadable, archive_size


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, len(content), link
    return made, content


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for info, content in entries:
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def saved(blobs: Mapping[str, bytes], layers: Sequence[str]) -> io.BytesIO:
    """As `docker save` orders it: blobs first, then what says which of them are the image's layers."""
    manifest = json.dumps([{"Config": "blobs/config", "RepoTags": [], "Layers": list(layers)}]).encode()
    files = {
        "blobs/config": b'{"architecture": "amd64"}',
        **blobs,
        "index.json": b"{}",
        "manifest.json": manifest,
    }
    return io.BytesIO(tar(*(entry(name, content=content) for name, content in files.items())))


ALPINE = tar(
    entry("bin", tarfile.DIRTYPE),
    entry("bin/busybox", content=b"b" * 5000),
    entry("bin/sh", tarfile.LNKTYPE, link="bin/busybox"),
    entry("bin/ash", tarfile.SYMTYPE, link="/bin/busybox"),
    entry("dev/null", tarfile.CHRTYPE),
    entry(f"{'long/' * 60}name", content=b"x"),
)
BINARY = tar(entry("app", content=b"a" * 1234), entry(".wh.old"))


def test_files_and_the_targets_of_symbolic_links_count_and_nothing_else() -> None:
    assert archive_size(saved({"l/a": ALPINE}, ["l/a"]), {}) == 5000 + len("/bin/busybox") + 1


def test_a_layer_may_be_compressed_or_empty() -> None:
    blobs = {"l/a": gzip.compress(ALPINE), "l/b": BINARY, "l/c": tar()}
    assert archive_size(saved(blobs, ["l/a", "l/b", "l/c"]), {}) == 5013 + 1234


def test_a_layer_counts_as_often_as_the_image_has_it_and_not_when_it_is_anothers() -> None:
    blobs = {"l/a": ALPINE, "l/b": BINARY}
    assert archive_size(saved(blobs, ["l/b", "l/b"]), {}) == 2 * 1234


def test_a_layer_that_was_read_before_is_not_read_again() -> None:
    known: dict[str, int] = {}
    archive_size(saved({"l/a": ALPINE}, ["l/a"]), known)
    assert known == {"l/a": 5013}
    unreadable = {"l/a": b"\x28\xb5\x2f\xfd" * 300, "l/b": BINARY}
    assert archive_size(saved(unreadable, ["l/a", "l/b"]), known) == 5013 + 1234


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(saved({"l/a": b"\x28\xb5\x2f\xfd" * 300}, ["l/a"]).getvalue(), id="zstd"),
        pytest.param(saved({"l/a": gzip.compress(ALPINE)[:60]}, ["l/a"]).getvalue(), id="a cut layer"),
        pytest.param(saved({"l/a": ALPINE}, ["l/a"]).getvalue()[:3000], id="a cut archive"),
        pytest.param(saved({}, ["l/a"]).getvalue(), id="a layer that is not there"),
        pytest.param(tar(entry("manifest.json", content=b"[]")), id="no image"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"no tar at all" * 100, id="no archive"),
    ],
)
def test_what_cannot_be_read_is_said_and_never_guessed(content: bytes) -> None:
    with pytest.raises(Unreadable):
        archive_size(io.BytesIO(content), {})
