"""What the doctor reads off an image: what its programs need, and what a COPY brings besides them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.dockerfile import BaseNeeds, ImageFacts, Runs
from watcher.dockerfile.leave_base import CERTIFICATES, ZONES
from watcher.image.model import ImageContent
from watcher.observers import humanize

LEAST_EXTRA = 500_000  # bytes besides the program that are worth a finding
# What Go's package mime reads (mime/type_unix.go).
_TYPE_TABLES = frozenset({"/etc/mime.types", "/etc/apache2/mime.types", "/etc/apache/mime.types"})
_TYPE_TABLES |= {"/etc/httpd/conf/mime.types", "/usr/share/mime/globs2", "/usr/local/share/mime/globs2"}
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_SHELLS = ("sh", "bash", "ash", "dash")
_NAMED = 3  # files


def read_facts(content: ImageContent, runs: Runs, *, temporary: bool = True) -> ImageFacts:
    """Return what is known of an image whose containers are given `runs`."""
    binaries = content.binaries.values()
    packages = frozenset(name for binary in binaries for name in binary.by_package())
    modules = frozenset(module.path for binary in binaries for module in binary.build.modules)
    paths = {file.path for file in content.files}
    needs = BaseNeeds(
        static=bool(content.binaries) and not any(binary.dynamic for binary in binaries),
        certificates="crypto/tls" in packages and CERTIFICATES in paths,
        zones="time/tzdata" not in packages and any(path.startswith(f"{ZONES}/") for path in paths),
        accounts=tuple(path for path in _ACCOUNTS if path in paths),
        temporary=temporary,
        others=_find_other_need(packages, runs) or _find_type_table(content, packages),
    )
    return ImageFacts(packages, modules, needs)


def _find_other_need(packages: frozenset[str], runs: Runs) -> str:
    if "os/exec" in packages:
        return "the program can start others of the base image: os/exec is linked into it"
    commands = [runs.entrypoint or (), runs.command or (), *runs.others]
    if runs.health[:1] == ("CMD-SHELL",):
        return "the compose file has a health check for a shell"
    if runs.health[:1] == ("CMD",):
        commands.append(runs.health[1:])
    for command in commands:
        if command and command[0].rpartition("/")[2] in _SHELLS:
            return f"the compose file runs {command[0]} in the container"
    return ""


def _find_type_table(content: ImageContent, packages: frozenset[str]) -> str:
    """Return which file of the base image decides the content types of the program's answers."""
    copied = {layer.number for layer in content.layers if layer.step.startswith(("COPY ", "ADD "))}
    found = (file.path for file in content.files if file.path in _TYPE_TABLES and file.layer not in copied)
    path = next(found, "") if "mime" in packages else ""
    return f"the program reads {path} of the base image for the types of files" if path else ""


def find_extra_files(content: ImageContent) -> Iterator[str]:
    """Yield what each COPY brings besides Go programs, if that is much."""
    for layer in content.layers:
        if not layer.step.startswith(("COPY ", "ADD ")):
            continue
        extra = [
            file
            for file in content.files
            if file.layer == layer.number and file.path not in content.binaries and file.size
        ]
        size = sum(file.size for file in extra)
        if size >= LEAST_EXTRA:
            named = ", ".join(f"{file.path} {humanize.size(file.size)}" for file in extra[:_NAMED])
            count = humanize.count(len(extra), "file")
            yield f"{layer.step} brings {count} of {humanize.size(size)} besides the program: {named}"
