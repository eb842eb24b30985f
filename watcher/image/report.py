"""Show an image, or the difference of two, as lines, as Markdown and as JSON values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from watcher.image.compare import ImageComparison
from watcher.image.go_binary import GoBinary
from watcher.image.model import ImageContent, ImageFile
from watcher.image.summary import largest_components, sum_components
from watcher.observers import humanize

LEAST_SHARE = 0.01  # of the image, from which a file or package is named
_MOST_ROWS = 15
_SETTINGS = ("-trimpath", "-tags", "-ldflags", "-buildmode", "CGO_ENABLED", "GOARCH")
_VCS = ("vcs", "vcs.revision", "vcs.modified")


def large_files(content: ImageContent) -> list[ImageFile]:
    """Return the files over 1 % of the image."""
    return [file for file in content.files if file.size > LEAST_SHARE * content.size]


def describe_image(content: ImageContent, budgets: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a report; `budgets` say how the image keeps its own."""
    layers = humanize.count(len(content.layers), "layer")
    yield f"{content.name}  {humanize.size(content.size)} in {layers}"
    yield from budgets
    yield ""
    yield "layers"
    for layer in content.layers:
        size = "?" if layer.size is None else humanize.size(layer.size)
        yield f"  {layer.number:>3}  {size:>8}  {layer.step or '(step not known)'}"
    yield ""
    yield "files over 1 %"
    for file in large_files(content):
        yield f"  {_share(file.size, content.size)}  {file.path}  (layer {file.layer})"
    if content.hidden:
        yield ""
        yield f"hidden by a later layer: {humanize.size(content.hidden_size)}"
        for hidden in content.hidden[:_MOST_ROWS]:
            fate = f"layer {hidden.layer}, {hidden.fate} in layer {hidden.by}"
            yield f"  {humanize.size(hidden.size):>8}  {hidden.path}  ({fate})"
        if len(content.hidden) > _MOST_ROWS:
            yield f"  and {humanize.count(len(content.hidden) - _MOST_ROWS, 'more file')}"
    for path, binary in content.binaries.items():
        if binary.size > LEAST_SHARE * content.size:
            yield ""
            yield from describe_binary(path, binary)
    for note in content.notes:
        yield f"note: {note}"


def describe_binary(path: str, binary: GoBinary) -> Iterator[str]:
    """Yield the lines about a Go binary."""
    build = binary.build
    state = "stripped" if binary.stripped else "with symbols"
    yield f"{path}: {humanize.size(binary.size)}, {build.go or 'Go, version not known'}, {state}"
    yield f"  built with  {_describe_settings(build.settings)}"
    for title, found in (("kind", binary.by_kind()), ("module", binary.by_module())):
        yield f"  by {title}"
        versions = {module.path: module.version for module in build.modules} if title == "module" else {}
        yield from _rows(found.most_common(), binary.size, versions)
    yield "  by package"
    named = [(name, size) for name, size in binary.by_package().most_common() if not name.startswith("(")]
    yield from _rows(named, binary.size, {})
    for file in sorted(binary.embedded, key=lambda file: -file.size)[:_MOST_ROWS]:
        yield f"  embedded  {humanize.size(file.size):>8}  {file.name}  ({file.package})"
    for note in binary.notes:
        yield f"  note: {note}"


def _rows(found: list[tuple[str, int]], whole: int, versions: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each that is over 1 %, and one for the others."""
    large = [(name, size) for name, size in found if size > LEAST_SHARE * whole][:_MOST_ROWS]
    for name, size in large:
        yield f"    {_share(size, whole)}  {name} {versions.get(name, '')}".rstrip()
    if rest := sum(size for _, size in found) - sum(size for _, size in large):
        count = humanize.count(len(found) - len(large), "other")
        yield f"    {_share(rest, whole)}  {count}"


def _describe_settings(settings: Mapping[str, str]) -> str:
    parts = [f"{key}={settings[key]}" for key in _SETTINGS if settings.get(key)]
    parts += ["no -trimpath"] if settings and "-trimpath" not in settings else []
    parts += [f"{key}={settings[key]}" for key in _VCS if settings.get(key)]
    return " ".join(parts) or "settings not known"


def _share(size: int, whole: int) -> str:
    return f"{humanize.size(size):>8}  {100 * size / (whole or 1):>4.1f} %"


def describe_comparison(comparison: ImageComparison) -> Iterator[str]:
    """Yield the lines about the difference of two images."""
    before, after = comparison.before, comparison.after
    change = humanize.size_change(comparison.difference)
    sizes = f"{humanize.size(before.size)} → {humanize.size(after.size)} ({change})"
    yield f"{before.name} → {after.name}  {sizes}"
    for each in comparison.changes[:_MOST_ROWS]:
        sizes = f"{humanize.size(each.before)} → {humanize.size(each.after)}"
        yield f"  {humanize.size_change(each.difference):>10}  {each.name}  ({sizes})"
    if len(comparison.changes) > _MOST_ROWS:
        rest = sum(each.difference for each in comparison.changes[_MOST_ROWS:])
        count = humanize.count(len(comparison.changes) - _MOST_ROWS, "other")
        yield f"  {humanize.size_change(rest):>10}  {count}"
    for path, old, new in comparison.modules:
        yield f"  module {path} {old or '(absent)'} → {new or '(absent)'}"


def image_markdown(content: ImageContent, budgets: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a comment about an image."""
    yield f"### Image `{_cell(content.name)}`: {humanize.size(content.size)}"
    yield ""
    if budgets:
        yield from (f"- {_cell(budget)}" for budget in budgets)
        yield ""
    yield "| component | size | share |"
    yield "|---|---:|---:|"
    for name, size in largest_components(sum_components(content)).items():
        yield f"| `{_cell(name)}` | {humanize.size(size)} | {100 * size / (content.size or 1):.1f} % |"
    if content.hidden:
        yield ""
        yield f"{humanize.size(content.hidden_size)} are in files that a later layer hides."


def comparison_markdown(comparison: ImageComparison) -> Iterator[str]:
    """Yield the lines of a comment about the difference of two images."""
    before, after = comparison.before, comparison.after
    change = humanize.size_change(comparison.difference)
    yield f"### Image size: {humanize.size(before.size)} → {humanize.size(after.size)} ({change})"
    yield ""
    if not comparison.changes:
        yield "Nothing in it has another size."
        return
    yield "| component | before | after | change |"
    yield "|---|---:|---:|---:|"
    for each in comparison.changes[:_MOST_ROWS]:
        sizes = f"{humanize.size(each.before)} | {humanize.size(each.after)}"
        yield f"| `{_cell(each.name)}` | {sizes} | {humanize.size_change(each.difference)} |"
    for path, old, new in comparison.modules:
        yield f"- module `{_cell(path)}`: {_cell(old) or 'absent'} → {_cell(new) or 'absent'}"


def _cell(text: str) -> str:
    """Return foreign text so that it stays within its cell."""
    return text.replace("`", "'").replace("|", "\\|").replace("\n", " ").replace("\r", " ")


def image_as_json(content: ImageContent, budgets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "id": content.id,
        "names": list(content.names),
        "size": content.size,
        "layers": [asdict(layer) for layer in content.layers],
        "files": [asdict(file) for file in large_files(content)],
        "hidden_size": content.hidden_size,
        "hidden": [asdict(file) for file in content.hidden],
        "components": largest_components(sum_components(content)),
        "binaries": [_binary_as_json(path, binary) for path, binary in content.binaries.items()],
        "budgets": list(budgets),
        "notes": list(content.notes),
    }


def _binary_as_json(path: str, binary: GoBinary) -> dict[str, Any]:
    build = binary.build
    return {
        "path": path,
        "size": binary.size,
        "stripped": binary.stripped,
        "dynamic": binary.dynamic,
        "go": build.go,
        "package": build.package,
        "main": asdict(build.main),
        "modules": [asdict(module) for module in build.modules],
        "settings": dict(build.settings),
        "kinds": dict(binary.by_kind()),
        "by_module": dict(binary.by_module().most_common()),
        "parts": [asdict(part) for part in binary.parts],
        "embedded": [
            {"package": file.package, "name": file.name, "size": file.size} for file in binary.embedded
        ],
        "notes": list(binary.notes),
    }
