"""The error of a pattern that cannot be used."""

from __future__ import annotations


class IgnorePatternError(Exception):
    """A pattern cannot be used. `pattern` is its text, `rule` what is wrong with it."""

    def __init__(self, pattern: str, rule: str) -> None:
        super().__init__(f"ignore pattern {pattern!r}: {rule}")
        self.pattern = pattern
        self.rule = rule
