"""Divide ranges of a file among claims, so that each byte is counted once. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

Owner = TypeVar("Owner", bound=Hashable)


class Claim(NamedTuple, Generic[Owner]):
    """The bytes from `start` up to `end` belong to `owner`."""

    start: int
    end: int
    owner: Owner


class Claims(Generic[Owner]):
    """Claims in the order of their starts. Where two overlap, the first one has the bytes."""

    def __init__(self, claims: Iterable[Claim[Owner]]) -> None:
        self.items: list[Claim[Owner]] = []
        reach = 0
        for claim in sorted(claims, key=itemgetter(0)):
            start, end, owner = claim
            if start >= reach and end > start:
                self.items.append(claim)
                reach = end
            elif end > reach > start:
                self.items.append(Claim(reach, end, owner))
                reach = end
        self._ends = [claim.end for claim in self.items]

    def first_at(self, offset: int) -> int:
        """Return the index of the first claim with a byte at or after `offset`."""
        return bisect_right(self._ends, offset)


def spread(
    totals: Counter[Owner], start: int, end: int, levels: Sequence[Claims[Owner]], default: Owner
) -> None:
    """Add the bytes to their owners: those of the first level that claims them, else `default`."""
    if start >= end:
        return
    if not levels:
        totals[default] += end - start
        return
    claims, below = levels[0], levels[1:]
    cursor = start
    items = claims.items
    for index in range(claims.first_at(start), len(items)):
        first, last, owner = items[index]
        if first >= end:
            break
        first, last = max(first, cursor), min(last, end)
        if first < last:
            if cursor < first:  # a call less for most of 100,000 claims
                spread(totals, cursor, first, below, default)
            totals[owner] += last - first
            cursor = last
    spread(totals, cursor, end, below, default)
