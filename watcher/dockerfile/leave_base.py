"""Put `scratch` in place of the final stage's base image, with what a program needs of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import basename

from watcher import regex
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import read_run
from watcher.dockerfile.model import Instruction, Stage
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.spans import Edit, apply_edits, word_set
from watcher.dockerfile.stages import Graph

FORMER = "former-base"  # stage of the base image that a program does without
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ZONES = "/usr/share/zoneinfo"
_SHELLS = word_set("sh bash ash dash zsh")
_TOOLS = word_set("curl wget nc test true pgrep ps cat env su-exec gosu tini dumb-init")
_BUILT_IN = word_set("cd set export exit eval . source ulimit umask trap wait")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ./-_=:,@+%")
# Steps of a final stage whose results are among what is copied: packages with certificates and time zones.
_INSTALLERS = word_set("apk apt-get apt")
_PACKAGES = word_set("ca-certificates ca-certificates-bundle tzdata")
_GROUPS = word_set("addgroup groupadd")
_USERS = word_set("adduser useradd")
_NO_HOME = regex.compile(r"--no-create-home|-[A-Za-z]*[HM][A-Za-z]*")
_CACHES = ("-", "/var/cache/", "/var/lib/apt/")


@dataclass(frozen=True, slots=True)
class BaseNeeds:
    """What the programs of an image need of its base. `others`: why its files are needed, besides."""

    static: bool = False  # its programs run without a C library
    certificates: bool = False  # it has a bundle of certificates, and a program can use it
    zones: bool = False  # it has time zones, and no program has its own
    accounts: tuple[str, ...] = ()  # its files with users and groups
    temporary: bool = False  # it has /tmp
    others: str = ""


def leave_base(graph: Graph, target: str | None, needs: BaseNeeds) -> str:
    """Return the text with `scratch` as the base of the final stage; unchanged if it has no base image.

    Raises NotAccelerated if something needs the base.
    """
    text, stage = graph.dockerfile.text, graph.find_target(target)
    if graph.bases[stage.index].image is None:
        return text
    if obstacle := _find_obstacle(graph, stage, target, needs):
        raise NotAccelerated(obstacle)
    moved = [one for one in stage.instructions if one.keyword == "RUN"]
    copies = list(_copies(needs))
    lines = []
    if copies or moved:
        platform = f"--platform={stage.platform} " if stage.platform else ""
        lines = [f"FROM {platform}{stage.base} AS {FORMER}"]
        lines += [text[one.start : one.stop].rstrip("\n") for one in moved]
        lines.append("")
    lines += ["FROM scratch" + (f" AS {stage.name}" if stage.name else ""), *copies]
    edits = [_replace(text, stage.head, "\n".join(lines))]
    edits += [Edit(one.start, one.stop, "", "") for one in moved]
    for one in stage.instructions:
        if one.keyword in ("CMD", "ENTRYPOINT") and one.words is None:
            edits.append(_replace(text, one, f"{one.keyword} {json.dumps(_plain_words(one.body.text))}"))
    return apply_edits(text, tuple(edits))


def _replace(text: str, one: Instruction, new: str) -> Edit:
    ends = "\n" if text[one.start : one.stop].endswith("\n") else ""
    return Edit(one.start, one.stop, f"{new}{ends}", "")


def _copies(needs: BaseNeeds) -> Iterator[str]:
    if needs.certificates:
        yield f"COPY --from={FORMER} {CERTIFICATES} /etc/ssl/certs/"
    if needs.zones:
        yield f"COPY --from={FORMER} {ZONES} {ZONES}"
    if needs.accounts:
        yield f"COPY --from={FORMER} {' '.join(needs.accounts)} /etc/"
    if needs.temporary:
        yield f"COPY --from={FORMER} /tmp /tmp"


def _find_obstacle(graph: Graph, stage: Stage, target: str | None, needs: BaseNeeds) -> str:
    """Return what keeps the final stage from doing without its base image; empty if nothing does."""
    if not needs.static:
        return "a program needs a C library (CGO_ENABLED=1, or it is not Go); CGO_ENABLED=0 avoids that"
    if needs.others:
        return needs.others
    if graph.dockerfile.stage(FORMER) is not None:
        return f"a stage is called {FORMER}"
    later = [
        one.flag("from") or ""
        for other in graph.dockerfile.stages
        if other.index > stage.index
        for one in other.instructions
    ]
    if any(name.isdecimal() and int(name) >= stage.index for name in (*later, target or "")):
        return "a stage is named by its number, which would change"
    given = {one.keyword for one in stage.instructions}
    if not given & {"CMD", "ENTRYPOINT"}:
        return "what the container runs is decided by the base image"
    found = (_explain_need(one, given) for one in stage.instructions)
    return next(filter(None, found), "")


def _explain_need(one: Instruction, given: set[str]) -> str:
    """Return why an instruction needs the base image; empty if it does not."""
    match one.keyword:
        case "SHELL" | "ONBUILD":
            return f"line {one.line}: {one.keyword} needs the base image"
        case "RUN" if not _is_movable(one):
            return f"line {one.line}: RUN needs the base image, and changes more than certificates and users"
        case "CMD" | "ENTRYPOINT":
            words = one.words
            if words is None and "ENTRYPOINT" in given and "CMD" in given:
                return f"line {one.line}: {one.keyword} runs in a shell; write it as a JSON list"
            if words is None:
                words = tuple(_plain_words(one.body.text))
            if not words:
                return f"line {one.line}: {one.keyword} needs a shell; write it as a JSON list"
            if _is_of_base(words[0]):
                return f"line {one.line}: {one.keyword} runs {words[0]}, a program of the base image"
        case "HEALTHCHECK":
            return _explain_health(one)
    return ""


def _plain_words(command: str) -> list[str]:
    """Return the words of a command that needs no shell but to start it; none if it does."""
    words = command.split() if set(command) <= _PLAIN else []
    words = words[1:] if words[:1] == ["exec"] else words
    return [] if words and (words[0] in _BUILT_IN or "=" in words[0]) else words


def _explain_health(one: Instruction) -> str:
    text = one.body.text.strip()
    if text.upper() == "NONE":
        return ""
    _, command, rest = text.partition("CMD")
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not command or not isinstance(words, list) or not words or _is_of_base(str(words[0])):
        return f"line {one.line}: HEALTHCHECK runs a program of the base image"
    return ""


def _is_of_base(program: str) -> bool:
    """Return whether a program is a shell or another usual tool of a base image."""
    return basename(program) in _SHELLS | _TOOLS


def _is_movable(one: Instruction) -> bool:
    """Return whether all that a RUN changes is in the files that are copied from the base."""
    if one.words is not None or one.heredocs or one.flags:
        return False
    found = read_run(one, ("/bin/sh", "-c"))
    if found.unclear or not found.placed:
        return False
    return all(_is_harmless(command) for _, command in found.placed)


def _is_harmless(command: SimpleCommand) -> bool:
    words = [word.text for word in command.words]
    if command.inner or command.assignments or not all(word.literal for word in command.words) or not words:
        return False
    if words[0] in _INSTALLERS:
        rest = [word for word in words[1:] if not word.startswith("-")]
        return rest[:1] in (["update"], ["add"], ["install"]) and set(rest[1:]) <= _PACKAGES
    if words[0] in _GROUPS or words == ["update-ca-certificates"]:
        return True
    if words[0] in _USERS:  # a home folder would not be copied
        return any(_NO_HOME.fullmatch(word) for word in words[1:])
    return words[0] == "rm" and all(word.startswith(_CACHES) for word in words[1:])
