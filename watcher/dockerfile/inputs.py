"""The files of a tree that go's build cache does not cover; `unseen.py` explains why that matters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from watcher import regex
from watcher.dockerfile.spans import word_set

# Every way to write the import path C in Go. Elsewhere in a file these bytes only cost a larger digest.
_IMPORTS_C = (b'"C"', b"`C`", rb'"\x43"', rb'"\103"', rb'"\u0043"', rb'"\U00000043"')
_INCLUDE = regex.compile(r'#[ \t]*include[ \t]*"([^"\n]*)')
_HEADERS = (".h", ".hh", ".hpp", ".hxx")
# Text that sets one of these variables, or names system folders.
LEADS = regex.compile(
    r"CGO_(?:C|CPP|CXX|F|LD)FLAGS|CPATH|INCLUDE_PATH|LIBRARY_PATH|PKG_CONFIG|\bC(?:C|XX)[ \t]*[:?+]?="
    r"|/usr/(?:local/)?(?:include|lib)|(?i:\bprefix\b)"
)
# Files by which make, a shell or another runner can call go, and a line in one that can pass `-a`.
_RUNNERS = regex.compile(
    r"(?i)(?:.*/)?(?:(?:gnu)?makefile(?:\..*)?|justfile|taskfile\.ya?ml|[^/.]+|.*\.(?:mk|mak|make|sh|bash))"
)
_REBUILDS = regex.compile(
    r"(?m)^[^\n]*(?:\bgo\b|GO|[Bb]uild|BUILD|[Ff]lags|FLAGS)[^\n]*[ \t\"'=]-a(?:[ \t\"'\\]|$)"
    r"|^[ \t]*-a[ \t]*\\?$"
    r"|^[^\n]*(?:\bgo\b|GO)[^\n]*\bclean\b[^\n]*[ \t]--?cache\b"
)
_WRAPS_TOOLS = regex.compile(r"-toolexec\b")
_OWN_NAMES = word_set("go.mod go.sum go.work go.work.sum")
_STORES = frozenset({".git", ".hg", ".svn", ".jj"})
_LARGEST = 1 << 20  # bytes of a file, not Go, that is looked through for variables


def is_gos_own(path: str) -> bool:
    """Return whether go sees every change of this file: what it compiles, and what names modules."""
    folder, _, name = path.rpartition("/")
    parts = folder.split("/")
    if _STORES & {*parts, name}:
        return True  # no compiler's input, and it changes with every look that git takes
    if name in _OWN_NAMES or path.endswith("vendor/modules.txt"):
        return True
    ignored = name[:1] in "_." or any(part == "testdata" or part[:1] in ("_", ".") for part in parts if part)
    return name.endswith(".go") and not ignored


class TreeInputs:
    """The files of the tree that go's build cache does not cover. Read only where it matters.

    `files` are the tree's regular files with the digests of their contents, `read` gives a content (None when
    it cannot be had: then the worst is assumed). `known` keeps what was found out about a content, from one
    of these to the next.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        read: Callable[[str], bytes | None],
        known: dict[tuple[str, bytes], bool] | None = None,
    ) -> None:
        self._files, self._read = files, read
        self._known = {} if known is None else known

    @cached_property
    def users_of_c(self) -> tuple[str, ...]:
        """Return the Go and SWIG files for which go runs a C compiler."""
        swig = [path for path in self._files if path.endswith((".swig", ".swigcxx"))]
        found = self._find_files(
            "imports C", (path for path in self._files if path.endswith(".go")), _imports_c
        )
        return (*swig, *found)

    @cached_property
    def assembly(self) -> bool:
        """Return whether go's assembler can open a file here that go does not hash."""
        if not self.has_assembly:
            return False
        headers = (path for path in self._files if path.endswith((".s", ".h", ".hh", ".hpp", ".hxx")))
        return bool(self._find_files("includes", headers, _includes_unseen))

    @cached_property
    def leads_c(self) -> bool:
        """Return whether a file that is not Go can set the C compiler's search path, or add to it."""
        texts = (path for path in self._files if not is_gos_own(path))
        leads = self._find_files(
            "leads", texts, lambda data: len(data) <= _LARGEST and LEADS.found(_text(data))
        )
        return bool(leads)

    @cached_property
    def rebuilders(self) -> tuple[str, ...]:
        """Return the files that can call go with `-a`, which compiles everything again."""
        runners = (path for path in self._files if _RUNNERS.fullmatch(path) and not is_gos_own(path))
        return tuple(self._find_files("rebuilds", runners, _passes_a))

    @cached_property
    def wraps_tools(self) -> bool:
        """Return whether a file that can call go wraps go's tools in a program."""
        runners = (path for path in self._files if _RUNNERS.fullmatch(path) and not is_gos_own(path))
        return bool(self._find_files("wraps", runners, lambda data: may_wrap_tools(_text(data[:_LARGEST]))))

    @cached_property
    def has_assembly(self) -> bool:
        """Return whether go's assembler runs."""
        return any(path.endswith(".s") for path in self._files)

    @cached_property
    def names_modules(self) -> bool:
        """Return whether a go.sum lists a module that a download would fetch."""
        sums = (path for path in self._files if path.rpartition("/")[2] == "go.sum")
        return bool(self._find_files("lists", sums, lambda data: bool(data.strip())))

    @cached_property
    def digest(self) -> str:
        """Return a digest over all files but go's own."""
        return self._compute_digest("")

    @cached_property
    def vendored_digest(self) -> str:
        """Return the same for what is in `vendor`."""
        return self._compute_digest("vendor/")

    def _compute_digest(self, folder: str) -> str:
        state = hashlib.sha256()
        for path in sorted(self._files):
            if path.startswith(folder) and not is_gos_own(path):
                name = path.encode("utf-8", "surrogateescape")
                state.update(b"%d:%b%b" % (len(name), name, self._files[path]))
        return state.hexdigest()

    def _find_files(self, what: str, paths: Iterable[str], test: Callable[[bytes], bool]) -> list[str]:
        """Return the files with content that passes the test."""
        found = []
        for path in paths:
            key = what, self._files[path]
            passes = self._known.get(key)
            if passes is None:
                data = self._read(path)
                passes = data is None or test(data)
                if data is not None:
                    self._known[key] = passes
            if passes:
                found.append(path)
        return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _passes_a(data: bytes) -> bool:
    return len(data) <= _LARGEST and may_rebuild(_text(data))


def may_rebuild(script: str) -> bool:
    """Return whether a script can call go with `-a`."""
    return _REBUILDS.found(script)


def may_wrap_tools(script: str) -> bool:
    """Return whether a script, or GOFLAGS, can have go run its tools through another program."""
    return _WRAPS_TOOLS.found(script)


def _imports_c(data: bytes) -> bool:
    return any(spelling in data for spelling in _IMPORTS_C)


def _includes_unseen(data: bytes) -> bool:
    """Return whether assembly or a header includes a header outside of its own folder and of go itself."""
    names = _INCLUDE.findall(_text(data))
    return any("/" in name or not name.endswith(_HEADERS) for name in names)
