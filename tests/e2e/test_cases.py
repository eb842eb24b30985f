"""Small projects that once failed: each is right now, and stays so."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.e2e.case_project import CASES, CaseProject
from tests.facts import missing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

Open = Callable[..., CaseProject]


@pytest.fixture
def open_case(folder: Path, engine: docker.DockerClient) -> Iterator[Open]:
    """`open_case(NAME, ARGUMENT…)`: a copy of the case, with a running daemon unless `start=False`."""
    opened: list[CaseProject] = []

    def open_it(name: str, *arguments: str, start: bool = True) -> CaseProject:
        opened.append(CaseProject(folder, name))
        if start:
            opened[-1].start(*arguments)
        return opened[-1]

    yield open_it
    for case in opened:
        case.remove(engine)


def test_a_program_is_never_embedded_in_its_successor(open_case: Open) -> None:
    case = open_case("embedded-program")
    sizes: list[int] = []
    for value in ("eight", "nine", "ten"):
        if sizes:
            case.replace("main.go", 'save = "', f'save = "{value}')
        case.wait_live()
        text = case.get()
        assert value in text
        sizes.append(int(re.search(r"program=(\d+)", text)[1]))  # type: ignore[index]
    assert max(sizes) - min(sizes) < 1e6, sizes


def test_a_test_in_a_dockerfile_fails_the_build_whatever_it_reads(open_case: Open) -> None:
    case = open_case("tests-in-the-build")
    case.wait_live()
    case.replace("charts/values.yaml", "8080", "9999")  # outside of the module, and read by a child process
    failed = case.wait_failed()
    assert "go test" in str(failed)
    case.replace("charts/values.yaml", "9999", "8080")
    case.wait_live()


def test_a_file_that_only_c_includes_is_in_the_program_at_once(open_case: Open) -> None:
    case = open_case("cgo-includes")
    case.wait_live()
    assert "answer=2005" in case.get()
    case.replace("entries.tbl", "2000", "3000")
    case.wait_live()
    assert "answer=3005" in case.get()


def test_sources_mounted_over_the_image_are_what_runs(open_case: Open) -> None:
    """The image never changes: `go run .` compiles what is mounted, at the container's start."""
    case = open_case("mounted-sources")
    case.wait_live()
    assert "save=one" in case.get()
    case.replace("main.go", 'save = "one"', 'save = "two"')
    case.wait_live()
    assert "save=two" in case.get()
    case.replace("main.go", "const save", "cnst save")
    failed = case.wait_failed()
    assert "syntax error" in str(failed)
    assert "save=two" in case.get(), "the container before serves on"
    case.replace("main.go", "cnst save", "const save")
    case.replace("main.go", 'save = "two"', 'save = "three"')
    case.wait_live()
    assert "save=three" in case.get()


@pytest.fixture
def baked_base(engine: docker.DockerClient) -> Iterator[str]:
    """A base image with a Go module of its own, which no proxy has."""
    name = f"case-base-{uuid.uuid4().hex[:8]}"
    engine.images.build(path=str(CASES / "baked-modules" / "base"), tag=name, rm=True)
    yield name
    engine.images.remove(name, force=True)


def test_a_module_that_only_the_base_image_has_is_found(open_case: Open, baked_base: str) -> None:
    """And the steps have a variable in them, whose value BuildKit shows in their names."""
    case = open_case("baked-modules", start=False)
    case.replace("Dockerfile", "hc24-base", baked_base)
    case.start()
    case.wait_live()
    assert "save=one private one version=dev" in case.get()
    output = "".join(case.output)
    assert missing(output, "without", "module cache") == []
    assert "gomodcache" not in output
    case.replace("main.go", 'save = "one"', 'save = "two"')
    case.wait_live()
    assert "save=two private one" in case.get()


@pytest.mark.parametrize(("platform", "line"), [("linux/amd64", 4), ("linux/arm64", 9)])
def test_the_stage_of_the_platform_is_the_one_that_is_accelerated(
    open_case: Open, platform: str, line: int
) -> None:
    case = open_case("stages-by-platform", start=False)
    case.replace("compose.yaml", "linux/arm64", platform)
    done = case.watcher("dockerfile", "--json")
    assert done.returncode == 0, done.stderr
    (explained,) = json.loads(done.stdout)["services"]
    assert {change["line"] for change in explained["changes"]} == {line}


def test_an_everyday_compose_file_is_taken(open_case: Open) -> None:
    """With a second build context, several platforms, `!override` and `!reset`, and an inline config."""
    case = open_case("everyday-compose")
    case.wait_live()
    text = case.get()
    assert "save=one shared one" in text
    assert "MODE=dev GONE=\n" in text
    assert "config mode: dev\ntoken a-token" in text
    case.replace("shared/shared.go", "shared one", "shared two")
    case.wait_live()
    assert "save=one shared two" in case.get()
    assert "../shared/shared.go changed" in "".join(case.output)


def test_a_fixed_address_goes_from_one_container_to_the_next(open_case: Open) -> None:
    case = open_case("fixed-address")
    case.wait_live()
    assert "10.219.203.10/24" in case.get()
    case.replace("main.go", 'save = "one"', 'save = "two"')
    case.wait_live()
    text = case.get()
    assert "save=two" in text
    assert "10.219.203.10/24" in text


def test_a_makefile_that_asks_git_gets_its_answer(open_case: Open) -> None:
    """Without `.git` in the build the console says why the answer is missing; with it a tag is a change."""
    case = open_case("git-describe", start=False)

    def git(*arguments: str) -> None:
        name = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(
            ["git", *name, *arguments], cwd=case.folder, check=True, capture_output=True, timeout=60
        )

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    git("tag", "v1.0.0")
    case.start()
    case.wait_live()
    assert "version=unknown" in case.get()
    assert missing("".join(case.output), "line 1", "Makefile", "git describe") == []
    (case.folder / "watcher.toml").write_text('[watch]\nignore = ["!**/.git"]\n')
    git("add", ".")
    git("commit", "--quiet", "-m", "two")
    git("tag", "v1.1.0")
    case.wait_live()
    assert "version=v1.1.0" in case.get()
    built = case.status()["last_build"]["id"]
    for arguments in (("status",), ("stash", "list"), ("repack", "-a", "-d", "--quiet")):
        git(*arguments)
        case.wait_live()
    assert case.status()["last_build"]["id"] == built, "".join(case.output[-20:])
    git("tag", "--force", "v1.2.0")
    git("tag", "--delete", "v1.1.0")
    case.wait_live()
    assert "version=v1.2.0" in case.get()
