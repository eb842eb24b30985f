"""Propose changes to a Dockerfile that make the final image smaller, one after the other. Pure.

Each proposal depends on the text and on what is known of the image that it builds. The caller measures
whether the image gets smaller and still works; if not, the next proposal is made for the text without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watcher.dockerfile import rewrite
from watcher.dockerfile.caches import NotAccelerated
from watcher.dockerfile.go_commands import GoCall, GoUsage, RunAnalysis
from watcher.dockerfile.leave_base import BaseNeeds, leave_base
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.running import THE_IMAGES
from watcher.dockerfile.spans import Edit, apply_edits
from watcher.dockerfile.stage_group import StageGroup, stage_groups
from watcher.dockerfile.stages import Graph
from watcher.dockerfile.state import ImageConfig, StageStep

TRIMPATH = "-trimpath"
_BUILDS = frozenset({"build", "install"})


@dataclass(frozen=True, slots=True)
class TagRule:
    """Build tags that leave `package` out of a program; they are tags of `module`, which imports it."""

    tags: tuple[str, ...]
    package: str
    module: str
    reason: str


TAG_RULES = (
    TagRule(
        ("nomsgpack",),
        "github.com/ugorji/go/codec",
        "github.com/gin-gonic/gin",
        "gin without its MessagePack codec: c.MsgPack and bindings of application/msgpack are gone",
    ),
    TagRule(
        ("grpcnotrace",),
        "golang.org/x/net/trace",
        "google.golang.org/grpc",
        "gRPC without golang.org/x/net/trace, which keeps the linker from leaving out unused methods",
    ),
)
_PURE_GO = ("netgo", "osusergo")
_STATIC_LINK = "-linkmode=external -extldflags=-static"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image: `packages` and `modules` linked into its programs, and what it needs."""

    packages: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    needs: BaseNeeds = field(default_factory=BaseNeeds)


@dataclass(frozen=True, slots=True)
class ShrinkInput:
    """What a proposal depends on besides the text. `bases` are the configurations of base images by name.

    None is the configuration of an image that could not be looked up. `target` None is the last stage.
    """

    build_args: Mapping[str, str]
    target: str | None
    platforms: Platforms
    bases: Mapping[str, ImageConfig | None]
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class Shrink:
    """A proposed change: `text` is the Dockerfile with it; empty if `obstacle` says why it is impossible."""

    name: str
    reason: str
    text: str = ""
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class ShrinkRule:
    """A kind of change.

    `taste`: worth suggesting even if the image gets no smaller. `makes_static`: worth suggesting only if
    afterwards no program of the image needs a C library.
    """

    name: str
    reason: str
    change: Callable[[str, ShrinkInput], str]
    applies: Callable[[ImageFacts], bool] = lambda _: True
    taste: bool = False
    makes_static: bool = False

    def propose(self, text: str, given: ShrinkInput) -> Shrink | None:
        """Return the change for this text; None if it has nothing to change. Raises DockerfileError."""
        if not self.applies(given.facts):
            return None
        try:
            changed = self.change(text, given)
        except NotAccelerated as error:
            return Shrink(self.name, self.reason, obstacle=str(error))
        return None if changed == text else Shrink(self.name, self.reason, changed)


def _tag_rule(rule: TagRule) -> ShrinkRule:
    def change(text: str, given: ShrinkInput) -> str:
        return _edit_builds(
            text, given, lambda call, _, step, hidden: _add_tags(call, step, hidden, rule.tags)
        )

    def applies(facts: ImageFacts) -> bool:
        return rule.package in facts.packages and rule.module in facts.modules

    return ShrinkRule(f"-tags={','.join(rule.tags)}", rule.reason, change, applies)


def insert_measurement(text: str, given: ShrinkInput, token: str) -> str:
    """Return the text with a variable of the value `token` above each step that builds with go.

    BuildKit runs these steps again, because their environment changed, and they compile nothing: everything
    is in Go's cache. So their time is that of linking.
    """
    graph = Graph(parse(text), given.build_args, given.platforms)
    places = {
        step.one.start
        for group in _groups(graph, given)
        for step, analysis in group.run_steps()
        if not step.inherited and any(call.sub in _BUILDS for call in analysis.calls)
    }
    line = f"ENV WATCHER_MEASURES={token}\n"
    return apply_edits(text, tuple(Edit(place, place, line, "") for place in places))


def find_build_lines(text: str, given: ShrinkInput) -> tuple[frozenset[int], frozenset[int]]:
    """Return the lines of the RUNs that call go build or go install, and of those that may do so indirectly.

    For example through make or a script.
    """
    graph = Graph(parse(text), given.build_args, given.platforms)
    steps = [found for group in _groups(graph, given) if group.go for found in group.run_steps()]
    builds = {step.one.line for step, found in steps if any(call.sub in _BUILDS for call in found.calls)}
    others = {step.one.line for step, found in steps if found.use is GoUsage.MAYBE}
    return frozenset(builds), frozenset(others)


def _groups(graph: Graph, given: ShrinkInput) -> list[StageGroup]:
    return stage_groups(graph, given.build_args, given.bases, given.target, THE_IMAGES)


_EditCall = Callable[[GoCall, RunAnalysis, StageStep, bool], list[Edit]]


def _edit_builds(text: str, given: ShrinkInput, edit: _EditCall) -> str:
    graph = Graph(parse(text), given.build_args, given.platforms)
    edits: dict[tuple[int, int], Edit] = {}  # a stage can be read for several groups
    for group in _groups(graph, given):
        for step, analysis in group.run_steps():
            hidden = group.writes_goflags(step)
            for call in analysis.calls:
                if call.sub in _BUILDS and not call.command.inner and not step.inherited:
                    edits |= {(each.start, each.stop): each for each in edit(call, analysis, step, hidden)}
    return apply_edits(text, tuple(edits.values()))


def _strip_symbols(call: GoCall, analysis: RunAnalysis, step: StageStep, hidden: bool) -> list[Edit]:
    return rewrite.strip_dwarf(call, analysis, step.state, hidden=hidden, flags="-s -w")


def _trim_paths(call: GoCall, _: RunAnalysis, step: StageStep, hidden: bool) -> list[Edit]:
    inherited = rewrite.get_goflags(call, step.state)
    if inherited is None or hidden:
        raise NotAccelerated("GOFLAGS is not known")
    given = any(name == "trimpath" for name, _, _ in call.flags()) or TRIMPATH in inherited
    return [] if given else [rewrite.with_flag(call, TRIMPATH, "")]


def _add_tags(call: GoCall, step: StageStep, hidden: bool, tags: tuple[str, ...]) -> list[Edit]:
    inherited = rewrite.get_goflags(call, step.state)
    if inherited is None or hidden or "-tags" in inherited:
        raise NotAccelerated(f"GOFLAGS is not known or holds -tags: put {','.join(tags)} there")
    found = [(value or "", index) for name, value, index in call.flags() if name == "tags"]
    if not found:
        return [rewrite.with_flag(call, f"-tags={','.join(tags)}", "")]
    value, index = found[-1]
    missing = [tag for tag in tags if tag not in value.replace(",", " ").split()]
    if not missing:
        return []
    word = call.command.words[index]
    if "=" not in word.text:  # the value is the next word
        index += 1
        word = call.command.words[index] if index < len(call.command.words) else word
    if len(found) > 1 or not word.literal or call.form == "exec":
        raise NotAccelerated(f"-tags is written in a way that is not changed here: add {','.join(missing)}")
    head = word.text[: word.text.find("=") + 1] if word.text.startswith("-") else ""
    text = head + ",".join([*value.replace(",", " ").split(), *missing])
    return [rewrite.replace_word(call, index, text, "")]


def _has_cgo(facts: ImageFacts) -> bool:
    return not facts.needs.static and "runtime/cgo" in facts.packages


def _use_pure_go(text: str, given: ShrinkInput) -> str:
    return _edit_builds(text, given, lambda call, _, step, hidden: _add_tags(call, step, hidden, _PURE_GO))


def _link_static(call: GoCall, analysis: RunAnalysis, step: StageStep, hidden: bool) -> list[Edit]:
    return rewrite.strip_dwarf(call, analysis, step.state, hidden=hidden, flags=_STATIC_LINK)


def _leave_base(text: str, given: ShrinkInput) -> str:
    graph = Graph(parse(text), given.build_args, given.platforms)
    return leave_base(graph, given.target, given.facts.needs, given.bases)


SHRINK_RULES = (
    ShrinkRule(
        '-ldflags="-s -w"',
        "without symbol table and DWARF: stack traces stay, a debugger loses its symbols",
        lambda text, given: _edit_builds(text, given, _strip_symbols),
    ),
    *map(_tag_rule, TAG_RULES),
    ShrinkRule(
        f"-tags={','.join(_PURE_GO)}",
        "lookups of names in Go itself need no C library",
        _use_pure_go,
        _has_cgo,
        makes_static=True,
    ),
    ShrinkRule(
        f'-tags={",".join(_PURE_GO)} -ldflags="{_STATIC_LINK}"',
        "the C library becomes part of the program",
        lambda text, given: _edit_builds(_use_pure_go(text, given), given, _link_static),
        _has_cgo,
        makes_static=True,
    ),
    ShrinkRule(
        TRIMPATH,
        "without the paths of the build machine: the same program from any folder",
        lambda text, given: _edit_builds(text, given, _trim_paths),
        taste=True,
    ),
    ShrinkRule("FROM scratch", "a static program needs no base image", _leave_base),
)
"""The rules in the order in which they are tried: a rule that makes another one possible comes first."""
