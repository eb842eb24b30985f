"""The parts of a Go binary add up to the file, and agree with Go's own tools."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from watcher.image.elf import ElfImage, UnreadableBinary
from watcher.image.go_binary import GoBinary, explain_binary
from watcher.image.go_layout import PartKind, _measure_padding
from watcher.image.packages import package_of

GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(GO is None, reason="needs the Go tools"),
]

PROGRAMS = {
    "plain": (
        'package main\n\nimport ("fmt"; "sort")\n\n'
        "func main() { s := []int{2, 1}; sort.Ints(s); fmt.Println(s) }\n"
    ),
    "served": (
        'package main\n\nimport ("embed"; "net/http")\n\n//go:embed static\nvar assets embed.FS\n\n'
        'func main() { _ = http.ListenAndServe(":0", http.FileServer(http.FS(assets))) }\n'
    ),
    "generic": (
        'package main\n\nimport ("encoding/json"; "fmt"; "slices")\n\n'
        "type List[T any] struct{ items []T }\n\n"
        "func (l *List[T]) Push(t T) { l.items = append(l.items, t) }\n\n"
        'func main() { l := &List[string]{}; l.Push("a"); slices.Sort(l.items)\n'
        "b, _ := json.Marshal(l.items)\n"
        "fmt.Println(string(b)) }\n"
    ),
}
STRIP = ("-ldflags=-s -w",)


@dataclass(frozen=True)
class Built:
    path: Path
    explained: GoBinary


def go(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    given = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": "amd64",
        "GOTOOLCHAIN": "local",
        **(environment or {}),
    }
    given["GOFLAGS"] = "-buildvcs=false"
    done = subprocess.run(
        [str(GO), *arguments], cwd=folder, env=given, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Each program, with symbols and (`-stripped`) without."""
    root = tmp_path_factory.mktemp("programs")
    found = {}
    for name, text in PROGRAMS.items():
        folder = root / name
        (folder / "static").mkdir(parents=True)
        (folder / "static" / "page.html").write_bytes(b"<p>" * 20_000)
        (folder / "static" / "small.txt").write_text("small")
        (folder / "go.mod").write_text(f"module example.com/{name}\n\ngo 1.21\n")
        (folder / "main.go").write_text(text)
        for suffix, flags in (("", ()), ("-stripped", STRIP)):
            path = folder / f"{name}{suffix}"
            go(folder, "build", *flags, "-trimpath", "-o", str(path), ".")
            with path.open("rb") as file:
                explained = explain_binary(file)
            assert explained is not None
            found[f"{name}{suffix}"] = Built(path, explained)
    return found


def test_the_parts_add_up_to_the_file(built: dict[str, Built]) -> None:
    for each in built.values():
        assert sum(part.size for part in each.explained.parts) == each.path.stat().st_size
        assert all(part.size > 0 for part in each.explained.parts)


def code_by_package(binary: GoBinary) -> Counter[str]:
    found: Counter[str] = Counter()
    for part in binary.parts:
        if part.kind is PartKind.CODE and not part.package.startswith("("):
            found[part.package] += part.size
    return found


def go_nm(path: Path) -> Counter[str]:
    """The bytes of code by package, by `go tool nm`."""
    found: Counter[str] = Counter()
    for line in go(path.parent, "tool", "nm", "-size", str(path)).splitlines():
        columns = line.split(None, 3)
        if len(columns) == 4 and columns[2] in "Tt" and not package_of(columns[3]).startswith("("):
            found[package_of(columns[3])] += int(columns[1])
    return found


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("suffix", ["", "-stripped"])
def test_code_agrees_with_go_nm_within_one_per_cent(built: dict[str, Built], name: str, suffix: str) -> None:
    """`go tool nm` reads the twin with symbols; the stripped one is read by its table of functions."""
    expected, found = go_nm(built[name].path), code_by_package(built[name + suffix].explained)
    assert found.total() == pytest.approx(expected.total(), rel=0.01)
    for package, size in expected.items():
        if size > 2000:
            assert found[package] == pytest.approx(size, rel=0.01), package


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_stripped_binary_has_the_same_code_types_and_tables(built: dict[str, Built], name: str) -> None:
    with_symbols, stripped = (built[name + suffix].explained for suffix in ("", "-stripped"))
    assert stripped.stripped
    assert not with_symbols.stripped
    for kind in (PartKind.CODE, PartKind.PCLNTAB):
        assert stripped.by_kind()[kind] == pytest.approx(with_symbols.by_kind()[kind], rel=0.01)
    types = PartKind.TYPES
    assert stripped.by_kind()[types] == pytest.approx(with_symbols.by_kind()[types], rel=0.12)
    assert PartKind.DWARF not in stripped.by_kind()
    assert PartKind.SYMBOLS not in stripped.by_kind()


def test_build_settings_and_embedded_files_are_read(built: dict[str, Built]) -> None:
    served = built["served"].explained
    assert served.build.main.path == "example.com/served"
    assert served.build.settings["-trimpath"] == "true"
    assert served.build.settings["CGO_ENABLED"] == "0"
    assert {(file.name, file.size) for file in served.embedded} == {
        ("static/page.html", 60_000),
        ("static/small.txt", 5),
    }
    assert served.by_kind()[PartKind.EMBEDDED] == 60_005
    assert served.by_module()["example.com/served"] > 60_000
    assert "example.com/served" in built["served-stripped"].explained.by_module()


def test_damaged_files_are_refused_or_still_add_up(built: dict[str, Built], tmp_path: Path) -> None:
    """Whatever a file says, it is explained to the last byte or refused, never the end of the program."""
    chance = random.Random(7)
    good = built["plain"].path.read_bytes()
    path = tmp_path / "damaged"
    for _ in range(40):
        content = bytearray(good[: chance.choice([len(good), chance.randrange(1, len(good))])])
        for _ in range(chance.randrange(1, 30)):
            place = chance.choice([chance.randrange(len(content)), chance.randrange(min(4096, len(content)))])
            content[place] = chance.randrange(256)
        path.write_bytes(content)
        with path.open("rb") as file:
            try:
                found = explain_binary(file)
            except UnreadableBinary:
                continue
        assert found is None or sum(part.size for part in found.parts) == len(content)


SHAPES = {
    "pie": ({}, ("-buildmode=pie",)),
    "uncompressed": ({}, ("-ldflags=-compressdwarf=false",)),
    "arm64": ({"GOARCH": "arm64"}, ()),
    "386": ({"GOARCH": "386"}, ()),
    "s390x": ({"GOARCH": "s390x"}, ()),
    "cgo": ({"CGO_ENABLED": "1"}, ()),
    "cgo-pie": ({"CGO_ENABLED": "1"}, ("-buildmode=pie",)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes_of_binaries_add_up_and_show_code_tables_and_files(
    built: dict[str, Built], tmp_path: Path, shape: str
) -> None:
    """A linker of C puts the table of functions of `cgo-pie` into another section."""
    environment, flags = SHAPES[shape]
    if "cgo" in shape and shutil.which("gcc") is None:
        pytest.skip("needs a C compiler")
    path, usual = tmp_path / "program", built["served"]
    imported = usual.path.parent / "main.go"
    text = imported.read_text().replace('"net/http")', '"net/http"; _ "os/user")')
    folder = tmp_path / "source"
    shutil.copytree(usual.path.parent, folder, ignore=shutil.ignore_patterns("served*"))
    (folder / "main.go").write_text(text)
    go(folder, "build", *flags, "-o", str(path), ".", environment=environment)
    with path.open("rb") as file:
        found = explain_binary(file)
    assert found is not None
    kinds = found.by_kind()
    assert sum(part.size for part in found.parts) == path.stat().st_size
    if "cgo" not in shape:  # there go nm gives functions of C the sizes of their symbols, and no package
        assert code_by_package(found).total() == pytest.approx(go_nm(path).total(), rel=0.01)
    assert kinds[PartKind.EMBEDDED] == 60_005
    assert kinds[PartKind.PCLNTAB] == pytest.approx(usual.explained.by_kind()[PartKind.PCLNTAB], rel=0.1)
    assert found.by_package()["net/http"] > 150_000
    assert found.dynamic == (shape in ("pie", "cgo", "cgo-pie"))
    assert (found.by_package()["(relocations)"] > 100_000) == ("pie" in shape)


def test_zeros_after_a_function_of_arm64_are_its_own(built: dict[str, Built], tmp_path: Path) -> None:
    """There the compiler aligns the end of a function, so `go tool nm` counts them too."""
    folder, found = built["plain"].path.parent, {}
    for suffix, flags in {"": (), "-stripped": STRIP}.items():
        path = tmp_path / f"arm64{suffix}"
        go(folder, "build", *flags, "-o", str(path), ".", environment={"GOARCH": "arm64"})
        with path.open("rb") as file:
            explained = explain_binary(file)
        assert explained is not None
        found[suffix] = code_by_package(explained)
    expected = go_nm(tmp_path / "arm64")
    for packages in found.values():
        assert packages.total() == pytest.approx(expected.total(), rel=0.001)
        assert packages["runtime"] == pytest.approx(expected["runtime"], rel=0.001)


@pytest.mark.parametrize(
    ("tail", "padding", "size"),
    [
        (b"code\xcc\xcc", b"\xcc", 2),
        (b"code", b"\xcc", 0),
        (b"code\0\0\x2a\0\0\0\x2a\0", b"\0\0\x2a\0", 8),
        (b"code\x2a\0", b"\0\0\x2a\0", 0),
    ],
)
def test_padding_is_measured_in_whole_units(tail: bytes, padding: bytes, size: int) -> None:
    assert _measure_padding(tail, padding) == size


def test_a_binary_packed_with_upx_is_said_to_be_packed(tmp_path: Path) -> None:
    """UPX leaves no sections behind, and its name near the beginning."""
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0
    )
    path = tmp_path / "packed"
    path.write_bytes(header + bytes(100) + b"UPX!" + bytes(2000))
    with path.open("rb") as file, pytest.raises(UnreadableBinary, match="packed with UPX"):
        explain_binary(file)
    path.write_bytes(header + bytes(2000))
    with path.open("rb") as file:
        assert explain_binary(file) is None


def test_an_empty_file_and_one_without_go_are_no_go_binaries(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with path.open("rb") as file, pytest.raises(UnreadableBinary):
        explain_binary(file)
    with Path("/bin/sh").open("rb") as file:
        assert explain_binary(file) is None


def test_a_stream_without_a_descriptor_is_refused() -> None:
    with pytest.raises(UnreadableBinary):
        explain_binary(io.BytesIO(b"\x7fELF"))


def change_header(content: bytes, section: str, at: int, form: str, value: int) -> bytearray:
    """Return a 64-bit file with another value in the header of a section; `""`: in that of all names."""
    changed = bytearray(content)
    headers, names = struct.unpack_from("<Q", content, 0x28)[0], struct.unpack_from("<H", content, 0x3E)[0]
    (texts,) = struct.unpack_from("<Q", content, headers + 64 * names + 24)
    for number in range(struct.unpack_from("<H", content, 0x3C)[0]):
        header = headers + 64 * number
        start = texts + struct.unpack_from("<I", content, header)[0]
        name = content[start : content.index(b"\0", start)].decode()
        if name == section or (not section and number == names):
            struct.pack_into(form, changed, header + at, value)
    return changed


_OFFSET, _SIZE, _FLAGS = 24, 32, 8  # places in the header of a section


@pytest.mark.parametrize(
    "section", ["", ".text", ".gopclntab", ".symtab", ".strtab", ".go.buildinfo", ".data"]
)
@pytest.mark.parametrize("at", [_OFFSET, _SIZE])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_with_any_offset_or_size_is_refused_or_still_adds_up(
    built: dict[str, Built], tmp_path: Path, section: str, at: int, value: int
) -> None:
    content = change_header(built["plain"].path.read_bytes(), section, at, "<Q", value)
    found = explain(tmp_path, content)
    assert found is None or sum(part.size for part in found.parts) == len(content)


def explain(folder: Path, content: bytes | bytearray) -> GoBinary | None:
    """Return what is made of the bytes; None also for a file that is refused."""
    path = folder / "program"
    path.write_bytes(content)
    with path.open("rb") as file:
        try:
            return explain_binary(file)
        except UnreadableBinary:
            return None


def test_names_of_sections_that_are_marked_as_compressed_are_refused(
    built: dict[str, Built], tmp_path: Path
) -> None:
    content = change_header(built["plain"].path.read_bytes(), "", _FLAGS, "<Q", 0x800)
    content = change_header(bytes(content), "", _OFFSET, "<Q", 2**64 - 1)
    assert explain(tmp_path, content) is None


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_no_go_binary(tmp_path: Path, seed: int) -> None:
    noise = random.Random(seed).randbytes(400_000)
    assert explain(tmp_path, noise) is None
    assert explain(tmp_path, b"\x7fELF\x02\x01\x01" + noise) is None


def test_symbols_without_an_end_of_their_names_are_refused(built: dict[str, Built]) -> None:
    """Else each of them would be searched to the end of the file."""
    good = built["plain"].path.read_bytes()
    with built["plain"].path.open("rb") as file:
        names = ElfImage(file).section(".strtab")
    assert names is not None
    damaged = bytearray(good)
    damaged[names.offset : names.offset + names.size] = b"x" * names.size
    with tempfile.TemporaryFile() as file:
        file.write(damaged)
        file.flush()
        with pytest.raises(UnreadableBinary, match="symbol table is damaged"):
            explain_binary(file)


def test_addresses_are_found_in_the_section_that_holds_them(built: dict[str, Built]) -> None:
    with built["plain"].path.open("rb") as file:
        elf = ElfImage(file)
    for each in elf.sections:
        if each.allocated and each.size:
            assert elf.offset_of(each.address) == each.offset
            assert elf.offset_of(each.address + each.size - 1) == each.offset + each.size - 1
    assert elf.offset_of(1) is None
    assert elf.offset_of(2**63) is None
    elf.close()
