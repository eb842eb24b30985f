"""From a tool's output to places in files, and from a dead container to a hint. Pure: text in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from watcher.observe import Diagnostic, Failure

MOST_LINES = 60  # of a tool's output kept in a failure
MOST_DIAGNOSTICS = 50

# The go command prints "path/file.go:LINE:COLUMN: message", relative to where it ran; vet and the linker may
# leave the column out; a module file's errors look the same. The paths hold no colon and no space on Linux.
_PLACE = re.compile(
    r"^(?:vet: |go: )?(?P<file>[^\s:]+\.(?:go|mod|sum|work|s|c|h))"
    r":(?P<line>\d+)(?::(?P<column>\d+))?: (?P<text>.+)$"
)
_DOCKERFILE_LINE = re.compile(r"parse error (?:on )?line (\d+): (.+)")
# Step and reason of a base image that is not to be had; the wording differs between versions of BuildKit.
_BASE_STEP = re.compile(r"load metadata for (?:docker\.io/(?:library/)?)?(?P<image>[^\s:]+(?::[^\s:]+)*)")
_BASE_REASON = re.compile(
    r"failed to (?:solve(?: with frontend \S+)?|create LLB definition|resolve source metadata for \S+):\s*"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def diagnostics(lines: Iterable[str]) -> tuple[Diagnostic, ...]:
    """The places that a Go compiler's output names, each once, in order."""
    found: dict[Diagnostic, None] = {}
    for line in lines:
        match = _PLACE.match(_ANSI.sub("", line.rstrip()))
        if match and len(found) < MOST_DIAGNOSTICS:
            file = match["file"].removeprefix("./")
            found[Diagnostic(file, int(match["line"]), int(match["column"] or 0), match["text"])] = None
    return tuple(found)


def clean(lines: Iterable[str]) -> tuple[str, ...]:
    """The last lines without colour codes and trailing space."""
    return tuple(_ANSI.sub("", line).rstrip() for line in lines)[-MOST_LINES:]


def build_failure(step: str, reason: str, log: Sequence[str]) -> Failure:
    """What a failed build step means to the person who saved the file."""
    lines, places = clean(log), diagnostics(log)
    if places:
        count = len(places)
        summary = f"{places[0].file}:{places[0].line}: {places[0].message}"
        if count > 1:
            summary += f" (and {count - 1} more)"
        return Failure("compile", summary, lines, places)
    if match := _DOCKERFILE_LINE.search(reason):
        place = Diagnostic("Dockerfile", int(match[1]), 0, match[2])
        return Failure("build", f"Dockerfile:{match[1]}: {match[2]}", lines, (place,))
    if match := _BASE_STEP.search(step) or _BASE_STEP.search(reason):
        return base_failure((match["image"],), _BASE_REASON.sub("", reason), lines or (reason,))
    what = step or "the build"
    return Failure(
        "build",
        f"{what} failed: {_last(lines) or reason}",
        lines or (reason,),
        hint=_build_hint(reason, lines),
    )


def base_failure(images: Sequence[str], why: str, lines: Sequence[str] = ()) -> Failure:
    """Base images that are not here and could not be had; `why` is what the engine said last of it."""
    one = len(images) == 1
    who = f"the base image {images[0]} is" if one else f"the base images {', '.join(images)} are"
    registry = "its registry" if one else "their registry"
    return Failure(
        "build",
        f"{who} not here, and {registry} did not give {'it' if one else 'them'}: {why}",
        tuple(lines),
        hint="check the name, the network and `docker login`; `docker pull` shows the same error",
    )


def _last(lines: Sequence[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def _build_hint(reason: str, lines: Sequence[str]) -> str:
    text = "\n".join((reason, *lines))
    if "load metadata for" in text or "failed to resolve" in text or "pull access denied" in text:
        return (
            "the base image is not here and its registry did not give it: "
            "check its name, the network, `docker login`"
        )
    if "not found" in reason and ("cache key" in reason or "failed to walk" in reason or "stat" in reason):
        return "a COPY names a file that is not in the build context: check the path and .dockerignore"
    if "not a git repository" in text:
        return '`.git` is not part of the tree: watch.ignore = ["!**/.git"] takes it in'
    if "missing go.sum entry" in text or "updates to go.mod needed" in text:
        return "run `go mod tidy` and save go.mod and go.sum"
    if "dial tcp" in text or "i/o timeout" in text or "no such host" in text:
        return "the build could not reach the network: module downloads need a Go module proxy"
    if "no space left on device" in text:
        return (
            "the engine's disk is full: `watcher prune --dry-run` and `docker system df` show what fills it"
        )
    return ""


_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"_envs?/|env_\w+\.ya?ml", re.IGNORECASE),
        "an environment file is missing or wrong: check _envs/env_<ENV>.yaml and the build argument ENV",
    ),
    (
        re.compile(r"exec format error"),
        "the binary is for another architecture: check GOARCH and the platform of the service",
    ),
    (
        re.compile(r"no such file or directory", re.IGNORECASE),
        "if the file is there, the binary needs a shared library that the final image lacks: "
        "build with CGO_ENABLED=0",
    ),
    (
        re.compile(r"permission denied", re.IGNORECASE),
        "check the file's mode and the USER of the final stage",
    ),
    (re.compile(r"address already in use", re.IGNORECASE), "the program listens twice on one port"),
)


def container_failure(
    summary: str, log: Sequence[str], *, exit_code: int, oom: bool, error: str = ""
) -> Failure:
    """Why a container does not run: exit code, memory, the engine's words, its last lines, a hint."""
    lines = clean(log)
    text = "\n".join((error, *lines))
    if oom:
        hint = "it was killed for using too much memory: raise mem_limit or use less"
    else:
        hint = next((advice for pattern, advice in _HINTS if pattern.search(text)), "")
        if not hint and exit_code == 0 and not error:
            hint = "the program ended by itself with status 0: a server must keep running"
    if error:
        summary += f": {error}"
    return Failure("container", summary, lines, hint=hint)


def not_ready(seconds: float, port: int, last: str, log: Sequence[str]) -> Failure:
    """Why a running container was not taken: no answer on its port. `last` is what came of the last try."""
    return Failure(
        "container",
        f"the new container did not answer on port {port} within {seconds:g} s ({last})",
        clean(log),
        hint=f"inside the container the program must listen on 0.0.0.0:{port}, not on 127.0.0.1",
    )
