"""Dockerfile text -> stages and instructions, each with its place in the text.

The rules are those of moby/buildkit, `frontend/dockerfile/parser` (parser.go, directives.go,
split_command.go, line_parsers.go) and `frontend/dockerfile/instructions/parse.go`: directives, comments,
continuations, flags, here-documents, stage names. Nothing is executed and no variable is expanded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from watcher import regex
from watcher.dockerfile.expand import Unresolved, one_word, raw_words
from watcher.dockerfile.keyvalues import BLANKS, wrong_pairs
from watcher.dockerfile.model import Dockerfile, DockerfileError, Flag, Heredoc, Instruction, Stage
from watcher.dockerfile.spans import WHITE, SourceSpan, word_set

KEYWORDS = word_set(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL"
    " STOPSIGNAL USER VOLUME WORKDIR"
)
MOST_INSTRUCTIONS = 300  # of a Dockerfile that is read: with a thousand, accelerating takes a second
_DIRECTIVE = regex.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC_HOLDERS = ("ADD", "COPY", "RUN")
_EXEC_FORMS = ("RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "ADD", "VOLUME")
_STAGE_NAME = regex.compile(r"[a-z][a-z0-9_.-]*")
_HEREDOC = regex.compile(r"(\d*)<<(-?)\s*([^<]*)")
_BOM = "\ufeff"


def parse(text: str) -> Dockerfile:
    """Parse a Dockerfile. Raises DockerfileError with line, text and rule where BuildKit would refuse it.

    Also where it has more than `MOST_INSTRUCTIONS`: what is done with them grows faster than they do.
    """
    reader = _FileReader(text)
    found = list(islice(reader.instructions(), MOST_INSTRUCTIONS + 1))
    if len(found) > MOST_INSTRUCTIONS:
        raise reader.error(found[-1].line, f"more than {MOST_INSTRUCTIONS} instructions are not read here")
    known_frontend = reader.syntax is None or "docker/dockerfile" in reader.syntax
    preamble: list[Instruction] = []
    stages: list[tuple[Instruction, list[Instruction]]] = []
    for one in found:
        if one.keyword not in KEYWORDS and known_frontend:
            raise reader.error(
                one.line, f"{one.keyword} is not an instruction; known are {', '.join(sorted(KEYWORDS))}"
            )
        if one.keyword == "FROM":
            stages.append((one, []))
        elif stages:
            stages[-1][1].append(one)
        elif one.keyword == "ARG" or not known_frontend:
            preamble.append(one)
        else:
            raise reader.error(one.line, "only ARG is allowed before the first FROM")
    if not stages and known_frontend:
        raise reader.error(max(1, len(reader.lines)), "a Dockerfile needs at least one FROM")
    return Dockerfile(
        text=text,
        escape=reader.escape,
        syntax=reader.syntax,
        preamble=tuple(preamble),
        stages=tuple(_stage(index, head, tuple(body), reader) for index, (head, body) in enumerate(stages)),
        gaps=tuple(reader.gaps),
    )


def parse_instruction(text: str, escape: str = "\\") -> Instruction:
    """Parse a single instruction, for example an ONBUILD trigger of an image."""
    reader = _FileReader(text)
    reader.escape = escape
    found = list(reader.instructions())
    if len(found) != 1:
        raise reader.error(1, "one instruction is expected here")
    return found[0]


def _stage(index: int, head: Instruction, body: tuple[Instruction, ...], reader: _FileReader) -> Stage:
    words = head.body.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        raise reader.error(head.line, "FROM takes an image, or an image, AS and a name")
    name = words[2].lower() if len(words) == 3 else None
    if name is not None and not _STAGE_NAME.fullmatch(name):
        raise reader.error(
            head.line, f"{words[2]!r} cannot name a stage: a letter, then letters, digits, - _ ."
        )
    return Stage(index, name, words[0], head.flag("platform"), head, body)


class _FileReader:
    """Reads instructions off the text, and keeps what else it saw: directives and the gaps between."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")  # str.splitlines knows more line ends than this one
        self.lines = [f"{line}\n" for line in self.lines[:-1]] + [line for line in self.lines[-1:] if line]
        self.escape = "\\"
        self.syntax: str | None = None
        self.shebang = False
        self.gaps: list[tuple[int, int]] = []

    def error(self, line: int, rule: str) -> DockerfileError:
        shown = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return DockerfileError(line, shown.rstrip("\r\n"), rule)

    def instructions(self) -> Iterator[Instruction]:
        number, offset = 0, 0
        directives = True
        seen: set[str] = set()
        while number < len(self.lines):
            line = self.lines[number]
            content = line.removeprefix(_BOM) if number == 0 else line
            if directives:
                directives = self._directive(content.strip(WHITE), seen, number + 1)
            if not content.strip(WHITE) or content.lstrip(WHITE).startswith("#"):
                self.gaps.append((offset, offset + len(line)))
                number, offset = number + 1, offset + len(line)
                continue
            one = self._instruction(number, offset)
            yield one
            number, offset = one.end_line, one.stop

    def _directive(self, line: str, seen: set[str], number: int) -> bool:
        match = _DIRECTIVE.match(line)
        name = match[1].lower() if match else ""
        if number == 1 and line.startswith("#!"):
            self.shebang = True
            return True
        if match is None or name not in _DIRECTIVES:
            return False
        if self.shebang and name != "syntax":
            return True  # behind a shebang only the frontend itself is looked for
        if name in seen:
            raise self.error(number, f"the directive {name} is allowed only once")
        seen.add(name)
        if name == "escape":
            if match[2] not in ("\\", "`"):
                raise self.error(number, "escape may be \\ or `")
            self.escape = match[2]
        elif name == "syntax":
            self.syntax = match[2].split()[0]
        return True

    def _joined(self, number: int, offset: int) -> tuple[SourceSpan, int, int]:
        """Return the logical line that starts here, and the number and offset of the line after it."""
        text = ""
        at: list[int] = []
        last = offset
        first = True
        while number < len(self.lines):
            line = self.lines[number]
            content = line.rstrip("\r\n")
            begin = 0
            if first:
                begin = len(content) - len(content.lstrip(WHITE))
                if number == 0 and content.startswith(_BOM):
                    begin = len(content) - len(content[1:].lstrip(WHITE))
            number, stop = number + 1, offset + len(line)
            skip = not first and (not content.strip(WHITE) or content.lstrip(WHITE).startswith("#"))
            if not skip:
                bare = content.rstrip(" \t")
                more = bare.endswith(self.escape) and not bare.endswith(self.escape * 2)
                end = len(bare) - 1 if more else len(content)
                text += content[begin:end]
                at += range(offset + begin, offset + max(begin, end))
                last = offset + max(begin, end)
                first = False
                if not more:
                    return SourceSpan(text, tuple(at), last), number, stop
            offset = stop
        return SourceSpan(text, tuple(at), last), number, offset

    def _instruction(self, number: int, offset: int) -> Instruction:
        line, after, stop = self._joined(number, offset)
        line = line.strip()
        if not line.text:
            raise self.error(number + 1, "nothing follows this sign of continuation")
        found = BLANKS.search(line.text)
        first = line.text[: found.start()] if found else line.text
        keyword = first.upper()
        flags, body = _flags(line.cut(len(first)), self.escape)
        try:
            words = _json_list(body.text) if keyword in _EXEC_FORMS else None
        except ValueError as error:
            raise self.error(number + 1, str(error)) from error
        if keyword in ("ENV", "LABEL") and (why := wrong_pairs(keyword, body.text, self.escape)):
            raise self.error(number + 1, why)
        heredocs: list[Heredoc] = []
        holder = keyword
        if keyword == "ONBUILD" and body.text:
            holder = body.text.split()[0].upper()
        if holder in _HEREDOC_HOLDERS and "<<" in line.text:
            try:
                heads = _heredoc_heads(line.text)
            except ValueError as error:
                raise self.error(number + 1, str(error)) from error
            for fd_name, quoted, chomp in heads:
                begin = stop
                while True:
                    if after >= len(self.lines):
                        raise self.error(number + 1, f"the here-document {fd_name} has no end")
                    raw = self.lines[after]
                    after, begin_of_line, stop = after + 1, stop, stop + len(raw)
                    bare = raw.rstrip("\r\n")
                    if (bare.lstrip("\t") if chomp else bare) == fd_name:
                        heredocs.append(
                            Heredoc(fd_name, quoted, chomp, SourceSpan.of(self.text, begin, begin_of_line))
                        )
                        break
        return Instruction(
            keyword=keyword,
            line=number + 1,
            end_line=after,
            start=offset,
            stop=stop,
            keyword_stop=line.at[len(first) - 1] + 1,
            flags=flags,
            body=body,
            heredocs=tuple(heredocs),
            words=words,
        )


def _flags(rest: SourceSpan, escape: str) -> tuple[tuple[Flag, ...], SourceSpan]:
    """Split leading `--flag` words off, as split_command.go does, quotes and escapes included."""
    flags: list[Flag] = []
    text, pos = rest.text, 0
    while True:
        while pos < len(text) and text[pos] in WHITE:
            pos += 1
        if not text.startswith("--", pos):
            return tuple(flags), rest.cut(pos).strip()
        word, quote = "", ""
        while pos < len(text) and (quote or text[pos] not in WHITE):
            char = text[pos]
            if char == escape and pos + 1 < len(text):
                pos += 1
                word += text[pos]
            elif quote and char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            else:
                word += char
            pos += 1
        if word == "--":
            return tuple(flags), rest.cut(pos).strip()
        name, equals, value = word[2:].partition("=")
        flags.append(Flag(name, value if equals else None))


def _json_list(text: str) -> tuple[str, ...] | None:
    """Return the words of an exec form, None for the shell form. Raises ValueError for other lists."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None  # BuildKit takes it for the shell form then
    if not isinstance(found, list):
        return None
    if not all(isinstance(one, str) for one in found):
        raise ValueError("a JSON list here may hold texts only")
    return tuple(found)


def _not_json(name: str) -> None:
    raise ValueError(f"{name} is Python's")


def _heredoc_heads(line: str) -> list[tuple[str, bool, bool]]:
    """Return (delimiter, quoted, chomp) of each separate word `<<WORD` (heredocsFromLine)."""
    try:
        words = raw_words(line)
    except Unresolved:
        return []
    found: list[tuple[str, bool, bool]] = []
    for word in words:
        match = _HEREDOC.fullmatch(word)
        if match is None or not match[3]:
            continue
        try:
            bare = one_word(match[3])
        except Unresolved as error:
            raise ValueError(str(error)) from error
        if bare is not None:
            quotes = [sum(map(text.count, "'\"")) for text in (bare, match[3])]
            found.append((bare, quotes[0] != quotes[1], match[2] == "-"))
    return found
