"""Decide which paths an ignore file excludes, by moby/patternmatcher's rules, fast for a whole tree.

The reference is `PatternMatcher.MatchesUsingParentResults` (moby/patternmatcher, patternmatcher.go), which is
what the docker CLI and BuildKit use while walking a context: patterns apply in order, a later `!` pattern
re-includes, and what matched a directory holds for everything below it. Patterns become Go regular
expressions there, so `[^a]` can match a slash and `\\d` a digit; the same expressions are used here, on RE2,
which has Go's syntax. One thing differs: a pattern that cannot be used is reported when the matcher is made,
not when the first path reaches it. `tests/oracle/ignore` compares both on random ignore files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from watcher import regex
from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.gopath import BadPattern, check_glob, clean

# What Go's unicode.IsSpace takes for a space; Python's own strip() also takes the control characters 0x1c to
# 0x1f.
_SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
# The reference means to escape `|`, `{` and `}` too, but its bit map of eight bytes has no place for them.
_ESCAPED_BY_GO = frozenset(".+()$")
# A component with one of these can match across slashes, so the rest of the pattern is not decidable.
_MAY_CROSS = regex.compile(r"\*\*|[\[\]\\^]")
_KEPT_DIRECTORIES = 65_536
_ALTERNATIVES = 200  # in one expression: a run of ten thousand patterns would not fit into RE2's memory


def parse_dockerignore(text: str) -> tuple[str, ...]:
    """Return the patterns of an ignore file in order, like moby/patternmatcher's `ignorefile.ReadAll`.

    A byte order mark and lines that start with `#` are left out; spaces around a pattern, `.`/`..` components
    and a leading slash (also after `!`) are removed. Nothing is checked here: that is `PatternMatcher`'s
    part.
    """
    patterns: list[str] = []
    for raw in text.removeprefix("\ufeff").split("\n"):
        line = raw.removesuffix("\r")
        if line.startswith("#"):
            continue
        pattern = line.strip(_SPACES)
        if not pattern:
            continue
        negation = "!" if pattern.startswith("!") else ""
        pattern = pattern[len(negation) :].strip(_SPACES)
        if pattern:
            pattern = clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append(negation + pattern)
    return tuple(patterns)


class PatternMatcher:
    """Answers for paths whether a list of patterns, applied in order, excludes them.

    Paths are relative, slash separated and clean (no leading or trailing slash, no `.`). Results for
    directories are kept, so asking in walk order costs one evaluation a path. Not safe for several threads at
    once.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raise `IgnorePatternError` for a pattern with wrong syntax: `!` alone, an open bracket."""
        self.patterns: tuple[str, ...] = tuple(patterns)
        self._runs = _group_runs(self.patterns)
        self._directories: dict[str, tuple[bool, int]] = {}

    def __bool__(self) -> bool:
        """Return whether there is any pattern that could match something."""
        return bool(self._runs)

    @property
    def paths(self) -> frozenset[str] | None:
        """Return the paths of the patterns if all are plain paths without wildcards; otherwise None."""
        if len(self._runs) == 1 and not self._runs[0].negation:
            return self._runs[0].paths
        return None

    def matches(self, path: str) -> bool:
        """Return whether the path or a parent is excluded and no later `!` pattern re-includes it."""
        slash = path.rfind("/")
        above = self._evaluate_directory(path[:slash])[1] if slash > 0 else 0
        return self._evaluate_path(path, above)[0]

    excluded = matches

    def can_prune(self, directory: str) -> bool:
        """Return whether the directory is excluded and no `!` pattern can re-include anything below it.

        `True` is certain; `False` can also mean that a `!` pattern is too general.
        """
        matched, flags = self._evaluate_directory(directory)
        if not matched:
            return False
        components = directory.split("/")
        # Only patterns behind the last one that matched this directory can change the result for what is
        # below it.
        return not any(
            run.may_match_below(components) for run in self._runs[flags.bit_length() :] if run.negation
        )

    def _evaluate_directory(self, path: str) -> tuple[bool, int]:
        known = self._directories.get(path)
        if known is None:
            slash = path.rfind("/")
            above = self._evaluate_directory(path[:slash])[1] if slash > 0 else 0
            known = self._evaluate_path(path, above)
            if len(self._directories) >= _KEPT_DIRECTORIES:
                self._directories.clear()
            self._directories[path] = known
        return known

    def _evaluate_path(self, path: str, above: int) -> tuple[bool, int]:
        """Return whether the path matches, and a bit per matching run; `above` are those of its parent."""
        matched = False
        flags = 0
        bit = 1
        for run in self._runs:
            # A pattern is not even tried when it could not change the result, and then counts as not
            # matching.
            if above & bit or (run.negation is matched and run.matches(path)):
                flags |= bit
                matched = not run.negation
            bit <<= 1
        return matched, flags


class _Run:
    """Neighbouring patterns that all exclude or all re-include, merged into one test.

    Merging is exact: within a run no result depends on which of its patterns matched first.
    """

    def __init__(self, *, negation: bool) -> None:
        self.negation = negation
        self._patterns: list[str] = []
        self._exact: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._suffixes: tuple[str, ...] = ()
        self._expressions: list[str] = []

    def add(self, pattern: str) -> None:
        """Add one clean pattern, without its `!`. Raises `BadPattern`."""
        check_glob(pattern)
        self._patterns.append(pattern)
        kind, expression = _compile_pattern(pattern)
        if kind == "exact":
            self._exact.add(pattern)
        elif kind == "prefix":
            self._prefixes += (pattern[:-2],)
        elif kind == "suffix":
            self._suffixes += (pattern[2:],)
            if pattern.startswith("**/"):
                self._exact.add(pattern[3:])
        else:
            self._add_expression(expression)

    def _add_expression(self, expression: str) -> None:
        escaped = _escape_text(expression)
        if "C" in escaped:  # any byte: RE2 has it, Go has not
            raise BadPattern(r"\C is no escape sequence")
        try:
            regex.one_off(expression)
        except regex.BadPattern as error:
            raise BadPattern(_error_reason(error)) from None
        # What follows `\Q` without its end is literal to the end, so it cannot be combined with others.
        closed = rf"{expression}\E" if "Q" in escaped else expression
        self._expressions.append(f"(?:{closed})")

    @property
    def paths(self) -> frozenset[str] | None:
        """Return the paths that the patterns name, if they do nothing else."""
        return None if self._prefixes or self._suffixes or self._expressions else frozenset(self._exact)

    @cached_property
    def _patterns_of_go(self) -> tuple[regex.Pattern, ...]:
        parts = range(0, len(self._expressions), _ALTERNATIVES)
        return tuple(regex.one_off("|".join(self._expressions[at : at + _ALTERNATIVES])) for at in parts)

    def matches(self, path: str) -> bool:
        """Return whether one of the patterns matches exactly this path."""
        return (
            path in self._exact
            or path.startswith(self._prefixes)
            or path.endswith(self._suffixes)
            or any(pattern.found(path) for pattern in self._patterns_of_go)
        )

    def may_match_below(self, directory: Sequence[str]) -> bool:
        """Return whether a pattern might match a path below the directory given by its components."""
        return any(_may_match_below(pattern, directory) for pattern in self._patterns)


def _may_match_below(pattern: str, directory: Sequence[str]) -> bool:
    if "|" in pattern or "{" in pattern:
        return True
    components = pattern.split("/")
    for component, name in zip(components, directory, strict=False):
        if _MAY_CROSS.search(component):
            return True
        if component != name and "*" not in component and "?" not in component:
            return False
    return len(components) > len(directory)


def _group_runs(patterns: Iterable[str]) -> tuple[_Run, ...]:
    runs: list[_Run] = []
    for given in patterns:
        stripped = given.strip(_SPACES)
        if not stripped:
            continue
        pattern = clean(stripped)
        negation = pattern.startswith("!")
        if pattern == "!":
            raise IgnorePatternError(given, "a pattern must follow the exclamation mark")
        if not runs or runs[-1].negation is not negation:
            runs.append(_Run(negation=negation))
        try:
            runs[-1].add(pattern[negation:])
        except BadPattern as error:
            raise IgnorePatternError(given, f"{error}") from None
    return tuple(runs)


def _compile_pattern(pattern: str) -> tuple[str, str]:
    """Return the kind of test for a pattern, and its Go regular expression, as in `Pattern.compile`."""
    kind = "exact"
    out = ["^"]
    # The scanner of the reference drops a byte order mark at the very beginning.
    rest = pattern.removeprefix("\ufeff")
    at = 0
    while at < len(rest):
        first = at == 0
        char = rest[at]
        at += 1
        if char == "*" and rest.startswith("*", at):
            at += 1
            at += rest.startswith("/", at)
            if at < len(rest):
                out.append("(.*/)?")
                kind = "regexp"
            elif kind == "exact":
                kind = "prefix"
            else:
                out.append(".*")
                kind = "regexp"
            if first:
                kind = "suffix"
        elif char == "*":
            out.append("[^/]*")
            kind = "regexp"
        elif char == "?":
            out.append("[^/]")
            kind = "regexp"
        elif char in _ESCAPED_BY_GO:
            out.append("\\" + char)
        elif char == "\\":
            out.append(char + rest[at : at + 1])
            at += 1
            kind = "regexp"
        else:
            out.append(char)
            if char in "[]":
                kind = "regexp"
    return kind, "".join(out) + "$"


def _escape_text(expression: str) -> set[str]:
    """Return the characters that a backslash escapes."""
    out: set[str] = set()
    at = 0
    while (at := expression.find("\\", at)) >= 0:
        char = expression[at + 1 : at + 2]
        out.add(char)
        at += 2
        if char == "Q" and (at := expression.find(r"\E", at)) < 0:  # all up to `\E` is literal
            break
    return out


def _error_reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
