"""Find what a COPY brings too much, and files that do not exist: `_envs/env_$ENV.yaml` for another ENV."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from watcher.dockerfile.advice import Advice, ReviewedFile, Severity
from watcher.dockerfile.caches import copy_sources
from watcher.dockerfile.context_copies import find_carried_trees
from watcher.dockerfile.state import StageStep
from watcher.dockerfile.variables import read_variables

_WILD = frozenset("*?[")
_NAMED = 5  # files that exist


def check_copies(file: ReviewedFile) -> Iterator[Advice]:
    """Yield each COPY of the whole tree into the image, and of a file that the tree does not have."""
    for step, tree in find_carried_trees(file):
        line = step.one.line
        told = f"line {line} copies a folder with the whole tree (line {tree.one.line}) into the image"
        remedy = "copy the program, and the files that it reads, by their own names"
        yield Advice(line, Severity.ADVICE, told, remedy)
    if not file.given.files:
        return
    for stage in file.stages:
        for step in file.steps[stage.index]:
            if step.one.keyword in ("COPY", "ADD") and not step.inherited:
                for word in copy_sources(step.one):
                    yield from _check_source(file, step, word)


def _check_source(file: ReviewedFile, step: StageStep, word: str) -> Iterator[Advice]:
    one, escape = step.one, file.graph.dockerfile.escape
    names = list(read_variables(word, escape))
    path = step.state.expand(word, escape)
    if not names or path is None or "://" in path or _WILD & set(path):
        return
    relative = _find_in_context(file, step, path)
    if relative is None or relative in file.given.files:
        return
    folder = posixpath.dirname(relative)
    like = _pattern_of(posixpath.basename(word))
    there = sorted(
        posixpath.basename(each)
        for each in file.given.files
        if posixpath.dirname(each) == folder and _is_like(posixpath.basename(each), like)
    )
    if not there:
        return  # a step makes it, or the folder is another one
    values = ", ".join(f"{name}={step.state.text(name) or ''}" for name in dict.fromkeys(names))
    told = f"line {one.line} copies {relative}, which does not exist ({values})"
    more = " and more" if len(there) > _NAMED else ""
    known = f"{folder or 'the context'} has {', '.join(there[:_NAMED])}{more}"
    remedy = f"add the file, or pass another value; {known}"
    yield Advice(one.line, Severity.ERROR, told, remedy)


def _pattern_of(word: str) -> tuple[str, str]:
    """Return what is before and after the variables of a file's name."""
    head = word.partition("$")[0]
    tail = word.rpartition("$")[2]
    tail = tail.partition("}")[2] if tail.startswith("{") else tail.lstrip(_NAME_SIGNS)
    return head, tail


_NAME_SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


def _is_like(name: str, pattern: tuple[str, str]) -> bool:
    head, tail = pattern
    return name.startswith(head) and name.endswith(tail) and len(name) >= len(head) + len(tail)


def _find_in_context(file: ReviewedFile, step: StageStep, path: str) -> str | None:
    """Return the path in the context that a source comes from; None if that is not known."""
    source = step.one.flag("from")
    if not source:
        return posixpath.normpath(path.lstrip("/"))
    base = file.graph.find_source(step.stage, source)
    if base.stage is None:
        return None
    path = posixpath.normpath(posixpath.join("/", path))
    for other in file.chain_steps(base.stage):
        if other.one.keyword not in ("COPY", "ADD") or other.one.flag("from"):
            continue
        words = other.one.words or tuple(other.one.body.text.split())
        if len(words) != 2 or words[0] not in (".", "./") or other.state.workdir is None:
            continue
        target = other.state.expand(words[1])
        if target is None:
            continue
        root = posixpath.normpath(posixpath.join(other.state.workdir, target))
        if path.startswith(f"{root.rstrip('/')}/"):
            return path[len(root.rstrip("/")) + 1 :]
    return None
