"""Compose files with unusual but legal contents, in `unusual/`: read here as compose-go reads them.

A file `NAME.over.yaml` is an override of `NAME.yaml`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.compose.both_readings import differing, our_resources, ours, their_resources, theirs
from tests.unit.compose.test_oracle import ENV, Ask, ask  # noqa: F401 - a fixture
from watcher.compose import load

FOLDER = Path(__file__).parent / "unusual"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml") if ".over." not in path.name)


@pytest.mark.parametrize("profiles", [[], ["one"], ["*"]], ids=["none", "one", "all"])
@pytest.mark.parametrize("name", FILES)
def test_an_unusual_project(ask: Ask, tmp_path: Path, name: str, profiles: list[str]) -> None:  # noqa: F811
    folder = tmp_path / "project"
    shutil.copytree(FOLDER, folder)
    files = [folder / name, *sorted(folder.glob(name.replace(".yaml", ".over.yaml")))]
    found = ask(folder, files, profiles)
    assert "error" not in found
    project = load(files[0], env=ENV, overrides=files[1:], profiles=profiles)
    assert [text for text in project.warnings if "is not started" in text] == []
    assert set(project.services) == set(found["services"])
    for service, spec in project.services.items():
        here, there = ours(spec, project), theirs(found["services"][service])
        optional = {each for each, need in there["depends_on"].items() if not need[2]}
        for each in optional - project.services.keys():  # its profile is not active
            del there["depends_on"][each]
        assert differing(here, there) == [], service
    assert differing(our_resources(project), their_resources(found, project)) == []
