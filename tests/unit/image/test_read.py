"""An image is read from its archive, in the forms of both image stores."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from watcher.engine import Unreadable
from watcher.image.read import ImageReader, describe_archive, describe_step, read_archive


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            made.addfile(info)
    return buffer.getvalue()


BASE = tar({"bin/busybox": b"b" * 9000, "etc/motd": b"hello"})
APP = tar({"app": b"a" * 50_000, ".wh.nothing": b""})
AGAIN = tar({"app": b"a" * 50_000})
HISTORY = [
    {"created_by": "/bin/sh -c #(nop) ADD file:abc in / "},
    {"created_by": "ENV A=b", "empty_layer": True},
    {"created_by": "COPY /workspace/app . # buildkit"},
    {"created_by": "RUN /bin/sh -c chmod 755 app # buildkit"},
]


def saved(
    layers: dict[str, bytes], *, links: dict[str, str] | None = None, names: list[str] | None = None
) -> bytes:
    config: dict[str, Any] = {"history": HISTORY, "architecture": "amd64"}
    manifest = [{"Config": "abc.json", "Layers": names or list(layers), "RepoTags": None}]
    texts = {"abc.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    return tar({**layers, **texts, "VERSION": b"1.0"}, links)


LAYERS = {"1/layer.tar": BASE, "2/layer.tar": APP, "3/layer.tar": AGAIN}


def test_layers_have_their_steps_and_sizes_and_hidden_files() -> None:
    found = describe_archive(read_archive(io.BytesIO(saved(LAYERS)), {}), "sha256:1", ["a:latest"])
    assert [(layer.size, layer.step) for layer in found.layers] == [
        (9005, "ADD file:abc in /"),
        (50_000, "COPY /workspace/app ."),
        (50_000, "RUN chmod 755 app"),
    ]
    assert found.size == 109_005
    assert [(file.path, file.layer) for file in found.files] == [
        ("/app", 3),
        ("/bin/busybox", 1),
        ("/etc/motd", 1),
    ]
    assert [(file.path, file.layer, file.by) for file in found.hidden] == [("/app", 2, 3)]
    assert sum(file.size for file in found.files) + found.hidden_size == found.size


def test_layers_may_be_compressed_or_a_link_to_an_earlier_one() -> None:
    layers = {"blobs/sha256/1": gzip.compress(BASE), "2/layer.tar": AGAIN}
    names = ["blobs/sha256/1", "2/layer.tar", "3/layer.tar"]
    archive = saved(layers, links={"3/layer.tar": "../2/layer.tar"}, names=names)
    found = describe_archive(read_archive(io.BytesIO(archive), {}), "sha256:1", [])
    assert [layer.size for layer in found.layers] == [9005, 50_000, 50_000]
    assert found.name == "1"


def test_a_layer_of_unknown_compression_is_named() -> None:
    layers = {"1/layer.tar": BASE, "2/layer.tar": b"\x28\xb5\x2f\xfd" + b"z" * 600, "3/layer.tar": AGAIN}
    found = describe_archive(read_archive(io.BytesIO(saved(layers)), {}), "sha256:1", [])
    assert [layer.size for layer in found.layers] == [9005, None, 50_000]
    (note,) = found.notes
    assert missing(note, "layer 2", "compression", "not known") == []


def test_names_that_are_no_utf_8_stay_apart_and_can_be_printed() -> None:
    names = [b"a\xff".decode("utf-8", "surrogateescape"), b"a\xfe".decode("utf-8", "surrogateescape")]
    archive = saved({"1/layer.tar": tar(dict.fromkeys(names, b"x"))})
    found = describe_archive(read_archive(io.BytesIO(archive), {}), "sha256:1", [])
    assert [file.path.encode() for file in found.files] == [b"/a\\xfe", b"/a\\xff"]
    assert found.hidden == ()


@pytest.mark.parametrize("cut", [0, 100, 600, 5000, 12_000, len(saved(LAYERS)) - 12_000])
def test_a_cut_archive_is_unreadable(cut: int) -> None:
    with pytest.raises(Unreadable):
        read_archive(io.BytesIO(saved(LAYERS)[:cut]), {})


async def test_the_layers_of_the_last_image_are_not_read_again() -> None:
    engine = FakeEngine()
    first, second = engine.add_image(tags=["a:1"]), engine.add_image(tags=["a:2"])
    engine.archives = {first: saved(LAYERS), second: saved({**LAYERS, "1/layer.tar": b"not read"})}
    reader = ImageReader(engine)
    assert await reader.read("nothing") is None
    one, two = await reader.read("a:1"), await reader.read("a:2")
    assert one is not None
    assert two is not None
    assert one.layers == two.layers
    assert two.names == ("a:2",)


def test_a_binary_that_is_damaged_is_a_note_not_the_end() -> None:
    layers = {"1/layer.tar": tar({"broken": b"\x7fELF" + b"\xff" * 400_000})}
    archive = saved(layers)
    found = describe_archive(read_archive(io.BytesIO(archive), {}), "sha256:1", [])
    assert found.binaries == {}
    assert found.notes[0].startswith("layer 1: /broken: ")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("RUN |1 ENV=dev /bin/sh -c go build # buildkit", "RUN |1 ENV=dev /bin/sh -c go build"),
        ("/bin/sh -c apk add   curl", "RUN apk add curl"),
        ('CMD ["./app"]', 'CMD ["./app"]'),
        ("", ""),
    ],
)
def test_steps_read_like_a_dockerfile(written: str, shown: str) -> None:
    assert describe_step(written) == shown
