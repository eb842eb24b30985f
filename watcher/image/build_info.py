"""Read what Go writes into each binary about its build: version, modules, settings.

The format is that of Go's debug/buildinfo: a header of 32 bytes, then two strings with their lengths since
Go 1.18, or the addresses of two strings before.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MAGIC = b"\xff Go buildinf:"
_HEADER = 32
_INLINE = 2  # flag: the strings follow
_BIG_ENDIAN = 1
_SENTINEL = 16  # bytes on both ends of the module text


@dataclass(frozen=True, slots=True)
class GoModule:
    """A module in a binary. `replaced_by` is the path and version that took its place."""

    path: str
    version: str = ""
    replaced_by: str = ""


@dataclass(frozen=True, slots=True)
class GoBuild:
    """How a binary was built. `settings` are those of `go version -m`, like `vcs.revision`."""

    go: str
    package: str = ""
    main: GoModule = GoModule("")
    modules: tuple[GoModule, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def read_build_info(section: bytes, read_at: Callable[[int, int], bytes]) -> GoBuild | None:
    """Return the build info of a `.go.buildinfo` section; None if it has none.

    `read_at` returns bytes at an address, fewer at the end; only binaries of Go before 1.18 need it.
    """
    start = section.find(MAGIC)
    if start < 0 or len(section) < start + _HEADER:
        return None
    pointer_size, flags = section[start + 14], section[start + 15]
    if flags & _INLINE:
        version, end = _inline_string(section, start + _HEADER)
        text, _ = _inline_string(section, end)
    elif pointer_size in (4, 8):
        form = (">" if flags & _BIG_ENDIAN else "<") + ("I" if pointer_size == 4 else "Q") * 2
        places = struct.unpack_from(form, section, start + 16)
        version, text = (_pointed_string(place, form, read_at) for place in places)
    else:
        return None
    if not version:
        return None
    if len(text) > 2 * _SENTINEL and text[-_SENTINEL - 1 : -_SENTINEL] == b"\n":
        text = text[_SENTINEL:-_SENTINEL]
    else:
        text = b""
    return _parse_modules(version.decode("utf-8", "replace"), text.decode("utf-8", "replace"))


def _inline_string(section: bytes, start: int) -> tuple[bytes, int]:
    length = shift = 0
    for place in range(start, min(start + 10, len(section))):
        byte = section[place]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            end = place + 1 + length
            return (section[place + 1 : end], end) if end <= len(section) else (b"", len(section))
    return b"", len(section)


def _pointed_string(place: int, form: str, read_at: Callable[[int, int], bytes]) -> bytes:
    header = read_at(place, struct.calcsize(form))
    if len(header) < struct.calcsize(form):
        return b""
    start, length = struct.unpack(form, header)
    return read_at(start, length)


def _parse_modules(version: str, text: str) -> GoBuild:
    package, main = "", GoModule("")
    modules: list[GoModule] = []
    settings: dict[str, str] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition("\t")
        columns = [*rest.split("\t"), "", ""]
        match kind:
            case "path":
                package = rest
            case "mod":
                main = GoModule(columns[0], columns[1])
            case "dep":
                modules.append(GoModule(columns[0], columns[1]))
            case "=>":
                by = " ".join(column for column in columns[:2] if column)
                if modules:
                    modules[-1] = GoModule(modules[-1].path, modules[-1].version, by)
                else:
                    main = GoModule(main.path, main.version, by)
            case "build":
                key, _, value = rest.partition("=")
                settings[_unquote(key)] = _unquote(value)
    return GoBuild(version, package, main, tuple(modules), settings)


def _unquote(text: str) -> str:
    """Return a value without the quotes that Go puts around spaces."""
    if len(text) > 1 and text[0] == text[-1] == "`":
        return text[1:-1]
    if text.startswith('"'):
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return str(value)
    return text
