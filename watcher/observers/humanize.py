"""Format numbers for people: sizes, durations, times of day."""

from __future__ import annotations

import time
from pathlib import Path

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """Bytes in decimal units with three digits, as `docker images` shows them: `23.3 MB`."""
    value, unit = float(abs(count)), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{'−' if count < 0 else ''}{value:.{digits}f} {_UNITS[unit]}"


def size_change(count: int) -> str:
    """Return the difference of two sizes, with its sign: `+1.20 kB`, `−3.00 MB`, `same size`."""
    if count == 0:
        return "same size"
    return size(count) if count < 0 else f"+{size(count)}"


def size_since(before: int | None, now: int) -> str:
    """Return a size after the previous one: `21.1 → 14.5 MB`, or `25.1 MB (+68 B)` if they look equal."""
    shown = size(now)
    if before is None:
        return shown
    number, _, unit = size(before).partition(" ")
    if size(before) == shown:
        return f"{shown} ({size_change(now - before)})"
    return f"{number} → {shown}" if shown.endswith(f" {unit}") else f"{number} {unit} → {shown}"


def part(done: int, total: int) -> str:
    """Return a size and the whole that it is of: `12.0 of 120 MB`, `900 kB of 1.20 MB`."""
    whole, some = size(total), size(done)
    number, _, unit = some.partition(" ")
    return f"{number if whole.endswith(f' {unit}') else some} of {whole}"


def seconds(value: float) -> str:
    """Return a duration: `45 ms`, `1.6 s`, `48 s`, `2 min 05 s`, `3 h 20 min`."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def clock(at: float) -> str:
    """Return the local time of day of a Unix time: `14:03:12`; `??:??:??` for one that no calendar has."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "??:??:??"


def short(revision: str | None) -> str:
    """Return the first 12 hex digits of a revision or image id, `-` for none."""
    return revision.removeprefix("sha256:")[:12] if revision else "-"


def count(number: int, noun: str) -> str:
    """`1 image`, `3 images`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def hold(reason: str) -> str:
    """Return a line about what builds wait for: `waiting: a git operation`, `waiting for a build slot`."""
    return reason if reason.startswith("waiting ") else f"waiting: {reason}"


def old_connections(number: int) -> str:
    """Return a note for `live` while the previous version still has connections; empty at 0."""
    return f"  ({count(number, 'connection')} still with the previous version)" if number else ""


def short_path(path: Path | str) -> str:
    """Return a path with `~` for the home folder."""
    try:
        return f"~/{Path(path).relative_to(Path.home())}".removesuffix("/.")
    except (ValueError, RuntimeError):  # outside of it; there is none
        return str(path)
