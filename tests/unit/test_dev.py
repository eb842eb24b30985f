"""What ./dev decides, with stand-ins for the programs it calls; and the example project it starts from."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.facts import missing

ROOT = Path(__file__).parents[2]
TOOLS = [
    *(
        "awk",
        "basename",
        "cat",
        "chmod",
        "cp",
        "cut",
        "date",
        "dirname",
        "env",
        "find",
        "flock",
        "grep",
        "head",
        "id",
    ),
    *(
        "ls",
        "mkdir",
        "mktemp",
        "mv",
        "rm",
        "sed",
        "sh",
        "sha256sum",
        "sleep",
        "sort",
        "tail",
        "timeout",
        "touch",
        "tr",
    ),
    "nproc",
    "uname",
]

# Makes an environment whose python writes down how it is called; its pip makes a uv that does the same.
PYTHON = """#!/bin/sh
case "$*" in
    "-I -c"*) exit ${PYTHON_TOO_OLD:-0} ;;
    "-m venv --without-pip --clear "*)
        echo "venv" >>"$CALLS"
        mkdir -p "$5/bin" "$5/lib/python3.11/site-packages"
        cp "$0" "$5/bin/python" ;;
    *"/pip.py config list") printf '%s\n' "$PIP_CONFIG" ;;
    *"/pip.py "*)
        case "$*" in *"/pip.py config list -- "*) printf '%s\n' "$PIP_CONFIG" ;; esac
        echo "pip user=${PIP_USER-unset} cert=${PIP_CERT-unset}: $*" >>"$CALLS"
        [ -z "${PIP_FAILS:-}" ] || exit 1
        [ -n "${NO_UV:-}" ] || cp "$UV" "$(dirname "$0")/uv" ;;
    *)
        echo "python pid=$$ $*" >>"$CALLS"
        case "$*" in *"${FAILING:-no such call}"*) exit 1 ;; esac ;;
esac
"""

UV = """#!/bin/sh
index=${UV_DEFAULT_INDEX-unset} more=${UV_INDEX-unset}
cert=${SSL_CERT_FILE-unset} constraint=${UV_CONSTRAINT-unset}
echo "uv in $PWD index=$index more=$more cert=$cert constraint=$constraint: $*" >>"$CALLS"
exit ${UV_FAILS:-0}
"""

DOCKER = """#!/bin/sh
case "$1 $2" in
    "version "*) [ -z "$ENGINE_DEAD" ] ;;
    "context "*) echo default ;;
    "image inspect")
        case "$*" in
            *recipe*) echo "${RECIPES-.
.}" | grep . ;;
            *) [ -n "${RECIPES-both}" ] && echo "${STAND_IN:-}" ;;
        esac ;;
    "pull "*) echo "docker $*" >>"$CALLS"; echo "no such host" >&2; exit 1 ;;
esac
"""

MAKE = """#!/bin/sh
if [ "${1:-}" = --recipe ]; then echo 123456789abc; else echo "make" >>"$CALLS"; fi
"""


class Sandbox:
    """A copy of the project's scripts, and a PATH of nothing but the usual tools and what a test adds."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.bin.mkdir()
        self.root.mkdir()
        self.calls_file.touch()
        for name in ("dev", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(ROOT / name, self.root / name)
        shutil.copytree(ROOT / "deploy", self.root / "deploy")
        (self.root / "examples/go-server").mkdir(parents=True)
        shutil.copy(ROOT / "examples/go-server/go.mod", self.root / "examples/go-server/go.mod")
        self.script(self.root / "deploy/bases/make", MAKE)
        self.uv = folder / "uv"
        self.script(self.uv, UV)
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)

    def script(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def add(self, name: str, text: str) -> None:
        self.script(self.bin / name, text)

    def start(self, *args: str, cwd: str | Path = "/", **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "dev"), *args],
            env={
                "PATH": str(self.bin),
                "CALLS": str(self.calls_file),
                "HOME": str(self.root),
                "UV": str(self.uv),
                "PIP_CONFIG": "",
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )

    def run(self, *args: str, cwd: str | Path = "/", **env: str) -> tuple[int, str]:
        """Exit code, and everything that was written."""
        process = self.start(*args, cwd=cwd, **env)
        out, err = process.communicate()
        return process.returncode, out + err

    def calls(self, start: str = "") -> list[str]:
        return [line for line in self.calls_file.read_text().splitlines() if line.startswith(start)]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    made = Sandbox(tmp_path)
    made.add("python3", PYTHON)
    made.add("docker", DOCKER)
    return made


def test_help_names_every_command(sandbox: Sandbox) -> None:
    code, text = sandbox.run("help")
    assert code == 0
    for command in ("run", "watcher", "test", "check", "bench", "engine", "help"):
        assert f"\n  {command} " in text


def test_an_unknown_command_is_refused(sandbox: Sandbox) -> None:
    code, text = sandbox.run("frobnicate")
    assert code == 1
    assert missing(text, "no command", "./dev frobnicate") == []


def test_the_environment_is_made_once_and_filled_again_when_the_lock_changes(sandbox: Sandbox) -> None:
    for _ in range(2):
        assert sandbox.run("watcher", "status")[0] == 0
    assert len(sandbox.calls("venv")) == 1
    (bootstrap,) = sandbox.calls("pip")
    assert "--require-hashes -r" in bootstrap
    (first,) = sandbox.calls("uv")
    assert first.endswith(f"--require-hashes -r {sandbox.root}/requirements.lock")

    with (sandbox.root / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert sandbox.run("watcher", "status")[0] == 0
    assert len(sandbox.calls("venv")) == 1
    assert len(sandbox.calls("pip")) == 1
    assert len(sandbox.calls("uv")) == 2
    assert len(sandbox.calls("python")) == 3


def test_running_installs_nothing_that_only_tests_need(sandbox: Sandbox) -> None:
    code, text = sandbox.run("run")
    assert code == 0
    locked = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0].isalpha()]
    assert missing(text, ".venv", len(locked)) == []
    assert not [call for call in sandbox.calls("uv") if "-dev" in call]

    assert sandbox.run("test", "--unit")[0] == 0
    python = f" pip install --quiet --python {sandbox.root}/.venv/bin/python "
    assert [call.partition(python)[2] for call in sandbox.calls("uv")[1:]] == [
        f"--require-hashes -r {sandbox.root}/requirements-dev.lock",
        f"--no-deps --no-build-isolation -e {sandbox.root}",
    ]
    made = len(sandbox.calls("uv"))
    assert sandbox.run("run")[0] == 0
    assert len(sandbox.calls("uv")) == made, "the environment of the tests has all that running needs"


def test_the_lock_of_the_tests_has_the_versions_of_the_lock_for_running() -> None:
    running, tests = (
        {line for line in (ROOT / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert running < tests


def test_a_copy_of_the_folder_runs_its_own_files(sandbox: Sandbox) -> None:
    assert sandbox.run("watcher", "status")[0] == 0
    original = sandbox.root
    sandbox.root = Path(shutil.copytree(original, original.with_name("copy")))
    assert sandbox.run("watcher", "status")[0] == 0
    (path,) = sandbox.root.glob(".venv/lib/*/site-packages/*.pth")
    assert path.read_text() == f"{sandbox.root}\n"


def test_two_at_once_make_one_environment(sandbox: Sandbox) -> None:
    both = [sandbox.start("watcher", "status") for _ in range(2)]
    for process in both:
        process.communicate()
        assert process.returncode == 0
    assert len(sandbox.calls("venv")) == 1
    assert len(sandbox.calls("python")) == 2


def test_pip_settings_that_send_packages_elsewhere_are_dropped_and_certificates_kept(
    sandbox: Sandbox,
) -> None:
    assert sandbox.run("watcher", "status", PIP_USER="1", PIP_CERT="/some/ca.crt", NO_UV="yes")[0] == 0
    assert sandbox.calls("pip")
    for call in sandbox.calls("pip"):
        assert call.startswith("pip user=unset cert=/some/ca.crt:")


def test_uv_asks_the_indexes_that_are_set_for_pip(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = [
        "global.cert='/company/ca.crt'",
        "global.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'",
        "global.index-url='https://index.example/simple'",
    ]
    env = {"PIP_CONFIG": "\n".join(settings), "UV_CONSTRAINT": "/some/constraints.txt"}
    assert sandbox.run("watcher", "status", cwd=tmp_path, **env)[0] == 0
    (call,) = sandbox.calls("uv")
    assert call.startswith(
        f"uv in {sandbox.root} index=https://index.example/simple "
        "more=https://one.example/simple https://two.example/simple cert=/company/ca.crt constraint=unset:"
    )


def test_what_is_set_for_uv_itself_comes_first_and_what_is_not_set_stays_so(sandbox: Sandbox) -> None:
    env = {"PIP_CONFIG": "global.index-url='https://pip.example'", "UV_DEFAULT_INDEX": "https://uv.example"}
    assert sandbox.run("watcher", "status", **env)[0] == 0
    (call,) = sandbox.calls("uv")
    assert "index=https://uv.example more=unset cert=unset" in call


@pytest.mark.parametrize("trouble", [{"NO_UV": "yes"}, {"UV_FAILS": "2"}])
def test_without_uv_pip_installs_the_packages(sandbox: Sandbox, trouble: dict[str, str]) -> None:
    assert sandbox.run("watcher", "status", **trouble)[0] == 0
    assert sandbox.calls("pip")[-1].endswith(f"--require-hashes -r {sandbox.root}/requirements.lock")


def test_a_uv_on_the_path_is_used_and_none_is_installed(sandbox: Sandbox) -> None:
    sandbox.add("uv", UV)
    settings = "global.index-url='https://index.example/simple'"
    assert sandbox.run("watcher", "status", PIP_CONFIG=settings)[0] == 0
    assert sandbox.calls("pip") == []
    _, call = sandbox.calls("uv")  # the first asks its version
    assert "index=https://index.example/simple" in call
    assert call.endswith(f"--require-hashes -r {sandbox.root}/requirements.lock")


def test_a_uv_on_the_path_that_does_not_run_is_left_alone(sandbox: Sandbox) -> None:
    sandbox.add("uv", "#!/bin/sh\necho 'no version is set' >&2; exit 127\n")
    code, text = sandbox.run("watcher", "status")
    assert (code, "no version is set" in text) == (0, False)
    assert len(sandbox.calls("pip")) == 1


def test_the_pip_that_python_carries_runs_without_being_installed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python, settings = tmp_path / "venv/bin/python", tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://index.example/simple\n")
    command: list[str | Path] = [
        python,
        "-I",
        ROOT / "deploy/lib/pip.py",
        "config",
        "list",
        "--",
        "--version",
    ]
    env = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": str(settings)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    *listed, version = done.stdout.splitlines()
    assert "global.index-url='https://index.example/simple'" in listed
    assert version.startswith("pip ")
    assert not list(tmp_path.glob("venv/lib/*/site-packages/pip*"))


def test_a_failed_installation_is_one_sentence_and_tried_again(sandbox: Sandbox) -> None:
    code, text = sandbox.run("watcher", "status", PIP_FAILS="1")
    assert code == 1
    assert "could not be installed" in text
    assert not sandbox.calls("python")
    assert sandbox.run("watcher", "status")[0] == 0
    assert len(sandbox.calls("python")) == 1


def test_an_old_python_without_apt_is_named(sandbox: Sandbox) -> None:
    code, text = sandbox.run("watcher", "status", PYTHON_TOO_OLD="1")
    assert code == 1
    assert missing(text, "3.11", "python3 python3-venv") == []


def test_run_becomes_the_python_process_with_the_example_as_project(sandbox: Sandbox) -> None:
    process = sandbox.start("run", "--plain")
    process.communicate()
    assert process.returncode == 0
    (call,) = sandbox.calls("python")
    assert (
        call == f"python pid={process.pid} -m watcher run --project {sandbox.root}/examples/go-server --plain"
    )


@pytest.mark.parametrize("option", [["--project", "x"], ["--project=x"]])
def test_run_keeps_a_project_that_is_given(sandbox: Sandbox, option: list[str]) -> None:
    assert sandbox.run("run", *option)[0] == 0
    (call,) = sandbox.calls("python")
    assert call.endswith(" -m watcher run " + " ".join(option))


def test_images_that_are_there_are_left_alone(sandbox: Sandbox) -> None:
    code, text = sandbox.run("engine")
    assert (code, text) == (0, "")
    assert sandbox.calls() == []


def test_stand_ins_of_this_recipe_are_used_and_named_loudly(sandbox: Sandbox) -> None:
    code, text = sandbox.run("engine", RECIPES="123456789abc.\n123456789abc.", STAND_IN="true")
    assert code == 0
    assert "PLACEHOLDERS" in text
    assert sandbox.calls() == []


def test_stand_ins_of_another_recipe_are_made_again_without_asking_a_registry(sandbox: Sandbox) -> None:
    assert sandbox.run("engine", RECIPES="000000000000.\n000000000000.", STAND_IN="true")[0] == 0
    assert sandbox.calls() == ["make"]


def test_absent_images_are_asked_for_before_stand_ins_are_made(sandbox: Sandbox) -> None:
    _, text = sandbox.run("engine", RECIPES="")
    assert sandbox.calls() == ["docker pull golang:alpine", "make"]
    assert missing(text, "golang:alpine", "no such host") == []


def no_docker(sandbox: Sandbox) -> None:
    (sandbox.bin / "docker").unlink()


def an_ordinary_user(sandbox: Sandbox) -> None:
    no_docker(sandbox)
    sandbox.add("apt-get", "#!/bin/sh\necho apt-get >>$CALLS\n")
    sandbox.add("id", '#!/bin/sh\n[ "$1" = -u ] && echo 1000 || echo somebody\n')


def failing_apt(sandbox: Sandbox) -> None:
    no_docker(sandbox)
    sandbox.add("apt-get", "#!/bin/sh\necho 'E: Unable to locate package'\nexit 100\n")
    sandbox.add("id", "#!/bin/sh\necho 0\n")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"DOCKER_HOST": "tcp://192.0.2.1:2375"},
            "DOCKER_HOST=tcp://192.0.2.1:2375",
        ),
        ({"DOCKER_CONTEXT": "far"}, 'docker context "far"'),
    ],
)
def test_an_engine_elsewhere_that_is_silent_is_named(
    sandbox: Sandbox, env: dict[str, str], says: str
) -> None:
    code, text = sandbox.run("engine", ENGINE_DEAD="1", **env)
    assert code == 1
    assert says in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (no_docker, "install docker.io by hand"),
        (an_ordinary_user, "administrator for: apt-get"),
        (failing_apt, "failed (E: Unable"),
    ],
)
def test_an_engine_that_cannot_be_installed_is_explained(
    sandbox: Sandbox, prepare: Callable[[Sandbox], None], says: str
) -> None:
    prepare(sandbox)
    code, text = sandbox.run("engine")
    assert code == 1
    assert says in text


def full_disk(sandbox: Sandbox, host: str) -> None:
    """5,000 MB are free where the engine at `host` says that it keeps its data."""
    answers = f'    "info "*) echo /engine ;;\n    "context inspect") echo {host} ;;\n    "context "'
    sandbox.add("docker", DOCKER.replace('    "context "', answers))
    sandbox.add(
        "df", '#!/bin/sh\necho "Filesystem 1M-blocks Used Available"; echo "/dev/x 100000 95000 5000"\n'
    )


def test_all_tests_do_not_start_on_a_disk_that_they_would_fill(sandbox: Sandbox) -> None:
    full_disk(sandbox, "unix:///var/run/docker.sock")
    code, text = sandbox.run("test")
    assert code == 1
    assert missing(text, "./dev test", "8000 MB", "/engine", "5000 MB") == []
    assert not sandbox.calls("python")


def test_the_unit_tests_need_no_engine(sandbox: Sandbox) -> None:
    code, _ = sandbox.run("test", "--unit", "-k", "words", ENGINE_DEAD="yes")
    assert code == 0
    (call,) = sandbox.calls("python")
    assert call.endswith(" --dist worksteal -m not thorough -k words tests/unit")


def test_a_failure_of_the_unit_tests_is_reported_after_the_others_ran(sandbox: Sandbox) -> None:
    for name in ("go", "promtool", "prometheus", "chromium", "docker-compose", "openssl"):
        sandbox.add(name, "#!/bin/sh\necho go9.9\n")
    code, text = sandbox.run("test", FAILING="--cov ")
    parts = [" ".join(call.split()[2:5]) for call in sandbox.calls("python")]
    assert parts[:3] == ["-m pytest -n", "-m pytest tests", "-m coverage json"]
    assert "coverage_floors.py" in parts[3]
    assert (code, "tests failed; see above" in text) == (1, True)


def test_this_machines_disk_says_nothing_of_an_engine_elsewhere(sandbox: Sandbox) -> None:
    full_disk(sandbox, "tcp://192.0.2.1:2375")
    assert "make room" not in sandbox.run("test")[1]


def test_the_recipe_of_the_stand_ins_changes_with_each_of_its_files(tmp_path: Path) -> None:
    bases = shutil.copytree(ROOT / "deploy/bases", tmp_path / "bases")

    def recipe() -> str:
        return subprocess.run([bases / "make", "--recipe"], check=True, capture_output=True, text=True).stdout

    seen = {recipe()}
    assert recipe() in seen
    for path in (bases / "make", bases / "packages", *(bases / "image").iterdir()):
        with path.open("a") as file:
            file.write("# changed\n")
        assert recipe() not in seen, path.name
        seen.add(recipe())


def test_the_examples_dockerfile_is_the_articles() -> None:
    lines = (ROOT / "examples/go-server/Dockerfile").read_text().splitlines()
    assert [line for line in lines if line] == [
        "FROM golang:alpine AS builder",
        "LABEL stage=builder",
        "RUN apk add --no-cache gcc libc-dev",
        "WORKDIR /workspace",
        "COPY . .",
        "RUN CGO_ENABLED=0 GOOS=linux go build -a -o mygoexecutable .",
        "FROM alpine AS final",
        "ARG ENV",
        "COPY --from=builder /workspace/mygoexecutable .",
        "COPY --from=builder /workspace/_envs/env_$ENV.yaml ./_envs/",
        'CMD ["./mygoexecutable"]',
    ]


@pytest.mark.parametrize(
    ("file", "env", "image", "container", "port"),
    [
        ("docker-compose-dev.yml", "dev", "go-server-dev", "go-server-box-dev", "9000:9000"),
        ("docker-compose.yml", "prod", "go-server", "go-server-box", "4445:9000"),
    ],
)
def test_both_compose_files_say_what_the_article_says(
    file: str, env: str, image: str, container: str, port: str
) -> None:
    example = ROOT / "examples/go-server"
    assert yaml.safe_load((example / file).read_text()) == {
        "version": "3.5",
        "services": {
            "go-server": {
                "build": {"context": ".", "args": {"ENV": env}},
                "image": image,
                "container_name": container,
                "ports": [port],
            }
        },
    }
    assert yaml.safe_load((example / f"_envs/env_{env}.yaml").read_text())["environment"] == env


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A repository with Python files named like modules that the program, or what starts it, imports."""
    folder = tmp_path / "hostile"
    for name in (
        *("config", "watcher", "queue", "json", "re2", "rich", "docker", "venv", "ensurepip", "pip"),
        *("sitecustomize", "usercustomize", "typing", "encodings", "uvloop", "yaml"),
    ):
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"import os; os.write(2, b'{name} of the repository ran'); os._exit(9)")
    return folder


@pytest.mark.thorough
def test_no_module_of_the_folder_one_stands_in_runs(sandbox: Sandbox, hostile: Path) -> None:
    real = PYTHON.replace('*) echo "python pid=$$ $*" >>"$CALLS"', f'*) exec {sys.executable} "$@"')
    sandbox.add("python3", real.replace("exit ${PYTHON_TOO_OLD:-0}", f'exec {sys.executable} "$@"'))
    bare = [sys.executable, "-m", "watcher"]
    unsafe = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    assert b" ran" in subprocess.run(bare, cwd=hostile, env=unsafe, capture_output=True, check=False).stderr
    for path in ("", ":", "."):
        code, text = sandbox.run("watcher", "--version", cwd=hostile, PYTHONPATH=path)
        assert "of the repository ran" not in text
        assert code == 0


@pytest.mark.parametrize("forbidden", [{}, {"PYTHONDONTWRITEBYTECODE": "1"}])
def test_python_may_write_bytecode_into_its_environment(sandbox: Sandbox, forbidden: dict[str, str]) -> None:
    """Without bytecode each start compiles all modules. Forbidden beside the sources, it goes into .venv."""
    lines = 'echo "without ${PYTHONDONTWRITEBYTECODE-unset} prefix ${PYTHONPYCACHEPREFIX-unset}" >>"$CALLS"'
    sandbox.add("python3", PYTHON.replace('"-I -c"*)', f'"-m watcher"*) {lines} ;;\n    "-I -c"*)'))
    code, _ = sandbox.run("watcher", "--version", **forbidden)
    assert code == 0
    prefix = "/.venv/bytecode" if forbidden else "unset"
    assert any("without unset" in call and call.endswith(prefix) for call in sandbox.calls())


def test_no_module_of_the_project_runs_in_the_container(hostile: Path) -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT ")]
    command = json.loads(entry.removeprefix("ENTRYPOINT "))
    assert command[0].endswith("/python")
    there = [sys.executable, *command[1:], "--version"]
    done = subprocess.run(there, cwd=hostile, capture_output=True, text=True, check=False)
    assert "of the repository ran" not in done.stderr
    assert done.returncode == 0
