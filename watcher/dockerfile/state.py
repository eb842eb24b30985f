"""What holds at each instruction of a stage: environment, user, working directory, shell.

A stage starts from its base: another stage's end, or an image's configuration as the engine reports it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from watcher import regex
from watcher.dockerfile.expand import UNKNOWN, Unresolved, Value, expand
from watcher.dockerfile.keyvalues import arg_pairs, env_pairs
from watcher.dockerfile.model import DockerfileError, Instruction, Stage
from watcher.dockerfile.parse import parse_instruction
from watcher.dockerfile.stages import Graph

_NOT_ENVIRONMENT = frozenset({"BUILDKIT_SYNTAX"})
_OFFICIAL = regex.compile(r"(?:.*/)?golang(?::[^/]*)?(?:@.*)?")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The parts of a base image's `docker inspect`: `Config`, `Id` and `Os`."""

    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    onbuild: tuple[str, ...] = ()
    workdir: str = ""
    os: str = "linux"
    id: str = ""
    command: tuple[str, ...] = ()  # ENTRYPOINT, then CMD
    healthcheck: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageState:
    """The circumstances of one instruction. Unknown values are UNKNOWN in `env`."""

    env: Mapping[str, Value]
    whole: bool  # False: there can be variables that are not in `env`
    user: str | None  # None: not known
    workdir: str | None
    shell: tuple[str, ...]
    image: str  # the external image at the bottom, "" for scratch
    image_id: str
    os: str
    golang: bool  # the image at the bottom is a Go toolchain's
    command: tuple[str, ...] = ()  # what that image runs
    assumed: bool = False  # the image was not inspected; the usual configuration of that image is assumed

    def get(self, name: str) -> Value:
        """Return the variable's value, None when not set, UNKNOWN when that is not known."""
        if name in self.env:
            return self.env[name]
        return None if self.whole else UNKNOWN

    def text(self, name: str) -> str | None:
        """Return the variable's value when it is known and set."""
        value = self.get(name)
        return value if isinstance(value, str) else None

    def expand(self, word: str, escape: str = "\\") -> str | None:
        """Return the word with its variables replaced, None if one of them is unknown."""
        try:
            return expand(word, self.get, escape)
        except Unresolved:
            return None


def looks_like_go(reference: str) -> bool:
    """Return whether the reference is of an image named `golang`, from any publisher."""
    return bool(_OFFICIAL.fullmatch(reference))


def first_state(image: str | None, config: ImageConfig | None) -> StageState:
    """Return the state at the start of a stage: `image` None is scratch, `config` None is not known."""
    if image is None:
        return StageState({}, True, "", "/", ("/bin/sh", "-c"), "", "", "linux", golang=False)
    if config is None:
        go = looks_like_go(image) and "onbuild" not in image
        go = go and not any(word in image for word in ("windows", "nanoserver"))
        return StageState(  # noqa: S604 - the SHELL of a Dockerfile; no process is started
            {"GOPATH": "/go"} if go else {},
            whole=go,
            user="" if go else None,
            workdir="/go" if go else None,
            shell=("/bin/sh", "-c"),
            image=image,
            image_id="",
            os="linux",
            golang=go,
            assumed=True,
        )
    go = looks_like_go(image) or "GOLANG_VERSION" in config.env or "/go/bin" in config.env.get("PATH", "")
    shell = ("cmd", "/S", "/C") if config.os == "windows" else ("/bin/sh", "-c")
    return StageState(
        dict(config.env),
        True,
        config.user,
        config.workdir or "/",
        shell,
        image,
        config.id,
        config.os,
        golang=go,
        command=config.command,
    )


def apply_instruction(
    state: StageState, one: Instruction, graph: Graph, build_args: Mapping[str, str]
) -> StageState:
    """Return the state after this instruction."""
    escape = graph.dockerfile.escape
    match one.keyword:
        case "ENV":
            new = {name: _expand_value(state, value, escape) for name, value in env_pairs(one, escape)}
            return replace(state, env={**state.env, **new})
        case "ARG":
            env = dict(state.env)
            for name, default in arg_pairs(one, escape):
                if name in build_args:
                    env[name] = build_args[name]
                elif default is not None:
                    env[name] = _expand_value(replace(state, env=env), default, escape)
                elif name in graph.values:
                    env[name] = graph.values[name]
            return replace(state, env={name: v for name, v in env.items() if name not in _NOT_ENVIRONMENT})
        case "USER":
            return replace(state, user=state.expand(one.body.text, escape))
        case "WORKDIR":
            path = state.expand(one.body.text, escape)
            if path is None or (state.workdir is None and not path.startswith("/")):
                return replace(state, workdir=None)
            return replace(state, workdir=posixpath.normpath(posixpath.join(state.workdir or "/", path)))
        case "SHELL":
            return replace(state, shell=one.words or ())
        case _:
            return state


@dataclass(frozen=True, slots=True)
class StageStep:
    """One instruction of a stage with the state it meets. `inherited`: an ONBUILD trigger of the base."""

    stage: Stage
    one: Instruction
    state: StageState
    inherited: bool = False


def walk_steps(
    graph: Graph,
    build_args: Mapping[str, str],
    bases: Mapping[str, ImageConfig | None],
    stages: Iterable[Stage],
) -> dict[int, list[StageStep]]:
    """Return the steps of each of these stages by index; their FROM chains must be among them."""
    found: dict[int, list[StageStep]] = {}
    ends: dict[int, tuple[StageState, tuple[Instruction, ...]]] = {}
    for stage in stages:
        base = graph.bases[stage.index]
        if base.stage is not None:
            state, triggers = ends[base.stage.index]
        else:
            config = bases.get(base.image) if base.image is not None else None
            state = first_state(base.image, config)
            triggers = tuple(
                _parse_trigger(text, graph, stage) for text in (config.onbuild if config else ())
            )
        steps: list[StageStep] = []
        for one in triggers:
            steps.append(StageStep(stage, one, state, inherited=True))
            state = apply_instruction(state, one, graph, build_args)
        own: list[Instruction] = []
        for one in stage.instructions:
            steps.append(StageStep(stage, one, state))
            if one.keyword == "ONBUILD":
                own.append(_parse_trigger(trigger_text(graph, one), graph, stage))
            state = apply_instruction(state, one, graph, build_args)
        found[stage.index] = steps
        ends[stage.index] = (state, tuple(own))
    return found


def trigger_text(graph: Graph, one: Instruction) -> str:
    """Return what an ONBUILD holds back, here-documents included."""
    return graph.dockerfile.text[one.body.offset(0) : one.stop]


def _parse_trigger(text: str, graph: Graph, stage: Stage) -> Instruction:
    try:
        return parse_instruction(text, graph.dockerfile.escape)
    except DockerfileError as error:
        raise DockerfileError(
            stage.head.line, text, f"this ONBUILD trigger cannot be read: {error.rule}"
        ) from error


def _expand_value(state: StageState, word: str, escape: str) -> Value:
    value = state.expand(word, escape)
    return UNKNOWN if value is None else value
