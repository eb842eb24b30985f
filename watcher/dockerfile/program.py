"""The linked program, kept from one build to the next: a save that changes nothing in it links nothing.

`go build -o FILE` leaves a FILE alone that it would write again: the id of everything that went into it
stands in it (cmd/go/internal/work, useCache). In a Dockerfile FILE is never there, so every save links anew,
be it one of a template or of a test. Beside go's build cache, in its mount, FILE survives: it is put in place
before go runs, and go decides, as it does outside a container, whether it is the right one.

Not where it could be seen: a `//go:embed` in a folder above FILE might take it in, and then it is not put
there. Not where cgo may be on: the id knows nothing of system libraries. And only in a plain `a && b`, where
nothing but `&&` decides what runs. It is written beside and renamed, because go does not look at its end.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

from watcher.dockerfile.golang import GoCall, Reading
from watcher.dockerfile.rewrite import goflags
from watcher.dockerfile.shell import only_ands
from watcher.dockerfile.source import Edit, word_set
from watcher.dockerfile.state import Step

_FILE = re.compile(r"(?!-)[\w@%+./-]*[\w@%+-]")
_LEVELS_UP = 6  # folders above one that is not known, which are looked through
# flags by which `go build` writes something else than one program, or writes it elsewhere
_OTHERWISE = word_set("n buildmode toolexec overlay json")
_STAYS = word_set("apk apt-get echo export git ls mkdir rm test true [ :")  # commands that leave the folder
_REASON = (
    "a save that changes nothing in the program (a test, a template, _envs) finds it linked; go itself sees "
    "whether it is the right one"
)
_KEPT = "the program is kept for the next build"


def keep_program(call: GoCall, reading: Reading, step: Step, cache: str) -> list[Edit]:
    """Put the program of the last build in place before the call, and keep that of this one, in `cache`.

    Nothing where the text does not plainly allow it.
    """
    file = _file(call)
    plain = call.sub == "build" and call.form == "shell" and call.direct and not call.command.inner
    if file is None or not plain or reading.sourced or not only_ands(call.script.text):
        return []
    inherited = goflags(call, step.state)
    if inherited is None or _OTHERWISE & {word.lstrip("-").partition("=")[0] for word in inherited.split()}:
        return []
    words = (*call.command.assignments, *call.command.words)
    name = hashlib.sha256("\0".join((str(step.state.workdir), file, call.script.text)).encode()).hexdigest()
    kept = f"{cache}/watcher-{name[:12]}"
    moved = any(command.name() not in _STAYS for command in reading.others)
    sources = _sources(file, None if moved else step.state.workdir)
    folder = posixpath.dirname(file)
    make = f"mkdir -p {folder} && " if folder.strip("/") else ""
    before = f"[ -d {file} -o -h {file} ] || grep -qs go:embed {sources} || {make}cp -p {kept} {file} || :"
    after = f"rm -f {kept}.*; t=$(mktemp {kept}.XXXXXX) && cp -p {file} $t && mv $t {kept} || :"
    start = call.script.offset(words[0].start)
    stop = call.script.offset(words[-1].stop - 1) + 1
    return [
        Edit(start, start, f"{{ {before}; }} 2>/dev/null && ", _REASON),
        Edit(stop, stop, f" && {{ {after}; }} 2>/dev/null", _KEPT),
    ]


def _file(call: GoCall) -> str | None:
    """The file that the call names for its program, when it is one and nothing else is asked for."""
    named: list[str | None] = []
    for name, value, _ in call.flags():
        if name in _OTHERWISE:
            return None
        if name == "o":
            named.append(value)
    if call.first != 2 or not all(word.literal for word in call.command.words):
        return None  # -C stands before it, or a word may become anything
    file = named[0] if len(named) == 1 else None
    if file is None or not _FILE.fullmatch(file) or posixpath.basename(file) in (".", ".."):
        return None
    return None if file.startswith("/dev/") else file


def _sources(file: str, workdir: str | None) -> str:
    """Patterns for the Go files of every folder that holds `file`, at any depth."""
    folder = posixpath.dirname(posixpath.normpath(file))
    folders = [folder]
    while folder not in ("", "/"):
        folder = posixpath.dirname(folder)
        folders.append(folder)
    if not file.startswith("/"):
        levels = _LEVELS_UP if workdir is None else len(posixpath.normpath(workdir).strip("/").split("/"))
        folders += ["/".join([".."] * level) for level in range(1, levels + 1)]
    return " ".join(posixpath.join(each, "*.go") for each in folders)
