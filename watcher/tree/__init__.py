"""The tree: every file that can enter the build context, what it was at one moment, and what changed.

`Tree(root).scan()` gives a `Snapshot`; `scan(touched)` scans only where something was written. `revision`
names a snapshot together with everything else that decides the image; `diff` compares two snapshots.
"""

from watcher.tree.build_files import read_small
from watcher.tree.contexts import TreeWithContexts
from watcher.tree.diff import ChangeSet, FileKind, classify, diff
from watcher.tree.node import TreeEntry, TreeProblem
from watcher.tree.restless import RestlessFiles
from watcher.tree.rules import DEFAULT_IGNORE, Rules, is_outside
from watcher.tree.scan import Tree, TreeGone
from watcher.tree.shared import SharedTree, TreePool
from watcher.tree.snapshot import Layout, Snapshot, revision

__all__ = [
    "DEFAULT_IGNORE",
    "ChangeSet",
    "FileKind",
    "Layout",
    "RestlessFiles",
    "Rules",
    "SharedTree",
    "Snapshot",
    "Tree",
    "TreeEntry",
    "TreeGone",
    "TreePool",
    "TreeProblem",
    "TreeWithContexts",
    "classify",
    "diff",
    "is_outside",
    "read_small",
    "revision",
]
