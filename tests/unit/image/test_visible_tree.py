"""Later layers hide what overlayfs would hide."""

from watcher.image.model import Fate
from watcher.image.visible_tree import LayerEntry, VisibleTree


def lay(*layers: list[LayerEntry]) -> VisibleTree:
    tree = VisibleTree()
    for layer in layers:
        tree.add_layer(layer)
    return tree


def visible(tree: VisibleTree) -> dict[str, int]:
    return {file.path: file.layer for file in tree.files()}


def hidden(tree: VisibleTree) -> list[tuple[str, int, int, Fate]]:
    return [(file.path, file.layer, file.by, file.fate) for file in tree.hidden]


def test_a_file_that_is_written_again_takes_room_twice() -> None:
    tree = lay([LayerEntry("app", 100)], [LayerEntry("./app", 100)])
    assert visible(tree) == {"/app": 2}
    assert hidden(tree) == [("/app", 1, 2, Fate.REWRITTEN)]


def test_a_deleted_folder_hides_everything_below_it() -> None:
    tree = lay(
        [LayerEntry("src", 0, True), LayerEntry("src/a/b.go", 5), LayerEntry("src/c.go", 6)],
        [LayerEntry(".wh.src", 0)],
    )
    assert visible(tree) == {}
    assert sorted(hidden(tree)) == [("/src/a/b.go", 1, 2, Fate.DELETED), ("/src/c.go", 1, 2, Fate.DELETED)]


def test_an_opaque_folder_hides_lower_layers_and_keeps_its_own_files() -> None:
    tree = lay(
        [LayerEntry("d/old", 5)],
        [LayerEntry("d/new", 7), LayerEntry("d/.wh..wh..opq", 0)],
    )
    assert visible(tree) == {"/d/new": 2}
    assert hidden(tree) == [("/d/old", 1, 2, Fate.DELETED)]


def test_a_whiteout_does_not_delete_a_file_of_its_own_layer() -> None:
    assert visible(lay([LayerEntry("a", 5)], [LayerEntry("a", 6), LayerEntry(".wh.a", 0)])) == {"/a": 2}


def test_a_file_in_place_of_a_folder_and_the_reverse() -> None:
    tree = lay([LayerEntry("x/y", 5)], [LayerEntry("x", 3)], [LayerEntry("x/z", 4)])
    assert visible(tree) == {"/x/z": 3}
    assert hidden(tree) == [("/x/y", 1, 2, Fate.REWRITTEN), ("/x", 2, 3, Fate.REWRITTEN)]


def test_folders_nested_ten_thousand_deep_are_no_recursion() -> None:
    path = "d/" * 10_000 + "f"
    tree = lay([LayerEntry(path, 1)], [LayerEntry(".wh.d", 0)])
    assert len(tree.hidden) == 1


def test_empty_files_and_unknown_whiteouts_hide_nothing() -> None:
    tree = lay([LayerEntry("empty", 0)], [LayerEntry("empty", 0), LayerEntry("no/.wh.where", 0)])
    assert tree.hidden == []
