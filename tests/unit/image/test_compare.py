"""Two images are compared, and shown as text, Markdown and JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.facts import missing
from watcher.image import report
from watcher.image.build_info import GoBuild, GoModule
from watcher.image.compare import ImageComparison
from watcher.image.compare import compare_images as compare_summaries
from watcher.image.go_binary import GoBinary, GoPart
from watcher.image.go_layout import PartKind
from watcher.image.model import Fate, HiddenFile, ImageContent, ImageFile, ImageLayer
from watcher.image.summary import ImageSummary, largest_components, sum_components


def compare_images(before: ImageContent, after: ImageContent) -> ImageComparison:
    one, two = (ImageSummary.from_json(ImageSummary.of(each).to_json()) for each in (before, after))
    return compare_summaries(one, two)


def image(packages: dict[str, int], *, version: str = "v1", hidden: int = 0, more: Any = ()) -> ImageContent:
    parts = [
        GoPart(PartKind.CODE, package, "std" if "." not in package else "example.com/m", size)
        for package, size in packages.items()
    ]
    parts.append(GoPart(PartKind.DWARF, "(debug information)", "(shared)", 1000))
    size = sum(part.size for part in parts)
    build = GoBuild("go1.26", "main", GoModule("main"), (GoModule("example.com/m", version),), {"-tags": "x"})
    files = [ImageFile("/app", size, 2), *more]
    whole = sum(file.size for file in files)
    layers = (ImageLayer(1, "FROM", whole - size + hidden, 3), ImageLayer(2, "COPY app .", size, 1))
    gone = (HiddenFile("/old", hidden, 1, 2, Fate.DELETED),) if hidden else ()
    binary = GoBinary(size, False, build, tuple(parts))
    return ImageContent("sha256:1", ("a:1",), layers, tuple(files), gone, {"/app": binary})


SMALL = image({"net/http": 50_000, "example.com/m/codec": 20_000})
LARGE = image({"net/http": 50_000, "example.com/m/codec": 140_000, "os": 7}, version="v2")


def test_the_package_that_brought_the_bytes_comes_first() -> None:
    found = compare_images(SMALL, LARGE)
    assert [(change.name, change.difference) for change in found.changes] == [
        ("example.com/m/codec", 120_000),
        ("os", 7),
    ]
    assert found.notable
    assert found.modules == (("example.com/m", "v1", "v2"),)
    assert found.summarize().endswith("example.com/m/codec +120 kB, os +7 B")
    assert not compare_images(SMALL, SMALL).notable
    assert compare_images(SMALL, image({"net/http": 51_000, "example.com/m/codec": 20_000})).notable


def test_a_file_that_goes_is_a_change() -> None:
    more = [ImageFile("/etc/zones", 400_000, 1)]
    found = compare_images(image({"os": 1}, more=more), image({"os": 1}))
    assert [(change.name, change.before, change.after) for change in found.changes] == [
        ("/etc/zones", 400_000, 0)
    ]


def test_components_add_up_and_are_bounded() -> None:
    more = [ImageFile(f"/f{number}", number + 1, 1) for number in range(40)]
    content = image({"net/http": 50_000, "example.com/m/codec": 20_000}, hidden=77, more=more)
    assert sum_components(content).total() == content.size
    bounded = largest_components(sum_components(content), 3)
    assert list(bounded) == ["std", "example.com/m", "DWARF", "other"]
    assert sum(bounded.values()) == content.size


def test_the_reports_name_what_is_large_and_what_is_hidden() -> None:
    content = image({"net/http": 50_000, "example.com/m/codec": 20_000}, hidden=9000)
    text = "\n".join(report.describe_image(content))
    assert "COPY app ." in text
    assert missing(text, "hidden", "9.00 kB") == []
    assert missing(text, "/old", "layer 1", "deleted", "layer 2") == []
    assert "example.com/m v1" in text
    assert "no -trimpath" in text
    document = json.loads(json.dumps(report.image_as_json(content)))
    assert document["size"] == content.size
    assert sum(document["binaries"][0]["kinds"].values()) == document["binaries"][0]["size"]
    assert sum(document["components"].values()) == content.size


def test_names_cannot_break_out_of_a_markdown_table() -> None:
    more = [ImageFile("/a|b`\n# c", 400_000, 1)]
    lines = list(report.image_markdown(image({"os": 1}, more=more)))
    assert all("\n" not in line for line in lines)
    assert any("/a\\|b' # c" in line for line in lines)
    compared = list(report.comparison_markdown(compare_images(SMALL, image({"os": 1}, more=more))))
    assert any("/a\\|b' # c" in line for line in compared)


def test_equal_images_say_so() -> None:
    written = "\n".join(report.comparison_markdown(compare_images(SMALL, SMALL)))
    assert missing(written, "Nothing", "size") == []
    assert len(list(report.describe_comparison(compare_images(SMALL, SMALL)))) == 1
