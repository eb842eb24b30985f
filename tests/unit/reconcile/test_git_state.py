"""Whether git is at work, with the real git."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from watcher.reconcile.git_state import Git, GitState

IDENTITY = {
    "GIT_AUTHOR_NAME": "n",
    "GIT_AUTHOR_EMAIL": "n@example.org",
    "GIT_COMMITTER_NAME": "n",
    "GIT_COMMITTER_EMAIL": "n@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(place: Path, *arguments: str, editor: str = "true", check: bool = True) -> None:
    subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=place,
        check=check,
        capture_output=True,
        env={**os.environ, **IDENTITY, "GIT_EDITOR": editor, "GIT_SEQUENCE_EDITOR": editor},
    )


def commit(place: Path, text: str) -> None:
    (place / "main.go").write_text(text)
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    for text in ("one", "two", "three"):
        commit(place, text)
    return place


def test_a_repository_at_rest_holds_nothing(repository: Path) -> None:
    assert Git(repository)() == GitState()


def test_a_place_without_repository_holds_nothing(tmp_path: Path) -> None:
    assert Git(tmp_path / "nowhere")() == GitState()


def test_a_fifo_called_git_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".git")
    assert Git(tmp_path)() == GitState()


def test_a_locked_index_is_work_also_seen_from_a_directory_below(repository: Path) -> None:
    (repository / "sub/deep").mkdir(parents=True)
    (repository / ".git/index.lock").touch()
    os.utime(repository / ".git/index.lock", (1000, 1000))
    for place in (repository, repository / "sub/deep"):
        assert Git(place, wall=lambda: 1003.0)() == GitState(
            "git is writing files", 3.0, 1000.0, "remove its index.lock"
        )
    (repository / ".git/index.lock").unlink()
    assert not Git(repository)().operation


def test_a_linked_work_tree_and_a_submodule_have_a_state_of_their_own(
    repository: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    git(repository, "worktree", "add", "-q", "--detach", str(linked))
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "-q", "add", str(repository), "inner")
    (repository / ".git/worktrees/linked/index.lock").touch()
    (outer / ".git/modules/inner/index.lock").touch()
    assert Git(linked)().operation
    assert Git(outer / "inner")().operation
    assert not Git(repository)().operation
    assert Git(outer)().operation, "its work tree holds the submodule's"
    (outer / ".git/modules/inner/index.lock").unlink()
    assert not Git(outer)().operation


@pytest.fixture
def spy(repository: Path) -> Path:
    """A program that writes down what `Git` sees in the middle of a rebase."""
    script = repository.parent / "spy"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys; sys.path[:] = " + repr([entry or str(Path.cwd()) for entry in sys.path]) + "\n"
        "from pathlib import Path; from watcher.reconcile.git_state import Git\n"
        f"seen = open({str(repository.parent / 'seen')!r}, 'a')\n"
        f"print(Git(Path({str(repository)!r}))().operation, file=seen)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_a_rebase_is_work_between_its_commits(repository: Path, spy: Path) -> None:
    git(repository, "rebase", "--exec", str(spy), "HEAD~2")
    assert (repository.parent / "seen").read_text().splitlines() == ["git is rebasing"] * 2
    assert Git(repository)() == GitState()


def test_a_rebase_that_stopped_for_its_user_holds_nothing(repository: Path) -> None:
    git(repository, "rebase", "-i", "HEAD~2", editor="sed -i 1s/pick/edit/", check=False)
    assert (repository / ".git/rebase-merge").is_dir()
    assert Git(repository)() == GitState()
    git(repository, "rebase", "--abort")
    git(repository, "checkout", "-q", "-b", "side", "HEAD~2")
    commit(repository, "conflict")
    git(repository, "rebase", "main", check=False)
    assert (repository / ".git/rebase-merge").is_dir()
    assert Git(repository)() == GitState()


@pytest.mark.parametrize("name", ["rebase-merge", "rebase-apply"])
def test_a_rebase_that_does_nothing_any_more_is_told_by_its_idle_time(repository: Path, name: str) -> None:
    state = repository / ".git" / name
    state.mkdir()
    (state / "next").write_text("2")
    os.utime(state, (1000, 1000))
    os.utime(state / "next", (1010, 1010))
    assert Git(repository, wall=lambda: 1030.0)() == GitState(
        "git is rebasing", 20.0, 1010.0, "continue or abort it"
    )
    assert Git(repository)().idle > time.time() - 2000


class Clocks:
    """A wall clock that may be set, and one that may not."""

    def __init__(self, place: Path) -> None:
        self.wall, self.now = time.time(), 50.0
        self.git = Git(place, wall=lambda: self.wall, clock=lambda: self.now)

    def after(self, seconds: float) -> GitState:
        self.now += seconds
        self.wall += seconds
        return self.git()


def test_only_what_git_does_itself_is_its_progress(repository: Path) -> None:
    clocks = Clocks(repository)
    git(repository, "rebase", "--exec", "false", "HEAD~2", check=False)
    first = clocks.after(0.0)
    assert first.operation == "git is rebasing"
    (repository / "main.go").write_text("a save")
    assert clocks.after(8.0).idle == pytest.approx(first.idle + 8.0)
    git(repository, "checkout", "main.go")
    git(repository, "rebase", "--continue", check=False)
    second = clocks.after(1.0)
    assert second.idle <= 1.0
    assert second.since == first.since
    git(repository, "rebase", "--abort")
    assert clocks.after(0.0) == GitState()


def test_the_start_of_an_operation_is_found_at_its_first_check(repository: Path) -> None:
    clocks = Clocks(repository)
    assert clocks.after(0.0) == GitState()
    lock = repository / ".git/index.lock"
    lock.touch()
    os.utime(lock, (clocks.wall, clocks.wall))
    start = clocks.wall
    assert clocks.after(0.5).since == pytest.approx(start), "soon after a check without an operation"
    other = repository / ".git/other.lock"  # made while the first exists: a file of its own
    other.touch()
    os.utime(other, (start + 60.0, start + 60.0))
    lock.unlink()
    other.rename(lock)
    assert clocks.after(80.0).since == pytest.approx(start + 60.0), "another lock after a long time"


@pytest.mark.parametrize(("modules", "operation"), [(100, "git is writing files"), (101, "")])
def test_the_submodules_are_looked_at_up_to_a_limit(tmp_path: Path, modules: int, operation: str) -> None:
    place = tmp_path / ".git/modules"
    for number in range(modules):
        (place / str(number)).mkdir(parents=True)
        (place / str(number) / "HEAD").touch()
    last = [entry.name for entry in os.scandir(place)][-1]
    (place / last / "index.lock").touch()
    assert Git(tmp_path)().operation == operation


def test_setting_the_clock_changes_nothing_for_an_operation_that_was_seen(repository: Path) -> None:
    clocks = Clocks(repository)
    (repository / ".git/index.lock").touch()
    clocks.after(0.0)
    for jump in (7200.0, -86400.0, 5e9):
        clocks.wall += jump
        before = clocks.git().idle
        assert clocks.after(3.0).idle == pytest.approx(before + 3.0)
    assert clocks.git().idle < 12.0


def test_a_lock_from_the_future_is_waited_for_no_longer_than_another(repository: Path) -> None:
    clocks = Clocks(repository)
    (repository / ".git/index.lock").touch()
    os.utime(repository / ".git/index.lock", (4e9, 4e9))
    assert clocks.after(0.0).idle == 0.0
    assert clocks.after(11.0).idle == 11.0


def test_a_bisection_a_stash_and_a_housekeeping_hold_nothing_when_they_are_done(repository: Path) -> None:
    git(repository, "bisect", "start", "HEAD", "HEAD~2")
    assert Git(repository)() == GitState()
    git(repository, "bisect", "reset")
    (repository / "main.go").write_text("not committed")
    git(repository, "stash")
    assert Git(repository)() == GitState()
    git(repository, "gc", "-q")
    (repository / ".git/gc.pid").write_text("1 host")
    assert Git(repository)() == GitState()


def test_a_work_tree_that_is_added_beside_does_not_hold_this_one(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "beside"))
    (repository / ".git/worktrees/beside/index.lock").touch()
    assert Git(repository)() == GitState()


@pytest.mark.parametrize(
    ("lock", "operation"),
    [
        (".jj/working_copy/working_copy.lock", "jj is writing files"),
        (".hg/wlock", "hg is writing files"),
        (".sl/wlock", "sl is writing files"),
        (".git/sl/wlock", "sl is writing files"),
    ],
)
def test_other_systems_are_waited_for_too(tmp_path: Path, lock: str, operation: str) -> None:
    (tmp_path / lock).parent.mkdir(parents=True)
    assert Git(tmp_path)() == GitState()
    (tmp_path / lock).symlink_to("host:4711")  # as hg and sl do, by a link that leads nowhere
    (tmp_path / "below").mkdir()
    found = Git(tmp_path / "below")()
    assert (found.operation, found.remedy) == (operation, f"remove {tmp_path / lock}")


def test_an_open_merge_holds_nothing(repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(repository, "conflict")
    git(repository, "merge", "main", check=False)
    assert (repository / ".git/MERGE_HEAD").is_file()
    assert Git(repository)() == GitState()
