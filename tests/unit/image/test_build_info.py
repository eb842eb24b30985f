"""Go's build info is read in both of its formats, and nothing damaged is believed."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from watcher.image.build_info import MAGIC, GoModule, read_build_info

TEXT = (
    "path\texample.com/app\n"
    "mod\texample.com/app\tv1.2.3\th1:x=\n"
    "dep\tgithub.com/a/b\tv1.0.0\th1:y=\n"
    "=>\t../b\n"
    "dep\tgithub.com/c/d\tv2.0.0\th1:z=\n"
    'build\t-ldflags="-s -w -X main.version=1"\n'
    "build\t-trimpath=true\n"
    "build\tCGO_ENABLED=0\n"
    "build\tvcs.revision=abc\n"
)


def framed(text: str) -> bytes:
    return b"s" * 16 + text.encode() + b"e" * 16


def varint(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def inline(version: str, text: str) -> bytes:
    body = varint(len(version)) + version.encode() + varint(len(framed(text))) + framed(text)
    return MAGIC + b"\x08\x02" + b"\0" * 16 + body


def nothing(_: int, __: int) -> bytes:
    return b""


def test_version_modules_and_settings_are_read() -> None:
    found = read_build_info(inline("go1.26.8", TEXT), nothing)
    assert found is not None
    assert (found.go, found.package) == ("go1.26.8", "example.com/app")
    assert found.main == GoModule("example.com/app", "v1.2.3")
    assert found.modules == (
        GoModule("github.com/a/b", "v1.0.0", "../b"),
        GoModule("github.com/c/d", "v2.0.0"),
    )
    assert found.settings == {
        "-ldflags": "-s -w -X main.version=1",
        "-trimpath": "true",
        "CGO_ENABLED": "0",
        "vcs.revision": "abc",
    }


def test_before_go_1_18_the_strings_lie_elsewhere() -> None:
    memory = {
        1000: struct.pack(">QQ", 2000, 6),
        1100: struct.pack(">QQ", 3000, len(framed(TEXT))),
        2000: b"go1.16",
        3000: framed(TEXT),
    }
    header = MAGIC + b"\x08\x01" + struct.pack(">QQ", 1000, 1100)
    found = read_build_info(header, lambda at, size: memory[at][:size])
    assert found is not None
    assert (found.go, len(found.modules)) == ("go1.16", 2)


@given(st.integers(0, 300), st.binary(max_size=40))
def test_a_damaged_section_has_no_build_info_or_a_part_of_it(cut: int, more: bytes) -> None:
    read_build_info(inline("go1.26.8", TEXT)[:cut] + more, nothing)


def test_what_is_not_build_info_is_none() -> None:
    assert read_build_info(b"", nothing) is None
    assert read_build_info(b"\0" * 100, nothing) is None
    assert read_build_info(MAGIC + b"\x08\x00" + b"\0" * 16, nothing) is None
