"""The hashes of the installed docker compose: what it is asked, and what is done without an answer."""

from __future__ import annotations

import asyncio
import hashlib
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from watcher import compose
from watcher.compose import ComposeProject
from watcher.deploy.compose_program import ComposeHashes

REAL_CLOCK = True
TEXT = """
name: shop
services:
  web: {build: ., depends_on: [db]}
  db: {image: postgres, environment: {A: "1"}}
  side: {image: side, network_mode: "service:db"}
"""
PROGRAM = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *version*) echo 2.40.3-3 ;;
  *--hash*) test "$(cat)" = resolved && echo "db {hash}" && echo "web ffff" && echo "another kind of line" ;;
  *config*) echo resolved ;;
esac
"""
HANGS = "#!/bin/sh\necho $$ >> {log}\nexec sleep 60\n"
HASH = hashlib.sha256(b"db").hexdigest()


class Machine:
    """Programs that stand for docker compose, and the project that is asked about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "asked"

    def install(self, *texts: str, patience: float = 10.0) -> ComposeHashes:
        programs: list[Sequence[str]] = []
        for place, text in enumerate(texts):
            file = self.folder / f"program{place}"
            file.write_text(text.replace("{log}", str(self.log)).replace("{hash}", HASH))
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
            programs.append((str(file), "compose"))
        return ComposeHashes(programs, patience)

    def load(self, text: str = TEXT) -> ComposeProject:
        file = self.folder / "compose.yaml"
        file.write_text(text)
        return compose.load(file, env={})

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # the programs are scripts
    return Machine(tmp_path)


async def test_compose_resolves_the_project_and_hashes_what_it_resolved(machine: Machine) -> None:
    project, hashes = machine.load(), machine.install(PROGRAM)
    db, web = project.services["db"], project.services["web"]
    assert hashes.known_hash(db) == ""
    found = await asyncio.gather(*(hashes.find_hash(project, db) for _ in range(3)))
    assert found == [HASH] * 3
    assert hashes.known_hash(web) == "ffff"
    common = f"compose --project-name shop --project-directory {machine.folder}"
    file = f"--file {machine.folder}/compose.yaml"
    assert machine.asked == [
        "compose version --short",
        f"{common} {file} config --format json -- db web",
        f"{common} --file - config --hash *",
    ], "once, and not about what uses the network of another container"
    assert await hashes.find_hash(project, project.services["side"]) == ""
    assert hashes.is_version("2.40.3")
    assert not hashes.is_version("2.40.4")
    assert not hashes.is_version("")


async def test_a_changed_project_is_asked_about_again(machine: Machine) -> None:
    before, hashes = machine.load(), machine.install(PROGRAM)
    await hashes.find_hash(before, before.services["db"])
    after = machine.load(TEXT.replace('A: "1"', 'A: "2"'))
    assert hashes.known_hash(after.services["db"]) == "", "that is the hash of another configuration"
    assert await hashes.find_hash(after, after.services["db"]) == HASH
    assert len(machine.asked) == 6


@pytest.mark.parametrize(
    "first",
    ["#!/bin/sh\nexit 1\n", "#!/nowhere\n", PROGRAM.replace("echo resolved", "exit 15")],
    ids=["no plugin", "not runnable", "refuses the file"],
)
async def test_the_next_program_is_asked(machine: Machine, first: str) -> None:
    project, hashes = machine.load(), machine.install(first, PROGRAM)
    assert await hashes.find_hash(project, project.services["db"]) == HASH


@pytest.mark.parametrize(
    "programs", [(), ("#!/bin/sh\nexit 1\n",), (PROGRAM.replace('echo "db', 'false "db'),)]
)
async def test_without_an_answer_there_is_no_hash(machine: Machine, programs: tuple[str, ...]) -> None:
    project, hashes = machine.load(), machine.install(*programs)
    assert await hashes.find_hash(project, project.services["db"]) == ""


async def test_a_program_that_hangs_is_ended(machine: Machine) -> None:
    project, hashes = machine.load(), machine.install(HANGS, patience=0.3)
    assert await asyncio.wait_for(hashes.find_hash(project, project.services["db"]), 20) == ""
    (pid,) = machine.asked
    assert not Path(f"/proc/{pid}").exists()


async def test_a_question_without_an_answer_ends_with_the_watcher(machine: Machine) -> None:
    project, hashes = machine.load(), machine.install(HANGS)
    hashes.ask(project)
    deadline = time.monotonic() + 10
    while not machine.asked and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(hashes.close(), 10)
    assert not Path(f"/proc/{machine.asked[0]}").exists()
