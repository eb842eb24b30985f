"""Where a build asks git about the repository, which it can only when `.git` is in the context. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator

from watcher import regex
from watcher.dockerfile.go_commands import read_run
from watcher.dockerfile.model import Dockerfile

# Subcommands that need a repository; clone, init and config do not.
_GIT = regex.compile(
    r"\bgit[ \t]+(?:-[Cc][ \t]+\S+[ \t]+|-\S+[ \t]+)*"
    r"(describe|rev-parse|rev-list|log|show|status|diff|diff-index|ls-files|ls-tree|tag|branch|name-rev|symbolic-ref|show-ref|for-each-ref|cat-file|shortlog|submodule|archive)\b"
)
_STAMPED = regex.compile(r"-buildvcs(?:=(?:true|1|t))?(?:[\s\"']|$)")
_TOOLS = regex.compile(r"\b(goreleaser)\b")
_MAKE = regex.compile(r"(?:^|[\s;&|(\"'])g?make\b")
_TASKS = {"task": "taskfile", "just": "justfile", "mage": "magefile"}
_LARGEST_FILES = 40  # that are looked into


def git_use(dockerfile: Dockerfile, files: Collection[str], read: Callable[[str], str]) -> str:
    """Return where the build uses git, as the start of a sentence; "" if it seems not to.

    `files` are those of the context, `read` gives the text of one. It reads the Dockerfile and the
    Makefiles and scripts that its steps name.
    """
    texts: list[str] = []
    make = False
    for one in dockerfile.instructions():
        if one.keyword == "RUN":
            text = "\n".join((one.body.text, *(heredoc.content.text for heredoc in one.heredocs)))
            if (asked := _asks(text)) or (asked := _stamps(text)):
                return f"line {one.line} of the Dockerfile {asked}"
            texts.append(text)
            analysis = read_run(one, ("/bin/sh", "-c"))
            names = {posixpath.basename(command.name() or "") for command in analysis.others}
            make = make or bool(names & {"make", "gmake"}) or bool(analysis.unclear and _MAKE.found(text))
    steps = "\n".join(texts)
    for path in list(_named(steps, files, make=make))[:_LARGEST_FILES]:
        for number, line in enumerate(read(path).split("\n"), 1):
            if not line.lstrip().startswith("#") and (asked := _asks(line)):
                return f"line {number} of {path} {asked}"
    return ""


def _asks(text: str) -> str:
    if match := _GIT.search(text):
        return f"runs `git {match[1]}`"
    return "runs goreleaser, which asks git" if _TOOLS.found(text) else ""


def _stamps(text: str) -> str:
    return "has -buildvcs, for which go asks git" if _STAMPED.found(text) else ""


def _named(steps: str, files: Collection[str], *, make: bool) -> Iterator[str]:
    """Yield the files of the context that the steps run, as far as their names are literal."""
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        name = posixpath.basename(path)
        lower = name.lower()
        if lower in ("makefile", "gnumakefile") or lower.endswith(".mk"):
            if make:
                yield path
        elif any(lower.startswith(file) and tool in steps for tool, file in _TASKS.items()) or (
            len(name) > 2 and not name.endswith((".go", ".mod", ".sum")) and name in steps
        ):
            yield path
