"""Simple commands of a POSIX shell script, with the place of every word (POSIX.1 XCU 2.2, 2.3, 2.9).

Not a shell: it finds which programs a `RUN` names, with which literal arguments, and where they are. What
it does not understand (`case`, function definitions, a quote without its end) raises `NotUnderstood`, and
the caller then leaves the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from watcher import regex
from watcher.dockerfile.spans import SourceSpan

_BLANK = " \t\r"
_DEEPEST = 50  # nested substitutions; more would exceed Python's stack
_TOO_DEEP = f"substitutions are nested more than {_DEEPEST} deep"
_OPERATORS = ("&&", "||", ";;", ";", "&", "|", "\n", "(", ")")
_REDIRECTION = regex.token(r"\d*+(<<<|<<-|<<|>>|<&|>&|&>>|&>|<>|>\||<|>)[ \t]*+")
_LEADING = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{"})  # a command follows
_CLOSING = frozenset({"fi", "done", "}"})
_STRANGE = frozenset({"case", "function", "select", "[["})
_ASSIGNMENT = regex.token(r"([A-Za-z_][A-Za-z0-9_]*+)=")
_NAME = regex.token(r"[A-Za-z_][A-Za-z0-9_]*+|[0-9@*#?$!-]")


class NotUnderstood(ValueError):
    """The script uses something that is not followed here; the message names it."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `text` is its literal beginning with quotes removed; `literal`: this is all of it.

    `start`/`stop` are indices into the script. For each character of `text`, `at` has its index and `quotes`
    what it is quoted by: a quotation mark, a backslash, or a blank for nothing.
    """

    start: int
    stop: int
    text: str
    literal: bool
    at: tuple[int, ...]
    quotes: str

    def is_assignment(self) -> bool:
        """Return whether this is `NAME=…` with the name and the sign unquoted."""
        match = _ASSIGNMENT.match(self.text)
        return match is not None and not self.quotes[: match.end()].strip()


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """A simple command: assignments before it, then its words; `inner`: it is in `$(…)` or backticks."""

    assignments: tuple[Word, ...]
    words: tuple[Word, ...]
    inner: bool = False
    heredocs: tuple[str, ...] = ()  # the names of the here-documents that it reads

    def name(self) -> str | None:
        """Return the first word: "" if there is none, None if it is not literal."""
        if not self.words:
            return ""
        return self.words[0].text if self.words[0].literal else None

    def tail(self, count: int) -> SimpleCommand:
        """Return this command without its first `count` words."""
        return replace(self, words=self.words[count:])


def commands(script: str) -> list[SimpleCommand]:
    """Return all simple commands of the script in order; substitutions come before the command around them.

    Raises NotUnderstood.
    """
    reader = _ShellReader(script, 0, "")
    reader.read()
    return reader.found


def only_ands(script: str) -> bool:
    """Return whether the script is one list `a && b && c` of simple commands without redirections.

    Raises NotUnderstood.
    """
    reader = _ShellReader(script, 0, "")
    reader.read()
    return reader.plain


@dataclass(slots=True)
class _Draft:
    """A word under construction: characters count until the first expansion."""

    text: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    literal: bool = True

    def add(self, char: str, index: int, quote: str) -> None:
        if self.literal:
            self.text.append(char)
            self.at.append(index)
            self.quotes.append(quote)


class _ShellReader:
    """Reads commands from `pos` up to the end, or up to the `)` that ends a substitution."""

    def __init__(self, script: str, pos: int, stop: str, inside: int = 0) -> None:
        if inside > _DEEPEST:
            raise NotUnderstood(_TOO_DEEP)
        self.script, self.inside = script, inside
        self.pos = pos
        self.stop = stop
        self.found: list[SimpleCommand] = []
        self.assignments: list[Word] = []
        self.words: list[Word] = []
        self.heredocs: list[str] = []
        self.waiting: list[tuple[str, bool]] = []  # here-documents that start on the next line
        self.depth = 0
        self.plain = True  # nothing but `&&` between simple commands so far

    def read(self) -> None:
        script = self.script
        while self.pos < len(script):
            char = script[self.pos]
            if char in _BLANK:
                self.pos += 1
            elif script.startswith("\\\n", self.pos):
                self.pos += 2
            elif char == "#":
                end = script.find("\n", self.pos)
                self.pos = len(script) if end < 0 else end
            elif match := _REDIRECTION.match(script, self.pos):
                self._redirection(match)
            elif operator := next((one for one in _OPERATORS if script.startswith(one, self.pos)), ""):
                self.pos += len(operator)
                if operator == ")" and self.stop and self.depth == 0:
                    self._finish()
                    return
                self._operator(operator)
            else:
                self._place(self._word())
        if self.stop:
            raise NotUnderstood(f"a {self.stop!r} that is missing")
        self._finish()

    def _finish(self) -> None:
        if self.assignments or self.words:
            one = SimpleCommand(tuple(self.assignments), tuple(self.words), heredocs=tuple(self.heredocs))
            self.found.append(one)
        self.assignments, self.words, self.heredocs = [], [], []

    def _operator(self, operator: str) -> None:
        self.plain = self.plain and operator == "&&"
        if operator == "(" and (self.words or self.assignments):
            raise NotUnderstood("a function or an array")
        if operator == ";;":
            raise NotUnderstood("a case")
        self.depth += {"(": 1, ")": -1}.get(operator, 0)
        self._finish()
        if operator == "\n":
            self._bodies()

    def _place(self, word: Word) -> None:
        if not self.words and not self.assignments:
            written = self.script[word.start : word.stop]
            if written in _STRANGE:
                raise NotUnderstood(f"the word {written}")
            self.plain = self.plain and written not in {"for"} | _LEADING | _CLOSING
            if written == "for":
                self._for()
                return
            if written in _LEADING or written in _CLOSING:
                return
        if not self.words and word.is_assignment():
            self.assignments.append(word)
        else:
            self.words.append(word)

    def _for(self) -> None:
        """Skip `NAME in words` up to the separator; substitutions in it are read."""
        while self.pos < len(self.script) and self.script[self.pos] not in ";\n":
            if self.script[self.pos] in _BLANK:
                self.pos += 1
            elif self.script[self.pos] in "&|<>()":
                raise NotUnderstood("an operator inside a for")
            else:
                self._word()

    def _redirection(self, match: regex.TokenMatch) -> None:
        self.pos, self.plain = match.end(), False
        if self.script[self.pos : self.pos + 1] in ("", "(", ")", "\n", ";", "&", "|", "<", ">"):
            raise NotUnderstood("a redirection without a file")
        target = self._word()
        if match[1] in ("<<", "<<-"):
            self.waiting.append((target.text, match[1] == "<<-"))
            self.heredocs.append(target.text)

    def _bodies(self) -> None:
        for name, chomp in self.waiting:
            line = None
            while line != name:
                if self.pos >= len(self.script):
                    raise NotUnderstood(f"the here-document {name} without its end")
                end = self.script.find("\n", self.pos)
                end = len(self.script) if end < 0 else end
                line = self.script[self.pos : end].rstrip("\r")
                line = line.lstrip("\t") if chomp else line
                self.pos = min(end + 1, len(self.script))
        self.waiting.clear()

    def _word(self) -> Word:
        script, start, draft = self.script, self.pos, _Draft()
        while self.pos < len(script) and script[self.pos] not in " \t\r\n;&|<>()":
            char = script[self.pos]
            if char == "\\":
                self._escape(draft)
            elif char == "'":
                self._single(draft)
            elif char == '"':
                self._double(draft)
            elif char in "$`" and self._expansion():
                draft.literal = False
            elif char in "*?" or (char == "[" and self.pos > start):
                draft.literal = False  # a pattern of file names
                self.pos += 1
            elif char == "~" and self.pos == start:
                draft.literal = False
                self.pos += 1
            else:
                draft.add(char, self.pos, " ")
                self.pos += 1
        return Word(
            start, self.pos, "".join(draft.text), draft.literal, tuple(draft.at), "".join(draft.quotes)
        )

    def _escape(self, draft: _Draft) -> None:
        if not self.script.startswith("\\\n", self.pos) and self.pos + 1 < len(self.script):
            draft.add(self.script[self.pos + 1], self.pos + 1, "\\")
        self.pos = min(self.pos + 2, len(self.script))

    def _single(self, draft: _Draft) -> None:
        end = self.script.find("'", self.pos + 1)
        if end < 0:
            raise NotUnderstood("a quotation without its end")
        for index in range(self.pos + 1, end):
            draft.add(self.script[index], index, "'")
        self.pos = end + 1

    def _double(self, draft: _Draft) -> None:
        self.pos += 1
        while (char := self.script[self.pos : self.pos + 1]) != '"':
            if not char:
                raise NotUnderstood("a quotation without its end")
            if char == "\\" and self.script[self.pos + 1 : self.pos + 2] in ("$", "`", '"', "\\", "\n"):
                self._escape(draft)
            elif char in "$`" and self._expansion():
                draft.literal = False
            else:
                draft.add(char, self.pos, '"')
                self.pos += 1
        self.pos += 1

    def _expansion(self) -> bool:
        """Skip a `$…` or backtick expansion, reading commands inside; False for a `$` that is only a sign."""
        script, pos = self.script, self.pos
        if script[pos] == "`":
            end = script.find("`", pos + 1)
            if end < 0:
                raise NotUnderstood("a backtick without its end")
            self.found += [replace(one, inner=True) for one in commands(script[pos + 1 : end])]
            self.pos = end + 1
        elif script.startswith("$((", pos):
            end = script.find("))", pos)
            if end < 0:
                raise NotUnderstood("arithmetic without its end")
            self.pos = end + 2
        elif script.startswith("$(", pos):
            inside = _ShellReader(script, pos + 2, ")", self.inside + 1)
            inside.read()
            self.found += [replace(one, inner=True) for one in inside.found]
            self.pos = inside.pos
        elif script.startswith("${", pos):
            self._braces()
        elif match := _NAME.match(script, pos + 1):
            self.pos = match.end()
        else:
            return False
        return True

    def _braces(self) -> None:
        self.inside += 1
        if self.inside > _DEEPEST:
            raise NotUnderstood(_TOO_DEEP)
        self.pos += 2
        while (char := self.script[self.pos : self.pos + 1]) != "}":
            if not char:
                raise NotUnderstood("a ${ without its end")
            if char == "\\":
                self.pos += 2
            elif char not in "$`" or not self._expansion():
                self.pos += 1
        self.pos += 1
        self.inside -= 1


def unquote_word(script: SourceSpan, word: Word) -> SourceSpan | None:
    """Return the text of a literal word, for `sh -c '…'`; None if it has escapes or expansions."""
    if not word.literal or "\\" in word.quotes:
        return None
    return SourceSpan(word.text, tuple(script.at[index] for index in word.at), script.offset(word.stop))
