"""Read Go's table of functions (pclntab), which every binary has, also a stripped one. Go 1.18 and later.

The format is that of Go's internal/abi and runtime/symtab.go. A table that contradicts itself is refused as a
whole: ValueError or struct.error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

_MAGIC_118, _MAGIC_120 = 0xFFFFFFF0, 0xFFFFFFF1  # earlier versions of Go have another form
# One function: its name, places of its tables (pcsp, pcfile, pcln), and how many further places follow.
_FUNCTION_118 = struct.Struct("<4xI 8x III I 4x 3xB")
_FUNCTION_120 = struct.Struct("<4xI 8x III I 4x 4x 3xB")  # with the line of its start
_ENTRY = 8  # bytes of a function in the index
_HEADER = 8


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """The functions of a binary. `starts` are offsets in the text; the last one is the end of the text."""

    text_start: int  # address in the header; 0 since Go 1.26
    starts: tuple[int, ...]
    names: tuple[str, ...]
    table_bytes: tuple[int, ...]  # bytes of the table that each function takes


def read_functions(table: bytes) -> FunctionTable:
    """Return the functions in the bytes of a `.gopclntab` section."""
    if len(table) < _HEADER:
        raise ValueError("the table of functions is too short")
    (magic,) = struct.unpack_from("<I", table)
    if magic not in (_MAGIC_118, _MAGIC_120):
        raise ValueError("the table of functions is of an unknown version of Go or byte order")
    word = "I" if table[7] == 4 else "Q"
    head = struct.unpack_from(f"<8{word}", table, _HEADER)
    count, text_start, names_at, pcs_at, functions_at = head[0], head[2], head[3], head[6], head[7]
    if not 0 < count <= len(table) // _ENTRY or not pcs_at <= functions_at <= len(table):
        raise ValueError("the table of functions is damaged")
    pairs = struct.unpack_from(f"<{2 * count + 1}I", table, functions_at)
    if any(end < start for start, end in pairwise(pairs[::2])):
        raise ValueError("the functions are not in order")
    form = _FUNCTION_118 if magic == _MAGIC_118 else _FUNCTION_120
    unpack, fixed = form.unpack_from, _ENTRY + form.size
    names: list[str] = []
    sizes: list[int] = []
    known: dict[int, str] = {}
    room = len(table)
    owner = owned_from = highest = 0  # the function whose tables of positions are read, and where they begin
    for number, place in enumerate(pairs[1::2]):
        name_at, stack, file, line, more_tables, function_data = unpack(table, functions_at + place)
        size = fixed + 4 * (more_tables + function_data)
        if (name := known.get(name_at)) is None:
            start = names_at + name_at
            end = table.index(b"\0", start)
            name = known[name_at] = table[start:end].decode("utf-8", "replace")
            size += end + 1 - start
            room -= end + 1 - start
            if room < 0:
                raise ValueError("the names of functions overlap")
        names.append(name)
        sizes.append(size)
        # tables that equal an earlier one are not stored again
        if stack > highest or file > highest or line > highest:
            newest = max(stack, file, line)
            new = min(pc for pc in (stack, file, line) if pc > highest)
            if number:
                sizes[owner] += new - owned_from
            owner, owned_from, highest = number, new, newest
    sizes[owner] += max(0, functions_at - pcs_at - owned_from)
    return FunctionTable(text_start, pairs[::2], tuple(names), tuple(sizes))
