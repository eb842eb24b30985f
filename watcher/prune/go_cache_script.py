"""The shell commands that measure and trim Go's build cache inside its cache mount, and what they print.

Go marks an entry as used by its modification time, which it renews when it is older than an hour. Once a day
it removes what was unused for five days (cmd/go/internal/cache, `used` and `Trim`). So the oldest entries are
those that were unused for longest. An entry that a running build has looked up is no older than an hour and
that build, so entries of the last `IN_USE` minutes stay. A missing entry is compiled again.

The commands are those that busybox and GNU have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from watcher import regex

FOLDER = "/watcher-caches"  # holds the mounts, each under its number
IN_USE = 120  # minutes
_MEASURED = regex.compile(rf"(\d+)\s+{FOLDER}/(\d+)")
_MEASURE = f"du -sk {FOLDER}/*"


def measure_script(nonce: str) -> str:
    """Print the size of each mount. `nonce` keeps the engine from taking the step from its cache."""
    return f"{_MEASURE} # {nonce}"


def trim_script(numbers: Sequence[int], kilobytes: int, nonce: str) -> str:
    """Remove the entries unused for longest from these mounts, together about so many kilobytes.

    Only Go's entries go (`ab/ab…-a`, `ab/ab…-d`) and linked programs that the watcher has kept there.
    """
    folders = " ".join(f"{FOLDER}/{number}" for number in numbers)
    hashed = " ".join(f"{FOLDER}/{number}/[0-9a-f][0-9a-f]" for number in numbers)
    old = f"-maxdepth 1 -type f -mmin +{IN_USE}"
    show = "-exec stat -c '%Y %b %n' {} +"
    entries = f"find {hashed} {old} -name '*-[ad]' {show}; find {folders} {old} -name 'watcher-*' {show}"
    oldest = f"sort -n | awk '{{ if (gone >= {kilobytes}) exit; gone += $2 / 2; print $3 }}'"
    return f"{{ {entries}; }} 2>/dev/null | {oldest} | xargs rm -f; {_MEASURE} # {nonce}"


def parse_sizes(lines: Iterable[str]) -> Mapping[int, int]:
    """Bytes by the number of the mount, as they were measured last."""
    sizes: dict[int, int] = {}
    for line in lines:
        if found := _MEASURED.match(line):
            sizes[int(found[2])] = int(found[1]) * 1024
    return sizes
