"""Find runtime.moduledata, the linker's directory of a Go binary, and the table of functions by it."""

from __future__ import annotations

from watcher.image.elf import ElfImage, ElfSection

RELRO = ".data.rel.ro"  # prefix of the sections of position-independent binaries
TABLES = (".gopclntab", f"{RELRO}.gopclntab")
_MODULE_DATA = ".go.module"
_TABLE, _COUNT = 13, 14  # words of runtime.moduledata: the last part of the table of functions, its bytes
_MOST_TRIES = 100  # places that look like the table; a good file has one
_MAGICS = (b"\xf1\xff\xff\xff\0\0", b"\xf0\xff\xff\xff\0\0")  # of Go 1.20, 1.18


def find_module_data(elf: ElfImage, table: int) -> int | None:
    """Return the address of runtime.moduledata, which begins with the address of the function table."""
    if elf.byte_order != "<":
        return None
    own = elf.section(_MODULE_DATA, f"{RELRO}{_MODULE_DATA}")
    if own and elf.read_word(own.address) == table:
        return own.address
    pointer = table.to_bytes(elf.word_size, "little")
    for section in elf.sections:
        if section.allocated and section.size and section.name in (".noptrdata", ".data", RELRO):
            place = elf.data.find(pointer, section.offset, section.offset + section.size)
            if place >= 0:
                return section.address + place - section.offset
    return next((at for at, addend in elf.relocations.items() if addend == table), None)


def separate_table(elf: ElfImage) -> None:
    """Give the table of functions a section of its own if a linker of C put it into `.data.rel.ro`.

    gcc does so with a position-independent binary (`-buildmode=pie` with cgo).
    """
    around = elf.section(RELRO)
    if elf.section(*TABLES) is not None or around is None or elf.byte_order != "<":
        return
    tries = _MOST_TRIES
    for magic in _MAGICS:
        place = elf.data.find(magic, around.offset, around.offset + around.size)
        while place >= 0 and tries > 0:
            tries -= 1
            start = around.address + place - around.offset
            module = find_module_data(elf, start) if place % elf.word_size == 0 else None
            if module is not None:
                words = (elf.read_word(module + index * elf.word_size) for index in (_TABLE, _COUNT))
                end = sum(words)
                if start < end <= around.address + around.size:
                    elf.replace_sections(_split(elf, around, place, end - start))
                    return
            place = elf.data.find(magic, place + 1, around.offset + around.size)


def _split(elf: ElfImage, around: ElfSection, offset: int, size: int) -> list[ElfSection]:
    found: list[ElfSection] = []
    for section in elf.sections:
        if section is not around:
            found.append(section)
            continue
        before, end = offset - section.offset, offset + size
        after = section.offset + section.size - end
        found += [
            section._replace(size=before),
            section._replace(name=TABLES[1], address=section.address + before, offset=offset, size=size),
            section._replace(address=section.address + before + size, offset=end, size=after),
        ]
    return found
