"""Make the shell commands that measure and trim Go's build cache in its cache mount, and parse their output.

Go renews the modification time of an entry when it uses it and that time is older than an hour. Once a day it
removes entries that were unused for five days (cmd/go/internal/cache, `used` and `Trim`). So the entries with
the oldest times are the least recently used. Entries of the last `IN_USE` minutes stay, because a running
build can have looked them up. A missing entry is compiled again.

The commands exist in busybox and GNU coreutils.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from watcher import regex

FOLDER = "/watcher-caches"  # parent folder of the mounts, which are named by their numbers
IN_USE = 120  # minutes
_MEASURED = regex.compile(rf"(\d+)\s+{FOLDER}/(\d+)")
_MEASURE = f"du -sk {FOLDER}/*"


def measure_script(nonce: str) -> str:
    """Return a command that prints the size of each mount. `nonce` prevents a cached result."""
    return f"{_MEASURE} # {nonce}"


def trim_script(numbers: Sequence[int], kilobytes: int, nonce: str) -> str:
    """Return a command that removes the least recently used entries of these mounts, about `kilobytes`.

    It removes only Go's entries (`ab/ab…-a`, `ab/ab…-d`) and linked programs that the watcher stored.
    """
    folders = " ".join(f"{FOLDER}/{number}" for number in numbers)
    hashed = " ".join(f"{FOLDER}/{number}/[0-9a-f][0-9a-f]" for number in numbers)
    old = f"-maxdepth 1 -type f -mmin +{IN_USE}"
    show = "-exec stat -c '%Y %b %n' {} +"
    entries = f"find {hashed} {old} -name '*-[ad]' {show}; find {folders} {old} -name 'watcher-*' {show}"
    oldest = f"sort -n | awk '{{ if (gone >= {kilobytes}) exit; gone += $2 / 2; print $3 }}'"
    return f"{{ {entries}; }} 2>/dev/null | {oldest} | xargs rm -f; {_MEASURE} # {nonce}"


def parse_sizes(lines: Iterable[str]) -> Mapping[int, int]:
    """Return bytes by number of the mount; the last measurement wins."""
    sizes: dict[int, int] = {}
    for line in lines:
        if found := _MEASURED.match(line):
            sizes[int(found[2])] = int(found[1]) * 1024
    return sizes
