"""Where the linked program is kept for the next build, and where the text does not allow it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from watcher.dockerfile import ImageConfig, Level, accelerate

CACHE = "target=/root/.cache/go-build "
KEPT = re.compile(r"watcher-[0-9a-f]{12}")


def made(run: str, *, workdir: str = "/src", env: str = "CGO_ENABLED=0", config: str = "") -> str:
    """The lines that the accelerated text has for a RUN."""
    text = f"FROM golang\nENV {env}\n{config}WORKDIR {workdir}\nCOPY . .\n{run}\n"
    result = accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        bases={"golang": ImageConfig(env={"GOPATH": "/go"})},
        cache_scope="p",
        c_inputs="",
        gogc="",
    )
    return result.text.split("COPY . .\n")[1]


def test_the_program_is_put_in_place_before_and_kept_after() -> None:
    line = made("RUN go build -o app .").split(CACHE)[1]
    kept = f"/root/.cache/go-build/{KEPT.findall(line)[0]}"
    before = f"[ -d app -o -h app ] || grep -qs go:embed *.go ../*.go || cp -p {kept} app || :"
    after = f"rm -f {kept}.*; t=$(mktemp {kept}.XXXXXX) && cp -p app $t && mv $t {kept} || :"
    assert line == f"{{ {before}; }} 2>/dev/null && go build -o app . && {{ {after}; }} 2>/dev/null\n"


def test_every_folder_above_the_program_is_looked_through() -> None:
    assert " bin/*.go *.go ../*.go ../../*.go || mkdir -p bin && cp" in made(
        "RUN go build -o bin/app .", workdir="/a/b"
    )
    assert " /out/*.go /*.go || mkdir -p /out && cp" in made("RUN go build -o /out/app .", workdir="/a/b")
    assert made("RUN cd x && go build -o app .").count("../*.go") == 6


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
    assert "mktemp" in text
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
    assert "mktemp" not in made(run)


def test_two_programs_of_one_step_do_not_share_a_place() -> None:
    text = made("RUN go build -o a ./cmd/a && go build -o b ./cmd/b")
    assert len(set(KEPT.findall(text))) == 2


def test_another_working_directory_is_another_place() -> None:
    run = "RUN go build -o app ."
    assert KEPT.findall(made(run)) != KEPT.findall(made(run, workdir="/other"))


def _run(text: str, folder: Path, go: str) -> subprocess.CompletedProcess[str]:
    """What a shell does with the RUN, its `go` being a function and the cache a folder of ours."""
    line = text.split(CACHE)[1].replace("/root/.cache/go-build", str(folder / "cache"))
    script = f"go() {{ {go}\n}}\n{line}"
    (folder / "src").mkdir(exist_ok=True)
    (folder / "cache").mkdir(exist_ok=True)
    return subprocess.run(
        ["sh", "-c", script], cwd=folder / "src", text=True, capture_output=True, check=False
    )


def test_the_shell_does_what_is_meant(tmp_path: Path) -> None:
    text = made("RUN go build -o app .")
    sources = tmp_path / "src"
    links = "cat app 2>/dev/null; echo one >app"
    assert _run(text, tmp_path, links).stdout == ""  # nothing is kept yet
    (sources / "app").unlink()
    done = _run(text, tmp_path, "cat app 2>/dev/null; echo two >app")
    assert (done.returncode, done.stdout) == (0, "one\n")
    (sources / "app").unlink()
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [KEPT.findall(text)[0]]
    failed = _run(text, tmp_path, "echo three >app; return 3")
    assert failed.returncode == 3
    (sources / "app").unlink()
    assert _run(text, tmp_path, "cat app").stdout == "two\n"  # what failed was not kept
    (sources / "app").unlink()
    (sources / "x.go").write_text("//go:embed *\n")
    assert _run(text, tmp_path, "ls; echo four >app").stdout == "x.go\n"


def test_a_folder_of_that_name_is_not_written_into(tmp_path: Path) -> None:
    text = made("RUN go build -o app .")
    _run(text, tmp_path, "echo one >app")
    (tmp_path / "src" / "app").unlink()
    (tmp_path / "src" / "app").mkdir()
    done = _run(text, tmp_path, "ls app")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list((tmp_path / "src" / "app").iterdir())


def test_without_the_means_it_is_a_plain_build(tmp_path: Path) -> None:
    text = made("RUN go build -o app .").replace("mktemp", "no-such-program").replace("cp -p", "no-such-copy")
    done = _run(text, tmp_path, "echo one >app")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_is_made_as_go_would_make_it(tmp_path: Path) -> None:
    text = made("RUN go build -o bin/app .")
    _run(text, tmp_path, "mkdir -p bin; echo one >bin/app")
    (tmp_path / "src" / "bin" / "app").unlink()
    (tmp_path / "src" / "bin").rmdir()
    assert _run(text, tmp_path, "cat bin/app").stdout == "one\n"
