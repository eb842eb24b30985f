"""What is written down is what the program does."""

from pathlib import Path

import pytest

from watcher.cli import settings_template
from watcher.cli.main import Cli
from watcher.observers import metric_specs

ROOT = Path(__file__).parents[2]


def test_the_settings_file_is_what_the_settings_say() -> None:
    assert (ROOT / "config" / "watcher.toml").read_text("utf-8") == settings_template.render_settings()


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
