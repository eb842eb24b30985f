"""Find base images whose reference can be another image tomorrow."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from watcher.dockerfile.advice import Advice, ReviewedFile, Severity
from watcher.dockerfile.spans import word_set

_CODENAMES = word_set(
    "jessie stretch buster bullseye bookworm trixie forky duke bionic focal jammy noble questing resolute"
)
_RELEASES_BY_NAME = word_set("debian ubuntu buildpack-deps")


def check_bases(file: ReviewedFile) -> Iterator[Advice]:
    """Yield each reference without a version, once.

    All are a matter of taste, also those without a tag: in a dev loop the newest release is often wanted, and
    `alpine` is as open as `golang:alpine`. `watcher init` writes both, as they exist on most machines.
    """
    seen: set[str] = set()
    for stage in file.stages:
        places = [(stage.head.line, file.graph.bases[stage.index])]
        places += [(one.line, base) for one, base in file.graph.find_reads(stage)]
        for line, base in places:
            name = base.image
            if name is None or name in seen or name in file.given.given_images or "$" in name:
                continue
            seen.add(name)
            if found := _judge(name, line):
                yield found


def _judge(name: str, line: int) -> Advice | None:
    if "@" in name:
        return None
    if name.endswith(":"):
        told = f"line {line}: the tag of {name} is empty: an ARG before the first FROM has no value"
        return Advice(line, Severity.ERROR, told, "give the ARG a default, or pass the build arg")
    repository, _, tag = name.rpartition(":")
    if not repository or "/" in tag:  # a colon of the registry's port
        repository, tag = name, ""
    image = posixpath.basename(repository)
    if any(char.isdecimal() for char in tag):
        return None
    if image in _RELEASES_BY_NAME and any(word in _CODENAMES for word in tag.split("-")):
        return None
    if any(char.isdecimal() for char in image.partition("-")[2]):  # distroless/static-debian12
        return None
    remedy = f"name a version ({image}:VERSION), or the digest ({image}@sha256:…), which never moves"
    if tag in ("", "latest"):
        what = "has no tag, which means latest" if not tag else "is the tag latest"
        told = f"line {line}: {name} {what}: a build of the same tree can start from another image tomorrow"
        return Advice(line, Severity.TASTE, told, remedy)
    told = (
        f"line {line}: the tag of {name} names no version, so the image behind it changes with each release"
    )
    return Advice(line, Severity.TASTE, told, remedy)
