"""Find uses of a build argument where it has no value: before its ARG, or in a stage without one.

An ARG counts from its line to the end of its stage, and in stages that are based on that one. One before
the first FROM counts in FROM lines alone, as do TARGETARCH and its kin without an ARG of that name.
"""

from __future__ import annotations

from collections.abc import Iterator

from watcher import regex
from watcher.dockerfile.advice import Advice, ReviewedFile, Severity
from watcher.dockerfile.expand import Unresolved, expand, lookup_in
from watcher.dockerfile.go_commands import read_run
from watcher.dockerfile.keyvalues import arg_pairs
from watcher.dockerfile.model import Instruction, Stage
from watcher.dockerfile.spans import word_set
from watcher.dockerfile.stages import run_mounts
from watcher.dockerfile.state import StageState
from watcher.dockerfile.variables import read_variables

_EXPANDED = word_set("ADD ARG COPY ENV EXPOSE LABEL RUN STOPSIGNAL USER VOLUME WORKDIR")
_PREDEFINED = regex.compile(r"(?i)(?:https?|ftp|no|all)_proxy|BUILDKIT_.*|SOURCE_DATE_EPOCH")
_SET_IN_SHELL = regex.compile(r"\b([A-Za-z_][A-Za-z0-9_]*)\+?=|\bfor\s+([A-Za-z_][A-Za-z0-9_]*)")
_READ = regex.compile(r"\b(?:read|getopts|mapfile|readarray)\b[^;&|\n]*")


def check_args(file: ReviewedFile) -> Iterator[Advice]:
    """Yield what is wrong with the build arguments."""
    yield from _check_from_lines(file)
    seen: set[tuple[int, str]] = set()  # a stage and a name: the first use is enough
    for stage in file.stages:
        for one, state, declared in _walk(file, stage):
            for name in dict.fromkeys(_names_read(one, state, file.graph.dockerfile.escape)):
                if name in declared or name in state.env or (stage.index, name) in seen:
                    continue
                if found := _explain(file, stage, one, name):
                    seen.add((stage.index, name))
                    yield found
    yield from _check_unused(file)


def _walk(file: ReviewedFile, stage: Stage) -> Iterator[tuple[Instruction, StageState, set[str]]]:
    """Yield each instruction of a stage with its state and the arguments declared before it."""
    escape = file.graph.dockerfile.escape
    declared = {
        name
        for below in file.graph.stage_chain(stage)[:-1]
        for one in below.instructions
        if one.keyword == "ARG"
        for name, _ in arg_pairs(one, escape)
    }
    for step in file.steps[stage.index]:
        if not step.inherited:
            yield step.one, step.state, declared
        if step.one.keyword == "ARG":
            declared |= {name for name, _ in arg_pairs(step.one, escape)}


def _names_read(one: Instruction, state: StageState, escape: str) -> Iterator[str]:
    if one.keyword not in _EXPANDED or (one.keyword == "RUN" and one.words is not None):
        return
    if one.keyword != "RUN":
        known = {name for name, _ in arg_pairs(one, escape)} if one.keyword == "ARG" else set()
        yield from (name for name in read_variables(one.body.text, escape) if name not in known)
        for document in one.heredocs:
            if not document.quoted:
                yield from read_variables(document.content.text, escape)
        return
    found = read_run(one, state.shell)
    if found.sourced or found.foreign:
        return
    text = "\n".join([one.body.text, *(each.content.text for each in one.heredocs)])
    given = {name for each in _SET_IN_SHELL.finditer(text) for name in each.groups() if name}
    given |= {word for each in _READ.finditer(text) for word in each[0].split()}
    given |= {mount.get("env", "") for mount in run_mounts(one)}
    yield from (name for name in read_variables(text) if name not in given)


def _explain(file: ReviewedFile, stage: Stage, one: Instruction, name: str) -> Advice | None:
    """Return what a name without a value means; None if no ARG of the file and no build arg has the name."""
    graph = file.graph
    escape = graph.dockerfile.escape

    def line_of(instructions: tuple[Instruction, ...]) -> int:
        found = (
            each.line
            for each in instructions
            if each.keyword == "ARG" and name in {known for known, _ in arg_pairs(each, escape)}
        )
        return next(found, 0)

    use = f"line {one.line} uses {name}"
    if late := line_of(stage.instructions):
        told = f"{use}, which line {late} declares: it has no value before that line"
        return Advice(one.line, Severity.ADVICE, told, f"put ARG {name} before line {one.line}")
    above = line_of(graph.dockerfile.preamble)
    other = next((line for each in graph.dockerfile.stages if (line := line_of(each.instructions))), 0)
    if above:
        told = (
            f"{use}, which is declared only before the first FROM (line {above}): it has no value in a stage"
        )
        remedy = f"put ARG {name} into this stage; without a default it has the value of line {above}"
    elif name in file.given.platforms.values():
        told = f"{use}, which has a value only in stages with ARG {name}"
        remedy = f"put ARG {name} into this stage"
    elif other:
        told = f"{use}, which is declared in another stage (line {other}): it has no value here"
        remedy = f"put ARG {name} into this stage too"
    elif name in file.given.build_args:
        told = f"{use}, a build arg of the compose file that no ARG declares: it has no value"
        remedy = f"put ARG {name} into this stage"
    else:
        return None
    return Advice(one.line, Severity.ADVICE, told, remedy)


def _check_from_lines(file: ReviewedFile) -> Iterator[Advice]:
    graph = file.graph
    for stage in file.stages:
        for name in dict.fromkeys(read_variables(stage.base, graph.dockerfile.escape)):
            if name in graph.values:
                continue
            try:
                base = expand(stage.base, lookup_in(graph.values), graph.dockerfile.escape)
            except Unresolved:
                base = ""
            if base.endswith(":"):
                continue  # another check reports it
            wrong = not base or base.endswith(("@", "/"))
            told = f"line {stage.head.line} uses {name}, which has no value: the base is {base!r}"
            remedy = f"put ARG {name} with a default before the first FROM, or pass a build arg"
            yield Advice(stage.head.line, Severity.ERROR if wrong else Severity.ADVICE, told, remedy)


def _check_unused(file: ReviewedFile) -> Iterator[Advice]:
    dockerfile = file.graph.dockerfile
    if dockerfile.syntax is not None and "docker/dockerfile" not in dockerfile.syntax:
        return  # another frontend has arguments of its own
    declared = {
        name
        for one in dockerfile.instructions()
        if one.keyword == "ARG"
        for name, _ in arg_pairs(one, dockerfile.escape)
    }
    declared |= file.given.platforms.values().keys()
    steps = [step for found in file.steps.values() for step in found]
    declared |= {
        name
        for step in steps
        if step.inherited and step.one.keyword == "ARG"
        for name, _ in arg_pairs(step.one, dockerfile.escape)
    }
    for name in file.given.build_args:
        if name not in declared and not _PREDEFINED.fullmatch(name):
            told = f"the build arg {name} of the compose file is declared by no ARG: it changes nothing"
            yield Advice(0, Severity.TASTE, told, f"declare ARG {name} where it is used, or take it out")
