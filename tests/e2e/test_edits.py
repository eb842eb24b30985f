"""Random edits in a row, as `bench/edits.py` makes them by the thousand: `wait` is right about the tree."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Project
from tests.e2e.writer import Writer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROUNDS, EDITS = 4, 6


def test_wait_is_right_about_whatever_was_written(project: Project) -> None:
    writer = Writer(project.folder, seed=7)
    project.start()
    project.wait()
    acts = []
    for _ in range(ROUNDS):
        acts += [writer.act() for _ in range(EDITS)]
        outcome = project.wait()["outcome"]
        assert outcome == ("failed" if writer.broken else "live"), (acts, "".join(project.output[-40:]))
    writer.repair()
    assert project.wait()["outcome"] == "live"
    assert f'"{project.health()["version"]}"' in writer.version.read_text()
    assert project.stop() == 0
