"""Decide which Go caches all projects of a user share, and what in their ids keeps different ones apart.

Go finds an entry of its build cache by a hash over everything that it knows of (`unseen.py`), so one cache
is correct for any number of projects, as it is for `go build` outside of containers. Go does not know

- the toolchain: a released one counts by its version alone (cmd/go/internal/work, toolID), so one with
  patches and the same version is taken for the same. The id holds the base image, and all steps before that
  can bring another toolchain. Where files of the tree can do that, the cache is the project's own.
- the source of a module: those of a private proxy or repository can differ from the public ones of the same
  version, and can need a login that another project lacks. Then the module cache is the project's own.

What C and assembly add is in the suffix of the id that `unseen.py` makes.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator

from watcher import regex
from watcher.dockerfile.caches import are_related
from watcher.dockerfile.go_commands import RunAnalysis
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.spans import word_set
from watcher.dockerfile.stage_group import INSTALLERS, StageGroup
from watcher.dockerfile.stages import run_mounts
from watcher.dockerfile.state import StageStep

# Commands that put no toolchain anywhere, unless their text says so.
_QUIET = word_set(
    "[ : addgroup adduser basename cat cd chgrp chown date dirname echo exit export false git grep groupadd"
    " head id ls mkdir printf pwd read readlink rm rmdir set sleep sort tail test touch true umask uname"
    " unset useradd usermod wc update-ca-certificates"
)
_NAMES_TOOLCHAIN = regex.compile(
    r"/usr/local(?:/go)?/?(?:[^\w./-]|$)|/usr/local/go/|/usr/?(?:[^\w./-]|$)|GOROOT"
)
_GOLANG = ("/usr/local/go",)  # where Go images have their toolchain
_ANY = ("/usr", "/opt", "/go", "/root", "/home", "/bin", "/sbin", "/lib", "/snap", "/nix")
_CHOOSE_TOOLCHAIN = ("PATH", "GOROOT", "GOTOOLCHAIN", "GOTOOLDIR", "GOENV", "GOEXPERIMENT")
_NOT_PUBLIC = (
    "GOPRIVATE",
    "GONOPROXY",
    "GONOSUMDB",
    "GONOSUMCHECK",
    "GOINSECURE",
    "GOSUMDB",
    "GOAUTH",
    "GOENV",
)
_PROXY = "GOPROXY"
_GIVES_LOGIN = regex.compile(
    r"\.netrc|\.gitconfig|git-credential|git config|insteadOf|id_(?:rsa|ed25519)|\.ssh\b"
)
_SETS_SOURCE = regex.compile(
    r"\bgo env\b[^;&|]*-w[^;&|]*\bGO(?:PROXY|PRIVATE|NO[A-Z]+|SUMDB|INSECURE|AUTH)\b|\bgo/env\b|\bgo\.env\b"
)


def build_cache_key(group: StageGroup, step: StageStep, analysis: RunAnalysis) -> str | None:
    """Return what identifies the toolchain at a RUN; None if it is not known, or if the tree decides it."""
    state = step.state
    if not state.image_id:
        return None
    parts = [state.image_id]
    for name in _CHOOSE_TOOLCHAIN:
        value = state.get(name)
        if not (value is None or isinstance(value, str)):
            return None
        parts.append(f"{name}={value or ''}")
    for other, found in (*group.steps_before(step), (step, analysis)):
        if _copies_toolchain(group, other) or _mounts_toolchain(other):
            return None
        if other.one.keyword == "RUN":
            parts += _loud_commands(other, found)
    return _digest(parts)


def module_cache_key(groups: Iterable[StageGroup]) -> str | None:
    """Return what identifies where the modules of a Dockerfile come from; None if that is not public.

    It is one for all groups, because stages can hand modules on to each other.
    """
    parts: set[str] = set()
    for group in groups:
        for step, analysis in group.run_steps():
            if analysis.modules and _needs_login(step, analysis):
                return None
            if _SETS_SOURCE.found(analysis.text) or _GIVES_LOGIN.found(analysis.text):
                return None
            if analysis.modules:
                given = analysis.set_here.get(_PROXY, frozenset()) | {step.state.text(_PROXY)}
                parts |= {f"{_PROXY}={value}" for value in given if value}
                parts.add(f"image={_repository(step.state.image)}")  # its go.env can name another proxy
        if any(_brings_login(step) for step, _ in group.steps):
            return None
    return _digest(sorted(parts))


def _needs_login(step: StageStep, analysis: RunAnalysis) -> bool:
    """Return whether a go step can get modules that are not public."""
    if any(mount["type"] in ("secret", "ssh") for mount in run_mounts(step.one)):
        return True
    if any(step.state.get(name) or name in analysis.set_here for name in _NOT_PUBLIC):
        return True
    proxy = step.state.get(_PROXY)
    return not (proxy is None or isinstance(proxy, str)) or None in analysis.set_here.get(_PROXY, ())


def _brings_login(step: StageStep) -> bool:
    return step.one.keyword in ("COPY", "ADD") and _GIVES_LOGIN.found(step.one.body.text)


def _repository(image: str) -> str:
    """Return an image reference without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def _loud_commands(step: StageStep, analysis: RunAnalysis | None) -> Iterator[str]:
    """Yield the commands of a RUN that can change the toolchain."""
    if analysis is None or analysis.unclear or analysis.sourced or analysis.foreign or analysis.may_run_go:
        yield step.one.body.text + "".join(heredoc.content.text for heredoc in step.one.heredocs)
        return
    for command in analysis.others:
        if not _is_quiet(command, golang=step.state.golang):
            yield " ".join(word.text for word in command.words)
    if _NAMES_TOOLCHAIN.found(analysis.text):
        yield analysis.text


def _is_quiet(command: SimpleCommand, *, golang: bool) -> bool:
    name = posixpath.basename(command.name() or "?")
    if name in INSTALLERS:
        packages = [word.text for word in command.words[1:]]
        return golang and not any(
            each == "go" or each.startswith(("go=", "go~", "golang")) for each in packages
        )
    return name in _QUIET


def _copies_toolchain(group: StageGroup, step: StageStep) -> bool:
    """Return whether a COPY or ADD can bring a toolchain."""
    if step.one.keyword not in ("COPY", "ADD"):
        return False
    target = group.copy_destination(step)
    return target is None or _is_toolchain_place(step, target)


def _mounts_toolchain(step: StageStep) -> bool:
    for mount in run_mounts(step.one) if step.one.keyword == "RUN" else ():
        if mount["type"] == "bind":
            target = step.state.expand(mount.get("target", ""))
            if target is None or (step.state.workdir is None and not target.startswith("/")):
                return True
            if _is_toolchain_place(
                step, posixpath.normpath(posixpath.join(step.state.workdir or "/", target))
            ):
                return True
    return False


def _is_toolchain_place(step: StageStep, path: str) -> bool:
    return any(are_related(path, place) for place in (_GOLANG if step.state.golang else _ANY))


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:10]
