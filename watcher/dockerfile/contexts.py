"""Named contexts (`additional_contexts`) written into a Dockerfile, for frontends of any age.

The name of an image is replaced by that image. The name of a folder is replaced by a path in the main context
that no tree has, a marker; the definition that the frontend makes of the text is then changed to read from
the folder there (`buildkit.llb.redirect_sources`). Frontends before BuildKit 0.10
would take each name for an image. The number of lines stays.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace

from watcher.dockerfile.accelerate import Accelerated
from watcher.dockerfile.annotations import line_changes
from watcher.dockerfile.model import DockerfileError, Instruction
from watcher.dockerfile.parse import parse
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.spans import Edit, apply_edits
from watcher.dockerfile.stages import Graph, run_mounts

_WHY = "a named context"


def with_images(
    text: str,
    images: Mapping[str, str],
    *,
    build_args: Mapping[str, str],
    target: str | None,
    platforms: Platforms,
) -> str:
    """Return `text` with images in place of their names; raise DockerfileError."""
    if not images:
        return text
    graph = Graph(parse(text), build_args, platforms)
    edits = []
    for stage in graph.reachable_stages(target):
        image = graph.bases[stage.index].image
        if image is not None and image in images:
            start = stage.head.body.offset(0)
            edits.append(Edit(start, start + len(stage.base), images[image], _WHY))
        for one, base in graph.find_reads(stage):
            if base.image is not None and base.image in images:
                edits += _replaced_from(one, text, base.image, images[base.image])
    return apply_edits(text, tuple(dict.fromkeys(edits)))


def with_folders(
    plan: Accelerated,
    markers: Mapping[str, str],
    *,
    build_args: Mapping[str, str],
    target: str | None,
    platforms: Platforms,
) -> Accelerated:
    """Return `plan` with folder names in reads replaced by their markers, absolute paths.

    Raises DockerfileError for a stage that starts from a folder.
    """
    if not markers:
        return plan
    graph = Graph(parse(plan.text), build_args, platforms)
    edits: list[Edit] = []
    for stage in graph.reachable_stages(target):
        name = graph.bases[stage.index].image
        if name is not None and name in markers:
            rule = f"{name} is a folder of additional_contexts: copy from it; no stage can start from it here"
            raise DockerfileError(stage.head.line, f"FROM {stage.base}", rule)
        for one, base in graph.find_reads(stage):
            if base.image is not None and base.image in markers:
                edits += _marked(one, plan.text, base.image, markers[base.image])
    if not edits:
        return plan
    made = tuple(dict.fromkeys(edits))
    text = apply_edits(plan.text, made)
    return replace(plan, text=text, contexts=line_changes(plan.text, text, made))


def _flags(one: Instruction) -> tuple[int, int]:
    return one.keyword_stop, one.body.offset(0)


def _place(one: Instruction, text: str, flag: str) -> int:
    """Return the place of a flag; raise DockerfileError unless it occurs exactly once, in one piece."""
    start, stop = _flags(one)
    if text[start:stop].count(flag) != 1:
        raise DockerfileError(
            one.line, text[one.start : one.stop], "a named context must be named in one piece"
        )
    return start + text[start:stop].index(flag)


def _replaced_from(one: Instruction, text: str, name: str, image: str) -> Iterator[Edit]:
    flag = f"--from={name}" if one.keyword == "COPY" else f"from={name}"
    start = _place(one, text, flag) + len(flag) - len(name)
    yield Edit(start, start + len(name), image, _WHY)


def _marked(one: Instruction, text: str, name: str, marker: str) -> Iterator[Edit]:
    if one.keyword == "COPY":
        yield from _marked_copy(one, text, name, marker)
        return
    for value, mount in zip(one.flag_values("mount"), run_mounts(one), strict=True):
        if mount.get("from") == name:
            start = _place(one, text, f"--mount={value}") + len("--mount=")
            kept = [
                item
                for item in value.split(",")
                if item.partition("=")[0].lower() not in ("from", "source", "src")
            ]
            source = _below(marker, mount.get("source", "/"))
            yield Edit(start, start + len(value), ",".join([*kept, f"source={source}"]), _WHY)


def _marked_copy(one: Instruction, text: str, name: str, marker: str) -> Iterator[Edit]:
    flag = f"--from={name}"
    start = _place(one, text, flag)
    yield Edit(start, start + len(flag), "", _WHY)
    if one.words is not None:
        first = one.body.offset(0)
        if "\n" in text[first : one.body.end]:
            raise DockerfileError(one.line, text[one.start : one.stop], "a list must be on one line here")
        words = [*(_below(marker, word) for word in one.words[:-1]), *one.words[-1:]]
        yield Edit(first, one.body.end, json.dumps(words), _WHY)
        return
    places = list(_words(one.body.text))
    for begin, end in places[:-1]:
        first, word = one.body.offset(begin), one.body.text[begin:end]
        if text[first : first + len(word)] != word:
            raise DockerfileError(one.line, word, "a path must be on one line here")
        yield Edit(first, first + len(word), _below(marker, word), _WHY)


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the words of a COPY, split at blanks."""
    at = 0
    for word in text.split():
        begin = text.index(word, at)
        at = begin + len(word)
        yield begin, at


def _below(marker: str, path: str) -> str:
    """Return a path of the folder, below its marker; `..` never leaves the folder."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    ends = "/" if path.endswith("/") and clean != "/" else ""
    return marker + ("" if clean == "/" else clean) + ends
