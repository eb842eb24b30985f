"""The build steps that every save repeats, with their seconds, longest first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import parse_step
from watcher.cli.doctor.findings import Finding, Grade, Repeated
from watcher.dockerfile import (
    Accelerated,
    Graph,
    LayerInstruction,
    Rerun,
    explain_rerun,
    find_layer,
    shown_instruction,
)
from watcher.observers import humanize

MOST_BUILDS = 5  # that are compared
LONG = 0.5  # seconds from which a remedy is worth advice
SHORT = 0.1  # seconds below which steps are summed up
TOPIC = "repeated steps"

_Place = tuple[str, int, int, str]  # stage, index, total, keyword


@dataclass(frozen=True, slots=True)
class _Ran:
    """A step that ran in the newest builds: its text in each, its usual seconds."""

    texts: tuple[str, ...]
    seconds: float


def repeated_steps(
    entries: Sequence[BuildEntry], service: str, graph: Graph, plan: Accelerated
) -> list[Finding]:
    """Return the steps that every save repeats, from a service's builds (oldest first)."""
    builds = _builds_of_saves(entries, service)
    if len(builds) < 2:
        return [
            Finding(
                TOPIC,
                Grade.GOOD,
                "not known yet: it takes two builds of different trees",
                "save a file while `watcher run` is running, or run `watcher once` before and after a change",
            )
        ]
    ran = _find_repeated(builds)
    known: dict[_Place, LayerInstruction] = {}
    for place in ran:
        if layer := find_layer(graph, *place):
            known[place] = layer
    lines = {layer.line for layer in known.values()}
    total = sum(each.seconds for each in ran.values())
    size = f"{humanize.count(len(ran), 'step')}, {humanize.seconds(total)}"
    text = f"{size}; seen in the last {len(builds)} builds"
    found = [Finding(TOPIC, Grade.GOOD, text if ran else "no step at all")]
    small = 0.0
    for place, each in sorted(ran.items(), key=lambda item: -item[1].seconds):
        if each.seconds < SHORT:
            small += each.seconds
            continue
        layer = known.get(place)
        if layer is None:
            found.append(_report_unknown(each))
            continue
        differ = len(set(each.texts)) > 1
        reason = explain_rerun(graph, layer, lines, plan, variables_differ=differ)
        found.append(_report_step(layer, each.seconds, reason))
    if small:
        found.append(
            Finding(TOPIC, Grade.GOOD, f"{humanize.seconds(small)}: steps below {humanize.seconds(SHORT)}")
        )
    return found


def _report_unknown(ran: _Ran) -> Finding:
    repeated = Repeated(None, ran.texts[0], ran.seconds, "", "")
    text = f"{humanize.seconds(ran.seconds)}: {ran.texts[0]}; the Dockerfile has changed since"
    return Finding(TOPIC, Grade.GOOD, text, repeated=repeated)


def _report_step(layer: LayerInstruction, seconds: float, reason: Rerun) -> Finding:
    step = shown_instruction(layer)
    grade = Grade.ADVICE if reason.remedy and seconds >= LONG else Grade.GOOD
    text = f"{humanize.seconds(seconds)}: line {layer.line}, {step}: {reason.why}"
    repeated = Repeated(layer.line, step, seconds, reason.why, reason.remedy)
    return Finding(TOPIC, grade, text, reason.remedy if grade is Grade.ADVICE else "", repeated=repeated)


def _builds_of_saves(entries: Sequence[BuildEntry], service: str) -> list[BuildEntry]:
    """Return the newest good builds of final images, newest first, one for each revision."""
    found: list[BuildEntry] = []
    for entry in entries:
        if entry.service == service and entry.final and entry.ended == "ok" and entry.started:
            if found and found[-1].revision == entry.revision:
                continue  # a rebuild
            found.append(entry)
    return found[: -MOST_BUILDS - 1 : -1]


def _find_repeated(builds: Sequence[BuildEntry]) -> Mapping[_Place, _Ran]:
    """Return what ran in the newest two builds. The oldest build perhaps had no cache."""
    newest, before = _steps_by_place(builds[0]), _steps_by_place(builds[1])
    others = [_steps_by_place(entry) for entry in builds[1:-1]]
    found = {}
    for place in newest.keys() & before.keys():
        runs = [newest[place], *(steps[place] for steps in others if place in steps)]
        texts = (newest[place].shown or newest[place].name, before[place].shown or before[place].name)
        found[place] = _Ran(texts, median(run.finished - run.started for run in runs))
    return found


def _steps_by_place(entry: BuildEntry) -> dict[_Place, StepRun]:
    found = {}
    for run in entry.steps:
        step = parse_step("", run.name)
        keyword = run.name.partition("] ")[2].split(" ", 1)[0]
        if keyword != "FROM":  # resolving a base image is not part of the step
            found[step.stage, step.index, step.total, keyword] = run
    return found
