"""The benchmark of large services: its Dockerfiles, its edits and its goal."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import big
from watcher.dockerfile import ImageConfig, Level, Platforms, accelerate


@pytest.mark.parametrize("one", big.BIG, ids=lambda one: one.name)
def test_the_watcher_accelerates_the_dockerfile_and_keeps_the_program(one: big.Big) -> None:
    text = big.write_dockerfile(one, "")
    assert "--mount" not in text
    done = accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=Platforms("linux/amd64", "linux/amd64"),
        bases={"golang:alpine": ImageConfig(), "alpine": ImageConfig()},
        cache_scope="p",
    )
    assert "target=/root/.cache/go-build" in done.text
    assert [program.file for program in done.programs] == ["/app"]


def test_a_peer_has_caches_of_the_run() -> None:
    text = big.write_dockerfile(big.BIG[0], "bench-1")
    assert text.count("id=bench-1-mod") == 2
    assert text.count("id=bench-1-build") == 1


def test_an_edit_replaces_the_value_before(tmp_path: Path) -> None:
    one = big.Big("x", "example.com/x", "v1", ".", "x.go", ("/app",))
    file = tmp_path / "x.go"
    file.write_text("package x\n")
    project = big.BigProject(tmp_path, "x", 1, one)
    first, second = project.edit(), project.edit()
    assert first != second
    assert file.read_text() == f'package x\nvar BenchSave = "{second}"\n'


@pytest.mark.parametrize(("exact", "said"), [(5.1, "= 5.10: met"), (5.11, "= 5.10: NOT met")])
def test_the_goal_is_said_with_its_figures(exact: float, said: str) -> None:
    assert big.judge_goal({"go": 4.0, "exact": exact}).endswith(said)
    assert big.judge_goal({"go": 4.0, "fast": exact}) == ""
