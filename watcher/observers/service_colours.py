"""A colour for each service, the same on every surface of the terminal."""

from __future__ import annotations

import zlib

# Readable on dark and light backgrounds; red, yellow and green have meanings of their own.
_COLOURS = ("magenta", "cyan", "blue", "bright_magenta", "bright_cyan", "bright_blue")


def service_colour(service: str) -> str:
    """Return the colour of a service's name, as rich calls it."""
    return _COLOURS[zlib.crc32(service.encode()) % len(_COLOURS)]
