"""What a container of the image runs: by the Dockerfile, its base, and the compose file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from watcher.dockerfile.model import Instruction
from watcher.dockerfile.spans import word_set

_SHELLS = word_set("sh bash ash dash env exec tini dumb-init su-exec gosu")
_RUNS_GO = word_set("go air gow wgo reflex CompileDaemon fresh realize dlv make task mage modd")


@dataclass(frozen=True, slots=True)
class Runs:
    """What a compose file has a container run; None, and an empty `health`, leave that to the image.

    `others` are commands that run in the container besides.
    """

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    health: tuple[str, ...] = ()
    others: tuple[tuple[str, ...], ...] = ()


THE_IMAGES = Runs()


def starts_go(runs: Runs, steps: Iterable[Instruction], base: tuple[str, ...]) -> str | None:
    """Return the program by which the container runs go, if it is named; None if it does not run go.

    `steps` are the instructions of the image's stages, `base` is what the image below them runs.
    """
    for text in _run_commands(runs, list(steps), " ".join(base)):
        for word in text.replace('"', " ").replace("'", " ").split():
            if posixpath.basename(word) in _RUNS_GO:
                return word
    return None


def runs_a_program(runs: Runs, steps: Iterable[Instruction], base: tuple[str, ...]) -> bool:
    """Return whether the container is known to run a compiled program: no shell, script or toolchain."""
    found = list(steps)
    if starts_go(runs, found, base) is not None:
        return False
    first = next((text for text in _run_commands(runs, found, " ".join(base)) if text), "")
    name = posixpath.basename((first.split() or [""])[0])
    return bool(name) and name not in _SHELLS and "." not in name and "$" not in name


def _run_commands(runs: Runs, steps: list[Instruction], base: str) -> Iterator[str]:
    """Return the texts of all commands of a container (docker: an overridden entrypoint drops the CMD)."""
    last = {one.keyword: one for one in steps if one.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK")}
    if runs.entrypoint is not None:
        yield " ".join(runs.entrypoint)
    elif one := last.get("ENTRYPOINT"):
        yield _instruction_text(one)
    elif runs.command is None and "CMD" not in last:
        yield base
    if runs.command is not None:
        yield " ".join(runs.command)
    elif runs.entrypoint is None and (one := last.get("CMD")):
        yield _instruction_text(one)
    if runs.health:
        yield " ".join(runs.health)
    elif one := last.get("HEALTHCHECK"):
        yield _instruction_text(one)
    yield from (" ".join(each) for each in runs.others)


def _instruction_text(one: Instruction) -> str:
    return " ".join(one.words) if one.words is not None else one.body.text
