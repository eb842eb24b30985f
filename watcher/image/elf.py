"""Read sections, symbols and addresses of an ELF file. pyelftools reads the headers.

The symbol table is read in one go: pyelftools makes an object of each symbol, which takes 30 times as long.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
_ALLOCATED, _CODE = 0x2, 0x4  # flags of a section
_MOST_SECTIONS = 1000
_MOST_SYMBOLS = 2_000_000  # a program of 100 MB has about 100,000
_SYMBOLS = {64: ("IBBHQQ", (0, 1, 4, 5)), 32: ("IIIBBH", (0, 3, 1, 2))}  # form; name, info, address, size
_SECTION_SYMBOL, _FILE_SYMBOL, _THREAD_SYMBOL = 3, 4, 6
_RELATIVE = frozenset({8, 1027, 3, 22})  # R_*_RELATIVE of x86-64, arm64, riscv64, s390x/ppc64


class UnreadableBinary(Exception):
    """A file is not ELF, or damaged."""


class ElfSection(NamedTuple):
    """A section. `size` is that in the file: none for memory that starts as zeros."""

    name: str
    address: int
    offset: int
    size: int
    allocated: bool
    code: bool


class ElfSymbol(NamedTuple):
    """A symbol. A `size` of 0 marks a place, or the start of a group."""

    name: str
    address: int
    size: int


# What pyelftools and the mapped file raise for headers that make no sense.
_UNREADABLE = (
    ELFError,
    ConstructError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class _SymbolTable:
    offset: int
    size: int
    names_at: int
    names_size: int


class ElfImage:
    """An ELF file, mapped into memory. Close it."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the headers; raise UnreadableBinary."""
        try:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise UnreadableBinary(str(error)) from error
        self.size = len(self.data)
        try:
            self._read_headers()
        except _UNREADABLE as error:
            self.close()
            raise UnreadableBinary(f"its headers cannot be read: {error}") from error
        except BaseException:
            self.close()
            raise

    def _read_headers(self) -> None:
        stream: Any = self.data  # it has what a file has
        elf: Any = ELFFile(stream)
        self.bits: int = elf.elfclass
        self.byte_order = "<" if elf.little_endian else ">"
        self.machine: str = elf["e_machine"]
        self.relocated = elf["e_type"] == "ET_DYN"
        if elf.num_sections() > _MOST_SECTIONS:
            raise ValueError("it has too many sections")
        self._symbols: _SymbolTable | None = None
        self._relocations: list[tuple[int, int]] = []
        sections = []
        for number in range(elf.num_sections()):
            header: Any = elf._get_section_header(number)
            name = elf._get_section_name(header)
            offset, size = header["sh_offset"], header["sh_size"]
            if header["sh_type"] == "SHT_NOBITS" or offset >= self.size:
                size = 0
            size = min(size, self.size - offset)
            flags = header["sh_flags"]
            sections.append(
                ElfSection(
                    name, header["sh_addr"], offset, size, bool(flags & _ALLOCATED), bool(flags & _CODE)
                )
            )
            if header["sh_type"] == "SHT_SYMTAB":
                names: Any = elf._get_section_header(header["sh_link"])
                self._symbols = _SymbolTable(offset, size, names["sh_offset"], names["sh_size"])
            if header["sh_type"] == "SHT_RELA":
                self._relocations.append((offset, size))
        self.sections = tuple(sections)

    def close(self) -> None:
        """Unmap the file."""
        self.data.close()

    def section(self, *names: str) -> ElfSection | None:
        """Return the first section with one of the names that has content."""
        return next((each for each in self.sections if each.name in names and each.size), None)

    def content(self, section: ElfSection) -> bytes:
        """Return the bytes of a section."""
        return self.data[section.offset : section.offset + section.size]

    def offset_of(self, address: int) -> int | None:
        """Return the place in the file of an address; None if the file has no content for it."""
        starts, sections = self._loaded
        index = bisect_right(starts, address) - 1
        if index < 0 or address >= sections[index].address + sections[index].size:
            return None
        return sections[index].offset + address - sections[index].address

    @cached_property
    def _loaded(self) -> tuple[list[int], list[ElfSection]]:
        """Return the sections with content in memory, by address."""
        found = sorted((each for each in self.sections if each.allocated and each.size), key=_address)
        return [each.address for each in found], found

    def replace_sections(self, sections: Iterable[ElfSection]) -> None:
        """Divide the file into other sections; addresses stay where they are."""
        self.sections = tuple(sections)
        self.__dict__.pop("_loaded", None)

    def read_at(self, address: int, size: int) -> bytes:
        """Return the bytes at an address, fewer at the end of the file."""
        offset = self.offset_of(address)
        return b"" if offset is None or size < 0 else self.data[offset : offset + size]

    @property
    def word_size(self) -> int:
        """Return the size of a pointer in bytes."""
        return self.bits // 8

    def read_word(self, address: int) -> int:
        """Return the pointer or number at an address, as the loader would leave it; 0 if there is none."""
        content = self.read_at(address, self.word_size)
        if len(content) < self.word_size:
            return 0
        (value,) = struct.unpack(self.byte_order + ("Q" if self.bits == 64 else "I"), content)
        return int(value) or self.relocations.get(address, 0)

    @cached_property
    def relocations(self) -> dict[int, int]:
        """Return the pointers that the loader writes, by address; of position-independent files."""
        found: dict[int, int] = {}
        if not self.relocated or self.bits != 64:
            return found
        entry = struct.Struct(f"{self.byte_order}QQq")
        room = self.size  # of a good file: its sections do not overlap
        for offset, size in self._relocations:
            room -= size
            if room < 0:
                raise UnreadableBinary("its relocations overlap")
            content = self.data[offset : offset + size - size % entry.size]
            found |= {
                place: addend for place, info, addend in entry.iter_unpack(content) if info in _RELATIVE
            }
        return found

    @property
    def has_symbols(self) -> bool:
        """Return whether the file has a symbol table."""
        return self._symbols is not None and self._symbols.size > 0

    def symbols(self) -> Iterator[ElfSymbol]:
        """Yield the symbols of places in memory, in the order of the file."""
        table = self._symbols
        if table is None:
            return
        form, (name, info, address, size) = _SYMBOLS[self.bits]
        entry = struct.Struct(self.byte_order + form)
        if table.size > _MOST_SYMBOLS * entry.size:
            raise UnreadableBinary("it has too many symbols")
        content = self.data[table.offset : table.offset + table.size - table.size % entry.size]
        names = self.data[table.names_at : table.names_at + table.names_size]
        room = 4 * len(names) + len(content)  # of a good file, whose names can share their ends
        ignored = (_SECTION_SYMBOL, _FILE_SYMBOL, _THREAD_SYMBOL)
        for values in entry.iter_unpack(content):
            if values[address] and values[info] & 0xF not in ignored:
                start = values[name]
                end = names.find(b"\0", start)
                text = names[start : end if end >= 0 else len(names)].decode("utf-8", "replace")
                room -= len(text)
                if room < 0:
                    raise UnreadableBinary("its symbol table is damaged")
                yield ElfSymbol(text, values[address], values[size])


def _address(section: ElfSection) -> int:
    return section.address
