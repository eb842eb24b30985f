"""Make foreign text safe to print. Every surface uses this module.

Output of builds and containers, names of files and branches, and configuration can contain control characters
that move the cursor, set the title, write to the clipboard or type for the user, and characters that reorder
or hide text. They are shown as `\\u001b`, as in JSON, which keeps a JSON document valid. Colours are removed.
"""

from __future__ import annotations

from typing import Any, Final, TextIO

from watcher import regex

LONGEST = 4000  # characters of one line; the rest is cut before anything reads it

# Colours (SGR), and the "erase to the end of the line" that gcc adds to them (ECMA-48).
_COLOURS = regex.compile(r"\x1b\[[0-9;:]*[mK]")

# Categories Cc, Cf, Zl and Zp of Unicode: controls, bidirectional overrides, invisible characters, tags, line
# separators. Not the two joiners U+200C and U+200D, which scripts and emoji need.
_HARMFUL: Final = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD)),
    *((0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2), (0x180E, 0x180E), (0x200B, 0x200B), (0x200E, 0x200F)),
    *((0x2028, 0x202E), (0x2060, 0x2064), (0x2066, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
    *((0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    *((0xE0001, 0xE0001), (0xE0020, 0xE007F)),
)


def _escape(code: int) -> str:
    if code > 0xFFFF:  # as JSON writes it
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return "\\r" if code == 0x0D else f"\\u{code:04x}"


_LINES: Final = {code: _escape(code) for first, last in _HARMFUL for code in range(first, last + 1)}
_LINES.update(dict.fromkeys(range(0xD800, 0xE000), "\ufffd"))  # bytes that are no text (`surrogateescape`)
_ONE_LINE: Final = {**_LINES, 0x0A: "\\n"}


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with nothing in it that a terminal acts on; without `lines`, a line break is shown as `\\n`."""
    if text.isprintable() or (lines and all(map(str.isprintable, text.split("\n")))):
        return text
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    return text.translate(_LINES if lines else _ONE_LINE)


# Control sequences (CSI), operating system commands like links (OSC), and other escapes of two characters.
_SEQUENCES = regex.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])")
_NOTHING: Final = {code: None for code in _LINES if not 0xD800 <= code < 0xE000}


def without_controls(text: str) -> str:
    """`text` without the characters that `printable` escapes: the text as a terminal shows it."""
    if text.isprintable() or all(map(str.isprintable, text.split("\n"))):
        return text
    if "\x1b" in text:
        text = _SEQUENCES.sub("", text)
    return text.translate(_NOTHING)


def cut(text: str, longest: int = LONGEST) -> str:
    """`text` with every line of it at most that many characters long."""
    if len(text) <= longest:
        return text
    return "\n".join(line if len(line) <= longest else f"{line[:longest]} …" for line in text.split("\n"))


class PrintableStream:
    """A text stream that writes only what is printable. `unescaped` is the stream beneath."""

    def __init__(self, stream: TextIO) -> None:
        self.unescaped = stream

    def write(self, text: str) -> int:
        """Write `text`, made printable."""
        return self.unescaped.write(printable(text, lines=True))

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`, made printable."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unescaped, name)
