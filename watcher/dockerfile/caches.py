"""Where go keeps its caches at a RUN, and who else touches those folders.

GOCACHE is `$GOCACHE`, else `$XDG_CACHE_HOME/go-build`, else `$HOME/.cache/go-build` (`go help cache`,
os.UserCacheDir); GOMODCACHE is `$GOMODCACHE`, else the first entry of `$GOPATH` + `/pkg/mod`, GOPATH being
`$HOME/go` when not set (`go help environment`). HOME is root's `/root` unless set; another user's HOME is in
the image's /etc/passwd, which the text does not show.

`unseen.py` decides which builds share a build cache.
A module cache holds what go.sum names; its entries never change, so it is shared by the whole project.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from watcher import regex
from watcher.dockerfile.go_commands import RunAnalysis
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.stages import run_mounts
from watcher.dockerfile.state import StageState, StageStep

CACHE_NAMES = ("GOCACHE", "GOMODCACHE", "GOPATH", "HOME", "XDG_CACHE_HOME", "GOENV")
_PLAIN_PATH = regex.compile(r"/[\pL\pN_@%+./-]+")
_WILD = regex.compile(r"[*?\[$\\]")
_ENDS = r"(?:[^\w.-]|$)"  # after a path: the end of the name
_GIVEN_TO_GO = regex.compile(rf"(^|[^\w$])(?:{'|'.join(CACHE_NAMES)})=\S*")
_PROGRAMS = regex.compile(r"(?:\$\{?GOPATH\}?|\$\(go env GOPATH\))/(?:bin|src)\b")  # next to the module cache
_ROOT_USERS = frozenset({"", "0", "root", "0:0", "root:root", "0:root", "root:0"})


class NotAccelerated(Exception):
    """There is a reason not to touch this; the message is it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a cache mount: numbers for the mount's options, empty for root."""

    uid: str = ""
    gid: str = ""

    def mount_options(self) -> str:
        """Return `,uid=…,gid=…` for the mount."""
        return "".join(f",{name}={value}" for name, value in (("uid", self.uid), ("gid", self.gid)) if value)


ROOT = Owner()


def is_root(user: str) -> bool:
    """Return whether the value of a USER is root's; without a value it is."""
    return user in _ROOT_USERS


def cache_owner(state: StageState) -> Owner:
    """Return the owner that a cache mount needs for the stage's USER. Raises NotAccelerated."""
    if state.user is None:
        raise NotAccelerated(f"the user of {state.image or 'this stage'} is not known")
    if is_root(state.user):
        return ROOT
    user, _, group = state.user.partition(":")
    if not user.isdecimal() or (group and not group.isdecimal()):
        raise NotAccelerated(
            f"USER {state.user} is a name, and a cache mount needs its number; write the number"
        )
    return Owner(user, group)


def _get_variable(state: StageState, analysis: RunAnalysis, name: str) -> str | None:
    """Return the value of a variable that decides where a cache is; None when not set.

    Raises NotAccelerated.
    """
    if name in analysis.set_here:
        values = analysis.set_here[name]
        if len(values) > 1 or None in values:
            raise NotAccelerated(f"{name} is set to something that is decided only when it runs")
        return next(iter(values)) or None
    value = state.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise NotAccelerated(
        f"the value of {name} is not known"
        + ("" if state.whole else f", because the image {state.image} was not inspected yet")
    )


def _get_home(state: StageState, analysis: RunAnalysis) -> str:
    home = _get_variable(state, analysis, "HOME")
    if home:
        return home
    if state.user in _ROOT_USERS:
        return "/root"
    raise NotAccelerated(
        f"the home of USER {state.user} is in the image's /etc/passwd; set ENV HOME or GOCACHE"
    )


def build_cache(state: StageState, analysis: RunAnalysis) -> str:
    """Return the folder that GOCACHE names at this RUN; raise NotAccelerated if it is not known."""
    path = _get_variable(state, analysis, "GOCACHE")
    if not path:
        xdg = _get_variable(state, analysis, "XDG_CACHE_HOME")
        path = posixpath.join(xdg or posixpath.join(_get_home(state, analysis), ".cache"), "go-build")
    return _check_path(path, "GOCACHE")


def module_cache(state: StageState, analysis: RunAnalysis) -> str:
    """Return the folder that GOMODCACHE names at this RUN; raise NotAccelerated if it is not known.

    A user other than root must set GOMODCACHE: the mount of the default folder would have the engine create
    `$GOPATH/pkg`, owned by root, and go could not write `$GOPATH/pkg/sumdb`.
    """
    path = _get_variable(state, analysis, "GOMODCACHE")
    if not path and cache_owner(state).uid:
        raise NotAccelerated(
            f"USER {state.user} could not write next to it; set ENV GOMODCACHE to a folder of its own"
        )
    if not path:
        gopath = _get_variable(state, analysis, "GOPATH") or posixpath.join(_get_home(state, analysis), "go")
        path = posixpath.join(gopath.split(":")[0], "pkg/mod")
    return _check_path(path, "GOMODCACHE")


def _check_path(path: str, name: str) -> str:
    path = posixpath.normpath(path)
    if not _PLAIN_PATH.fullmatch(path):
        raise NotAccelerated(f"{name} is {path!r}, which is not the plain path of a folder")
    return path


def copy_operands(one: Instruction) -> tuple[str, ...]:
    """Return the words of a COPY or ADD as written: sources, then the destination."""
    if one.words is not None:
        return one.words
    return tuple(word for word in one.body.text.split() if not word.startswith("<<"))


def copy_sources(one: Instruction) -> tuple[str, ...]:
    """Return the sources of a COPY or ADD as written."""
    return copy_operands(one)[:-1]


def copies_folders(one: Instruction) -> bool:
    """Return whether a COPY or ADD can bring folders: one of its sources has no file suffix."""
    names = [posixpath.basename(word.rstrip("/")) for word in copy_sources(one)]
    return any("." not in name.strip(".") for name in names)


def mount_over(step: StageStep, path: str) -> str | None:
    """Return an existing mount of the RUN at, above or below `path`, as written; None without one."""
    for mount, written in zip(run_mounts(step.one), step.one.flag_values("mount"), strict=True):
        target = step.state.expand(mount.get("target", ""))
        if target is None:
            return written
        target = posixpath.normpath(posixpath.join(step.state.workdir or "/", target))
        if mount.get("target") and (are_related(target, path)):
            return written
    return None


def is_cache_at(step: StageStep, path: str) -> bool:
    """Return whether the RUN already has a cache mount at `path` or above it.

    Raises NotAccelerated when another mount is in the way there.
    """
    for mount in run_mounts(step.one):
        target = step.state.expand(mount.get("target", ""))
        if mount["type"] == "cache" and target and is_within(path, posixpath.normpath(target)):
            return True
    if (written := mount_over(step, path)) is not None:
        raise NotAccelerated(f"the mount {written} is in the way at {path}")
    return False


def is_within(path: str, folder: str) -> bool:
    """Return whether `path` is the folder or inside it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def are_related(one: str, other: str) -> bool:
    """Return whether one of the two paths contains the other."""
    return is_within(one, other) or is_within(other, one)


def pattern_touches(pattern: str, path: str) -> bool:
    """Return whether a COPY source pattern can match `path`, something in it, or a folder above it."""
    pattern = posixpath.normpath("/" + pattern.lstrip("/"))
    literal = _WILD.split(pattern)[0]
    if literal == pattern:
        return are_related(pattern, path)
    return path.startswith(literal) or is_within(literal.rstrip("/") or "/", path)


def in_home_cache(path: str) -> bool:
    """Return whether the build cache is in a folder that other programs use too."""
    return path.endswith("/.cache/go-build")


def build_cache_names(path: str) -> tuple[str, ...]:
    """Return patterns for the build cache in a shell text, other than its path."""
    home = (r"(\.cache)/?(?:[\s\"';&|)]|/?\*|$)",) if "/.cache/" in path else ()
    return ("GOCACHE", rf"(cache/go-build){_ENDS}", *home)


def module_cache_names(path: str) -> tuple[str, ...]:
    """Return patterns for the module cache in a shell text, other than its path."""
    gopath = (r"(\$\{?GOPATH\}?)(?:[^\w}]|$)", r"\$\(go env GOPATH\)")
    return ("GOMODCACHE", *((rf"(pkg/mod){_ENDS}", *gopath) if path.endswith("pkg/mod") else ()))


def find_mention(analysis: RunAnalysis, path: str, names: tuple[str, ...]) -> str | None:
    """Return how a RUN's text names the folder `path`, other than through go; None when it does not.

    `names` are patterns that mean the folder too, with what is shown as their group where they have one. A
    folder above it counts as an argument of a program.
    """
    bare = _PROGRAMS.sub(" ", _GIVEN_TO_GO.sub(lambda match: match[1], analysis.text))
    for pattern in (f"({regex.escape(path)}){_ENDS}", *names):
        if match := regex.one_off(pattern).search(bare):
            return str(next(iter(match.groups()), match[0]))
    above = []
    while path != "/":
        above.append(path)
        path = posixpath.dirname(path)
    for command in analysis.commands:
        if posixpath.basename(command.name() or "") not in ("cd", "export", "mkdir"):
            for word in command.words[1:]:
                if word.text.rstrip("/") in above and (word.literal or word.text.endswith("/")):
                    return word.text
    return None


def removes_only(command: SimpleCommand, paths: Iterable[str]) -> bool:
    """Return whether the command is an `rm` of nothing but these folders."""
    if command.name() not in ("rm", "/bin/rm") or not all(word.literal for word in command.words):
        return False
    operands = [word.text for word in command.words[1:] if not word.text.startswith("-")]
    return bool(operands) and {posixpath.normpath(one) for one in operands} <= set(paths)
