"""Check what becomes the image: its user, its health check, and what an empty base does not have."""

from __future__ import annotations

import json
from collections.abc import Iterator

from watcher.dockerfile.advice import Advice, ReviewedFile, Severity
from watcher.dockerfile.caches import copy_operands, is_root
from watcher.dockerfile.leave_base import ZONES
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.spans import word_set
from watcher.dockerfile.state import StageState, apply_instruction, first_state

# Programs with which a container that starts as root becomes another user.
_DROPS_ROOT = ("su-exec", "gosu", "setpriv", "runuser", "s6-setuidgid", "chpst", "capsh")
_SHELLS = word_set("sh bash ash dash zsh")
_BRINGS_SHELL = _SHELLS | {"busybox", "bin"}
_FOLDERS = word_set("out output dist target")
_NUMBERED = "USER 65532:65532 before the CMD; a number needs no entry in /etc/passwd"


def check_final_stage(file: ReviewedFile) -> Iterator[Advice]:
    """Yield what is wrong with the stage that becomes the image."""
    ones = [step.one for step in file.chain_steps(file.target)]
    state = _end_state(file)
    yield from _check_user(file, ones, state)
    yield from _check_health(file, ones)
    if has_no_shell(state.image):
        yield from _check_empty_base(file, ones, state)


def has_no_shell(image: str) -> bool:
    """Return whether an image (empty for scratch) is known to have no shell."""
    return not image or ("distroless/" in image and "debug" not in image.rpartition(":")[2])


def _end_state(file: ReviewedFile) -> StageState:
    """Return what holds at the end of the final stage."""
    steps = file.chain_steps(file.target)
    if steps:
        return apply_instruction(steps[-1].state, steps[-1].one, file.graph, file.given.build_args)
    image = file.graph.bases[file.graph.root_stage(file.target).index].image
    return first_state(image, file.given.bases.get(image) if image is not None else None)


def _last(ones: list[Instruction], *keywords: str) -> Instruction | None:
    return next((one for one in reversed(ones) if one.keyword in keywords), None)


def _check_user(file: ReviewedFile, ones: list[Instruction], state: StageState) -> Iterator[Advice]:
    if file.given.user or state.user is None or not is_root(state.user):
        return
    texts = [one.body.text for one in ones if one.keyword in ("RUN", "ENTRYPOINT", "CMD")]
    if any(word in text for text in texts for word in _DROPS_ROOT):
        return
    start = _last(ones, "ENTRYPOINT") or _last(ones, "CMD")
    if start is not None and ".sh" in start.body.text:  # a script can change the user
        return
    given = _last(ones, "USER")
    if given is not None and given.body.text:
        told = f"line {given.line}: the container runs as root, as USER {given.body.text} says"
        yield Advice(given.line, Severity.ADVICE, told, _NUMBERED)
        return
    base = state.image or "scratch"
    line = file.target.head.line
    told = f"line {line}: the container runs as root: no USER in the final stage, and {base} has none"
    yield Advice(line, Severity.TASTE, told, _NUMBERED)


def _check_health(file: ReviewedFile, ones: list[Instruction]) -> Iterator[Advice]:
    given, line = file.given, file.target.head.line
    base = file.graph.bases[file.graph.root_stage(file.target).index].image
    config = given.bases.get(base) if base is not None else None
    own = _last(ones, "HEALTHCHECK")
    test = given.health
    if test:  # compose has one, or disables it
        there, off = True, test[:1] == ("NONE",)
    elif own is not None:
        there, off = True, own.body.text.strip().upper() == "NONE"
    else:
        there, off = bool(config and config.healthcheck), False
    if base is not None and config is None and not there:
        return  # the base can have one
    if given.waiting and (not there or off):
        what = "is disabled" if there else "is neither in the image nor in the compose file"
        told = f"{', '.join(given.waiting)} waits until this service is healthy, and a health check {what}"
        yield Advice(line, Severity.ERROR, told, "add a HEALTHCHECK, or `healthcheck` in the compose file")
    elif not there and given.has_ports:
        told = f"line {line}: a health check is neither in the image nor in the compose file"
        remedy = (
            "the watcher asks the port itself; for docker compose and others, have the program check itself"
            ' (HEALTHCHECK CMD ["/app", "-health"]), which needs no shell or curl in the image'
        )
        yield Advice(line, Severity.TASTE, told, remedy)


def _check_empty_base(file: ReviewedFile, ones: list[Instruction], state: StageState) -> Iterator[Advice]:
    """Yield what a container misses on scratch, or on a distroless image."""
    base = state.image or "scratch"
    copied = " ".join(word for one in ones if one.keyword in ("COPY", "ADD") for word in copy_operands(one))
    whole = any(one.keyword in ("COPY", "ADD") and _brings_root(one) for one in ones)
    if not whole and not {word.rpartition("/")[2] for word in copied.split()} & _BRINGS_SHELL:
        yield from _check_shell(file, ones, base)
    if state.image or whole:
        return  # distroless has users, certificates and time zones
    user = (file.given.user or state.user or "").partition(":")[0]
    if user and not user.isdecimal() and "passwd" not in copied and "/etc" not in copied.split():
        line = one.line if (one := _last(ones, "USER")) else file.target.head.line
        told = f"line {line}: the container runs as {user}, and scratch has no /etc/passwd with that name"
        yield Advice(line, Severity.ERROR, told, "give the number (USER 65532), or copy /etc/passwd")
    line, given = file.target.head.line, file.given
    if given.needs_certificates and "cert" not in copied and "/etc" not in copied and "ssl" not in copied:
        told = (
            f"line {line}: {given.needs_certificates} opens TLS connections, and scratch has no certificates"
        )
        remedy = "COPY --from=… /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/"
        yield Advice(line, Severity.ADVICE, told, remedy)
    if given.needs_zones and "zoneinfo" not in copied and not _has_zone_data(file):
        told = f"line {line}: {given.needs_zones} loads time zones, and scratch has none"
        yield Advice(line, Severity.ADVICE, told, f"build with -tags timetzdata, or copy {ZONES}")


def _brings_root(one: Instruction) -> bool:
    """Return whether a COPY can bring a whole file system."""
    *sources, target = copy_operands(one) or ("",)
    names = [source.rstrip("/").rpartition("/")[2] for source in sources]
    return target == "/" and any(
        source.endswith("/") or name == "." or "root" in name or name in _FOLDERS
        for source, name in zip(sources, names, strict=True)
    )


def _has_zone_data(file: ReviewedFile) -> bool:
    return any("timetzdata" in one.body.text for one in file.graph.dockerfile.instructions())


def _check_shell(file: ReviewedFile, ones: list[Instruction], base: str) -> Iterator[Advice]:
    runs = file.given.runs
    if runs.entrypoint is None and (one := _last(ones, "ENTRYPOINT")):
        yield from _explain_shell(one, one.words, base)
    start = _last(ones, "CMD")
    alone = runs.entrypoint is None and _last(ones, "ENTRYPOINT") is None
    if alone and runs.command is None and start is not None:
        yield from _explain_shell(start, start.words, base)
    health = _last(ones, "HEALTHCHECK")
    if not file.given.health and health is not None and health.body.text.strip().upper() != "NONE":
        yield from _explain_shell(health, _list_after_cmd(health.body.text), base)
    test = file.given.health or ()
    if test[:1] == ("CMD-SHELL",) or (test[:1] == ("CMD",) and _names_shell(test[1:])):
        told = f"the health check of the compose file runs in a shell, and {base} has none"
        yield Advice(
            0, Severity.ERROR, told, 'have the program check itself: test: ["CMD", "/app", "-health"]'
        )


def _explain_shell(one: Instruction, words: tuple[str, ...] | None, base: str) -> Iterator[Advice]:
    if words is None or _names_shell(words):
        what = "is in shell form" if words is None else f"starts {words[0]}"
        told = f"line {one.line}: {one.keyword} {what}, and {base} has no shell"
        yield Advice(one.line, Severity.ERROR, told, f'write a JSON list: {one.keyword} ["/app"]')


def _names_shell(words: tuple[str, ...]) -> bool:
    return bool(words) and words[0].rpartition("/")[2] in _SHELLS


def _list_after_cmd(text: str) -> tuple[str, ...] | None:
    words = text.split(maxsplit=1)
    try:
        found = json.loads(words[-1] if words[0].upper() == "CMD" else "")
    except (ValueError, IndexError, RecursionError):
        return None
    return tuple(map(str, found)) if isinstance(found, list) else None
