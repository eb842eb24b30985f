"""Sources list what is there, in the engine's order, and notice when it changes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.directory_source import DirectorySource
from watcher.buildkit import ContextChanged, FileEntry, MemorySource
from watcher.buildkit.errors import BuildkitError
from watcher.buildkit.grpc import frame_message
from watcher.buildkit.messages.fsutil_pb2 import Packet
from watcher.buildkit.packets import StatPackets, data_packet, go_mode, whole_file
from watcher.buildkit.sources import walk_order


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab/-.é\udc80", min_size=1, max_size=6)))
def test_walk_order_is_name_by_name_in_bytes(paths: list[str]):
    by_components = sorted(paths, key=lambda path: [os.fsencode(name) for name in path.split("/")])
    assert sorted(paths, key=walk_order) == by_components


def test_a_directory_is_listed_with_links_modes_and_odd_names(tmp_path: Path):
    (tmp_path / "a-b").write_bytes(b"1")
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / "run").write_bytes(b"22")
    (tmp_path / "a" / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("a/run")
    odd = os.fsdecode(b"odd\xff")
    (tmp_path / odd).write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    entries = {entry.path: entry for entry in DirectorySource(tmp_path).entries()}
    assert list(entries) == ["a", "a/run", "a-b", "link", odd]
    assert entries["a"].mode == stat.S_IFDIR | 0o700
    assert entries["a/run"].mode == stat.S_IFREG | 0o755
    assert entries["a/run"].size == 2
    assert entries["link"].linkname == "a/run"
    assert entries["a-b"].mtime_ns == (tmp_path / "a-b").stat().st_mtime_ns


def test_an_excluded_directory_is_not_even_read(tmp_path: Path):
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x").touch()
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "a").touch()
    (tmp_path / "keep" / "b").touch()
    os.chmod(tmp_path / "node_modules", 0)
    try:
        source = DirectorySource(tmp_path, ["node_modules", "keep", "!keep/b"])
        assert [entry.path for entry in source.entries()] == ["keep", "keep/b"]
    finally:
        os.chmod(tmp_path / "node_modules", 0o755)


def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"1")
    source = DirectorySource(tmp_path)
    source.entries()
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/hostname")
    with pytest.raises(ContextChanged, match="'a' changed"):
        source.open("a")


def test_a_small_file_is_read_whole_or_has_changed(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "empty").touch()
    source = DirectorySource(tmp_path)
    assert (source.read("a"), source.read("empty")) == (b"12345", b"")
    for replace in (
        lambda path: path.write_bytes(b"1234"),
        lambda path: path.write_bytes(b"123456"),
        lambda path: path.write_bytes(b"54321"),
        lambda path: path.symlink_to("/etc/hostname"),
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: None,
    ):
        (tmp_path / "a").unlink(missing_ok=True) if not (tmp_path / "a").is_dir() else (
            tmp_path / "a"
        ).rmdir()
        replace(tmp_path / "a")
        with pytest.raises(ContextChanged, match="'a' changed"):
            source.read("a")


def test_a_disk_that_does_not_read_is_no_change_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").write_bytes(b"12345")
    source = DirectorySource(tmp_path)
    source.entries()

    def broken(_fd: int, _size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("watcher.buildkit.sources.os.read", broken)
    with pytest.raises(OSError, match="Input/output"):
        source.read("a")


def test_files_in_memory_come_with_their_directories():
    source = MemorySource({"b/c/d": b"1", "a": b"2"})
    assert [entry.path for entry in source.entries()] == ["a", "b", "b/c", "b/c/d"]
    assert source.open("b/c/d").read() == b"1"


@settings(deadline=None)
@given(st.binary(max_size=20), st.binary(max_size=20))
def test_the_time_of_a_file_in_memory_follows_from_its_contents(one: bytes, other: bytes):
    (first,), (second,) = MemorySource({"a": one}).entries(), MemorySource({"a": other}).entries()
    assert (first.mtime_ns == second.mtime_ns) is (one == other)
    assert 0 <= first.mtime_ns < 2**60


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o755, 1 << 31 | 0o755),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFREG | 0o4755, 1 << 23 | 0o755),
        (stat.S_IFREG | 0o2755, 1 << 22 | 0o755),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
    ],
)
def test_modes_are_gos(mode: int, expected: int):
    assert go_mode(mode) == expected


def stat_packet(entry: FileEntry) -> bytes:
    return StatPackets().encode("context", [entry])


def test_a_stat_packet_says_what_the_engine_compares_and_nothing_of_owners():
    entry = FileEntry(os.fsdecode(b"odd\xff"), stat.S_IFLNK | 0o777, 3, 1_700_000_000_123_456_789, "a\udcff")
    data = stat_packet(entry)
    assert int.from_bytes(data[1:5], "big") == len(data) - 5
    packet = Packet.FromString(data[5:])
    assert (packet.type, packet.stat.path, packet.stat.linkname) == (Packet.PACKET_STAT, b"odd\xff", b"a\xff")
    assert (packet.stat.size, packet.stat.modTime) == (3, 1_700_000_000_123_456_789)
    assert {field.name for field, _ in packet.stat.ListFields()} == {
        "path",
        "mode",
        "size",
        "modTime",
        "linkname",
    }


def test_a_directorys_size_is_not_sent():
    packet = Packet.FromString(stat_packet(FileEntry("d", stat.S_IFDIR | 0o755, 4096, 1))[5:])
    assert packet.stat.size == 0


def test_a_socket_cannot_be_sent():
    with pytest.raises(BuildkitError, match="'s' is no file"):
        stat_packet(FileEntry("s", stat.S_IFSOCK | 0o755, 0, 1))


def test_packets_of_the_same_entries_are_made_once():
    made: list[str] = []

    class Counting(FileEntry):
        @property
        def mtime_ns(self) -> int:
            made.append(self.path)
            return 1

    packets = StatPackets()
    one, two = (Counting.__new__(Counting) for _ in range(2))
    for name, entry in (("a", one), ("b", two)):
        for attribute, value in (("path", name), ("mode", stat.S_IFREG), ("size", 1), ("linkname", "")):
            object.__setattr__(entry, attribute, value)
    first = packets.encode("context", [one, two])
    made.clear()
    assert packets.encode("context", [one, two]) == first
    assert made == []
    assert packets.encode("context", [FileEntry("a", stat.S_IFREG, 2, 1), two]) != first
    assert made == []


def test_packets_of_a_few_purposes_are_kept_beside_each_other():
    packets = StatPackets()
    entries = [FileEntry("a", stat.S_IFREG, 1, 1)]
    for purpose in range(20):
        assert packets.encode(purpose, entries) == stat_packet(entries[0])
    assert list(packets._kept) == [16, 17, 18, 19]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 262_144])
@pytest.mark.parametrize("index", [0, 7, 300, 16_383, 16_384, 3_000_000])
def test_a_data_packet_is_what_protobuf_would_write(index: int, size: int):
    data = bytes(size)
    expected = Packet(type=Packet.PACKET_DATA, ID=index, data=data).SerializeToString()
    assert b"".join(data_packet(index, data)) == frame_message(expected)
    end = Packet(type=Packet.PACKET_DATA, ID=index).SerializeToString()
    whole = frame_message(expected) + (frame_message(end) if data else b"")
    assert b"".join(whole_file(index, data)) == whole
