"""Everything odd that can be in a tree, or happen to it, while the daemon runs: it serves on and says why."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Project, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def goes_live(project: Project, what: str) -> None:
    settled = project.wait()
    assert settled["outcome"] == "live", (what, settled, "".join(project.output[-40:]))


def greet(project: Project, greeting: str) -> None:
    """An edit that must be seen, whatever happened before."""
    file = project.folder / "_envs" / "env_dev.yaml"
    lines = [
        f"greeting: {greeting}" if line.startswith("greeting") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join([*lines, ""]))
    goes_live(project, greeting)
    assert project.health()["greeting"] == greeting


def test_links_odd_names_and_special_files_are_no_obstacle(project: Project) -> None:
    (project.folder / ".dockerignore").write_text("*.yml\n*.toml\n")
    project.start()
    goes_live(project, "first version")
    folder = project.folder
    for name, target in (("dangling", "nowhere"), ("outside", "/etc"), ("loop", "loop"), ("inside", ".")):
        (folder / name).symlink_to(target)
    (folder / "Case.txt").write_text("1")
    (folder / "Case.txt").rename(folder / "case.txt")
    odd = os.fsencode(folder) + b"/odd\xff\n"
    os.mkdir(odd)
    Path(os.fsdecode(odd + b"/\xfe.go")).write_bytes(b"not go")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(folder / "socket"))
    greet(project, "odd")
    (folder / "server.log").touch()
    os.truncate(folder / "server.log", 2 << 30)
    greet(project, "huge")
    (folder / "server.log").unlink()


def test_files_that_come_and_go_while_they_are_looked_at(project: Project) -> None:
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.wait(0.001):
            number += 1
            (project.folder / f"churn_{number % 20}").write_text(str(number))
            (project.folder / f"churn_{(number + 10) % 20}").unlink(missing_ok=True)

    thread = threading.Thread(target=churn)
    thread.start()
    until(lambda: project.status()["source"]["rescans"] > 5, "looks during the churn")
    stop.set()
    thread.join()
    greet(project, "churned")


def test_a_dockerfile_that_is_gone_or_no_file_fails_until_it_is_back(project: Project) -> None:
    file, aside = project.folder / "Dockerfile", project.folder / "Dockerfile.aside"
    file.rename(aside)
    settled = project.wait()
    assert settled["outcome"] == "failed"
    assert settled["failure"]["summary"] == "Dockerfile: there is no such Dockerfile"
    file.mkdir()
    assert project.wait()["outcome"] == "failed"
    assert project.health()["greeting"] == "churned"
    file.rmdir()
    aside.rename(file)
    goes_live(project, "Dockerfile is back")


def test_an_ignore_file_that_cannot_be_used_is_named(project: Project) -> None:
    file = project.folder / ".dockerignore"
    good = file.read_text()
    file.write_text("[\n")
    settled = project.wait()
    assert settled["outcome"] == "failed"
    assert settled["failure"]["summary"].startswith(".dockerignore: '[': ")
    file.write_text(good)
    goes_live(project, "ignore file is mended")


def test_a_folder_that_is_moved_or_made_anew_is_watched_again(project: Project) -> None:
    away = project.folder.with_name("away")
    project.folder.rename(away)
    until(lambda: any("cannot be watched" in line for line in project.output), "the folder is missed", 60)
    assert httpx.get(f"http://127.0.0.1:{project.port}/health", trust_env=False).status_code == 200
    away.rename(project.folder)
    greet(project, "moved")
    shutil.copytree(project.folder, away, symlinks=True, ignore=shutil.ignore_patterns("fifo", "socket"))
    shutil.rmtree(project.folder)
    away.rename(project.folder)
    greet(project, "made anew")
    name = "watcher_internal_errors_total"
    assert not any(value for key, value in project.metrics().items() if key.startswith(name))
    assert project.stop() == 0
