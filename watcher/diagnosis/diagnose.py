"""From a tool's output to places in files, and from a dead container to a hint. Pure: text in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from watcher import regex
from watcher.diagnosis.failure_hints import build_hint, image_hint
from watcher.diagnosis.positions import Where, as_said, of_compiler, of_panic, of_tests, plain
from watcher.observers.events import Diagnostic, Failure

_DISK_FULL = ("no space left on device", "disk quota exceeded")
_DISK_BROKEN = ("read-only file system", "input/output error", "structure needs cleaning")
_NO_NETWORK = ("failed to create endpoint",)  # for a step, or for a container
# moby, libnetwork/ipamutils and ipam: 20.10's wording, and that of newer engines.
_NO_ADDRESSES = ("could not find an available", "predefined address pools have been fully subnetted")
NO_ADDRESSES = "no address pool is free for another network"
_TAIL = 5  # lines at the end of a step's output, in which it says why it failed
MOST_LINES = 60  # of a tool's output kept in a failure
_NOISE = ("go: downloading ", "go: extracting ", "go: finding ")  # says nothing of why it failed

_DOCKERFILE_LINE = regex.compile(r"parse error (?:on )?line (\d+): (.+)")
# Step and reason of a base image that is not to be had; the wording differs between versions of BuildKit.
_BASE_STEP = regex.compile(r"load metadata for (?:docker\.io/(?:library/)?)?(?P<image>[^\s:]+(?::[^\s:]+)*)")
_BASE_REASON = regex.compile(
    r"failed to (?:solve(?: with frontend \S+)?|create LLB definition|resolve source metadata for \S+):\s*"
)


def clean(lines: Iterable[str]) -> tuple[str, ...]:
    """The last lines without colour codes and trailing space."""
    return tuple(map(plain, lines))[-MOST_LINES:]


def build_failure(
    step: str,
    reason: str,
    log: Sequence[str],
    *,
    where: Where = as_said,
    dockerfile: str = "Dockerfile",
    line: int = 0,
) -> Failure:
    """What a failed build step means to the person who saved the file.

    `where` knows the user's files. `dockerfile` and `line` are where the failed instruction stands; 0 is for
    one that is not known.
    """
    lines = clean(line for line in log if not line.startswith(_NOISE)) or clean(log)
    if places := of_compiler(log, where):
        return Failure("compile", _first(places), lines, places)
    if match := _DOCKERFILE_LINE.search(reason):
        place = Diagnostic(dockerfile, int(match[1]), 0, match[2], said=dockerfile)
        return Failure("build", f"{dockerfile}:{match[1]}: {match[2]}", lines, (place,))
    if match := _BASE_STEP.search(step) or _BASE_STEP.search(reason):
        why = _BASE_REASON.sub("", reason.replace(f" {match['image']}: failed", " failed"))
        return base_failure((match["image"],), why, lines or (reason,))
    if places := of_tests(log, where) or of_panic(log, where):
        what = f"{step} failed: " if step else ""
        return Failure("build", f"{what}{_first(places)}", lines, places)
    said = _last(lines) or reason
    at = (Diagnostic(dockerfile, line, 0, said, said=dockerfile),) if line else ()
    hint = build_hint(step, reason, lines)
    return Failure("build", f"{step or 'the build'} failed: {said}", lines or (reason,), at, hint)


def _first(places: Sequence[Diagnostic]) -> str:
    """The first place and what is said of it, and how many there are more."""
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return f"{places[0].file}:{places[0].line}: {places[0].message}{more}"


def engine_trouble(reason: str, log: Sequence[str] = ()) -> str:
    """What the engine's machine lacks, when that and not the tree made it fail; empty otherwise.

    `reason` is the engine's own text, in which the step's command says nothing. Of what a step printed only
    its last lines count, and only a full disk: a step may meet a read-only file system or a broken file by
    the user's own doing.
    """
    said = _without_command(reason).lower()
    if any(each in said for each in _NO_ADDRESSES):
        return NO_ADDRESSES
    for trouble in _DISK_FULL + _DISK_BROKEN + _NO_NETWORK:
        if trouble in said:
            return trouble
    tail = "\n".join(log[-_TAIL:]).lower()
    return next((trouble for trouble in _DISK_FULL if trouble in tail), "")


def trouble_hint(trouble: str) -> str:
    """What to do about an `engine_trouble`."""
    if trouble == NO_ADDRESSES:
        return (
            "`watcher prune --gone` removes the networks of projects that are gone, `docker network prune` "
            "all that no container uses"
        )
    if trouble in _NO_NETWORK:
        return "`docker network ls` lists the engine's networks, its own log says more"
    return "`docker system df` and `watcher prune --dry-run` show what fills it"


def _without_command(reason: str) -> str:
    """What BuildKit says behind the command that failed: 0.8's wording, and that of newer ones."""
    for before, behind in (("executor failed running [", "]: "), ('process "', '" did not complete')):
        if before in reason and behind in reason:
            return reason[reason.rfind(behind) + len(behind) :]
    return reason


def base_failure(images: Sequence[str], why: str, lines: Sequence[str] = ()) -> Failure:
    """Base images that are not here and could not be had; `why` is what the engine said last of it."""
    one = len(images) == 1
    who = f"the base image {images[0]} is" if one else f"the base images {', '.join(images)} are"
    registry = "its registry" if one else "their registry"
    return Failure(
        "build",
        f"{who} not here, and {registry} did not give {'it' if one else 'them'}: {why}",
        tuple(lines),
        hint=image_hint(why),
    )


def _last(lines: Sequence[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


_NO_FILE = r"no such file or directory"
_ENV_FILE = r"(?:_envs?/|\benv_[\w-]+\.ya?ml)"
# The first that matches counts; each is looked for in one line: two harmless ones are no error together.
# What the engine says of a program that it cannot start is runc's (`exec: "/app": …`, `exec /app: …`) and the
# kernel's; of a library that is missing musl's and glibc's loaders.
_HINTS: tuple[tuple[regex.Pattern, str], ...] = (
    (
        regex.compile(
            rf"(?i){_ENV_FILE}.*(?:no such file|not found|cannot|denied|invalid|unmarshal|yaml:)"
            rf"|(?:no such file|cannot|unmarshal|yaml:).*{_ENV_FILE}"
        ),
        "an environment file is missing or wrong: check _envs/env_<ENV>.yaml and the build argument ENV",
    ),
    (
        regex.compile(r"exec format error"),
        "the binary is for another architecture: check GOARCH and the platform of the service",
    ),
    (
        regex.compile(r"(?i)executable file not found|exec: .*: stat .*no such file"),
        "the container has no such program as CMD or ENTRYPOINT names: check COPY --from and the path, "
        "and that no volume of the compose file lies over its folder",
    ),
    (
        regex.compile(rf"(?i)\bexec .*{_NO_FILE}|loading shared librar|relocating .*not found"),
        "the binary needs a shared library or a loader that the final image lacks: build with CGO_ENABLED=0",
    ),
    (
        regex.compile(r"(?i)bind: permission denied"),
        "a port below 1024 is not for every user: use a higher one, or check the USER of the final stage",
    ),
    (
        regex.compile(r"(?i)permission denied"),
        "check the file's mode and the USER of the final stage",
    ),
    (regex.compile(r"(?i)address already in use"), "the program listens twice on one port"),
    (
        regex.compile(r"(?i)connection refused|no such host|server misbehaving"),
        "it could not reach something it needs: a service of the compose file belongs in depends_on, "
        "with condition service_healthy if it takes its time",
    ),
)


def container_failure(
    summary: str, log: Sequence[str], *, exit_code: int, oom: bool, error: str = "", where: Where = as_said
) -> Failure:
    """Why a container does not run: exit code, memory, the engine's words, its last lines, a hint.

    `where` knows the user's files.
    """
    lines, places = from_panic(log), of_panic(log, where)
    if oom:
        hint = "it was killed for using too much memory: raise mem_limit or use less"
    else:
        hint = _container_hint((error, *lines))
        if not hint and exit_code == 0 and not error:
            hint = "the program ended by itself with status 0: a server must keep running"
    if error:
        summary += f": {error}"
    if places:
        summary += f": {_first(places[:1])}"
    return Failure("container", summary, lines, places, hint=hint)


def from_panic(log: Sequence[str]) -> tuple[str, ...]:
    """The lines from the last panic on, as many as are kept; without one the last lines."""
    lines = tuple(map(plain, log))
    starts = [number for number, line in enumerate(lines) if line.startswith(("panic: ", "fatal error: "))]
    if not starts:
        return lines[-MOST_LINES:]
    begin = max(0, min(starts[-1] - 5, len(lines) - MOST_LINES))
    return lines[begin : begin + MOST_LINES]


def _container_hint(lines: Iterable[str]) -> str:
    said = tuple(lines)
    return next((advice for pattern, advice in _HINTS if any(map(pattern.search, said))), "")


_LISTENS = regex.compile(
    r"(?i)(?:listen|serv(?:ing|er|es)|start|bound|running|address|addr)\w*\b.*?"
    r"(?P<host>127\.0\.0\.1|localhost|\[::1\]|\[::\]|0\.0\.0\.0|\s|=|\"):(?P<port>\d{2,5})\b"
)


def not_ready(seconds: float, port: int, last: str, log: Sequence[str]) -> Failure:
    """Why a running container was not taken: no answer on its port. `last` is what came of the last try."""
    lines = clean(log)
    return Failure(
        "container",
        f"the new container did not answer on port {port} within {seconds:g} s ({last})",
        lines,
        hint=_port_hint(port, last, lines),
    )


def _port_hint(port: int, last: str, lines: Sequence[str]) -> str:
    """What its last answer, or else its own words, say about where it listens."""
    longer = "if it only needs longer, raise deploy.startup_timeout"
    if "was answered" in last:
        return (
            "it runs, but says that it is not ready: see that path, or name another with deploy.ready_path; "
            f"{longer}"
        )
    if last.startswith("no answer"):
        return (
            "it takes connections and does not answer HTTP: does it wait for something, or speak another "
            f'protocol? Then say so in watcher.toml: [deploy.protocols] {port} = "tcp" ({longer})'
        )
    if not any(line.strip() for line in lines):
        return f"it has printed nothing and nothing listens on port {port} yet: {longer}"
    places = [found for line in lines if (found := _LISTENS.search(line))]
    if places and not any(int(found["port"]) == port for found in places):
        return f"it says that it listens on port {places[-1]['port']}, the compose file publishes {port}"
    local = any(found["host"] in ("127.0.0.1", "localhost", "[::1]") for found in places)
    return (
        f"inside the container the program must listen on 0.0.0.0:{port}, not on 127.0.0.1"
        f"{', where it says that it listens' if local else ''}; {longer}"
    )
