"""Which files are named because they change all the time."""

from __future__ import annotations

from watcher.observers.events import Change
from watcher.tree import RestlessFiles
from watcher.tree.restless import TIMES, WITHIN

LOG = Change("app.log", "changed", "other")
CODE = Change("main.go", "changed", "go")


def test_a_log_in_the_context_is_named_once() -> None:
    files = RestlessFiles()
    named = [files.add([LOG, CODE], 3.0 * moment) for moment in range(3 * TIMES)]
    assert [index for index, texts in enumerate(named) if texts] == [TIMES - 1]
    assert named[TIMES - 1][0].startswith("app.log changes all the time")
    assert files.name(["app.log"]) == []


def test_what_a_person_saves_is_not_named() -> None:
    files = RestlessFiles()
    pause = WITHIN / (TIMES - 2)
    assert not any(files.add([LOG], pause * moment) for moment in range(100))
    assert not any(RestlessFiles().add([CODE], moment * 1.0) for moment in range(100))


def test_files_that_rest_are_forgotten() -> None:
    files = RestlessFiles()
    for number in range(1000):
        files.add([Change(f"{number}.log", "added", "other")], float(number))
    assert len(files._times) <= WITHIN
