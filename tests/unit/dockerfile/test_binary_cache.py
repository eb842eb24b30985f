"""Where the linked program is kept for the next build, and where the text does not allow it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.platforms import AMD64
from watcher.dockerfile import (
    EMPTY_CACHE,
    Accelerated,
    ImageConfig,
    Level,
    TreeInputs,
    accelerate,
    fill_cache,
    is_own_command,
    is_unclaimed_command,
    save_binaries,
)

CACHE = "target=/root/.cache/go-build "
KEPT = re.compile(r"watcher-[\w.-]+-[0-9a-f]{12}")


def accelerated(run: str, *, workdir: str = "/src", target: str | None = None) -> Accelerated:
    """What comes of a RUN in a stage without cgo."""
    text = f"FROM golang AS b\nENV CGO_ENABLED=0\nWORKDIR {workdir}\nCOPY . .\n{run}\n"
    return accelerated_text(text, build_args={}, target=target)


def accelerated_text(text: str, *, build_args: dict[str, str], target: str | None = None) -> Accelerated:
    """What comes of a whole Dockerfile."""
    return accelerate(
        text,
        level=Level.EXACT,
        build_args=build_args,
        target=target,
        platforms=AMD64,
        bases={"golang": ImageConfig(env={"GOPATH": "/go"})},
        cache_scope="p",
        inputs=TreeInputs({}, lambda _: None),
        gogc="",
    )


def made(run: str, *, workdir: str = "/src") -> str:
    """The lines that the accelerated text has for a RUN."""
    return accelerated(run, workdir=workdir).text.split("COPY . .\n")[1]


def test_the_program_is_put_in_place_before() -> None:
    line = made("RUN go build -o app .").split(CACHE)[1]
    kept = f"/root/.cache/go-build/{KEPT.findall(line)[0]}"
    assert line.startswith(f"{{ if [ -f {kept} ] && [ ! -e app ] && ")
    assert line.endswith(
        f"; then cp -p {kept} app || rm -f app; fi; :; }} >/dev/null 2>&1 && go build -o app .\n"
    )


def test_a_command_shows_whose_it_is() -> None:
    """By its text alone, as the engine keeps it with what the command left in the build cache."""
    found = accelerated("RUN go build -o app .")
    (line,) = (line for line in found.text.splitlines() if line.startswith("RUN"))
    keep = save_binaries(found.text, found.programs, "turn").splitlines()[-1]
    for command in (line, keep):
        assert is_own_command(command, "p")
        assert not is_own_command(command, "p-2")
        assert not is_own_command(command, "")
    assert not is_unclaimed_command(line)
    other = line.replace("watcher-p-", "watcher-p-0123456789ab-")
    assert not is_own_command(other, "p"), "a project whose name begins like this one's"
    assert is_own_command(other, "p-0123456789ab")


def test_a_command_of_an_earlier_version_shows_that_a_watcher_wrote_it() -> None:
    earlier = (
        "{ [ -d app -o -h app ] || find . -name '*.go' ! -name '*_test.go' -newer "
        "/root/.cache/go-build/watcher-c683e71ef5f8 -print -quit | grep -q . || :; } 2>/dev/null && "
        "go build -o app ."
    )
    assert is_unclaimed_command(earlier)
    assert not is_own_command(earlier, "p")
    for other in ("go build -o app .", "cp /root/.cache/go-build/watcher-c683e71ef5f8 app", "touch -newer x"):
        assert not is_unclaimed_command(other)


def test_another_stage_keeps_it() -> None:
    found = accelerated("RUN go build -o app .")
    (program,) = found.programs
    kept = program.kept
    assert (program.stage, program.base, program.file) == ("b", "golang", "/src/app")
    lines = save_binaries(found.text, found.programs, "turn").removeprefix(found.text).splitlines()
    bind = "--mount=type=bind,from=b,source=/src/app,target=/watcher-program"
    assert lines[:3] == ["", "FROM golang AS watcher-keeps-programs", "USER 0:0"]
    (line,) = lines[3:]
    assert line.startswith(f"RUN --mount={program.mount} {bind} : turn; ")
    assert line.endswith(
        f"; rm -f {kept}.*; t=$(mktemp {kept}.XXXXXX) "
        f"&& cp -p /watcher-program $t && touch $t && mv $t {kept}"
    )
    assert program.mount == "type=cache,sharing=shared,id=p-gocache,target=/root/.cache/go-build"


@pytest.mark.parametrize(
    ("file", "folders"),
    [("app", "."), ("./app", "."), ("bin/x/app", "./bin/x ./bin ."), ("/out/app", "/out /"), ("/app", "/")],
)
def test_every_folder_above_the_program_is_looked_through(file: str, folders: str) -> None:
    line = made(f"RUN go build -o {file} .")
    assert f"(for d in {folders}; do (cd -P $d || exit 1; until grep -qs go:embed *.go || " in line


def test_git_is_not_asked_for_where_go_does_not_ask_it() -> None:
    assert "type git" in made("RUN go build -o app .")
    for run in ("RUN go build -buildvcs=false -o app .", "RUN GOFLAGS=-buildvcs=false go build -o app ."):
        assert "type git" not in made(run)
        assert "cp -p" in made(run)


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
        "RUN go build -o app $ALL",
        "RUN go build -o app ./$(cat name)",
        "RUN go build -o app ./${UNSET:-x}",
        "RUN go build -o app ./cmd/'$X'$Y",
        "RUN go build -o 'a b' .",
        "RUN go build -n -o app .",
        "RUN go build -json -o app .",
        "RUN go build -buildmode=plugin -o app .",
        "RUN go build -C sub -o app .",
        "RUN go -C sub build -o app .",
        "RUN go build $FLAGS -o app .",
        "RUN go build -o a -o b .",
        "RUN go install .",
        "RUN go build -o x.go .",
        "RUN go build -o lib.syso .",
        "RUN V=$(ls bin) go build -o bin/app .",
        'RUN go build -ldflags "-X main.v=$(ls bin)" -o bin/app .',
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


@pytest.mark.parametrize(
    "later",
    [
        "RUN cat assets.zip >> app",
        "RUN strip app",
        "RUN ./pack.sh",
        "RUN cp app app.debug && strip app",
        "RUN go generate ./...",
        "RUN go test ./...",
        'RUN ["upx", "app"]',
        "RUN <<X\nstrip app\nX",
        "RUN echo x > app",
        "COPY prebuilt/app app",
        "COPY prebuilt .",
        "ADD prebuilt.tar /",
        "COPY x $WHERE",
        "ENV D=/src\nCOPY x ${D}/",
    ],
)
def test_a_program_that_a_later_step_may_change_is_not_kept(later: str) -> None:
    assert not accelerated(f"RUN go build -o app .\n{later}").programs


@pytest.mark.parametrize(
    "later",
    [
        "RUN go build -o other ./other",
        "RUN mkdir -p /data && ls -l app",
        "COPY web /web",
        "COPY run.sh /usr/local/bin/",
        "FROM alpine\nCOPY --from=b /src/app /app\nRUN strip /app",
        "FROM b AS small\nRUN strip app",
        'ENTRYPOINT ["/src/app"]',
    ],
)
def test_a_later_step_that_does_not_touch_the_program_keeps_it(later: str) -> None:
    found = accelerated(f"RUN go build -o app .\n{later}", target="b")
    assert found.programs[0].file == "/src/app"


def test_two_programs_of_one_step_do_not_share_a_place() -> None:
    text = made("RUN go build -o a ./cmd/a && go build -o b ./cmd/b")
    assert len(set(KEPT.findall(text))) == 2


def test_another_working_directory_is_another_place() -> None:
    run = "RUN go build -o app ."
    assert KEPT.findall(made(run)) != KEPT.findall(made(run, workdir="/other"))


@pytest.mark.parametrize("package", ["./$SERVICE", "./cmd/${SERVICE}", '"./$SERVICE"'])
def test_the_programs_of_services_with_one_dockerfile_do_not_share_a_place(package: str) -> None:
    def place(service: str) -> str:
        text = (
            "FROM golang AS b\nENV CGO_ENABLED=0\nARG SERVICE\nWORKDIR /src\n"
            f"COPY . .\nRUN go build -o /out/service {package}\n"
        )
        found = accelerated_text(text, build_args={"SERVICE": service})
        assert f"! find {package} -name" in found.text
        return found.programs[0].kept

    assert place("api") != place("worker")
    assert place("api") == place("api")


@pytest.mark.parametrize("value", ["api -delete", "api\t./worker"])
def test_a_variable_of_several_words_keeps_no_program(value: str) -> None:
    text = (
        "FROM golang AS b\nENV CGO_ENABLED=0\nARG SERVICE\nWORKDIR /src\n"
        "COPY . .\nRUN go build -o app ./$SERVICE\n"
    )
    assert accelerated_text(text, build_args={"SERVICE": "api"}).programs
    assert not accelerated_text(text, build_args={"SERVICE": value}).programs


class Shell:
    """Does with a RUN what a shell does, its `go` being a function and the cache a folder of ours."""

    def __init__(self, run: str, folder: Path) -> None:
        self.sources, self.cache = folder / "src", folder / "cache"
        self.sources.mkdir()
        self.cache.mkdir()
        found = accelerated(run)
        line = found.text.split(CACHE)[1]
        keep = (
            save_binaries(found.text, found.programs, "turn")
            .splitlines()[-1]
            .partition("/watcher-program ")[2]
        )
        keep = keep.replace("/watcher-program", found.programs[0].file.replace("/src", str(self.sources)))
        self.line, self.keep_line = (
            each.replace("/root/.cache/go-build", str(self.cache)) for each in (line, keep)
        )

    def build(self, go: str) -> subprocess.CompletedProcess[str]:
        return self._sh(f"go() {{ {go}\n}}\n{self.line}")

    def keep(self) -> str:
        done = self._sh(self.keep_line)
        assert done.returncode == 0
        return done.stdout

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


def test_the_program_of_a_tree_that_came_back_is_newer_than_its_files(shell: Shell) -> None:
    """It was linked long ago, and an editor has just written the same Go file again."""
    shell.write("x.go", "package x\n")
    shell.build("echo one >app")
    os.utime(shell.sources / "app", (1, 1))
    shell.write("x.go", "package x\n", at=time.time() - 1)
    shell.keep()
    (shell.sources / "app").unlink()
    assert shell.build("cat app").stdout == "one\n"


def test_an_empty_cache_is_said_and_no_other(shell: Shell) -> None:
    shell.write("app", "linked")
    assert shell.keep() == f"{EMPTY_CACHE}\n"
    for name in ("trim.txt", "0a/x-a"):  # go's own, but nothing that it compiled
        (shell.cache / name).parent.mkdir(exist_ok=True)
        (shell.cache / name).write_text("")
    assert shell.keep() == f"{EMPTY_CACHE}\n"
    (shell.cache / "0a" / "x-d").write_text("")
    assert shell.keep() == ""


def test_filling_the_cache_runs_the_steps_that_link_again_with_a_network() -> None:
    found = accelerated_text(
        "FROM golang AS b\nWORKDIR /src\nCOPY . .\nRUN go version\nRUN CGO_ENABLED=0 go build -o app .\n",
        build_args={},
    )
    *before, last = found.text.splitlines()
    offline = last.replace("RUN ", "RUN --network=none ", 1)
    after = fill_cache("\n".join([*before, offline]), found.programs, "turn").splitlines()
    assert after == [*before, "ENV WATCHER_FILLS=turn", last]


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


def test_what_another_program_of_the_tree_is_made_of_does_not_count(tmp_path: Path) -> None:
    made = Shell("RUN go build -o app ./api", tmp_path)
    made.write("api/main.go", "package main\n")
    made.build("echo one >app")
    made.keep()
    (made.sources / "app").unlink()
    later = time.time() + 5
    made.write("worker/main.go", "package main\n", at=later)
    assert made.build("cat app").stdout == "one\n"
    (made.sources / "app").unlink()
    made.write("api/main.go", "package main\n", at=later)
    assert made.build("cat app").returncode != 0


def test_a_folder_of_that_name_is_not_written_into(shell: Shell) -> None:
    (shell.sources / "app").mkdir()
    done = shell.build("ls app")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_means_it_is_a_plain_build(shell: Shell) -> None:
    shell.line = shell.line.replace("cp -p", "no-such-copy").replace("find", "no-such-find")
    done = shell.build("ls; echo two >app")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_that_is_there_is_not_written_over(shell: Shell) -> None:
    """Go refuses to write over one that is no program, and so does the build."""
    shell.write("app", "from the tree\n")
    assert shell.build("cat app").stdout == "from the tree\n"


def test_a_folder_is_made_as_go_would_make_it(tmp_path: Path) -> None:
    shell = Shell("RUN go build -o bin/app .", tmp_path)
    shell.build("mkdir -p bin; echo one >bin/app")
    shell.keep()
    shutil.rmtree(shell.sources / "bin")
    assert shell.build("cat bin/app").stdout == "one\n"


# A state of the folder is what each of these is there or is not; the shell's answer has to be the table's.
FACTS = (
    "kept",  # a program was kept
    "folder",  # the folder of the program is there
    "linked",  # that folder is a link to one elsewhere, whose parent is another
    "file",  # a file of the program's name is there
    "dangling",  # a link of that name, to nothing, is there
    "newer",  # a Go file is newer
    "newer_test",  # a Go file of a test is newer
    "embeds",  # a Go file above embeds
    "embeds_beside",  # one embeds that lies beside the folder, not above it
    "embeds_linked",  # one embeds that lies above where the link leads
    "checkout",  # the tree is a checkout of git's
    "git",  # git is installed
    "deep",  # the tree is ten folders down, and what is above it counts as well
    "embeds_far_above",  # a Go file in the topmost of them embeds
    "broken",  # the copy fails half-way
)
TOOLS = {"find", "grep", "cp", "rm", "mkdir", "ls"}
SHELLS = [
    command
    for command in (["sh"], ["bash"], ["bash", "-e"], ["bash", "-o", "pipefail"], ["busybox", "sh"])
    if shutil.which(command[0])
]


class Outcome:
    """What a state comes to: the program is put in place, and go's status is the line's."""

    def __init__(self, facts: frozenset[str], folder: Path) -> None:
        self.facts, self.folder = facts, folder
        deep = "a/b/c/d/e/f/g/h/i" if "deep" in facts else "."
        self.sources, self.cache, self.tools = (
            folder / "top" / deep / "src",
            folder / "cache",
            folder / "tools",
        )
        for each in (self.sources, self.cache, self.tools):
            each.mkdir(parents=True)
        self.program = self.sources / "bin" / "app"
        self.line = made("RUN go build -o bin/app .").split(CACHE)[1].rstrip("\n")
        (self.kept_name,) = set(KEPT.findall(self.line))
        self.line = self.line.replace("/root/.cache/go-build", str(self.cache))
        self._arrange()

    def _arrange(self) -> None:
        facts = self.facts
        self._write(self.sources / "main.go", "package main\n")
        bin_folder = self.sources / "bin"
        if "linked" in facts:
            (self.folder / "elsewhere" / "deep").mkdir(parents=True)
            bin_folder.symlink_to(self.folder / "elsewhere" / "deep")
        elif "folder" in facts or facts & {"file", "dangling"}:
            bin_folder.mkdir()
        if "dangling" in facts:
            self.program.symlink_to("/nowhere/at/all")
        elif "file" in facts:
            self._write(self.program, "theirs")
        for fact, name, text in (
            ("embeds", "a.go", "//go:embed *\n"),
            ("embeds_beside", "other/a.go", "//go:embed *\n"),
            ("embeds_far_above", self.folder / "top" / "a.go", "//go:embed *\n"),
            ("embeds_linked", self.folder / "elsewhere" / "a.go", "//go:embed *\n"),
        ):
            if fact in facts and (fact != "embeds_linked" or "linked" in facts):
                self._write(self.sources / name, text)
        if "checkout" in facts:
            (self.sources / ".git").mkdir()
        if "kept" in facts:
            self._write(self.cache / self.kept_name, "kept", at=100.0)
        for fact, name in (("newer", "new.go"), ("newer_test", "new_test.go")):
            if fact in facts:
                self._write(self.sources / name, "package main\n", at=200.0)
        for tool in TOOLS | ({"git"} if "git" in facts else set()):
            (self.tools / tool).symlink_to(shutil.which(tool) or "/bin/true")
        if "broken" in facts:
            (self.tools / "cp").unlink()
            self._write(self.tools / "cp", '#!/bin/sh\nfor last; do :; done\necho half >"$last"\nexit 1\n')
            (self.tools / "cp").chmod(0o755)

    @staticmethod
    def _write(path: Path, text: str, *, at: float = 50.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (at, at))

    @property
    def expected(self) -> bool:
        """Whether the program is put in place, by what the module's text says."""
        facts = self.facts
        against = {"file", "dangling", "newer", "embeds", "embeds_far_above", "broken"}
        if "linked" in facts:
            against |= {"embeds_linked"}
        return "kept" in facts and not facts & against and not {"checkout", "git"} <= facts

    def run(self, shell: list[str], status: int) -> subprocess.CompletedProcess[str]:
        script = f"go() {{ echo built; return {status}; }}\n{self.line}"
        return subprocess.run(
            [shutil.which(shell[0]) or shell[0], *shell[1:], "-c", script],
            cwd=self.sources,
            env={"PATH": str(self.tools)},
            text=True,
            capture_output=True,
            check=False,
        )


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.frozensets(st.sampled_from(FACTS)), shell=st.sampled_from(SHELLS), status=st.integers(0, 2))
@example(facts=frozenset({"kept"}), shell=["sh"], status=0)
@example(facts=frozenset({"kept", "embeds"}), shell=["sh"], status=0)
@example(facts=frozenset({"kept", "embeds", "folder"}), shell=["sh"], status=0)
@example(facts=frozenset({"kept", "checkout", "git"}), shell=["sh"], status=0)
@example(facts=frozenset({"kept", "linked", "embeds_linked"}), shell=["sh"], status=0)
@example(facts=frozenset({"kept", "newer", "folder"}), shell=["sh"], status=0)
def test_the_shell_does_what_the_table_says(
    tmp_path_factory: pytest.TempPathFactory, facts: frozenset[str], shell: list[str], status: int
) -> None:
    outcome = Outcome(facts, tmp_path_factory.mktemp("outcome"))
    before = outcome.program.read_text() if outcome.program.exists() else None
    made_folder = outcome.program.parent.exists()
    done = outcome.run(shell, status)
    assert (done.returncode, done.stdout, done.stderr) == (status, "built\n", "")
    if outcome.expected:
        assert outcome.program.read_text() == "kept"
        assert outcome.program.stat().st_mtime == 100.0
    else:
        assert (outcome.program.read_text() if outcome.program.exists() else None) == before
        assert outcome.program.is_symlink() == ("dangling" in facts)
        if "broken" not in facts:
            assert outcome.program.parent.exists() == made_folder  # an empty one could not be embedded
