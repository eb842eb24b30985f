"""Which `RUN`s run go, how, and with which flags: read off the text, nothing executed.

A `RUN` either names go itself (`GoUsage.GO`), names a program that can run go (`GoUsage.MAYBE`: make, a
script, a tool), or neither (`GoUsage.NONE`). Where the text cannot be followed it is MAYBE.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from watcher import regex
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.shell import NotUnderstood, SimpleCommand, Word, commands, unquote_word
from watcher.dockerfile.spans import SourceSpan, word_set

COMPILING = frozenset({"build", "install", "test", "vet", "generate", "run", "tool", "list", "get", "fix"})
MODULES = frozenset({"mod", "get", "work", "clean"})  # use the module cache, compile nothing
GO = regex.compile(r"(?:.*/)?(?:go(?:\d+(?:\.\d+)*(?:(?:rc|beta)\d+)?)?|gotip|xx-go)")
_GO_IN_TEXT = regex.compile(
    r"(?:^|[^\w./-])(?:[\w./-]*/)?(?:go[\d.]*|gotip|xx-go)[ \t]+(?:-C[ =]\S+[ \t]+)?([a-z]+)\b"
)
_MAY_BE_GO = regex.compile(r"\b(?:go[\d.]*|gotip|make|mage|task|just|goreleaser|ko)\b|(?:^|[\s;&|])\.{0,2}/")
_SHELL_COMMAND = regex.compile(r"-[a-z]*c")
_QUOTED = regex.compile(r'"((?:[^"\\]|\\.)*)"')
HEREDOC_ALONE = regex.compile(r"<<-?\s*\S+")
_POSIX_SHELL = regex.compile(r"#!\s*(?:\S*/)?(?:env\s+)?(?:ba|a|da)?sh\b")
_SHELLS = frozenset({"sh", "bash", "ash", "dash"})
_WRAPPERS = frozenset({"time", "exec", "command", "nohup"})
_OTHER_USER = frozenset({"su", "sudo", "gosu", "su-exec", "doas", "setpriv", "runuser", "chroot"})
UNSAFE_TOOLS = frozenset({"garble", "tinygo"})  # have caches of their own
PLAIN = word_set(
    "[ : addgroup adduser apk apt apt-get awk basename break cat cd chgrp chmod chown continue cp curl"
    " cut date dd df dirname dnf dpkg du echo exit export false file find getent grep groupadd gunzip gzip"
    " head id install ldconfig ldd ln ls md5sum microdnf mkdir mktemp mv npm npx openssl pip pip3 printf"
    " pwd read readlink return rm rmdir sed set sha256sum shift sleep sort strip tail tar tee test touch"
    " tr trap true tty umask uname unset unzip upx useradd usermod wc wget which xz yarn yum zip"
    " update-ca-certificates git readonly local apt-cache apt-mark ssh-keyscan git-lfs setcap getcap stat"
    " nm objdump readelf size"
)
# flags that take no value: `go help build`, `go help test`, `go help list`, `go help clean`, `go help get`
_BOOLEAN = word_set(
    "a n race msan asan cover v work x json linkshared modcacherw trimpath buildvcs c i short failfast"
    " fullpath benchmem artifacts compiled deps e export find m retracted test u versions d f t fix"
    " insecure r cache testcache modcache fuzzcache"
)


class GoUsage(IntEnum):
    """Whether a RUN runs go."""

    NONE = 0
    MAYBE = 1
    GO = 2


@dataclass(frozen=True, slots=True)
class GoCall:
    """One `go SUBCOMMAND …`. `words[0]` of `read_command` is go itself, wrappers are left out."""

    script: SourceSpan  # where the words' indices point into
    command: SimpleCommand
    sub: str
    first: int  # index of the first word behind the subcommand and `-C dir`
    env: Mapping[str, str | None]  # set within the RUN before this call; None: to something not literal
    direct: bool  # go follows the command's assignments directly
    form: str  # shell | nested (in a quoted `sh -c`) | exec (a JSON list)

    def flags(self) -> Iterator[tuple[str, str | None, int]]:
        """Return (name, value, index of the word) of each flag before the first argument.

        The value is None for `-name` alone and for a value in the next word that is not literal. Words that
        are not literal are skipped: their value is not known.
        """
        words, index = self.command.words, self.first
        while index < len(words):
            word = words[index]
            text = word.text
            if not text.startswith("-"):
                if word.literal:
                    return
                index += 1
                continue
            if word.literal and text in ("-", "--"):
                return
            name, equals, value = text.lstrip("-").partition("=")
            if equals:
                yield name, value, index
            elif name in _BOOLEAN or not word.literal:
                yield name, None, index
            else:
                following = words[index + 1] if index + 1 < len(words) else None
                yield name, following.text if following is not None else None, index
                index += 1
            index += 1

    def copy_operands(self) -> list[Word]:
        """Return the words after the flags: packages or files."""
        words = self.command.words
        last = self.first - 1
        for name, _, index in self.flags():
            valued = "=" not in words[index].text and name not in _BOOLEAN and words[index].literal
            last = index + (1 if valued else 0)
        return list(words[last + 1 :])


@dataclass(frozen=True, slots=True)
class RunAnalysis:
    """What was found out about one RUN."""

    use: GoUsage
    calls: tuple[GoCall, ...] = ()
    placed: tuple[tuple[SourceSpan, SimpleCommand], ...] = ()  # every command, with its script
    others: tuple[SimpleCommand, ...] = ()  # those that are not go, wrappers taken off
    text: str = ""  # everything that a shell will see
    may_run_go: str = ""  # the program that can run go
    unclear: str = ""  # why the text is not followed
    other_user: str = ""  # the program that changes the user
    set_here: Mapping[str, frozenset[str | None]] = field(default_factory=dict)  # NAME -> values it is given
    sourced: bool = False  # a file is sourced or text evaluated: variables are not known
    foreign: bool = False  # not a POSIX shell's text

    @property
    def commands(self) -> list[SimpleCommand]:
        """Return every command that was found."""
        return [command for _, command in self.placed]

    @property
    def compiles(self) -> bool:
        """Return whether the build cache is useful."""
        return self._may_use(COMPILING)

    @property
    def modules(self) -> bool:
        """Return whether the module cache is read or filled."""
        return self._may_use(COMPILING | MODULES)

    def _may_use(self, subcommands: frozenset[str]) -> bool:
        if self.use is GoUsage.MAYBE or self.may_run_go or self.unclear:
            return self.use is not GoUsage.NONE
        return any(call.sub in subcommands for call in self.calls)


class _RunReader:
    def __init__(self) -> None:
        self.calls: list[GoCall] = []
        self.placed: list[tuple[SourceSpan, SimpleCommand]] = []
        self.others: list[SimpleCommand] = []
        self.texts: list[str] = []
        self.may_run_go = ""
        self.unclear = ""
        self.foreign = False
        self.other_user = ""
        self.sourced = False
        self.env: dict[str, str | None] = {}
        self.set_here: dict[str, set[str | None]] = {}

    def read_shell(self, script: SourceSpan, form: str) -> None:
        self.texts.append(script.text)
        try:
            found = commands(script.text)
        except NotUnderstood as error:
            self.unclear = f"the shell text uses {error}"
            return
        for command in found:
            self.read_command(script, command, form)

    def read_command(self, script: SourceSpan, command: SimpleCommand, form: str) -> None:
        self.placed.append((script, command))
        prefix = {word.text.partition("=")[0]: _assigned_value(word) for word in command.assignments}
        for name, value in prefix.items():
            self.set_here.setdefault(name, set()).add(value)
        if not command.words:
            self.env.update(prefix)
            return
        direct = True
        env = {**self.env, **prefix}
        while command.name() in _WRAPPERS or command.name() in ("env", "nice"):
            wrapper, command = command.name(), command.tail(1)
            direct = direct and wrapper == "env"
            while command.words and (word := command.words[0]).text[:1] == "-" and word.literal:
                if wrapper in ("env", "nice"):
                    self.may_run_go = self.may_run_go or f"{wrapper} {word.text}"
                command = command.tail(1)
            while wrapper == "env" and command.words and command.words[0].is_assignment():
                word, command = command.words[0], command.tail(1)
                env[word.text.partition("=")[0]] = _assigned_value(word)
                self.set_here.setdefault(word.text.partition("=")[0], set()).add(_assigned_value(word))
        self.read_named(script, command, env, direct, form)

    def read_named(
        self, script: SourceSpan, command: SimpleCommand, env: dict[str, str | None], direct: bool, form: str
    ) -> None:
        name = command.name()
        base = posixpath.basename(name) if name else name
        if name == "":
            return
        if name is not None and GO.fullmatch(name):
            self.read_go(script, command, env, direct, form)
            return
        if base in _SHELLS:
            self.read_nested(script, command)
            return
        self.others.append(command)
        if base in _OTHER_USER:
            if any(_MAY_BE_GO.search(word.text) or not word.literal for word in command.words[1:]):
                self.other_user = self.may_run_go = base or ""
        elif base in (".", "source", "eval"):
            self.sourced, self.may_run_go = True, base or ""
        elif base in ("export", "declare", "typeset", "readonly", "unset"):
            self.read_variables(command.words[1:], kept=base != "unset")
        elif base is None:
            self.may_run_go = "a program named by a variable"
        elif base not in PLAIN or any(word.literal and GO.fullmatch(word.text) for word in command.words[1:]):
            self.may_run_go = base if base not in PLAIN else f"{base} … go"

    def read_variables(self, words: tuple[Word, ...], *, kept: bool) -> None:
        """Return what `export A=b` and, if `kept` is False, `unset A` change in the environment."""
        for word in words:
            name = word.text.partition("=")[0]
            if word.is_assignment() or not kept:
                self.env[name] = _assigned_value(word) if kept else None
                self.set_here.setdefault(name, set()).add(self.env[name])

    def read_nested(self, script: SourceSpan, command: SimpleCommand) -> None:
        words = command.words
        if command.heredocs:
            return  # the body is read by the caller
        for index, word in enumerate(words[1:], 1):
            if not word.text.startswith("-") or not word.literal:
                break
            if _SHELL_COMMAND.fullmatch(word.text) and index + 1 < len(words):
                inner = unquote_word(script, words[index + 1])
                if inner is None:
                    self.may_run_go = f"{words[0].text} {word.text}"
                    self.texts.append(words[index + 1].text)
                else:
                    self.read_shell(inner, "nested")
                return
        self.may_run_go = " ".join(word.text for word in words[:2]) or "sh"

    def read_go(
        self, script: SourceSpan, command: SimpleCommand, env: dict[str, str | None], direct: bool, form: str
    ) -> None:
        words = command.words
        index = 1
        if index < len(words) and words[index].text == "-C":
            index += 2
        elif index < len(words) and words[index].text.startswith("-C="):
            index += 1
        if index >= len(words) or not words[index].literal:
            self.may_run_go = (
                "go with a subcommand named by a variable" if index < len(words) else self.may_run_go
            )
            return
        sub = words[index].text
        index += 1
        if index < len(words) and words[index].text == "-C":
            index += 2
        elif index < len(words) and words[index].text.startswith("-C="):
            index += 1
        if index > len(words):  # go refuses it, and would take a flag put behind it for the folder
            self.may_run_go = self.may_run_go or "go … -C without a folder"
            return
        self.calls.append(GoCall(script, command, sub, index, env, direct, form))


def _assigned_value(word: Word) -> str | None:
    return word.text.partition("=")[2] if word.literal else None


def read_run(one: Instruction, shell: tuple[str, ...]) -> RunAnalysis:
    """Return what a RUN does with go, under the stage's SHELL."""
    reader = _RunReader()
    if one.words is not None:
        _exec_form(reader, one)
    elif not shell or posixpath.basename(shell[0]) not in _SHELLS:
        return RunAnalysis(
            GoUsage.MAYBE, text=one.body.text, unclear="the stage's SHELL is not a POSIX one", foreign=True
        )
    elif one.heredocs:
        _with_heredocs(reader, one)
    else:
        reader.read_shell(one.body, "shell")
    text = "\n".join(reader.texts)
    if reader.unclear:
        named = any(match[1] in COMPILING | MODULES for match in _GO_IN_TEXT.finditer(text))
        use = GoUsage.GO if named else GoUsage.MAYBE
        return RunAnalysis(
            use, text=text, unclear=reader.unclear, may_run_go="the shell text", foreign=reader.foreign
        )
    relevant = [call for call in reader.calls if call.sub in COMPILING | MODULES]
    return RunAnalysis(
        use=GoUsage.GO if relevant else GoUsage.MAYBE if reader.may_run_go else GoUsage.NONE,
        calls=tuple(reader.calls),
        placed=tuple(reader.placed),
        others=tuple(reader.others),
        text=text,
        may_run_go=reader.may_run_go,
        other_user=reader.other_user,
        set_here={name: frozenset(values) for name, values in reader.set_here.items()},
        sourced=reader.sourced,
    )


def _exec_form(reader: _RunReader, one: Instruction) -> None:
    words: list[Word] = []
    for match in _QUOTED.finditer(one.body.text):
        if "\\" in match[1]:
            reader.unclear = "escapes in the exec form"
            reader.texts.append(one.body.text)
            return
        start, stop = match.span(1)
        words.append(Word(start, stop, match[1], True, tuple(range(start, stop)), '"' * (stop - start)))
    command = SimpleCommand((), tuple(words))
    reader.texts.append(" ".join(word.text for word in words))
    reader.read_command(one.body, command, "exec")


def _with_heredocs(reader: _RunReader, one: Instruction) -> None:
    head = one.body.text
    first = one.heredocs[0]
    if len(one.heredocs) == 1 and HEREDOC_ALONE.fullmatch(head):  # BuildKit runs the content in the SHELL
        if first.content.text.startswith("#!") and not _POSIX_SHELL.match(first.content.text):
            reader.unclear, reader.foreign = "an interpreter that is not a POSIX shell", True
            reader.texts.append(first.content.text)
            return
        reader.read_shell(first.script, "shell")
        return
    reader.read_shell(one.body, "shell")
    bodies = {heredoc.name: heredoc for heredoc in one.heredocs}
    for _, command in list(reader.placed):
        if posixpath.basename(command.name() or "") in _SHELLS:
            for name in command.heredocs:
                if name in bodies:
                    reader.read_shell(bodies[name].script, "shell")
