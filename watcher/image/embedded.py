"""Find the files that `go:embed` put into a binary, through its symbol table."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from watcher.image.elf import ElfImage, ElfSymbol
from watcher.image.packages import package_of

_SUFFIX = ".files"  # the compiler's name for the table of a variable of type embed.FS
_LONGEST_NAME = 4096
_MOST_FILES = 20_000


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """A file of an `embed.FS`; `offset` is its place in the binary."""

    package: str
    name: str
    size: int
    offset: int


def find_embedded(elf: ElfImage, symbols: Iterable[ElfSymbol]) -> tuple[EmbeddedFile, ...]:
    """Return the files of each `embed.FS`. Files embedded as strings or bytes are ordinary data."""
    found: dict[int, EmbeddedFile] = {}  # equal files are stored once
    tables = {
        each.address: each
        for each in symbols
        if each.name.endswith(_SUFFIX) and each.size > 3 * elf.word_size
    }
    room = elf.size  # of a good file: its tables do not overlap
    for table in tables.values():
        room -= table.size
        if room < 0 or len(found) >= _MOST_FILES:
            break
        for each in _read_table(elf, table):
            found.setdefault(each.offset, each)
    return tuple(found.values())


def _read_table(elf: ElfImage, symbol: ElfSymbol) -> Iterator[EmbeddedFile]:
    """Yield the files in a table: a slice header, then name, data and hash of each."""
    word = elf.word_size
    entry = struct.Struct(f"{elf.byte_order}4{'Q' if word == 8 else 'I'}16x")
    start = symbol.address + 3 * word
    count, rest = divmod(symbol.size - 3 * word, entry.size)
    if rest or elf.read_word(symbol.address) != start or elf.read_word(symbol.address + word) != count:
        return  # a variable that happens to have that name
    for number in range(min(count, _MOST_FILES)):
        place = start + number * entry.size
        content = elf.read_at(place, entry.size)
        if len(content) < entry.size:
            return
        _, name_size, _, size = entry.unpack(content)
        name = elf.read_at(elf.read_word(place), min(name_size, _LONGEST_NAME)).decode("utf-8", "replace")
        at = elf.offset_of(elf.read_word(place + 2 * word)) if size else None
        if size and (at is None or at + size > elf.size):
            return  # damaged: the other entries are no better
        if at is not None:
            yield EmbeddedFile(package_of(symbol.name), name, size, at)
