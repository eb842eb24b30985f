"""A step that may run tests runs them in every build."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.platforms import AMD64
from watcher.dockerfile import Level, TreeInputs, accelerate, parse
from watcher.dockerfile.model import Instruction

HEAD = "FROM golang:1.22 AS b\nWORKDIR /src\nENV CGO_ENABLED=0\nCOPY . .\n"
TAIL = "\nFROM alpine\nCOPY --from=b /x /x\n"
EXPIRE = "{ echo 9223372036854775807 >/root/.cache/go-build/testexpire.txt; } 2>/dev/null || :; "


def run_of(middle: str) -> Instruction:
    """The accelerated RUN in the middle of a file."""
    text = accelerate(
        HEAD + middle + TAIL,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={"golang:1.22": None, "alpine": None},
        cache_scope="p",
        inputs=TreeInputs({}, lambda _: None),
        gogc="",
        keep_programs=False,
    ).text
    return next(one for one in parse(text).instructions() if one.keyword == "RUN")


@pytest.mark.parametrize(
    ("run", "becomes"),
    [
        ("go test ./...", "go test -count=1 ./..."),
        ("go vet ./... && go test -race ./... && go build", None),
        ("go -C svc test ./...", "go -C svc test -count=1 ./..."),
        ("go test -C svc ./...", "go test -C svc -count=1 ./..."),
        ("go test $FLAGS ./...", "go test -count=1 $FLAGS ./..."),  # a count in there comes later, and wins
        ("go test -count=3 ./...", "go test -count=3 ./..."),
        ("go test -test.count 3 ./...", "go test -test.count 3 ./..."),
        ("GOFLAGS=-count=3 go test ./...", "GOFLAGS=-count=3 go test ./..."),
        ("sh -c 'go test ./...'", "sh -c 'go test -count=1 ./...'"),
        ("if ! go test ./...; then exit 1; fi", "if ! go test -count=1 ./...; then exit 1; fi"),
        ("go build ./...", "go build ./..."),
        ("go vet ./...", "go vet ./..."),
        # Where somebody else may start go, the results expire.
        ("make test", f"{EXPIRE}make test"),
        ("./check.sh && go build", f"{EXPIRE}./check.sh && go build"),
        ("go run ./cmd/check", f"{EXPIRE}go run ./cmd/check"),
        ("go tool gotestsum", f"{EXPIRE}go tool gotestsum"),
        ("go generate ./... && go build", f"{EXPIRE}go generate ./... && go build"),
        ("GOFLAGS=$F go test ./...", f"{EXPIRE}GOFLAGS=$F go test ./..."),
        ('test -z "$(go test ./...)"', f'{EXPIRE}test -z "$(go test ./...)"'),
        ("case $X in a) go test ./...;; esac", f"{EXPIRE}case $X in a) go test ./...;; esac"),
        (". ./env.sh; go test ./...", f"{EXPIRE}. ./env.sh; go test ./..."),
    ],
)
def test_a_shell_form(run: str, becomes: str | None) -> None:
    becomes = becomes or run.replace("go test", "go test -count=1")
    assert run_of(f"RUN {run}").body.text == becomes


def test_here_documents() -> None:
    assert run_of("RUN <<EOF\ngo test ./...\nEOF").heredocs[0].content.text == "go test -count=1 ./...\n"
    assert run_of("RUN <<EOF\nmake test\nEOF").heredocs[0].content.text == f"{EXPIRE}make test\n"
    script = run_of("RUN <<EOF\n#!/bin/sh\nmake test\nEOF").heredocs[0].content.text
    assert script == f"#!/bin/sh\n{EXPIRE}make test\n"
    assert run_of("RUN sh <<EOF\nmake test\nEOF").body.text == f"{EXPIRE}sh <<EOF"


def test_an_exec_form() -> None:
    assert run_of('RUN ["go", "test", "./..."]').words == ("go", "test", "-count=1", "./...")
    words = run_of('RUN ["make", "test"]').words
    assert words == ("/bin/sh", "-c", f'{EXPIRE}exec "$@"', "sh", "make", "test")


def test_a_step_with_a_cache_mount_of_its_own_is_as_it_is() -> None:
    run = "RUN --mount=type=cache,target=/root/.cache/go-build make test"
    assert run_of(run).body.text == "make test"


def shell(one: Instruction, cache: Path) -> list[str]:
    """The command of an accelerated RUN with the cache at another place."""
    words = one.words or ("/bin/sh", "-c", one.body.text)
    return [word.replace("/root/.cache/go-build", str(cache)) for word in words]


@pytest.mark.parametrize("status", [0, 3])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("form", ['RUN ./x "a  b" | cat; ./x "a  b"', 'RUN ["./x", "a  b"]'])
def test_what_is_put_before_a_command_changes_neither_its_words_nor_its_status(
    tmp_path: Path, form: str, there: bool, status: int
) -> None:
    program = tmp_path / "x"
    program.write_text(f'#!/bin/sh\necho "$# $1"\nexit {status}\n')
    program.chmod(0o755)
    cache = tmp_path / "cache"
    if there:
        cache.mkdir()
    ran = subprocess.run(
        shell(run_of(form), cache), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == status
    assert set(ran.stdout.splitlines()) == {"1 a  b"}
    assert ran.stderr == ""
    assert not there or (cache / "testexpire.txt").read_text() == f"{2**63 - 1}\n"


@pytest.mark.skipif(shutil.which("go") is None, reason="needs go")
@pytest.mark.thorough
def test_go_itself_runs_the_tests_again(tmp_path: Path) -> None:
    """With what a child process of a test reads changed, which go does not see."""
    module, cache, input_file = tmp_path / "m", tmp_path / "cache", tmp_path / "input"
    module.mkdir()
    cache.mkdir()
    (module / "go.mod").write_text("module example.test/m\n\ngo 1.21\n")
    (module / "m_test.go").write_text(
        'package m\n\nimport (\n\t"os/exec"\n\t"testing"\n)\n\nfunc Test(t *testing.T) {\n'
        '\tif exec.Command("grep", "good", "../input").Run() != nil {\n\t\tt.Fatal("not good")\n\t}\n}\n'
    )
    check = module / "check.sh"
    check.write_text("#!/bin/sh\nexec go test -vet=off ./...\n")
    check.chmod(0o755)
    environment = {**os.environ, "GOCACHE": str(cache), "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}

    def passes(words: list[str]) -> bool:
        ran = subprocess.run(words, cwd=module, env=environment, capture_output=True, check=False)
        return ran.returncode == 0

    input_file.write_text("good")
    assert passes(["./check.sh"])
    input_file.write_text("bad")
    assert passes(["./check.sh"])  # go's own answer out of its cache: why all this is needed
    for run in ("go test -vet=off ./...", "./check.sh", "go clean -testcache; ./check.sh"):
        assert not passes(shell(run_of(f"RUN {run}"), cache)), run
        (cache / "testexpire.txt").unlink(missing_ok=True)
