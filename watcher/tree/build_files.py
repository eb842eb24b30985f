"""Read the two files that define a build: the Dockerfile and the ignore file.

Both are read at every scan, in full: they are small, and they count even when the ignore file excludes them
or when they lie outside of the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass

from watcher.tree.node import TreeProblem

_LINKS_MOST = 40  # as the kernel follows (path_resolution(7))
_LARGEST = 4 * 1024 * 1024  # bytes; far more than any Dockerfile; a wrong path can name anything
# Links are followed, as BuildKit does. Not blocking: a fifo cannot hang the scan.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class BuildFiles:
    """What the files held. `dockerfile` is None when there is none; `ignore_path` is empty then."""

    dockerfile: bytes | None
    ignore_path: str
    ignore: bytes
    problems: tuple[TreeProblem, ...]


def ignore_files(dockerfile: str) -> tuple[str, str]:
    """Return a Dockerfile's ignore files, the winning one first (BuildKit, frontend/dockerui/config.go)."""
    return f"{dockerfile}.dockerignore", ".dockerignore"


def read_build_files(base: str, dockerfile: str, *, inline: bool = False) -> BuildFiles:
    """Read the Dockerfile `dockerfile` (relative to `base`) and its ignore file.

    What cannot be read is a problem of the result, never an error. `inline`: the Dockerfile is not a file
    (`dockerfile_inline`), and one that is there is like any other file.
    """
    problems: list[TreeProblem] = []
    text = None if inline else _read_bounded(base, dockerfile, "dockerfile", problems)
    if text is None and not (problems or inline):
        problems.append(TreeProblem(dockerfile, "dockerfile", f"{dockerfile}: there is no such Dockerfile"))
    for path in ignore_files(dockerfile):
        ignore = _read_bounded(base, path, "ignore-file", problems)
        if ignore is not None:
            return BuildFiles(text, path, ignore, tuple(problems))
    return BuildFiles(text, "", b"", tuple(problems))


def link_chain(base: str, paths: Collection[str]) -> frozenset[str]:
    """Return the links on the way to `paths` and the files at the end, all relative to `base`.

    Paths without a link on the way are left out.
    """
    real = os.path.realpath(base)
    found: set[str] = set()
    for path in paths:
        chain = _follow_links(os.path.join(real, path))  # noqa: PTH118 - bytes that are no UTF-8 must survive
        if len(chain) > 1:
            found.update(os.path.relpath(place, real) for place in chain)
    return frozenset(found)


def _follow_links(path: str) -> list[str]:
    """Return the links on the way to `path`, in the order they are followed, and the end of the way."""
    chain: list[str] = []
    here, rest = os.sep, _path_parts(path)
    while rest:
        part = rest.pop(0)
        if part == os.pardir:
            here = os.path.dirname(here)  # noqa: PTH120
            continue
        place = os.path.join(here, part)  # noqa: PTH118
        try:
            target = os.readlink(place)  # noqa: PTH115
        except OSError:
            here = place
            continue
        chain.append(place)
        if len(chain) > _LINKS_MOST:
            break
        rest = _path_parts(target) + rest
        if target.startswith(os.sep):
            here = os.sep
    return [*chain, here]


def _path_parts(path: str) -> list[str]:
    return [part for part in path.split(os.sep) if part not in ("", os.curdir)]  # noqa: PTH206 - `..` stays


def read_small(base: str, path: str) -> bytes | None:
    """Return the content of a small regular file below or next to `base`; None when it cannot be read."""
    return _read_bounded(base, path, "dockerfile", [])


def _read_bounded(base: str, path: str, kind: str, problems: list[TreeProblem]) -> bytes | None:
    try:
        fd = os.open(os.path.join(base, path), _FLAGS)  # noqa: PTH118 - bytes that are no UTF-8 must survive
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(TreeProblem(path, kind, f"{path} cannot be read: {error.strerror}"))
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            problems.append(TreeProblem(path, kind, f"{path} is not a regular file and is not read"))
            return None
        with os.fdopen(fd, "rb", buffering=0, closefd=False) as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        problems.append(TreeProblem(path, kind, f"{path} cannot be read: {error.strerror}"))
        return None
    finally:
        os.close(fd)
    if len(text) > _LARGEST:
        problems.append(TreeProblem(path, kind, f"{path} is larger than 4 MiB and is not read"))
        return None
    return text
