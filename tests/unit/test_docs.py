"""What is written down is what the program does."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import CliSettingsSource, SettingsError

from watcher import regex
from watcher.cli import settings_schema, settings_template
from watcher.cli.help import HelpFormatter
from watcher.cli.main import Cli
from watcher.observers import metric_specs

ROOT = Path(__file__).parents[2]


def test_the_settings_file_is_what_the_settings_say() -> None:
    assert (ROOT / "config" / "watcher.toml").read_text("utf-8") == settings_template.render_settings()


def test_the_schema_of_the_settings_file_is_what_the_settings_say() -> None:
    written = (ROOT / "config" / settings_schema.SCHEMA_NAME).read_text("utf-8")
    remedy = "python -m watcher.cli.settings_schema > config/watcher.schema.json"
    assert written == settings_schema.render_schema(), remedy


@pytest.mark.parametrize("spec", metric_specs.SPECS, ids=lambda spec: spec.name)
def test_the_readme_lists_each_metric_with_type_labels_and_help(spec: metric_specs.Spec) -> None:
    labels = ", ".join(f"`{label}`" for label in spec.labels) or "–"
    row = f"| `{spec.name}` | {spec.type} | {labels} | {spec.help} |"
    assert row in (ROOT / "README.md").read_text("utf-8").splitlines()


@pytest.mark.parametrize("command", sorted(Cli.model_fields))
def test_the_readme_names_each_command(command: str) -> None:
    assert f"`watcher {command}" in (ROOT / "README.md").read_text("utf-8")


def test_each_dependency_has_its_reason() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    named = {
        name.strip()
        for line in text.splitlines()
        if line.startswith("| ")
        for name in line.split("|")[1].split(",")
    }
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = project.partition("dependencies = [")[2].partition("]")[0]
    assert {
        line.strip().strip('",').partition(">")[0] for line in wanted.split("\n") if line.strip()
    } <= named


def test_each_test_that_the_security_page_names_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    spans = [part for part in text.split("`")[1::2] if part.startswith(("tests/", "test_"))]
    file = ""
    for span in spans:
        path, _, name = span.partition("::") if span.startswith("tests/") else (file, "", span)
        file = path
        assert (ROOT / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), span
    assert len(spans) > 20


PAGES = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.parts))
LINK = regex.compile(r"\]\(([^()\s]+)\)")
HEADING = regex.compile(r"(?m)^#+ +(.*)$")
SHELL = regex.compile(r"(?ms)^```sh\n(.*?)^```")
SPAN = regex.compile(r"`watcher ([^`\n]+)`")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = HEADING.findall(page.read_text("utf-8"))
    kept = ("".join(char for char in title.lower() if char.isalnum() or char in " -_") for title in titles)
    return {title.strip().replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def written_commands() -> Iterator[tuple[str, str]]:
    """Each command of the watcher in a page, with the page: in blocks for a shell, and in the text."""
    for page in PAGES:
        text = page.read_text("utf-8")
        name = page.relative_to(ROOT).as_posix()
        if name == "CHANGELOG.md":
            continue  # commands of earlier versions
        for block in SHELL.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and "=" in words[0]:
                    del words[0]
                if words[:2] == ["./dev", "watcher"]:
                    del words[0]
                if words[:1] == ["watcher"]:
                    rest = words[1 : words.index(">") if ">" in words else None]
                    yield name, shlex.join(rest)
        for span in SPAN.findall(text) if name.startswith("docs/howto/") else ():
            if not any(char in span for char in "…|"):
                yield name, span


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    source: CliSettingsSource[ArgumentParser] = CliSettingsSource(Cli, formatter_class=HelpFormatter)
    return source.root_parser


@pytest.mark.parametrize(("page", "command"), sorted(set(written_commands())))
def test_each_command_in_a_page_is_one_that_the_program_knows(
    parser: ArgumentParser, page: str, command: str
) -> None:
    words = shlex.split(command)
    if words[0] in ("help", "--version"):
        return
    try:
        parser.parse_args(words)
    except (SystemExit, SettingsError) as error:
        pytest.fail(f"{page}: watcher {command}: {error}")


def test_the_pages_have_commands() -> None:
    pages = {page for page, _ in written_commands()}
    howtos = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "howto").glob("*.md")}
    assert pages >= {"docs/tutorial.md", *howtos}


def test_each_page_is_reached_from_the_readme() -> None:
    linked = {
        (ROOT / target.partition("#")[0]).resolve()
        for target in LINK.findall((ROOT / "README.md").read_text("utf-8"))
    }
    for page in (ROOT / "docs").rglob("*.md"):
        assert page in linked or page.parent.name == "decisions", page
