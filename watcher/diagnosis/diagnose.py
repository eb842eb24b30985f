"""Make failures from the output of tools and from stopped containers. Pure: text in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from watcher import regex
from watcher.diagnosis.command_error import remove_command
from watcher.diagnosis.failure_hints import build_hint, image_hint
from watcher.diagnosis.positions import Where, as_said, of_compiler, of_panic, of_tests, strip_colours
from watcher.observers.events import Diagnostic, Failure

_DISK_FULL = ("no space left on device", "disk quota exceeded")
_DISK_BROKEN = ("read-only file system", "input/output error", "structure needs cleaning")
NO_NETWORK = "failed to create endpoint"  # of a build step or a container
_MOST_OF_REASON = 300  # characters
_SIGNALS = 128  # exit statuses above are signals: the program did not say why it ends
_PANICS = ("panic: ", "fatal error: ")
# moby, libnetwork/ipamutils and ipam: the messages of 20.10 and of newer engines.
_NO_ADDRESSES = ("could not find an available", "predefined address pools have been fully subnetted")
# BuildKit's errors where two builds share a step and one of them ends (moby/buildkit, solver/scheduler.go and
# solver/jobs.go).
_LOST_STEP = ("inconsistent graph state", "failed to get state for index", "inactive parent")
_STOPPED = "context canceled"  # of a build that was stopped
# moby, libnetwork/portallocator: no host port was asked for, and those that the engine chose were taken.
_CHOSEN_PORT = regex.compile(r"failed to bind host port for (?:[\d.]{1,15}|\[[\da-f:.]{1,45}\])?::")
NO_PORT = "no free host port was found"
NO_ADDRESSES = "no address pool is free for another network"
_TAIL = 5  # last lines of a step's output; they contain the reason of its failure
MOST_LINES = 60  # maximum lines of output in a failure
_NOISE = ("go: downloading ", "go: extracting ", "go: finding ")  # lines without a reason

_DOCKERFILE_LINE = regex.compile(r"parse error (?:on )?line (\d+): (.+)")
# Step and reason of a base image that cannot be pulled; the messages differ between versions of BuildKit.
_BASE_STEP = regex.compile(r"load metadata for (?:docker\.io/(?:library/)?)?(?P<image>[^\s:]+(?::[^\s:]+)*)")
_BASE_REASON = regex.compile(
    r"failed to (?:solve(?: with frontend \S+)?|create LLB definition|resolve source metadata for \S+):\s*"
)


def last_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the last lines without colour codes and trailing space."""
    return tuple(map(strip_colours, lines))[-MOST_LINES:]


def build_failure(
    step: str,
    reason: str,
    log: Sequence[str],
    *,
    where: Where = as_said,
    dockerfile: str = "Dockerfile",
    line: int = 0,
) -> Failure:
    """Return the failure of a build step, for the user who saved the file.

    `where` finds files of the user. `dockerfile` and `line` are the position of the failed instruction; line
    0 is unknown.
    """
    lines = last_lines(line for line in log if not line.startswith(_NOISE)) or last_lines(log)
    if places := of_compiler(log, where):
        return Failure("compile", _first_place(places), lines, places)
    if match := _DOCKERFILE_LINE.search(reason):
        place = Diagnostic(dockerfile, int(match[1]), 0, match[2], said=dockerfile)
        return Failure("build", f"{dockerfile}:{match[1]}: {match[2]}", lines, (place,))
    if match := _BASE_STEP.search(step) or _BASE_STEP.search(reason):
        why = _BASE_REASON.sub("", reason.replace(f" {match['image']}: failed", " failed"))
        return base_failure((match["image"],), why, lines or (reason,))
    if places := of_tests(log, where) or of_panic(log, where):
        what = f"{step} failed: " if step else ""
        return Failure("build", f"{what}{_first_place(places)}", lines, places)
    said = _last_text(lines) or reason
    at = (Diagnostic(dockerfile, line, 0, said, said=dockerfile),) if line else ()
    hint = build_hint(step, reason, lines)
    return Failure("build", f"{step or 'the build'} failed: {said}", lines or (reason,), at, hint)


def _first_place(places: Sequence[Diagnostic]) -> str:
    """Return the first place with its message, and the number of others."""
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return f"{places[0].file}:{places[0].line}: {places[0].message}{more}"


def engine_trouble(reason: str, log: Sequence[str] = ()) -> str:
    """Return what is wrong with the engine's machine if that caused the failure; empty otherwise.

    `reason` is the engine's error; the command in it is ignored. Only the last lines of `log` count, and only
    for a full disk: a step can meet a read-only file system or a damaged file through the user's own fault.
    """
    text = remove_command(reason)
    said = text.lower()
    if any(each in said for each in _NO_ADDRESSES):
        return NO_ADDRESSES
    if _CHOSEN_PORT.search(text):
        return NO_PORT
    for trouble in _DISK_FULL + _DISK_BROKEN:
        if trouble in said:
            return trouble
    if NO_NETWORK in text:
        return _no_network(text.partition(NO_NETWORK)[2])
    tail = "\n".join(log[-_TAIL:]).lower()
    return next((trouble for trouble in _DISK_FULL if trouble in tail), "")


def _no_network(details: str) -> str:
    """Return what libnetwork says of an endpoint, without the names that differ at each try.

    Its message is `… ENDPOINT on network NAME: adding interface VETH to bridge BRIDGE failed: CAUSE`
    (moby, libnetwork/controller.go and drivers/bridge): the last cause is what a user can act on.
    """
    line = details.partition("\n")[0]
    cause = line.rpartition(" failed: ")[2] if " failed: " in line else line.partition(": ")[2]
    return f"{NO_NETWORK} ({cause.strip()[:_MOST_OF_REASON]})" if cause.strip() else NO_NETWORK


def interruption(reason: str) -> str:
    """Return why a build ended that neither failed nor was stopped by its client; empty otherwise."""
    said = remove_command(reason)
    if any(each in said for each in _LOST_STEP):
        return "BuildKit lost a step that it ran for another build too"
    return "the engine stopped the build" if said.rstrip().endswith(_STOPPED) else ""


def trouble_hint(trouble: str) -> str:
    """Return the hint for an `engine_trouble`."""
    if trouble == NO_ADDRESSES:
        return (
            "`watcher prune --gone` removes the networks of projects that are gone, `docker network prune` "
            "all without a container"
        )
    if trouble == NO_PORT:
        return "other programs take the ports that the engine chooses; `ss -ltn` lists them"
    if trouble.startswith(NO_NETWORK):
        return "`docker network ls` lists the engine's networks; the log of the engine has details"
    return "`docker system df` and `watcher prune --dry-run` show what fills it"


def base_failure(images: Sequence[str], why: str, lines: Sequence[str] = ()) -> Failure:
    """Return the failure of base images that could not be pulled; `why` is the engine's error."""
    one = len(images) == 1
    what = f"the base image {images[0]} was" if one else f"the base images {', '.join(images)} were"
    return Failure(
        "build",
        f"{what} not found locally and could not be pulled: {why}",
        tuple(lines),
        hint=image_hint(why),
    )


def _last_text(lines: Sequence[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


_NO_FILE = r"no such file or directory"
_ENV_FILE = r"(?:_envs?/|\benv_[\w-]+\.ya?ml)"
# The first match wins. Each pattern must match within one line, so two harmless lines do not match together.
# Errors of a program that cannot start come from runc (`exec: "/app": …`, `exec /app: …`) and the kernel,
# those of a missing library from the loaders of musl and glibc.
_HINTS: tuple[tuple[regex.Pattern, str], ...] = (
    (
        regex.compile(
            rf"(?i){_ENV_FILE}.*(?:no such file|not found|cannot|denied|invalid|unmarshal|yaml:)"
            rf"|(?:no such file|cannot|unmarshal|yaml:).*{_ENV_FILE}"
        ),
        "an environment file is missing or invalid: check _envs/env_<ENV>.yaml and the build argument ENV",
    ),
    (
        regex.compile(r"exec format error"),
        "the binary is for another architecture: check GOARCH and the platform of the service",
    ),
    (
        regex.compile(r"(?i)executable file not found|exec: .*: stat .*no such file"),
        "the program of CMD or ENTRYPOINT is not in the container: check COPY --from and the path, "
        "and that no volume of the compose file hides its folder",
    ),
    (
        regex.compile(rf"(?i)\bexec .*{_NO_FILE}|loading shared librar|relocating .*not found"),
        "the binary needs a shared library or a loader that the final image lacks: build with CGO_ENABLED=0",
    ),
    (
        regex.compile(r"(?i)bind: permission denied"),
        "a port below 1024 needs privileges: use a higher one, or check the USER of the final stage",
    ),
    (
        regex.compile(r"(?i)setrlimit"),
        "the engine may not raise a container's limits here: set lower `ulimits` in the compose file",
    ),
    (
        regex.compile(r"(?i)permission denied"),
        "check the file's mode and the USER of the final stage",
    ),
    (
        regex.compile(r"(?i)failed to bind host port|userland proxy|port is already allocated"),
        "another program or container has the host port: `ss -ltnp` and `docker ps` show which",
    ),
    (regex.compile(r"(?i)address already in use"), "the program listens on the same port twice"),
    (
        regex.compile(r"(?i)connection refused|no such host|server misbehaving"),
        "it could not connect to a dependency: add a service of the compose file to depends_on, "
        "with condition service_healthy if it starts slowly",
    ),
)


def container_failure(
    summary: str, log: Sequence[str], *, exit_code: int, oom: bool, error: str = "", where: Where = as_said
) -> Failure:
    """Return why a container does not run: exit code, memory, the engine's error, the last lines and a hint.

    `where` finds files of the user.
    """
    lines, places = from_panic(log), of_panic(log, where)
    if oom:
        hint = "it was killed for using too much memory: raise mem_limit or use less"
    else:
        hint = _container_hint((error, *lines))
        if not hint and exit_code == 0 and not error:
            hint = "the program exited with status 0: a server must keep running"
    if error:
        summary += f": {error}"
    if places:
        summary += f": {_first_place(places[:1])}"
    elif not (error or oom) and 0 < exit_code < _SIGNALS and (reason := _last_words(lines)):
        summary += f": {reason}"
    return Failure("container", summary, lines, places, hint=hint)


def _last_words(lines: Sequence[str]) -> str:
    """Return the line in which a program says why it ends: the panic, else the last one."""
    said = next((line for line in lines if line.startswith(_PANICS)), "") or _last_text(lines)
    return said.strip() if len(said) <= _MOST_OF_REASON else ""  # cut, a secret in it would not be found


def from_panic(log: Sequence[str]) -> tuple[str, ...]:
    """Return the lines from the last panic on, at most `MOST_LINES`; without a panic the last lines."""
    lines = tuple(map(strip_colours, log))
    starts = [number for number, line in enumerate(lines) if line.startswith(_PANICS)]
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


def not_ready(seconds: float, port: int, last: str, log: Sequence[str], *, replaces: bool = False) -> Failure:
    """Return why a running container did not become ready. `last` is the result of the last probe.

    `replaces`: the port is not published, and is asked because the container before answers on it.
    """
    lines = last_lines(log)
    hint = _port_hint(port, last, lines)
    return Failure(
        "container",
        f"the new container did not answer on port {port} within {seconds:g} s ({last})",
        lines,
        hint=_exposed_hint(port, lines) if replaces and "was answered" not in last else hint,
    )


def _exposed_hint(port: int, lines: Sequence[str]) -> str:
    places = {found["port"] for line in lines if (found := _LISTENS.search(line))} - {str(port)}
    listens = f" (its log says that it listens on port {', '.join(sorted(places))})" if places else ""
    return (
        f"other services reach the container before on port {port}, which is exposed, so the new one must "
        f"answer there first: listen on 0.0.0.0:{port} again{listens}, or take {port} out of `expose` in the "
        "compose file and EXPOSE in the Dockerfile; if it needs more time, raise deploy.startup_timeout"
    )


def _port_hint(port: int, last: str, lines: Sequence[str]) -> str:
    """Return a hint from the last probe, or from the log lines about the port that it listens on."""
    longer = "if it needs more time, raise deploy.startup_timeout"
    if "was answered" in last:
        return (
            "it runs but reports that it is not ready: check that path, or set another with "
            f"deploy.ready_path; {longer}"
        )
    if last.startswith("no answer"):
        return (
            "it accepts connections but does not answer HTTP: it waits for something, or uses another "
            f'protocol; for that, set in watcher.toml: [deploy.protocols] {port} = "tcp" ({longer})'
        )
    if not any(line.strip() for line in lines):
        return f"it has printed nothing, and nothing listens on port {port} yet: {longer}"
    places = [found for line in lines if (found := _LISTENS.search(line))]
    if places and not any(int(found["port"]) == port for found in places):
        listens = f"its log says that it listens on port {places[-1]['port']}"
        return f"{listens}, but port {port} is expected (ports, expose)"
    local = any(found["host"] in ("127.0.0.1", "localhost", "[::1]") for found in places)
    return (
        f"inside the container the program must listen on 0.0.0.0:{port}, not on 127.0.0.1"
        f"{' as its log says' if local else ''}; {longer}"
    )
