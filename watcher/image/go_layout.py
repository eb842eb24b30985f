"""Divide the bytes of a Go binary among kinds and packages."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from watcher.image.elf import ElfImage, ElfSection, ElfSymbol
from watcher.image.embedded import EmbeddedFile, find_embedded
from watcher.image.module_data import RELRO, TABLES, find_module_data
from watcher.image.packages import C_CODE, GENERATED, ITABS, STACK_MAPS, STRINGS, TYPES, package_of
from watcher.image.pclntab import FunctionTable, read_functions
from watcher.image.spread import Claim, Claims, spread

_TYPE_SECTIONS = (".typelink", ".itablink")
# Words of runtime.moduledata: text, type information (Go 1.20; before), and from there the list of types.
_TEXT, _TYPES_120, _TYPES_118, _TO_LIST = 22, 37, 35, (8, 7)
# Groups of symbols that the symbol table has as one, with the size 0.
_GROUPS = {"type:*": TYPES, "type.*": TYPES, "go:string.*": STRINGS, "go.string.*": STRINGS}
_GROUPS |= {"go:func.*": STACK_MAPS, "go.func.*": STACK_MAPS, "runtime.gcbits.*": GENERATED}
_GROUPS |= {"go:funcdesc": GENERATED, "go:funcrel.*": STACK_MAPS}
# Between functions (cmd/link/internal/*/obj.go, CodePad). Elsewhere it is part of the function in front.
_PADDING = {"EM_X86_64": b"\xcc", "EM_386": b"\xcc", "EM_PPC64": b"\0", "EM_LOONGARCH": b"\0\0\x2a\0"}
_PADDING["EM_RISCV"] = b"\0"  # within 1 % of go nm; a function can end with zeros of its own
_LONGEST_PADDING = 64


class PartKind(StrEnum):
    """What bytes of a binary are for."""

    CODE = "code"
    DATA = "data"
    TYPES = "type information"
    EMBEDDED = "embedded files"
    PCLNTAB = "pclntab"
    DWARF = "DWARF"
    SYMBOLS = "symbol table"
    OTHER = "headers and padding"


PartOwner = tuple[PartKind, str]
# What belongs to no package, by kind.
_UNNAMED = {
    PartKind.CODE: "(alignment, code without a name)",
    PartKind.DATA: "(data without a name)",
    PartKind.TYPES: TYPES,
    PartKind.PCLNTAB: "(shared tables)",
    PartKind.DWARF: "(debug information)",
    PartKind.SYMBOLS: "(symbol table)",
    PartKind.OTHER: "(headers, padding)",
}
# What the loader reads, by section; much of a position-independent or dynamically linked binary.
_LOADER_DATA = dict.fromkeys((".rela", ".rela.dyn", ".rela.plt", ".rel.dyn"), "(relocations)")
_LOADER_DATA |= dict.fromkeys(
    (".dynsym", ".dynstr", ".gnu.hash", ".hash", ".gnu.version", ".gnu.version_r"), "(dynamic symbols)"
)
_REST: PartOwner = (PartKind.OTHER, _UNNAMED[PartKind.OTHER])
_SHARED_TABLES: PartOwner = (PartKind.PCLNTAB, _UNNAMED[PartKind.PCLNTAB])


class GoLayout:
    """Assigns each byte of an open Go binary to a kind and a package.

    `divide` sets `embedded`, the files of go:embed, and `notes`, sentences on what cannot be known.
    """

    def __init__(self, elf: ElfImage) -> None:
        self._elf = elf
        self.embedded: tuple[EmbeddedFile, ...] = ()
        self.notes: list[str] = []
        self._packages: dict[str, str] = {}  # of symbols, by name
        self._segments = sorted((each for each in elf.sections if each.allocated and each.size), key=_address)

    def divide(self) -> Counter[PartOwner]:
        """Return the bytes by kind and package. They add up to the file."""
        elf = self._elf
        functions = self._read_functions()
        symbols: list[Claim[PartOwner]] = []
        groups: list[Claim[PartOwner]] = []
        if elf.has_symbols:
            named = sorted(elf.symbols(), key=_address)
            self.embedded = find_embedded(elf, named)
            symbols = list(self._claim_symbols(named, functions))
            groups = list(self._claim_groups(named))
        else:
            symbols = list(self._claim_functions(functions)) if functions else []
            groups = list(self._claim_types())
            self.notes.append("it is stripped: data cannot be told apart by package")
        files = [
            Claim(each.offset, each.offset + each.size, (PartKind.EMBEDDED, each.package))
            for each in self.embedded
        ]
        levels = [Claims(files), Claims(symbols), Claims(groups)]
        totals: Counter[PartOwner] = Counter()
        cursor = 0
        for section in sorted(elf.sections, key=lambda each: each.offset):
            start, end = max(section.offset, cursor), section.offset + section.size
            if start < end:
                totals[_REST] += start - cursor
                kind = _kind_of(section)
                default = kind, _LOADER_DATA.get(section.name, _UNNAMED[kind])
                spread(totals, start, end, levels if section.allocated else (), default)
                cursor = end
        totals[_REST] += elf.size - cursor
        if functions:
            self._divide_table(totals, functions)
        return totals

    def _package_of(self, symbol: str) -> str:
        package = self._packages.get(symbol)
        if package is None:
            package = self._packages[symbol] = package_of(symbol)
        return package

    def _read_functions(self) -> FunctionTable | None:
        section = self._elf.section(*TABLES)
        try:
            if section is None:
                raise ValueError("it has no table of functions")
            functions = read_functions(self._elf.content(section))
        except (ValueError, struct.error) as error:
            self.notes.append(f"functions are not known: {error}")
            return None
        for name in functions.names:
            self._package_of(name)
        return functions

    def _divide_table(self, totals: Counter[PartOwner], functions: FunctionTable) -> None:
        """Give packages their part of the table of functions; the rest is shared."""
        found: Counter[str] = Counter()
        for name, size in zip(functions.names, functions.table_bytes, strict=True):
            found[self._packages[name]] += size
        if found.total() <= totals[_SHARED_TABLES]:
            for package, size in found.items():
                totals[PartKind.PCLNTAB, package] += size
            totals[_SHARED_TABLES] -= found.total()

    def _claim_symbols(
        self, symbols: list[ElfSymbol], functions: FunctionTable | None
    ) -> Iterator[Claim[PartOwner]]:
        """Yield the claims of symbols with a size, which are in the order of addresses."""
        go_packages = frozenset(self._packages.values())
        uses_c = functions is not None and "runtime/cgo" in go_packages
        current, section_kind = None, PartKind.OTHER
        for (name, _, size), section, offset in self._locate(symbols):
            if section is not current:
                current, section_kind = section, _kind_of(section)
            kind = section_kind
            if not size or kind is PartKind.PCLNTAB:
                continue
            package = self._package_of(name)
            if uses_c and package not in go_packages and not package.startswith("("):
                package = C_CODE  # names of C have dots too
            if kind is PartKind.DATA and (package == TYPES or name.startswith(ITABS)):
                kind = PartKind.TYPES
            yield Claim(offset, min(offset + size, section.offset + section.size), (kind, package))

    def _claim_groups(self, symbols: list[ElfSymbol]) -> Iterator[Claim[PartOwner]]:
        """Yield the claims of groups: each extends to the next symbol."""
        open_group: tuple[int, PartOwner, ElfSection] | None = None
        for (name, _, size), section, offset in self._locate(symbols):
            if open_group and (offset > open_group[0] or section is not open_group[2]):
                yield _close_group(open_group, offset, section)
                open_group = None
            if not size and name in _GROUPS and _kind_of(section) is PartKind.DATA:
                package = _GROUPS[name]
                open_group = offset, (PartKind.TYPES if package == TYPES else PartKind.DATA, package), section
        if open_group:
            yield _close_group(open_group, open_group[2].offset + open_group[2].size, open_group[2])

    def _locate(self, symbols: list[ElfSymbol]) -> Iterator[tuple[ElfSymbol, ElfSection, int]]:
        """Yield symbols, in the order of addresses, with their section and place in the file."""
        sections = iter(self._segments)
        section = next(sections, None)
        for symbol in symbols:
            while section and symbol.address >= section.address + section.size:
                section = next(sections, None)
            if section is None:
                return
            if symbol.address >= section.address:
                yield symbol, section, section.offset + symbol.address - section.address

    def _claim_functions(self, functions: FunctionTable) -> Iterator[Claim[PartOwner]]:
        """Yield the claims of functions without a symbol table; padding is not a function's."""
        text = self._elf.section(".text")
        if text is None:
            return
        start = text.offset + self._find_text(functions, text) - text.address
        content = self._elf.data
        padding = _PADDING.get(self._elf.machine)
        last = text.offset + text.size
        owners = {package: (PartKind.CODE, package) for package in set(self._packages.values())}
        packages = self._packages
        for name, begin, after in zip(functions.names, functions.starts, functions.starts[1:], strict=False):
            first, end = start + begin, start + after
            end = min(end, last)
            if padding and content[end - len(padding) : end] == padding:
                end -= _measure_padding(content[max(first, end - _LONGEST_PADDING) : end], padding)
            if first < end:
                yield Claim(first, end, owners[packages[name]])

    def _find_text(self, functions: FunctionTable, text: ElfSection) -> int:
        """Return the address at which the code of Go starts: in front of it can be code of C."""
        module = self._find_module_data()
        choices = [functions.text_start]
        if module is not None:
            choices.append(self._module_word(module, _TEXT))
        inside = (each for each in choices if text.address <= each < text.address + text.size)
        return next(inside, text.address)

    def _find_module_data(self) -> int | None:
        table = self._elf.section(*TABLES)
        return None if table is None else find_module_data(self._elf, table.address)

    def _claim_types(self) -> Iterator[Claim[PartOwner]]:
        """Yield the claim of the type information without a symbol table: up to the last listed type."""
        elf = self._elf
        module = self._find_module_data()
        if module is None:
            return
        for words in (_TYPES_120, _TYPES_118):
            start, end = (self._module_word(module, words + more) for more in (0, 1))
            first, last = elf.offset_of(start), elf.offset_of(start + self._last_type(module, words))
            if first is not None and last is not None and first < last and start < end:
                yield Claim(first, last, (PartKind.TYPES, TYPES))
                self.notes.append(
                    "it is stripped: type information after the last listed type counts as data"
                )
                return

    def _module_word(self, module: int, index: int) -> int:
        return self._elf.read_word(module + index * self._elf.word_size)

    def _last_type(self, module: int, words: int) -> int:
        """Return the highest offset in the list of types; 0 if it is not found."""
        for more in _TO_LIST:
            place, count, room = (self._module_word(module, words + more + each) for each in range(3))
            content = self._elf.read_at(place, 4 * count)
            if 0 < count == room and len(content) == 4 * count:
                return int(max(struct.unpack(f"<{count}i", content)))
        return 0


def _measure_padding(tail: bytes, padding: bytes) -> int:
    """Return the bytes of padding at the end."""
    if len(padding) == 1:
        return len(tail) - len(tail.rstrip(padding))
    size = 0
    while tail.endswith(padding):
        tail, size = tail.removesuffix(padding), size + len(padding)
    return size


def _close_group(
    group: tuple[int, PartOwner, ElfSection], offset: int, section: ElfSection
) -> Claim[PartOwner]:
    start, owner, own = group
    end = own.offset + own.size
    return Claim(start, min(offset, end) if section is own else end, owner)


def _address(place: ElfSymbol | ElfSection) -> int:
    return place.address


def _kind_of(section: ElfSection) -> PartKind:
    name = section.name.removeprefix(RELRO) or section.name
    if name == ".gopclntab":
        return PartKind.PCLNTAB
    if name.startswith((".debug_", ".zdebug_")):
        return PartKind.DWARF
    if name in (".symtab", ".strtab"):
        return PartKind.SYMBOLS
    if not section.allocated:
        return PartKind.OTHER
    if section.code:
        return PartKind.CODE
    return PartKind.TYPES if name in _TYPE_SECTIONS else PartKind.DATA
