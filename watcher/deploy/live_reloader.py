"""Find programs like `air` that watch the sources in a container, and what they write.

With the sources mounted, such a program builds and restarts the service on each save, inside the container.
The watcher replaces the container on each save too, because only then it is known what answers. That is the
same work twice, so it is said at the start and by `watcher doctor`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher import dockerfile as dockerfiles
from watcher.compose import ServiceSpec
from watcher.dockerfile import DockerfileError
from watcher.tree import read_small

PATIENCE = 120.0  # seconds for a container that compiles at its start, unless configured

# Program → what it writes below the mounted sources, unless configured otherwise.
_RELOADERS: dict[str, tuple[str, ...]] = {
    "air": ("tmp",),
    "arelo": (),
    "bee": ("lastupdate.tmp",),
    "compiledaemon": (),
    "entr": (),
    "fresh": ("tmp",),
    "gin": ("gin-bin",),
    "godemon": (),
    "gow": (),
    "modd": (),
    "nodemon": (),
    "realize": (".realize",),
    "reflex": (),
    "watchexec": (),
    "wgo": (),
}
_AIR_FILES = (".air.toml", "air.toml", ".air.conf")
# Words that another command follows.
_BEFORE = frozenset(
    ("exec", "sh", "bash", "ash", "-c", "-lc", "-ec", "--", "tini", "dumb-init", "env", "time")
)
_SEPARATORS = ("&&", "||", ";", "|", "&")


@dataclass(frozen=True, slots=True)
class StartCommand:
    """What the container starts with. `reloader` is empty unless it watches its sources itself."""

    words: tuple[str, ...] = ()
    reloader: str = ""
    compiles: bool = False  # at its start: it takes as long as a build

    @property
    def text(self) -> str:
        """As it is shown."""
        return " ".join(self.words)


def start_command(spec: ServiceSpec, context: Path, dockerfile: str) -> StartCommand:
    """Return what the container of a service starts with: by the compose file, else by the Dockerfile.

    Commands of the base image and of scripts are unknown.
    """
    entrypoint, command = spec.entrypoint, spec.command
    if not entrypoint and not command:
        entrypoint, command = _from_dockerfile(spec, context, dockerfile)
    words = tuple(word for part in (*(entrypoint or ()), *(command or ())) for word in part.split())
    commands = tuple(_commands(words))
    reloader = next((name for name, _ in commands if name in _RELOADERS), "")
    compiles = any(name == "go" and rest[:1] in (("run",), ("test",)) for name, rest in commands)
    return StartCommand(words, reloader, compiles or bool(reloader))


def _from_dockerfile(
    spec: ServiceSpec, context: Path, name: str
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    inline = spec.build.dockerfile_inline if spec.build else None
    text = (read_small(str(context), name) or b"").decode("utf-8", "replace") if inline is None else inline
    found: dict[str, tuple[str, ...]] = {}
    try:
        parsed = dockerfiles.parse(text)
    except DockerfileError:
        return None, None
    if not parsed.stages:
        return None, None
    target = spec.build.target if spec.build else None
    stage = (parsed.stage(target) if target else None) or parsed.stages[-1]
    for one in stage.instructions:
        if one.keyword in ("CMD", "ENTRYPOINT"):
            found[one.keyword] = one.words if one.words is not None else (one.body.text,)
            if one.keyword == "ENTRYPOINT":
                found.pop("CMD", None)
    return found.get("ENTRYPOINT"), found.get("CMD")


def _commands(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The programs that a command line starts, each with its arguments; `go run x/air@v1` is `air` too."""
    begins = True
    for number, raw in enumerate(words):
        word = raw.strip("\"'();")
        if begins and word and "=" not in word:
            name, rest = os.path.basename(word).lower(), tuple(words[number + 1 :])  # noqa: PTH119
            yield name, rest
            if name == "go" and rest[:1] in (("run",), ("tool",)):
                yield from ((_module_name(each), ()) for each in rest[1:] if not each.startswith("-"))
            begins = word in _BEFORE
        if raw.endswith(_SEPARATORS):
            begins = True


def _module_name(path: str) -> str:
    """Return the program that `go run` of a module path starts."""
    parts = path.partition("@")[0].rstrip("/").split("/")
    last = parts[-1]
    return (parts[-2] if last.startswith("v") and last[1:].isdecimal() and len(parts) > 1 else last).lower()


def outputs(command: StartCommand, sources: Path) -> tuple[str, ...]:
    """Patterns over what the reloader writes below `sources`, in the syntax of an ignore file."""
    written = _RELOADERS.get(command.reloader, ())
    if command.reloader == "air":
        written = tuple(_air_outputs(command, sources))
    inside = (os.path.normpath(place) for place in written)
    return tuple(place for place in inside if place not in (".", "..") and not place.startswith(("../", "/")))


def _air_outputs(command: StartCommand, sources: Path) -> Iterator[str]:
    named = [after for word, after in zip(command.words, command.words[1:], strict=False) if word == "-c"]
    for name in (*named, *_AIR_FILES):
        data = read_small(str(sources), os.path.normpath(name))
        if data is None:
            continue
        try:
            told = tomllib.loads(data.decode("utf-8", "replace"))
        except tomllib.TOMLDecodeError:
            break
        folder = told.get("tmp_dir", "tmp")
        if isinstance(folder, str) and folder:
            yield folder
        return
    yield "tmp"
