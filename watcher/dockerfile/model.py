"""A Dockerfile as values: stages, instructions, flags, here-documents, each with its place in the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from watcher.dockerfile.spans import SourceSpan


class DockerfileError(ValueError):
    """The Dockerfile breaks a rule: `line` (from 1), that line's `text`, and the `rule`."""

    def __init__(self, line: int, text: str, rule: str) -> None:
        super().__init__(f"line {line}, {text.strip()!r}: {rule}")
        self.line = line
        self.text = text
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Flag:
    """One `--name=value` behind an instruction's keyword; `value` is None without `=`."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its delimiter word, whether the word was quoted, whether `<<-`, its `content`."""

    name: str
    quoted: bool
    chomp: bool
    content: SourceSpan

    @property
    def script(self) -> SourceSpan:
        """Return the content as the shell gets it: with `<<-` without leading tabs."""
        return self.content.without_leading("\t") if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. Lines count from 1; `start`/`stop` are offsets of all of it, here-documents too."""

    keyword: str  # upper case
    line: int
    end_line: int
    start: int
    stop: int
    keyword_stop: int  # offset behind the keyword: where a flag can be put in
    flags: tuple[Flag, ...]
    body: SourceSpan  # what follows keyword and flags, continuations joined
    heredocs: tuple[Heredoc, ...] = ()
    words: tuple[str, ...] | None = None  # the exec form's JSON list, None for the shell form

    def flag(self, name: str) -> str | None:
        """Return the value of the first flag of this name, or None."""
        return next((flag.value for flag in self.flags if flag.name == name), None)

    def flag_values(self, name: str) -> tuple[str, ...]:
        """Return the values of every flag of this name (`--mount` can be repeated)."""
        return tuple(flag.value or "" for flag in self.flags if flag.name == name)


@dataclass(frozen=True, slots=True)
class Stage:
    """One build stage: its `FROM` and what follows. `base` and `platform` are as written, not expanded."""

    index: int
    name: str | None  # lower case, as BuildKit compares it
    base: str
    platform: str | None
    head: Instruction
    instructions: tuple[Instruction, ...] = ()

    @property
    def label(self) -> str:
        """Return the name that a `target` uses for this stage: its name, or its number."""
        return self.name or str(self.index)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed Dockerfile. `text` is the file, byte for byte as it was given."""

    text: str
    escape: str
    syntax: str | None  # the image of `# syntax=`
    preamble: tuple[Instruction, ...]  # the ARGs before the first FROM
    stages: tuple[Stage, ...]
    gaps: tuple[tuple[int, int], ...] = field(default=(), repr=False)  # comments and empty lines, as offsets

    def instructions(self) -> Iterator[Instruction]:
        """Yield every instruction in the order of the file."""
        yield from self.preamble
        for stage in self.stages:
            yield stage.head
            yield from stage.instructions

    def stage(self, name: str) -> Stage | None:
        """Return the last stage of this name (case does not matter), or the one of this number."""
        lowered = name.lower()
        named = [stage for stage in self.stages if stage.name == lowered]
        if named:
            return named[-1]
        if name.isdecimal() and int(name) < len(self.stages):
            return self.stages[int(name)]
        return None

    def render(self) -> str:
        """Return the file assembled from its parts: always equal to `text`."""
        spans = sorted([*self.gaps, *((one.start, one.stop) for one in self.instructions())])
        return "".join(self.text[start:stop] for start, stop in spans)
