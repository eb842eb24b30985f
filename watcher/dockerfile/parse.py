"""Dockerfile text -> stages and instructions, each with its place in the text.

The rules are those of moby/buildkit, `frontend/dockerfile/parser` (parser.go, directives.go,
split_command.go, line_parsers.go) and `frontend/dockerfile/instructions/parse.go`: directives, comments,
continuations, flags, here-documents, stage names. Nothing is executed and no variable is expanded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from watcher import regex
from watcher.dockerfile.model import Dockerfile, DockerfileError, Flag, Heredoc, Instruction, Stage
from watcher.dockerfile.source import Piece, word_set

KEYWORDS = word_set(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL"
    " STOPSIGNAL USER VOLUME WORKDIR"
)
_DIRECTIVE = regex.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC_HOLDERS = ("ADD", "COPY", "RUN")
_EXEC_FORMS = ("RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "ADD", "VOLUME")
_STAGE_NAME = regex.compile(r"[a-z][a-z0-9_.-]*")
_HEREDOC = regex.token(r"""(\d*+)<<(-?+)[ \t]*+("[^"]*+"|'[^']*+'|[^\s<>&|;()'"]++)""")
_BOM = "\ufeff"


def parse(text: str) -> Dockerfile:
    """Parse a Dockerfile. Raises DockerfileError with line, text and rule where BuildKit would refuse it."""
    reader = _Reader(text)
    found = list(reader.instructions())
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
            raise reader.error(one.line, "only ARG may stand before the first FROM")
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
    """One instruction that stands alone, such as an ONBUILD trigger out of an image's configuration."""
    reader = _Reader(text)
    reader.escape = escape
    found = list(reader.instructions())
    if len(found) != 1:
        raise reader.error(1, "one instruction is expected here")
    return found[0]


def _stage(index: int, head: Instruction, body: tuple[Instruction, ...], reader: _Reader) -> Stage:
    words = head.body.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        raise reader.error(head.line, "FROM takes an image, or an image, AS and a name")
    name = words[2].lower() if len(words) == 3 else None
    if name is not None and not _STAGE_NAME.fullmatch(name):
        raise reader.error(
            head.line, f"{words[2]!r} cannot name a stage: a letter, then letters, digits, - _ ."
        )
    return Stage(index, name, words[0], head.flag("platform"), head, body)


class _Reader:
    """Reads instructions off the text, and keeps what else it saw: directives and the gaps between."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")  # str.splitlines knows more line ends than this one
        self.lines = [f"{line}\n" for line in self.lines[:-1]] + [line for line in self.lines[-1:] if line]
        self.escape = "\\"
        self.syntax: str | None = None
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
            content = line.lstrip(_BOM) if number == 0 else line
            if directives:
                directives = self._directive(content.strip(), seen, number + 1)
            if not content.strip() or content.lstrip().startswith("#"):
                self.gaps.append((offset, offset + len(line)))
                number, offset = number + 1, offset + len(line)
                continue
            one = self._instruction(number, offset)
            if one is None:
                self.gaps.append((offset, offset + len(line)))
                number, offset = number + 1, offset + len(line)
                continue
            yield one
            number, offset = one.end_line, one.stop

    def _directive(self, line: str, seen: set[str], number: int) -> bool:
        match = _DIRECTIVE.match(line)
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            return bool(number == 1 and line.startswith("#!"))
        if name in seen:
            raise self.error(number, f"the directive {name} may stand only once")
        seen.add(name)
        if name == "escape":
            if match[2] not in ("\\", "`"):
                raise self.error(number, "escape may be \\ or `")
            self.escape = match[2]
        elif name == "syntax":
            self.syntax = match[2].split()[0]
        return True

    def _joined(self, number: int, offset: int) -> tuple[Piece, int, int]:
        """The logical line that begins here, and the number and offset of the line behind it."""
        text = ""
        at: list[int] = []
        last = offset
        first = True
        while number < len(self.lines):
            line = self.lines[number]
            content = line.rstrip("\r\n")
            begin = 0
            if first:
                begin = len(content) - len(content.lstrip().lstrip(_BOM).lstrip())
            number, stop = number + 1, offset + len(line)
            skip = not first and (not content.strip() or content.lstrip().startswith("#"))
            if not skip:
                bare = content.rstrip(" \t")
                more = bare.endswith(self.escape) and not bare.endswith(self.escape * 2)
                end = len(bare) - 1 if more else len(content)
                text += content[begin:end]
                at += range(offset + begin, offset + max(begin, end))
                last = offset + max(begin, end)
                first = False
                if not more:
                    return Piece(text, tuple(at), last), number, stop
            offset = stop
        return Piece(text, tuple(at), last), number, offset

    def _instruction(self, number: int, offset: int) -> Instruction | None:
        line, after, stop = self._joined(number, offset)
        line = line.strip()
        if not line.text:
            return None
        first = line.text.split(maxsplit=1)[0]  # the text is not empty and begins with no white space
        keyword = first.upper()
        flags, body = _flags(line.cut(len(first)), self.escape)
        words = _json_list(body.text) if keyword in _EXEC_FORMS else None
        heredocs: list[Heredoc] = []
        holder = keyword
        if keyword == "ONBUILD" and body.text:
            holder = body.text.split()[0].upper()
        if holder in _HEREDOC_HOLDERS and words is None and "<<" in body.text:
            for fd_name, quoted, chomp in _heredoc_heads(body.text):
                begin = stop
                while True:
                    if after >= len(self.lines):
                        raise self.error(number + 1, f"the here-document {fd_name} has no end")
                    raw = self.lines[after]
                    after, begin_of_line, stop = after + 1, stop, stop + len(raw)
                    bare = raw.rstrip("\r\n")
                    if (bare.lstrip("\t") if chomp else bare) == fd_name:
                        heredocs.append(
                            Heredoc(fd_name, quoted, chomp, Piece.of(self.text, begin, begin_of_line))
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


def _flags(rest: Piece, escape: str) -> tuple[tuple[Flag, ...], Piece]:
    """Split leading `--flag` words off, as split_command.go does, quotes and escapes included."""
    flags: list[Flag] = []
    text, pos = rest.text, 0
    while True:
        while pos < len(text) and text[pos].isspace():
            pos += 1
        if not text.startswith("--", pos):
            return tuple(flags), rest.cut(pos).strip()
        word, quote = "", ""
        while pos < len(text) and (quote or not text[pos].isspace()):
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
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None  # BuildKit takes it for the shell form then
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return tuple(found)
    return None


def _heredoc_heads(text: str) -> list[tuple[str, bool, bool]]:
    """(delimiter, quoted, chomp) of each `<<WORD` that stands outside quotes."""
    found: list[tuple[str, bool, bool]] = []
    pos, quote = 0, ""
    while pos < len(text):
        char = text[pos]
        if quote:
            if char == "\\" and quote == '"':
                pos += 1
            elif char == quote:
                quote = ""
        elif char == "\\":
            pos += 1
        elif char in "'\"":
            quote = char
        elif text.startswith("<<<", pos):
            pos += 2
        elif text.startswith("<<", pos) and (match := _HEREDOC.match(text, pos)):
            word = match[3]
            bare = word.strip("'\"")
            found.append((bare, bare != word, match[2] == "-"))
            pos = match.end() - 1
        pos += 1
    return found
