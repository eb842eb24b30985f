"""Find code of the product that nothing uses: vulture, and a list of what only others use, with reasons.

    python deploy/dead_code.py [FOLDER]

Tests do not count as users: a function that only its tests call is dead. Neither do `__all__` and the imports
of an `__init__.py`, which would keep an unused name alive. An entry of the list that is not needed is
reported too.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parents[1]
USERS = ("watcher", "config")
ALL = re.compile(r"^__all__ = \[.*?\]$", re.DOTALL | re.MULTILINE)


def find_unused(root: Path) -> list[tuple[str, str]]:
    """Return the names that no code below `root` uses, each with its place and kind."""
    vulture = Vulture()
    for folder in USERS:
        for path in sorted((root / folder).rglob("*.py")):
            if path.name != "__init__.py" and "messages" not in path.parts:
                # The lines stay where they are, so that the places are right.
                text = ALL.sub(lambda names: "\n" * names[0].count("\n"), path.read_text("utf-8"))
                vulture.scan(text, filename=path.relative_to(root))
    return [
        (item.name, f"{item.filename}:{item.first_lineno}: unused {item.typ}")
        for item in vulture.get_unused_code(min_confidence=60)
    ]


def check(root: Path, allowed: dict[str, str]) -> list[str]:
    """Return what is wrong: unused names that are not allowed, and allowances without a use or a reason."""
    unused = find_unused(root)
    known = {name for name, _ in unused}
    return [
        *(f"{place} `{name}`" for name, place in unused if name not in allowed),
        *(f"dead_code_allowed.toml: `{name}` is used now, or gone" for name in allowed if name not in known),
        *(f"dead_code_allowed.toml: `{name}` has no reason" for name in allowed if not allowed[name].strip()),
    ]


def main(root: Path) -> int:
    """Print what is wrong and return the exit status."""
    groups = tomllib.loads((root / "deploy" / "dead_code_allowed.toml").read_text("utf-8"))
    found = check(root, {name: group["reason"] for group in groups.values() for name in group["names"]})
    for line in found:
        print(line)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else ROOT))
