"""Changes to a go command's own words: what they are, or why there are none.

Every change keeps the number of lines and never breaks a continuation.
"""

from __future__ import annotations

from watcher import regex
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import GoCall, RunAnalysis
from watcher.dockerfile.shell import SimpleCommand
from watcher.dockerfile.spans import Edit, SourceSpan
from watcher.dockerfile.state import StageState

_TRUE = frozenset({None, "1", "t", "T", "true", "TRUE", "True"})
_ALL = regex.compile(r"--?a(?:=(?:1|t|T|true|TRUE|True))?")
_HAVE_A = frozenset({"build", "install", "test", "run", "vet"})
_CACHE_FLAGS = {"cache", "testcache", "modcache", "fuzzcache"}


def get_goflags(call: GoCall, state: StageState) -> str | None:
    """Return GOFLAGS of this call, "" if not set, None if unknown."""
    if "GOFLAGS" in call.env:
        return call.env["GOFLAGS"]
    value = state.get("GOFLAGS")
    return "" if value is None else value if isinstance(value, str) else None


def rebuild_all(call: GoCall, state: StageState, text: str) -> list[Edit]:
    """Take `-a` off a call. Raises NotAccelerated where it is there and cannot be taken off."""
    if call.sub not in _HAVE_A:
        return []
    reason = "-a compiles the standard library and every module again although nothing in them changed"
    found = [index for name, value, index in call.flags() if name == "a" and value in _TRUE]
    if found and call.command.inner:
        raise NotAccelerated("-a is inside a command substitution")
    if (
        not any(_ALL.fullmatch(flag) for flag in (get_goflags(call, state) or "").split())
        or call.command.inner
    ):
        edits: list[Edit] = []
        for index in found:
            edit = _cut_flag(call, index, text, reason)
            if edits and edit.start < edits[-1].stop:  # the blank between them has gone with the one before
                edit = replace_word(call, index, "-a=false", reason)
            edits.append(edit)
        return edits
    if found:  # -a=false must follow, against the -a in GOFLAGS
        return [replace_word(call, index, "-a=false", reason) for index in found]
    if any(name == "a" for name, _, _ in call.flags()):
        return []
    return [with_flag(call, "-a=false", f"GOFLAGS holds -a: {reason}")]


def strip_dwarf(
    call: GoCall, analysis: RunAnalysis, state: StageState, *, hidden: bool, flags: str = "-w"
) -> list[Edit]:
    """Have the linker leave DWARF out (`-w`), in addition to existing flags. Raises NotAccelerated.

    `hidden`: go can have flags from a file. `flags` are those of the linker, for example `-s -w` to leave the
    symbol table out too.
    """
    if call.sub not in ("build", "install") or call.command.inner:
        return []
    reason = "without DWARF the linker has a third less to do; a debugger loses symbols"
    given = [index for name, _, index in call.flags() if name == "ldflags"]
    if len(given) > 1:
        raise NotAccelerated("-ldflags is given more than once")
    if given:
        return _merge_flag(call, given[0], flags, reason)
    inherited = get_goflags(call, state)
    if inherited is None or analysis.sourced or hidden:
        raise NotAccelerated("GOFLAGS is not known and may hold -ldflags, which -w on the line would replace")
    if "-ldflags" in inherited:
        raise NotAccelerated(f"GOFLAGS holds -ldflags; put {flags} there")
    if call.form == "nested":  # the quotes around it are not known; since Go 1.22, -s implies -w
        flags = flags.partition(" ")[0]
    quote = '"' if " " in flags and call.form == "shell" else ""
    return [with_flag(call, f"-ldflags={quote}{flags}{quote}", reason)]


def _merge_flag(call: GoCall, index: int, flags: str, reason: str) -> list[Edit]:
    """Put `flags` before the value of the flag in this word, or in the next one; `-s` implies `-w`."""
    word = call.command.words[index]
    skip = word.text.find("=") + 1
    if not skip:
        if index + 1 >= len(call.command.words):
            raise NotAccelerated("-ldflags has no value")
        word = call.command.words[index + 1]
    value = word.text[skip:]
    there = {word.replace("--", "-", 1) for word in (*value.split(), *value.replace("=", " ").split())}
    there |= {"-w"} if "-s" in there else set()
    flags = " ".join(flag for flag in flags.split() if flag not in there)
    if not flags:
        return []
    if not value and not word.literal:
        raise NotAccelerated("the value of -ldflags starts with a variable")
    if not value and " " in flags:
        raise NotAccelerated("-ldflags has an empty value")
    if not value:
        return [_insert_text(call, word.at[skip - 1] + 1 if skip else word.start, flags, reason)]
    if not value.startswith("-"):
        raise NotAccelerated("-ldflags is given for a pattern of packages")
    if word.quotes[skip] in "'\"":
        return [_insert_text(call, word.at[skip], f"{flags} ", reason)]
    if word.quotes[skip] == " " and call.form == "shell":
        return [_insert_text(call, word.at[skip], f"'{flags} '", reason)]
    raise NotAccelerated("the quotes around the value of -ldflags leave no place for another flag")


def relax_collector(call: GoCall, analysis: RunAnalysis, state: StageState, gogc: str) -> list[Edit]:
    """Let the compiler and the linker collect garbage less often, where the shell allows it plainly."""
    if call.sub not in ("build", "install") or call.command.inner or not call.direct or call.form == "exec":
        return []
    if "GOGC" in analysis.set_here or state.get("GOGC") is not None or analysis.sourced:
        return []
    if any(name == "toolexec" for name, _, _ in call.flags()):
        return []
    reason = "compiler and linker live for a second: collecting their garbage costs more than the memory"
    return [_insert_text(call, call.command.words[0].start, f"GOGC={gogc} ", reason)]


def keep_caches(call: GoCall, mounted: set[str]) -> list[Edit]:
    """Disable `go clean -cache` and `-modcache` for the caches that are mounted at this RUN.

    `mounted` holds `cache`, `modcache` or both. Raises NotAccelerated where a plain edit cannot do it.
    """
    if call.sub != "clean":
        return []
    given = {name: index for name, value, index in call.flags() if value in _TRUE}
    hit = mounted & set(given)
    if not hit:
        return []
    if call.command.inner or set(given) - _CACHE_FLAGS - {"x"} or call.copy_operands():
        raise NotAccelerated("go clean empties a cache and does something else in the same command")
    shown = " ".join(f"-{name}" for name in sorted(hit))
    reason = (
        f"go clean {shown} would empty the cache that the next build lives on, and adds nothing to a layer"
    )
    if set(given) - hit - {"x"}:
        return [replace_word(call, given[name], f"-{name}=false", reason) for name in sorted(hit)]
    return [replace_word(call, 0, "true", reason)]


def remove_nothing(script: SourceSpan, command: SimpleCommand) -> Edit:
    """Turn an `rm` of nothing but mounted folders into `true`: a mount cannot be removed."""
    word = command.words[0]
    start, stop = script.offset(word.start), script.offset(word.stop - 1) + 1
    return Edit(
        start, stop, "true", "the folder is a mount here and not in the layer: there is nothing to remove"
    )


def _insert_text(call: GoCall, index: int, text: str, reason: str) -> Edit:
    offset = call.script.offset(index)
    return Edit(offset, offset, text, reason)


def _word_span(call: GoCall, index: int) -> tuple[int, int]:
    word = call.command.words[index]
    return call.script.offset(word.start), call.script.offset(word.stop - 1) + 1


def replace_word(call: GoCall, index: int, text: str, reason: str) -> Edit:
    """Return the edit that puts `text` in place of a word."""
    return Edit(*_word_span(call, index), text, reason)


def with_flag(call: GoCall, flag: str, reason: str) -> Edit:
    """Put a flag behind the subcommand, before every other one."""
    stop = _word_span(call, call.first - 1)[1]
    if call.form == "exec":
        return Edit(stop + 1, stop + 1, f', "{flag}"', reason)
    return Edit(stop, stop, f" {flag}", reason)


def _cut_flag(call: GoCall, index: int, text: str, reason: str) -> Edit:
    """Remove a flag with the blanks on one side; unset it if that would leave an empty line."""
    start, stop = _word_span(call, index)
    if call.form == "exec" or stop - start > len("-a=false") + 2:
        return Edit(start, stop, "-a=false", reason)
    following = stop
    while text[following : following + 1] in (" ", "\t"):
        following += 1
    begin = start
    while begin and text[begin - 1] in " \t":
        begin -= 1
    ends = following >= len(text) or text[following] in "\r\n\\`"
    starts = begin == 0 or text[begin - 1] == "\n"
    if not ends and following > stop:
        return Edit(start, following, "", reason)
    if not starts and begin < start and following >= stop:
        return Edit(begin, stop, "", reason)
    return Edit(start, stop, "-a=false", reason)
