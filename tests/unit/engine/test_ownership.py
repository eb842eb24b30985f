"""Of containers with the labels of one of ours, the first is ours; copies of it are not."""

from __future__ import annotations

from typing import Any

from watcher import labels
from watcher.engine import Container
from watcher.engine.ownership import proven_containers


def container(name: str, *, changed: float, creation: str = "n1", **more: Any) -> Container:
    made = {**labels.app_labels("p", "web", "r"), labels.IMAGE: "sha256:1", labels.CREATION: creation}
    return Container(name, name, "sha256:1", {**made, **more}, "running", changed=changed)


def ids(*found: Container, known: tuple[str, ...] = ()) -> list[str]:
    return [each.id for each in proven_containers(found, known)]


def test_the_first_of_several_with_the_same_creation_is_ours() -> None:
    assert ids(container("b", changed=2), container("a", changed=1), container("c", changed=3)) == ["a"]


def test_of_two_made_at_the_same_moment_none_is_proven() -> None:
    assert ids(container("a", changed=1), container("b", changed=1)) == []


def test_each_creation_has_its_own_first() -> None:
    assert ids(container("a", changed=1), container("b", changed=2, creation="n2")) == ["a", "b"]


def test_what_is_known_is_ours_also_if_a_copy_is_older_and_nothing_proves_it() -> None:
    known = Container("k", "k", "sha256:1", {}, "running", changed=9)
    assert ids(known, known=("k",)) == ["k"]
    assert ids(known) == []
    assert ids(container("a", changed=2), container("b", changed=1), known=("a",)) == ["a", "b"]
