"""The linked program, kept from one build to the next: a save that changes nothing in it links nothing.

`go build -o FILE` leaves a FILE alone that it would write again: the id of everything that went into it
is in it (cmd/go/internal/work, useCache). In a Dockerfile FILE never exists, so every save links again, even
one of a template or a test. In the mount of go's build cache FILE can survive: a copy is put in
place before go runs, and go decides, as it does outside a container, whether it is the right one. Keeping
it there is a build of its own, in idle time (`save_binaries`): no save should wait for a copy.

Not where something could see it: a `//go:embed` in a folder above FILE would include it, git would report a
modified checkout (go stamps git's answer into the program), and go can refuse to overwrite an existing
file. Not where cgo can be on: the id does not cover system libraries. Not when a Go file of the package is
newer than it: then go links anyway. Only in a plain `a && b`, where only `&&` decides what runs. And not
where a later step of the stage can change FILE (`strip FILE`): the copy is taken at the end of the stage, and
go compares the id, not the content.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from watcher import regex
from watcher.dockerfile.caches import copy_operands, is_within
from watcher.dockerfile.command_marks import binary_name
from watcher.dockerfile.go_commands import GoCall, RunAnalysis
from watcher.dockerfile.parse import parse
from watcher.dockerfile.rewrite import get_goflags
from watcher.dockerfile.shell import Word, only_ands
from watcher.dockerfile.spans import Edit, apply_edits, word_set
from watcher.dockerfile.state import StageStep

SAVE_STAGE = "watcher-keeps-programs"  # the stage that keeps them
EMPTY_CACHE = "watcher: the Go build cache is empty"  # what that stage prints then
_FILE = regex.compile(r"[\pL\pN_@%+./][\pL\pN_@%+./-]*[\pL\pN_@%+-]|[\pL\pN_@%+]")
# A folder below the working directory, whose name can come from variables: `./cmd/$SERVICE`.
_NAMED = r"\./(?:[\pL\pN_@%+./-]|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_PACKAGE = regex.compile(f'{_NAMED}|"{_NAMED}"')
# flags by which `go build` writes something else than one program, or writes it elsewhere
_OTHERWISE = word_set("n buildmode toolexec overlay json")
_STAYS = word_set("apk apt-get echo export git ls mkdir rm test true [ :")  # commands that leave the folder
_WRITES_NO_OTHER = word_set("build install vet list mod version env")  # of go's subcommands: no other file
# Suffixes of source files: go would compile a program of that name.
_SOURCES = word_set(".go .s .S .sx .c .h .cc .cpp .cxx .hh .hpp .hxx .m .f .F .for .f90 .syso .swig .swigcxx")
_LARGE = ("/proc", "/usr", "/go/pkg/mod", "/root/go")  # folders with more files than a module has
_REASON = (
    "a save that changes nothing in the program (a test, a template, _envs) finds it linked; go itself sees "
    "whether it is the right one"
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the stage `stage`, at `file` there; `kept` is its place in the cache that `mount` mounts.

    `base` is an image that can copy a file.
    """

    stage: str
    base: str
    file: str
    kept: str
    mount: str


def put_in_place(
    call: GoCall,
    analysis: RunAnalysis,
    step: StageStep,
    *,
    cache: str,
    mount: str,
    scope: str,
    later: Iterable[tuple[StageStep, RunAnalysis | None]],
) -> tuple[Edit, Program] | None:
    """Put the program of the last build in place before the call; None where the text does not allow it.

    `cache` is the folder of go's build cache, which `mount` (the flag's value) mounts. `scope` names the
    project, and `later` are the steps behind this one.
    """
    written, workdir = _output_file(call), step.state.workdir
    plain = call.sub == "build" and call.form == "shell" and call.direct and not call.command.inner
    if written is None or not plain or analysis.sourced or not only_ands(call.script.text):
        return None
    if workdir is None or any(command.name() not in _STAYS for command in analysis.others):
        return None
    if any(is_within(folder, posixpath.normpath(workdir)) for folder in (cache, *_LARGE)):
        return None  # looking for newer files there would take longer than linking
    inherited = get_goflags(call, step.state)
    if inherited is None or _OTHERWISE & {word.lstrip("-").partition("=")[0] for word in inherited.split()}:
        return None
    file = posixpath.normpath(posixpath.join("/", workdir, written))
    if changed_later(step, file, later):
        return None
    packages: list[str] = []
    for word in _variable_packages(call):
        package = step.state.expand(word)
        if package is None or len(package.split()) != 1:
            return None  # not known, so services would take each other's place; or more words, for `find` too
        packages.append(package)
    name = hashlib.sha256("\0".join((mount, file, call.script.text, *packages)).encode()).hexdigest()
    kept = f"{cache}/{binary_name(scope, name)}"
    stamped = not ("-buildvcs=false" in inherited.split() or ("buildvcs", "false") in _given_flags(call))
    first = (*call.command.assignments, *call.command.words)[0]
    start = call.script.offset(first.start)
    program = Program(step.stage.label, step.state.image, file, kept, mount)
    put = _put_script(kept, written, _package_folder(call), stamped=stamped)
    return Edit(start, start, f"{put} && ", _REASON), program


def _put_script(kept: str, file: str, package: str, *, stamped: bool) -> str:
    """Return shell code that copies `kept` to `file` if all conditions hold; it always succeeds silently.

    `package` is the folder that is searched for newer Go files, as the shell reads it.

    One `if` with one condition after the other: `||` and `&&` are of equal rank in a shell, and a list of
    both is misleading.
    """
    # In each folder that holds the file, up to the root by `..`: a link leads elsewhere than its name.
    seen = "grep -qs go:embed *.go"
    if stamped:
        seen += " || { type git && [ -e .git ]; }"
    climb = f'until {seen}; do [ "$PWD" = / ] && exit 1; cd ..; done'
    folders = " ".join(_folders_above(file))
    conditions = [
        f"[ -f {kept} ]",
        f"[ ! -e {file} ]",
        f"[ ! -h {file} ]",
        "type find grep cp",
        f"! find {package} -name '*.go' ! -name '*_test.go' -newer {kept} -print -quit | grep -q .",
        f"! (for d in {folders}; do (cd -P $d || exit 1; {climb}) && exit 0; done; exit 1)",
    ]
    folder = posixpath.dirname(file)
    make = f"mkdir -p {folder} && " if folder.strip("/") else ""
    copy = f"{make}cp -p {kept} {file} || rm -f {file}"
    return f"{{ if {' && '.join(conditions)}; then {copy}; fi; :; }} >/dev/null 2>&1"


def changed_later(step: StageStep, file: str, later: Iterable[tuple[StageStep, RunAnalysis | None]]) -> bool:
    """Return whether one of the later steps of the stage can change the file."""
    for other, analysis in later:
        if other.stage is not step.stage or other.one.keyword not in ("RUN", "COPY", "ADD"):
            continue
        if other.inherited or (analysis is None and other.one.keyword == "RUN"):
            return True
        if analysis is not None:
            if not _only_looks(analysis):
                return True
            continue
        words = copy_operands(other.one)
        target = other.state.expand(words[-1]) if words else None
        if target is None or other.state.workdir is None:
            return True
        if is_within(file, posixpath.normpath(posixpath.join(other.state.workdir, target))):
            return True
    return False


def _only_looks(analysis: RunAnalysis) -> bool:
    """Return whether a RUN changes only what `go build` writes, and paths that it removes or creates."""
    if analysis.may_run_go or analysis.unclear or analysis.sourced or analysis.foreign:
        return False
    if any(call.sub not in _WRITES_NO_OTHER for call in analysis.calls):
        return False
    if any(command.name() not in _STAYS for command in analysis.others):
        return False
    scripts = {script.text for script, _ in analysis.placed}
    return all(only_ands(text) for text in scripts)


def save_binaries(text: str, programs: Iterable[Program], turn: str) -> str:
    """Return an accelerated text with the additional stage `SAVE_STAGE`: building it saves the binaries.

    `turn` differs for each call: otherwise BuildKit would find the step cached when a tree comes back, and
    the mount would keep the binary of the tree in between. The file gets the time of the copy, because the
    Go files of a tree that came back are newer than the binary that was linked from them.

    The step prints `EMPTY_CACHE` if go has nothing in the mount: see `fill_cache`.
    """
    programs = tuple(programs)
    lines = [text.rstrip("\n"), "", f"FROM {programs[0].base} AS {SAVE_STAGE}", "USER 0:0"]
    for one in programs:
        bind = f"--mount=type=bind,from={one.stage},source={one.file},target=/watcher-program"
        # A copy, then a rename: go reads only the start of a program.
        make = f"rm -f {one.kept}.*; t=$(mktemp {one.kept}.XXXXXX)"
        keep = f"{make} && cp -p /watcher-program $t && touch $t && mv $t {one.kept}"
        entries = f"find {posixpath.dirname(one.kept)}/?? -name '*-d' -print -quit"  # cmd/go/internal/cache
        found = f"! type find grep >/dev/null 2>&1 || {entries} 2>/dev/null | grep -q ."
        check = f"{found} || echo '{EMPTY_CACHE}'"
        lines.append(f"RUN --mount={one.mount} {bind} : {turn}; {check}; {keep}")
    return "\n".join([*lines, ""])


def fill_cache(text: str, programs: Iterable[Program], turn: str) -> str:
    """Return an accelerated text in which the steps that link the programs run again, with a network.

    Mounts are no part of what BuildKit compares. So a step can be cached while its mount has been emptied,
    and the next save would compile everything. Without its modules go needs a network, too.
    """
    kept = tuple(one.kept for one in programs)
    edits: list[Edit] = []
    for stage in parse(text).stages:
        for one in stage.instructions:
            written = text[one.start : one.stop]
            if one.keyword == "RUN" and any(name in written for name in kept):
                line = f"ENV WATCHER_FILLS={turn}\n" + written.replace("--network=none ", "", 1)
                edits.append(Edit(one.start, one.stop, line, ""))
    return apply_edits(text, tuple(edits))


def _output_file(call: GoCall) -> str | None:
    """Return the file that the call names for its program, if it is one and nothing else is requested."""
    named: list[str | None] = []
    for name, value, _ in call.flags():
        if name in _OTHERWISE:
            return None
        if name == "o":
            named.append(value)
    operands = call.copy_operands()
    others = (*call.command.assignments, *call.command.words[: len(call.command.words) - len(operands)])
    if call.first != 2 or not all(word.literal for word in others):
        return None  # -C precedes it, or a word can become anything
    if not all(word.literal or _PACKAGE.fullmatch(_as_written(call, word)) for word in operands):
        return None  # what begins with `./` is no flag, whatever the variable's value
    file = named[0] if len(named) == 1 else None
    if file is None or not _FILE.fullmatch(file) or posixpath.basename(file) in (".", ".."):
        return None
    return None if file.startswith("/dev/") or posixpath.splitext(file)[1] in _SOURCES else file


def _as_written(call: GoCall, word: Word) -> str:
    return call.script.text[word.start : word.stop]


def _variable_packages(call: GoCall) -> list[str]:
    """Return the packages in whose name is a variable."""
    return [_as_written(call, word) for word in call.copy_operands() if not word.literal]


def _package_folder(call: GoCall) -> str:
    """Return the folder of the package: of several programs in one tree most are not changed by a save."""
    operands = [_as_written(call, word) for word in call.copy_operands()]
    if len(operands) != 1 or not _PACKAGE.fullmatch(operands[0]):
        return "."
    return "." if "..." in operands[0] or operands[0].rstrip('"').endswith(".go") else operands[0]


def _given_flags(call: GoCall) -> list[tuple[str, str | None]]:
    return [(name, value) for name, value, _ in call.flags()]


def _folders_above(file: str) -> list[str]:
    """Return the folder of `file` and its parents in that name, as `cd` resolves them; deepest first."""
    named = [posixpath.dirname(posixpath.normpath(file)) or "."]
    while named[-1] not in (".", "/"):
        named.append(posixpath.dirname(named[-1]) or ".")
    return [one if one.startswith("/") or one == "." else f"./{one}" for one in named]
