"""Explain the bytes of a Go binary: by kind, package and module. The parts add up to the file."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from watcher.image.build_info import GoBuild, read_build_info
from watcher.image.elf import ElfImage, UnreadableBinary
from watcher.image.embedded import EmbeddedFile
from watcher.image.go_layout import GoLayout, PartKind
from watcher.image.module_data import TABLES, separate_table
from watcher.image.packages import module_of

_PACKER, _HEAD = b"UPX!", 1024
BUILD_INFO = (".go.buildinfo", ".data.rel.ro.go.buildinfo")


@dataclass(frozen=True, slots=True)
class GoPart:
    """The bytes of one kind that a package has in a binary."""

    kind: PartKind
    package: str
    module: str
    size: int


@dataclass(frozen=True, slots=True)
class GoBinary:
    """A Go binary. The sizes of `parts` add up to `size`; `notes` say what is not known.

    `dynamic`: it needs a loader and libraries of the image to start.
    """

    size: int
    stripped: bool
    build: GoBuild
    parts: tuple[GoPart, ...]
    embedded: tuple[EmbeddedFile, ...] = ()
    notes: tuple[str, ...] = ()
    dynamic: bool = False

    def by_kind(self) -> Counter[str]:
        """Return the bytes by kind."""
        return self._sum(lambda part: part.kind.value)

    def by_package(self) -> Counter[str]:
        """Return the bytes by package; what has none is in brackets."""
        return self._sum(lambda part: part.package)

    def by_module(self) -> Counter[str]:
        """Return the bytes by module."""
        return self._sum(lambda part: part.module)

    def _sum(self, key: Callable[[GoPart], str]) -> Counter[str]:
        found: Counter[str] = Counter()
        for part in self.parts:
            found[key(part)] += part.size
        return found


def explain_binary(file: BinaryIO) -> GoBinary | None:
    """Return the parts of an open ELF file; None if it is not a Go binary. Raises UnreadableBinary."""
    elf = ElfImage(file)
    try:
        if not elf.sections and _PACKER in elf.data[:_HEAD]:
            raise UnreadableBinary("it is packed with UPX; what is in it cannot be told")
        section = elf.section(*BUILD_INFO)
        build = read_build_info(elf.content(section), elf.read_at) if section else None
        if build is None and elf.section(*TABLES) is None:
            return None
        separate_table(elf)
        build = build or GoBuild("")
        dynamic = elf.section(".interp") is not None
        layout = GoLayout(elf)
        totals = layout.divide()
    except (ValueError, LookupError, OverflowError, struct.error) as error:
        raise UnreadableBinary(f"it is damaged: {error}") from error
    finally:
        elf.close()
    modules = frozenset([*(module.path for module in build.modules), build.main.path])
    known = {package: module_of(package, modules, build.main.path) for _, package in totals}
    parts = tuple(
        GoPart(kind, package, known[package], size) for (kind, package), size in totals.most_common() if size
    )
    return GoBinary(
        elf.size, not elf.has_symbols, build, parts, layout.embedded, tuple(layout.notes), dynamic
    )
