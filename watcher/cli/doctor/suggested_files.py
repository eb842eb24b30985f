"""Suggest a smaller Dockerfile and an ignore file: as files beside the user's own, or as a patch."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.patterns import PatternMatcher, parse_dockerignore
from watcher.errors import WatcherError

SUFFIX = ".watcher-suggested"
IGNORE = ".dockerignore"
# What the build of a Go program does not read. Only what is in the folder is suggested, and always .git.
_UNREAD = (
    ".git",
    ".github",
    ".gitlab-ci.yml",
    ".gitignore",
    ".gitattributes",
    ".idea",
    ".vscode",
    ".DS_Store",
    ".dockerignore",
    "Dockerfile*",
    "docker-compose*.yml",
    "docker-compose*.yaml",
    "compose*.yml",
    "compose*.yaml",
    "watcher.toml",
    "node_modules",
    "README*",
    "CHANGELOG*",
)


@dataclass(frozen=True, slots=True)
class SuggestedFile:
    """A file to write at `path`. `original` is the text of the user's own file at `original_path`.

    None if there is no such file; then `path` is `original_path`.
    """

    path: Path
    text: str
    original: str | None
    original_path: Path

    def render_patch(self, root: Path) -> str:
        """Return the unified diff of the user's own file, with paths relative to `root`."""
        name = _relative(self.original_path, root)
        before = "/dev/null" if self.original is None else f"a/{name}"
        lines = difflib.unified_diff(
            (self.original or "").splitlines(keepends=True),
            self.text.splitlines(keepends=True),
            before,
            f"b/{name}",
        )
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )

    def write(self) -> None:
        """Write the file; raises WatcherError. Replaces only an earlier suggestion, never a file of the user.

        A link of that name is replaced too, not the file that it leads to.
        """
        new = self.path.with_name(f".{secrets.token_hex(4)}{SUFFIX}")
        target = new if self.path.name.endswith(SUFFIX) else self.path
        try:
            with target.open("x", encoding="utf-8", errors="surrogateescape") as file:
                file.write(self.text)
            if target is new:
                new.replace(self.path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise WatcherError(f"{self.path} cannot be written: {error.strerror}") from error


def suggest_patterns(names: Iterable[str], existing: str | None) -> tuple[str, ...]:
    """Return patterns for what no build of a Go program reads.

    `names` are the entries of the context's folder, `existing` is the text of its ignore file, None if there
    is none. A file that exists gets `.git` only, or nothing if it excludes that already or is not valid.
    """
    if existing is not None:
        try:
            if PatternMatcher(parse_dockerignore(existing)).excluded(".git/HEAD"):
                return ()
        except IgnorePatternError:
            return ()
        return (".git",)
    found = list(names)
    return tuple(each for each in _UNREAD if each == ".git" or _matches_any(each, found))


def _matches_any(pattern: str, names: Iterable[str]) -> bool:
    matcher = PatternMatcher((pattern,))
    return any(matcher.excluded(name) for name in names)


def suggest_ignore_file(context: Path, existing: str | None, patterns: Iterable[str]) -> SuggestedFile:
    """Return the ignore file with more patterns: `.dockerignore` if there is none, else a file beside it."""
    path = context / IGNORE
    if existing is None:
        return SuggestedFile(path, "".join(f"{each}\n" for each in patterns), None, path)
    head = existing if existing.endswith("\n") or not existing else f"{existing}\n"
    text = head + "".join(f"{each}\n" for each in patterns)
    return SuggestedFile(path.with_name(f"{IGNORE}{SUFFIX}"), text, existing, path)


def suggest_dockerfile(original: Path, before: str, text: str, service: str = "") -> SuggestedFile:
    """Return the file for a Dockerfile changed to `text`; `service` becomes part of its name, if given."""
    name = f"{original.name}.{service}{SUFFIX}" if service else f"{original.name}{SUFFIX}"
    return SuggestedFile(original.with_name(name), text, before, original)


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
