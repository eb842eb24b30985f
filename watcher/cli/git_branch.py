"""Read the checked out branch of a project without running git: what tells copies and worktrees apart."""

from __future__ import annotations

from pathlib import Path

_MOST = 4096  # bytes of a file of git's
_REFERENCE = "ref: refs/heads/"


def read_branch(project: Path) -> str:
    """Return the branch of the work tree that contains `project`; empty if there is none.

    A detached head is its first 7 hex digits in parentheses.
    """
    for folder in (project, *project.parents):
        git = folder / ".git"
        try:
            if git.is_file():  # a worktree or a submodule
                path = _read(git).removeprefix("gitdir:").strip()
                return _branch_of(_read((folder / path) / "HEAD"))
            if git.is_dir():
                return _branch_of(_read(git / "HEAD"))
        except OSError:
            return ""
    return ""


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST).decode("utf-8", "replace").strip()


def _branch_of(head: str) -> str:
    if head.startswith(_REFERENCE):
        return head.removeprefix(_REFERENCE)
    return f"({head[:7]})" if head and not head.startswith("ref:") else ""
