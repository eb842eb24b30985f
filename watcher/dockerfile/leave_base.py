"""Replace the final stage's base image by `scratch`, and copy from it what the program needs. Pure.

The stage's RUN steps move to a stage of their own on the former base image if they only install certificates
or time zones, or add users and groups: their results are among the copied files. What the configuration of
the base image sets (variables, working directory, user) is written into the stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import basename

from watcher import regex
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import read_run
from watcher.dockerfile.model import Instruction, Stage
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.spans import Edit, apply_edits, word_set
from watcher.dockerfile.stages import Graph
from watcher.dockerfile.state import ImageConfig

FORMER = "former-base"  # name of the stage that keeps the former base image
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # BuildKit's, for scratch too
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ZONES = "/usr/share/zoneinfo"
_SHELLS = word_set("sh bash ash dash zsh")
_TOOLS = word_set("curl wget nc test true pgrep ps cat env su-exec gosu tini dumb-init")
_BUILT_IN = word_set("cd set export exit eval . source ulimit umask trap wait")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ./-_=:,@+%")
# Folders from which update-ca-certificates takes certificates, or where its result is.
_TRUSTED = ("usr", "etc")
# Commands of a RUN whose results are among the copied files: certificates, time zones, users.
_INSTALLERS = word_set("apk apt-get apt")
_PACKAGES = word_set("ca-certificates ca-certificates-bundle tzdata")
_GROUPS = word_set("addgroup groupadd")
_USERS = word_set("adduser useradd")
_NO_HOME = regex.compile(r"--no-create-home|-[A-Za-z]*[HM][A-Za-z]*")
_CACHES = ("-", "/var/cache/", "/var/lib/apt/")
# Images with nothing but an operating system, whose other files a Go program does not count on.
_SYSTEMS = word_set(
    "alpine debian ubuntu busybox distroless wolfi-base photon amazonlinux ubi ubi-minimal ubi-micro fedora"
    " centos rockylinux almalinux archlinux static"
)
_PLACING = word_set("COPY ADD WORKDIR")


@dataclass(frozen=True, slots=True)
class BaseNeeds:
    """What the programs of an image need of its base image.

    `others` is a further reason, as a sentence, why they need files of it; empty if there is none.
    """

    static: bool = False  # its programs run without a C library
    certificates: bool = False  # it has a bundle of certificates, and a program can use it
    zones: bool = False  # it has time zones, and no program has its own
    accounts: tuple[str, ...] = ()  # its files with users and groups
    temporary: bool = False  # it has /tmp
    others: str = ""


def leave_base(
    graph: Graph, target: str | None, needs: BaseNeeds, bases: Mapping[str, ImageConfig | None]
) -> str:
    """Return the text with `scratch` as the base of the final stage; unchanged if it has no base image.

    `bases` are the configurations of base images by name. Raises NotAccelerated, with the reason, if
    something needs the base image.
    """
    text, stage = graph.dockerfile.text, graph.find_target(target)
    image = graph.bases[stage.index].image
    if image is None:
        return text
    base = bases.get(image)
    if base is None:
        raise NotAccelerated(f"the configuration of {image} is not known")
    if obstacle := _find_obstacle(graph, stage, target, needs) or _explain_config(stage, base):
        raise NotAccelerated(obstacle)
    if obstacle := _explain_image(image):
        raise NotAccelerated(obstacle)
    moved = [one for one in stage.instructions if one.keyword == "RUN"]
    copies = list(_copies(needs))
    lines = []
    if copies or moved:
        platform = f"--platform={stage.platform} " if stage.platform else ""
        lines = [f"FROM {platform}{stage.base} AS {FORMER}"]
        lines += [text[one.start : one.stop].rstrip("\n") for one in moved]
        lines.append("")
    lines += ["FROM scratch" + (f" AS {stage.name}" if stage.name else ""), *copies, *_configure(base)]
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


def _configure(base: ImageConfig) -> Iterator[str]:
    """Yield the instructions that set what the base image's configuration sets."""
    for name, value in base.env.items():
        if (name, value) != ("PATH", DEFAULT_PATH):
            yield f'ENV {name}="{value}"'
    if base.workdir not in ("", "/"):
        yield f"WORKDIR {base.workdir}"
    if base.user:
        yield f"USER {base.user}"


def _explain_config(stage: Stage, base: ImageConfig) -> str:
    """Return what of the base image's configuration cannot be written into the stage; empty if nothing."""
    if base.onbuild:
        return "the base image has instructions for its users (ONBUILD)"
    if base.entrypoint and all(one.keyword != "ENTRYPOINT" for one in stage.instructions):
        return "what the container runs is decided by the ENTRYPOINT of the base image"
    if base.healthcheck and all(one.keyword != "HEALTHCHECK" for one in stage.instructions):
        return "the health check is that of the base image"
    texts = {f"variable {name}": f"{name}{value}" for name, value in base.env.items()}
    texts |= {"working directory": base.workdir.replace(" ", "\\"), "user": base.user}
    return next(
        (f"the {what} of the base image" for what, text in texts.items() if not set(text) <= _PLAIN), ""
    )


def _explain_image(image: str) -> str:
    """Return why a program may read files that only this base image has; empty for a plain system."""
    name = basename(image.partition("@")[0]).partition(":")[0]
    if name in _SYSTEMS or "distroless/" in image:
        return ""
    return f"{image} is not a plain system: the program may read files that only that image has"


def _find_obstacle(graph: Graph, stage: Stage, target: str | None, needs: BaseNeeds) -> str:
    """Return why the final stage needs its base image; empty if it does not."""
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
        return "a stage is referred to by its number, which would change"
    given = {one.keyword for one in stage.instructions}
    if not given & {"CMD", "ENTRYPOINT"}:
        return "what the container runs is decided by the base image"
    found = (_explain_need(one, stage, given) for one in stage.instructions)
    return next(filter(None, found), "")


def _explain_need(one: Instruction, stage: Stage, given: set[str]) -> str:
    """Return why an instruction needs the base image; empty if not. `given` are the keywords of its stage."""
    match one.keyword:
        case "SHELL" | "ONBUILD":
            return f"line {one.line}: {one.keyword} needs the base image"
        case "RUN" if not _is_movable(one):
            return f"line {one.line}: RUN needs the base image, and changes more than certificates and users"
        case "RUN" if _may_trust_copied(one, stage):
            return f"line {one.line}: RUN may add certificates that were copied above it"
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
    """Return the words of a command that can be started without a shell; none if it needs one."""
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


def _may_trust_copied(one: Instruction, stage: Stage) -> bool:
    """Return whether a RUN collects certificates into the bundle that a COPY or ADD above may have brought.

    Installing ca-certificates runs update-ca-certificates too. A relative destination is below a WORKDIR.
    """
    if "ca-certificates" not in one.body.text:
        return False
    above = [each for each in stage.instructions if each.line < one.line]
    if not any(each.keyword in ("COPY", "ADD") for each in above):
        return False
    places = [
        (each.words or each.body.text.split() or ("",))[-1] for each in above if each.keyword in _PLACING
    ]
    return any(_may_hold_certificates(place.strip('"[],')) for place in places)


def _may_hold_certificates(place: str) -> bool:
    name = place.strip("/.")
    return not name or "$" in place or ".." in place or name.startswith(_TRUSTED)


def _is_movable(one: Instruction) -> bool:
    """Return whether everything that a RUN changes is among the files that are copied from the base image."""
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
