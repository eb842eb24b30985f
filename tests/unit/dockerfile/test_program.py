"""Where the linked program is kept for the next build, and where the text does not allow it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from watcher.dockerfile import Accelerated, ImageConfig, Level, accelerate, keeping

CACHE = "target=/root/.cache/go-build "
KEPT = re.compile(r"watcher-[0-9a-f]{12}")


def accelerated(run: str, *, workdir: str = "/src") -> Accelerated:
    """What comes of a RUN in a stage without cgo."""
    text = f"FROM golang AS b\nENV CGO_ENABLED=0\nWORKDIR {workdir}\nCOPY . .\n{run}\n"
    return accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        bases={"golang": ImageConfig(env={"GOPATH": "/go"})},
        cache_scope="p",
        c_inputs="",
        gogc="",
    )


def made(run: str, *, workdir: str = "/src") -> str:
    """The lines that the accelerated text has for a RUN."""
    return accelerated(run, workdir=workdir).text.split("COPY . .\n")[1]


def test_the_program_is_put_in_place_before() -> None:
    line = made("RUN go build -o app .").split(CACHE)[1]
    kept = f"/root/.cache/go-build/{KEPT.findall(line)[0]}"
    newer = f"find . -name '*.go' ! -name '*_test.go' -newer {kept} -print -quit | grep -q ."
    put = f"[ -d app -o -h app ] || {newer} || grep -qs go:embed *.go ../*.go || cp -p {kept} app || :"
    assert line == f"{{ {put}; }} 2>/dev/null && go build -o app .\n"


def test_another_stage_keeps_it() -> None:
    found = accelerated("RUN go build -o app .")
    (program,) = found.programs
    kept = program.kept
    assert (program.stage, program.base, program.file) == ("b", "golang", "/src/app")
    lines = keeping(found.text, found.programs).removeprefix(found.text).splitlines()
    bind = "--mount=type=bind,from=b,source=/src/app,target=/watcher-program"
    assert lines == [
        "",
        "FROM golang AS watcher-keeps-programs",
        "USER 0:0",
        f"RUN --mount={program.mount} {bind} rm -f {kept}.*; t=$(mktemp {kept}.XXXXXX) "
        f"&& cp -p /watcher-program $t && mv $t {kept}",
    ]
    assert program.mount == "type=cache,sharing=shared,id=p-gocache,target=/root/.cache/go-build"


def test_every_folder_above_the_program_is_looked_through() -> None:
    assert " bin/*.go *.go ../*.go ../../*.go || mkdir -p bin && cp" in made(
        "RUN go build -o bin/app .", workdir="/a/b"
    )
    assert " /out/*.go /*.go || mkdir -p /out && cp" in made("RUN go build -o /out/app .", workdir="/a/b")


@pytest.mark.parametrize(
    "run",
    [
        "RUN go vet ./... && CGO_ENABLED=0 go build -trimpath -o=app ./cmd/x && rm -rf /tmp/x",
        "RUN go build \\\n  -a \\\n  -o app .",
        "RUN GOOS=linux go build -ldflags='-s -w' -o /usr/local/bin/app",
    ],
)
def test_a_plain_list_keeps_its_program(run: str) -> None:
    text = made(run)
    assert "cp -p" in text
    assert text.count("\n") == run.count("\n") + 1


@pytest.mark.parametrize(
    "run",
    [
        "RUN go build .",
        "RUN go build -o bin/ .",
        "RUN go build -o . ./...",
        "RUN go build -o .. ./...",
        "RUN go build -o /dev/null .",
        "RUN go build -o $OUT .",
        "RUN go build -o 'a b' .",
        "RUN go build -n -o app .",
        "RUN go build -json -o app .",
        "RUN go build -buildmode=plugin -o app .",
        "RUN go build -C sub -o app .",
        "RUN go -C sub build -o app .",
        "RUN go build $FLAGS -o app .",
        "RUN go build -o a -o b .",
        "RUN go install .",
        "RUN cd cmd && go build -o app .",
        "RUN set -e; go build -o app .",
        "RUN go build -o app . || true",
        "RUN go build -o app . > log",
        "RUN (go build -o app .)",
        "RUN { go build -o app .; }",
        "RUN if true && go build -o app . ; then true; fi",
        "RUN ! go build -o app .",
        "RUN . ./env && go build -o app .",
        "RUN time go build -o app .",
        "RUN sh -c 'go build -o app .'",
        "RUN CGO_ENABLED=1 go build -o app .",
        "RUN GOFLAGS=-buildmode=pie go build -o app .",
        'RUN ["go", "build", "-o", "app", "."]',
        "RUN --mount=type=cache,target=/root/.cache/go-build go build -o app .",
        "RUN <<X\ncd a\ngo build -o app .\nX",
    ],
)
def test_anything_else_is_left_alone(run: str) -> None:
    assert "cp -p" not in made(run)
    assert not accelerated(run).programs


@pytest.mark.parametrize("workdir", ["/", "/go", "/root", "/root/.cache"])
def test_no_folder_is_searched_that_holds_the_caches(workdir: str) -> None:
    assert "cp -p" not in made("RUN go build -o app .", workdir=workdir)


def test_two_programs_of_one_step_do_not_share_a_place() -> None:
    text = made("RUN go build -o a ./cmd/a && go build -o b ./cmd/b")
    assert len(set(KEPT.findall(text))) == 2


def test_another_working_directory_is_another_place() -> None:
    run = "RUN go build -o app ."
    assert KEPT.findall(made(run)) != KEPT.findall(made(run, workdir="/other"))


class Shell:
    """Does with a RUN what a shell does, its `go` being a function and the cache a folder of ours."""

    def __init__(self, run: str, folder: Path) -> None:
        self.sources, self.cache = folder / "src", folder / "cache"
        self.sources.mkdir()
        self.cache.mkdir()
        found = accelerated(run)
        line = found.text.split(CACHE)[1]
        keep = keeping(found.text, found.programs).splitlines()[-1].partition("/watcher-program ")[2]
        keep = keep.replace("/watcher-program", found.programs[0].file.replace("/src", str(self.sources)))
        self.line, self.keep_line = (
            each.replace("/root/.cache/go-build", str(self.cache)) for each in (line, keep)
        )

    def build(self, go: str) -> subprocess.CompletedProcess[str]:
        return self._sh(f"go() {{ {go}\n}}\n{self.line}")

    def keep(self) -> None:
        assert self._sh(self.keep_line).returncode == 0

    def _sh(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script], cwd=self.sources, text=True, capture_output=True, check=False
        )

    def write(self, name: str, text: str, *, at: float = 1.0) -> None:
        path = self.sources / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (at, at))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """One whose program `app`, holding "one", was kept and is gone again."""
    made = Shell("RUN go build -o app .", tmp_path)
    done = made.build("cat app; echo one >app")
    assert (done.returncode, done.stdout) == (0, "")
    made.keep()
    (made.sources / "app").unlink()
    return made


def test_what_was_kept_is_there_for_go(shell: Shell) -> None:
    shell.write("x.go", "package x\n")
    done = shell.build("cat app; echo two >app")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", "")
    assert (shell.sources / "app").read_text() == "two\n"
    shell.keep()
    (shell.sources / "app").unlink()
    assert shell.build("cat app").stdout == "two\n"
    assert len(list(shell.cache.iterdir())) == 1


def test_a_build_that_fails_fails(shell: Shell) -> None:
    assert shell.build("return 3").returncode == 3


def test_a_folder_that_embeds_gets_nothing(shell: Shell) -> None:
    shell.write("x.go", "//go:embed *\n")
    assert shell.build("ls").stdout == "x.go\n"


def test_nothing_is_put_in_place_where_go_will_link_anyway(shell: Shell) -> None:
    later = time.time() + 5
    shell.write("sub/x_test.go", "package x\n", at=later)
    assert shell.build("cat app").stdout == "one\n"
    (shell.sources / "app").unlink()
    shell.write("sub/x.go", "package x\n", at=later)
    assert shell.build("ls").stdout == "sub\n"


def test_a_folder_of_that_name_is_not_written_into(shell: Shell) -> None:
    (shell.sources / "app").mkdir()
    done = shell.build("ls app")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_means_it_is_a_plain_build(shell: Shell) -> None:
    shell.line = shell.line.replace("cp -p", "no-such-copy").replace("find", "no-such-find")
    done = shell.build("ls; echo two >app")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_folder_is_made_as_go_would_make_it(tmp_path: Path) -> None:
    shell = Shell("RUN go build -o bin/app .", tmp_path)
    shell.build("mkdir -p bin; echo one >bin/app")
    shell.keep()
    shutil.rmtree(shell.sources / "bin")
    assert shell.build("cat bin/app").stdout == "one\n"
