"""A project is gone only when its folder was deleted, never while it may come back."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from watcher.prune.location import FileSystem, FolderId, Location, Mount, Presence, find_folder, locate

HOME = Mount("/", "/", "/dev/sda1", "ext4", "uuid-1")
STICK = Mount("/media/stick", "/", "/dev/sdb1", "vfat")


@dataclass(frozen=True, slots=True)
class Machine(FileSystem):
    """The real file system, with the mount that a test says."""

    mounted: Mount | None = HOME
    name: str = "one"
    device: int | None = None

    def machine(self) -> str:
        return self.name

    def mount(self, path: Path) -> Mount | None:
        path.lstat()
        return self.mounted

    def folder(self, path: Path) -> FolderId:
        found = FileSystem.folder(self, path)
        return found if self.device is None else replace(found, device=self.device)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "src" / "shop"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def location(project: Path) -> Location:
    return locate(project, Machine())


def presence(location: Location, system: FileSystem | None = None) -> Presence:
    return find_folder(location, system or Machine()).presence


def test_a_folder_that_exists_is_here(location: Location) -> None:
    assert presence(location) is Presence.HERE


def test_a_deleted_folder_is_gone(project: Path, location: Location) -> None:
    project.rmdir()
    assert presence(location) is Presence.GONE
    (project.parent / "another").mkdir()  # gets the inode that became free
    assert presence(location) is Presence.GONE


def test_it_is_gone_on_the_real_file_system_too(project: Path) -> None:
    location = locate(project)
    assert find_folder(location).presence is Presence.HERE
    project.rmdir()
    assert find_folder(location).presence is Presence.GONE


def test_a_renamed_folder_has_moved(project: Path, location: Location) -> None:
    project.rename(project.with_name("store"))
    found = find_folder(location, Machine())
    assert found.presence is Presence.MOVED
    assert str(project.with_name("store")) in found.why


def test_a_renamed_parent_has_taken_it_along(project: Path, location: Location) -> None:
    project.parent.rename(project.parent.with_name("code"))
    found = find_folder(location, Machine())
    assert found.presence is Presence.MOVED
    assert str(project.parent.with_name("code") / "shop") in found.why


def test_a_deleted_parent_is_not_enough(project: Path, location: Location) -> None:
    shutil.rmtree(project.parent)
    assert presence(location) is Presence.PARENT_GONE


def test_another_parent_shows_nothing(project: Path, location: Location) -> None:
    shutil.rmtree(project.parent)
    project.parent.mkdir()
    assert presence(location) is not Presence.GONE
    other = replace(location, above=(replace(location.above[0], inode=1, handle="1:00"), *location.above[1:]))
    assert presence(other) is Presence.UNREACHABLE


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_at_its_path_keeps_it(project: Path, location: Location, kind: str) -> None:
    project.rmdir()
    if kind == "link":
        project.symlink_to("/nowhere")
    else:
        project.write_text("")
    assert presence(location) is Presence.HERE


def test_a_parent_that_is_a_file_shows_nothing(project: Path, location: Location) -> None:
    shutil.rmtree(project.parent)
    project.parent.write_text("")
    assert presence(location) is Presence.UNREACHABLE


@pytest.mark.parametrize(
    "mounted",
    [
        None,
        STICK,
        replace(HOME, point="/media"),
        replace(HOME, root="/sub"),
        replace(HOME, source="/dev/sdc1"),
        replace(HOME, kind="xfs"),
        replace(HOME, uuid="uuid-2"),
    ],
)
def test_an_unmounted_disk_shows_nothing(project: Path, location: Location, mounted: Mount | None) -> None:
    project.rmdir()
    system = Machine(mounted=mounted, device=4711) if mounted is None else Machine(mounted=mounted)
    assert presence(location, system) is Presence.UNREACHABLE


@pytest.mark.parametrize("mounted", [STICK, None])
def test_another_device_shows_nothing_where_no_id_tells_file_systems_apart(
    project: Path, mounted: Mount | None
) -> None:
    location = locate(project, Machine(mounted=mounted))
    project.rmdir()
    assert presence(location, Machine(mounted=mounted)) is Presence.GONE
    assert presence(location, Machine(mounted=mounted, device=4711)) is Presence.UNREACHABLE


def test_the_number_of_a_device_may_change_with_a_restart(project: Path, location: Location) -> None:
    project.rmdir()
    assert presence(location, Machine(device=4711)) is Presence.GONE


def test_another_machine_knows_nothing(project: Path, location: Location) -> None:
    project.rmdir()
    assert presence(location, Machine(name="two")) is Presence.UNREACHABLE


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "input/output error")])
@pytest.mark.parametrize("method", ["mode", "folder", "mount", "children"])
def test_what_cannot_be_asked_shows_nothing(
    project: Path, location: Location, monkeypatch: pytest.MonkeyPatch, method: str, error: OSError
) -> None:
    project.rmdir()

    def fail(*_: object) -> None:
        error.filename = "x"
        raise error

    monkeypatch.setattr(Machine, method, fail)
    assert presence(location) is Presence.UNREACHABLE


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
def test_a_folder_without_permission_shows_nothing(project: Path, location: Location) -> None:
    project.parent.chmod(0)
    try:
        assert presence(location) is Presence.UNREACHABLE
    finally:
        project.parent.chmod(0o700)
