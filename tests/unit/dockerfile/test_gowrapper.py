"""`-a` that make or a script gives to go: met on its way, where the tree shows that there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.platforms import AMD64
from watcher.dockerfile import ImageConfig, Level, TreeInputs, accelerate, parse
from watcher.dockerfile.gowrapper import WRAPPER
from watcher.dockerfile.inputs import may_rebuild

MAKEFILE = b"build:\n\tgo build -a -o app .\n"
CACHE = "/root/.cache/go-build"


def text_of(run: str, files: dict[str, bytes]) -> str:
    text = f"FROM golang AS b\nENV CGO_ENABLED=0\nCOPY . /src\n{run}\nFROM alpine\nCOPY --from=b /app /\n"
    return accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={"golang": ImageConfig(env={"GOPATH": "/go"}), "alpine": ImageConfig()},
        cache_scope="p",
        inputs=TreeInputs({name: name.encode() for name in files}, files.get),
    ).text


@pytest.mark.parametrize(
    "script",
    [
        "\tgo build -a .",
        "go build -o app -a ./...",
        "\t$(GO) build -a .",
        "GOFLAGS := -a -v",
        'BUILD_FLAGS="-a"',
        "LDFLAGS='-s' FLAGS=-a go install",
        "go build \\\n    -a \\\n    -o app",
        "go build -ldflags '-s' -a",
        "\tgo clean -cache -testcache",
        "\t@$(GO) clean -cache || true",
    ],
)
def test_a_line_that_may_give_go_the_flag_is_seen(script: str) -> None:
    assert may_rebuild(f"#!/bin/sh\n{script}\n")


@pytest.mark.parametrize(
    "script",
    ["go build -o app .", "cp -a x y", "go build -asmflags x", "uname -a", "go build -abc", "# -ab go"],
)
def test_another_line_is_not(script: str) -> None:
    assert not may_rebuild(f"#!/bin/sh\n{script}\n")


@pytest.mark.parametrize(
    ("run", "file"),
    [
        ("RUN make", "Makefile"),
        ("RUN make build && true", "sub/GNUmakefile"),
        ("RUN ./build.sh", "build.sh"),
        ("RUN scripts/build", "scripts/build"),
        ('RUN ["make", "build"]', "common.mk"),
        ("RUN go mod download && task build", "Taskfile.yml"),
    ],
)
def test_a_wrapper_stands_before_go_where_a_file_may_give_it_the_flag(run: str, file: str) -> None:
    text = text_of(run, {file: MAKEFILE})
    assert f"{CACHE}/watcher-go-" in text
    assert text.count("\n") == 6
    assert parse(text).instructions()
    assert "watcher-go-" not in text_of(run, {file: MAKEFILE.replace(b" -a", b"")})
    assert "watcher-go-" not in text_of(run, {"doc.md": MAKEFILE})


def test_a_call_in_the_dockerfile_needs_no_wrapper() -> None:
    assert "watcher-go-" not in text_of("RUN go build -a -o /app .", {"Makefile": MAKEFILE})


class Room:
    """A folder with a `go` that prints what it is called with, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.cache = folder / "bin", folder / "cache"
        self.bin.mkdir()
        self.cache.mkdir()
        self._program("go", '#!/bin/sh\nprintf "<%s>" "$@"\nexit 3\n')
        for tool in ("mkdir", "chmod", "mv", "sh", "env"):
            (self.bin / tool).symlink_to(shutil.which(tool) or "")

    def _program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def call(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        wrapper = self.cache / "go"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        path = f"/nowhere:{self.cache}:{self.bin}:{self.cache}"
        return self.run([str(wrapper), *arguments], PATH=path, **env)

    def run(self, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=env, text=True, capture_output=True, check=False, timeout=20)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.mark.parametrize(
    ("given", "gets"),
    [
        (["build", "-a", "."], ["build", "."]),
        (
            ["build", "--a", "-a=true", "-v", "-o", "app", "-a", "./..."],
            ["build", "-v", "-o", "app", "./..."],
        ),
        (["install", "-a"], ["install"]),
        (["build", "-o", "-a", "."], ["build", "-o", "-a", "."]),  # a value
        (["build", "-ldflags", "-s -w", "-a"], ["build", "-ldflags", "-s -w"]),
        (["build", "-ldflags=-a", "-a=false", "."], ["build", "-ldflags=-a", "-a=false", "."]),
        (["build", ".", "-a"], ["build", ".", "-a"]),  # behind a package it is none
        (["run", "-a", ".", "-a"], ["run", "-a", ".", "-a"]),
        (["test", "-a"], ["test", "-a"]),
        (["build", "-tags", "a b", "it's", "$x", ""], ["build", "-tags", "a b", "it's", "$x", ""]),
        (["build"], ["build"]),
        (["version"], ["version"]),
        (["clean"], ["clean"]),
        (["clean", "-testcache"], ["clean", "-testcache"]),
        (["clean", "-cache", "-modcache"], ["clean", "-modcache"]),
        (["clean", "-cache", "./..."], ["clean", "-cache", "./..."]),  # go says what is wrong with that
        (["clean", "-i", "-cache"], ["clean", "-i", "-cache"]),
    ],
)
def test_the_wrapper_leaves_out_that_flag_and_nothing_else(
    room: Room, given: list[str], gets: list[str]
) -> None:
    done = room.call(*given)
    assert done.stdout == "".join(f"<{one}>" for one in gets)
    assert (done.returncode, done.stderr) == (3, "")


def test_the_flag_in_goflags_is_taken_back(room: Room) -> None:
    assert room.call("build", ".", GOFLAGS="-v -a").stdout == "<build><-a=false><.>"
    assert room.call("build", ".", GOFLAGS="-v -asmflags=x").stdout == "<build><.>"


@pytest.mark.parametrize("shell", [one for one in ("sh", "bash") if shutil.which(one)])
def test_what_stands_in_the_dockerfile_puts_the_wrapper_in_place(room: Room, shell: str) -> None:
    line = text_of("RUN make", {"Makefile": MAKEFILE}).split("target=/go/pkg/mod ")[1].split("\n")[0]
    script = line.replace(CACHE, str(room.cache)).rpartition("; ")[0]
    for _ in range(2):
        done = room.run([shutil.which(shell) or shell, "-c", f"{script}; go build -a ."], PATH=str(room.bin))
        assert (done.stdout, done.stderr, done.returncode) == ("<build><.>", "", 3)
    room.cache.joinpath("x").mkdir()
    blocked = script.replace(str(room.cache), "/proc/nowhere")
    done = room.run([shutil.which(shell) or shell, "-c", f"{blocked}; go build -a ."], PATH=str(room.bin))
    assert (done.stdout, done.stderr) == ("<build><-a><.>", "")
    assert os.listdir(room.cache / "x") == []


@pytest.mark.parametrize("flags", [["-cache"], ["--cache", "-testcache"], ["-testcache", "-cache"]])
def test_the_wrapper_keeps_the_cache_full(room: Room, flags: list[str]) -> None:
    done = room.call("clean", *flags)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
