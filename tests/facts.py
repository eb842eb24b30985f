"""Assert what a message says, not how it is worded."""

from __future__ import annotations

import re


def missing(text: str, *facts: object) -> list[str]:
    """The facts (names, values, numbers) that do not stand in the text as whole words, in this order."""
    place, left = 0, []
    for fact in map(str, facts):
        if found := re.search(rf"(?<![\w.]){re.escape(fact)}(?!\w)", text[place:]):
            place += found.end()
        else:
            left.append(fact)
    return left
