"""What the files of a Go project say about it: module, main packages, port, cgo, for `watcher init`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from watcher import regex

_MODULE = regex.compile(r'(?m)^module\s+"?([^\s"]+)')
_MAIN = regex.compile(r"(?m)^package main\b")
_IGNORED = regex.compile(r"(?m)^//(?:go:build| *\+build) ignore\b")
_CGO = regex.compile(r'(?m)^import "C"')
_CGO_MODULES = ("github.com/mattn/go-sqlite3 ", "github.com/confluentinc/confluent-kafka-go")
_PORTS = (
    regex.compile(r'(?:ListenAndServe|Listen|Run)\((?:"tcp", *)?"[^"]*:([0-9]{2,5})"'),
    regex.compile(r'Addr: *"[^"]*:([0-9]{2,5})"'),
    regex.compile(r'flag\.String(?:Var)?\((?:&[\w.]+, *)?"[^"]*", *"[^"]*:([0-9]{2,5})"'),
    regex.compile(r'flag\.Int(?:Var)?\((?:&[\w.]+, *)?"[^"]*port[^"]*", *([0-9]{2,5})\b'),
)
_VARIABLE = regex.compile(r'os\.(?:Getenv|LookupEnv)\("([A-Z0-9_]{0,40}(?:PORT|ADDR|ADDRESS|LISTEN))"\)')
_EXPOSED = regex.compile(r"(?im)^[ \t]*EXPOSE[ \t]+([0-9]{2,5})\b")
_SKIPPED = frozenset({"vendor", "testdata", "node_modules"})
_MOST_FILES = 5000
_MOST_BYTES = 262_144  # of a source file that is read


def read_module(root: Path) -> str | None:
    """Return the module's path from go.mod; None without one."""
    found = _MODULE.search(read_text(root / "go.mod"))
    return found[1] if found else None


def find_main_packages(root: Path) -> list[str]:
    """Return the folders of main packages as Go names them: `.`, `./cmd/api`. Ignored files do not count."""
    texts = {path: read_text(path) for path in list_sources(root)}
    found = {
        path.parent.relative_to(root).as_posix()
        for path, text in texts.items()
        if _MAIN.search(text) and not _IGNORED.search(text)
    }
    return sorted("." if folder == "." else f"./{folder}" for folder in found)


def find_port(root: Path) -> int | None:
    """Return the port on which the program listens, if its sources name exactly one."""
    found = {
        int(port)
        for path in list_sources(root)
        for text in (read_text(path),)
        for pattern in _PORTS
        for port in pattern.findall(text)
    }
    return found.pop() if len(found) == 1 and 0 < min(found) < 65_536 else None


def find_port_variables(root: Path) -> dict[str, str]:
    """Return the environment variables that name a port or an address, with `{port}` in their values."""
    names = {name for path in list_sources(root) for name in _VARIABLE.findall(read_text(path))}
    return {name: "{port}" if name.endswith("PORT") else ":{port}" for name in sorted(names)}


def find_exposed_port(dockerfile: Path) -> int | None:
    """Return the port of the last EXPOSE."""
    found = [int(port) for port in _EXPOSED.findall(read_text(dockerfile))]
    return found[-1] if found and 0 < found[-1] < 65_536 else None


def needs_cgo(root: Path) -> bool:
    """Return whether the project, or a module that is known for it, works with cgo only."""
    modules = read_text(root / "go.mod")
    return any(name in modules for name in _CGO_MODULES) or any(
        _CGO.search(read_text(path)) for path in list_sources(root)
    )


def is_library(root: Path) -> bool:
    """Return whether the top folder has Go files of a package that is not main."""
    return any(path.parent == root and not _IGNORED.search(read_text(path)) for path in list_sources(root))


def list_sources(root: Path) -> Iterator[Path]:
    """Yield Go files that are no tests; hidden folders and those of others are left out."""
    count, folders, workspace = 0, [root], (root / "go.work").exists()
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink() or entry.name.startswith((".", "_")):
                continue
            if (
                entry.is_dir()
                and entry.name not in _SKIPPED
                and (workspace or not (entry / "go.mod").exists())
            ):
                folders.append(entry)
            elif entry.name.endswith(".go") and not entry.name.endswith("_test.go"):
                count += 1
                if count > _MOST_FILES:
                    return
                yield entry


def read_text(path: Path) -> str:
    """Return the beginning of a file, "" if it cannot be read."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
