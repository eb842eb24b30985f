"""A colour for each service, the same on every surface of the terminal."""

from __future__ import annotations

import zlib

# Readable on dark and light backgrounds; red, yellow and green have meanings of their own.
# Names as rich has them, and codes of the escape sequence "select graphic rendition" (ECMA-48).
_COLOURS = (
    ("magenta", 35),
    ("cyan", 36),
    ("blue", 34),
    ("bright_magenta", 95),
    ("bright_cyan", 96),
    ("bright_blue", 94),
)


def service_colour(service: str) -> str:
    """Return the colour of a service's name, as rich calls it."""
    return _choose(service)[0]


def sgr_code(service: str) -> int:
    """Return the same colour as a code for the terminal."""
    return _choose(service)[1]


def _choose(service: str) -> tuple[str, int]:
    return _COLOURS[zlib.crc32(service.encode(errors="replace")) % len(_COLOURS)]
