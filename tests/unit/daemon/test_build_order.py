"""The service whose own folder a save is in is built before those that only share the context."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.builder import Recipe
from watcher.daemon.build_order import BuildOrder, find_owners
from watcher.observers.events import Change
from watcher.tree import Snapshot, Tree

SHOP = {"api": ["/p/api"], "worker": ["/p/worker"], "migrate": ["/p/migrate"]}


@pytest.mark.parametrize(
    ("changed", "folders", "owners"),
    [
        (["/p/worker/main.go"], SHOP, {"worker"}),
        (["/p/worker/a.go", "/p/worker/sub/b.go"], SHOP, {"worker"}),
        (["/p/shared/shared.go"], SHOP, set()),
        (["/p/go.work"], SHOP, set()),
        (["/p/worker/a.go", "/p/api/b.go"], SHOP, set()),
        (["/p/workers/a.go"], SHOP, set()),
        ([], SHOP, set()),
        (["/p/a/x.go"], {"a": ["/p/a"], "all": ["/p"]}, {"a"}),
        (["/p/x.go"], {"a": ["/p/a"], "all": ["/p"]}, set()),
        (["/p/x.go"], {"a": ["/p"], "b": ["/p"]}, set()),
        (["/p/x.go"], {"a": ["/p"]}, set()),
        (["/p/cmd/a/x.go"], {"one": ["/p/cmd"], "two": ["/p/cmd/a"], "three": ["/p/t"]}, {"two"}),
        (["/p/b/x.go"], {"one": ["/p/a", "/p/b"], "two": ["/p/b"], "three": ["/p/c"]}, {"one", "two"}),
    ],
)
def test_the_deepest_folder_that_holds_all_changes_decides(
    changed: list[str], folders: dict[str, list[str]], owners: set[str]
) -> None:
    assert find_owners(changed, folders) == owners


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(
    st.lists(NAMES, max_size=4),
    st.dictionaries(st.sampled_from("xyz"), st.lists(NAMES, min_size=1), min_size=1),
)
def test_the_order_of_paths_and_services_changes_nothing(
    changed: list[str], folders: dict[str, list[str]]
) -> None:
    owners = find_owners(changed, folders)
    assert owners == find_owners(changed[::-1], dict(reversed(folders.items())))
    for name in owners:
        assert any(all(path.startswith(f"{each}/") for path in changed) for each in folders[name])


class Shop:
    """Services of one context, whose Dockerfile compiles the folder in an argument."""

    def __init__(self, root: Path) -> None:
        self.root, self.order = root, BuildOrder()
        (root / "Dockerfile").write_text("FROM golang\nARG S\nCOPY . .\nRUN go build -o /out ./$S\n")
        self.snapshot: Snapshot = Tree(root).scan()

    def choose(self, service: str, *changed: str) -> frozenset[str]:
        recipe = Recipe(service=service, project="p", image=f"{service}:latest", build_args={"S": service})
        changes = [Change(path, "changed", "go") for path in changed]
        return self.order.choose_first(recipe, self.snapshot, str(self.root), changes)


def test_services_of_one_context_give_way_to_the_one_that_was_saved(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for name in ("api", "migrate", "worker"):  # the first scan
        assert shop.choose(name) == frozenset()
    assert shop.choose("api", "worker/main.go") == {"worker"}
    assert shop.choose("migrate", "worker/main.go") == {"worker"}
    assert shop.choose("worker", "worker/main.go") == frozenset()
    assert shop.choose("api", "shared/shared.go") == frozenset()
    shop.order.remove("worker")
    assert shop.choose("api", "worker/main.go") == frozenset()
