"""`watcher init`: what it writes for projects of many shapes."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from tests.platforms import AMD64
from watcher.cli import commands
from watcher.cli.init_plan import plan_project
from watcher.cli.init_sources import find_main_packages, find_port, read_module
from watcher.compose import load as load_compose
from watcher.dockerfile import ImageConfig, ReviewInput, Severity, review
from watcher.errors import ConfigError

DOCKER = {
    "Dockerfile",
    ".dockerignore",
    "_envs/env_dev.yaml",
    "_envs/env_prod.yaml",
    "docker-compose-dev.yml",
    "docker-compose.yml",
}
SETTINGS = {"watcher.toml", "watcher.schema.json"}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def init(root: Path, **options: object) -> int:
    given = {
        "force": False,
        "every": False,
        "main": None,
        "settings_only": False,
        "schema_only": False,
    } | options
    return commands.init(load(project=root), **given)  # type: ignore[arg-type]


def test_an_empty_module_gets_a_program_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"go.mod": "module example.com/shop/v2\n\ngo 1.22\n"})
    assert init(tmp_path) == 0
    written = {line.partition("wrote ")[2] for line in capsys.readouterr().out.splitlines()}
    assert {str(tmp_path / name) for name in {*DOCKER, "main.go", *SETTINGS}} <= written
    project = load_compose(tmp_path / "docker-compose-dev.yml", env={})
    (service,) = project.services.values()
    assert (service.name, service.image) == ("shop", "shop-dev")
    assert [str(port) for port in service.ports] == ["9000:9000"]
    text = (tmp_path / "Dockerfile").read_text()
    files = frozenset(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    given = ReviewInput(
        build_args=service.build.args if service.build else {},
        target=None,
        platforms=AMD64,
        bases={name: ImageConfig() for name in ("golang:alpine", "alpine")},
        files=files,
    )
    assert {each.severity for each in review(text, given)} == {Severity.TASTE}
    if go := shutil.which("go"):
        subprocess.run([go, "vet", "."], cwd=tmp_path, check=True, timeout=100)


def test_what_exists_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"go.mod": "module shop\n", "main.go": "package main\n", "Dockerfile": "FROM mine\n"})
    init(tmp_path)
    assert (tmp_path / "Dockerfile").read_text() == "FROM mine\n"
    assert "Dockerfile is there already" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--force replaces it"):
        init(tmp_path)
    assert init(tmp_path, force=True) == 0


@pytest.mark.parametrize("name", ["compose.yaml", "docker-compose-dev.yml"])
def test_a_compose_file_is_used_as_it_is(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"go.mod": "module shop\n", name: "services: {}\n"})
    assert set(plan_project(tmp_path).files) == SETTINGS


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["compose.dev.yaml"], "compose.dev.yaml"),
        (["docker-compose.local.yml", "compose.override.yml"], "docker-compose.local.yml"),
        (["a-compose.yml", "b-compose.yml"], None),
    ],
)
def test_a_compose_file_with_another_name_is_a_setting(
    tmp_path: Path, files: list[str], expected: str | None
) -> None:
    write(tmp_path, dict.fromkeys(files, "services: {}\n"))
    init(tmp_path)
    settings = tomllib.loads((tmp_path / "watcher.toml").read_text())
    assert settings.get("compose_file") == expected
    load(project=tmp_path)


def test_all_writes_every_setting_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, {"go.mod": "module shop\n"})
    init(tmp_path, every=True)
    assert {path.name for path in tmp_path.iterdir()} == {"go.mod", *SETTINGS}
    assert "#go_cache_max" in (tmp_path / "watcher.toml").read_text()


def test_without_a_module_nothing_is_guessed(tmp_path: Path) -> None:
    plan = plan_project(tmp_path)
    assert set(plan.files) == SETTINGS
    assert "go mod init" in plan.notes[0]


def test_of_several_main_packages_one_is_chosen(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "go.mod": "module shop\n",
            "cmd/api/main.go": "package main\n",
            "cmd/it's/main.go": "// x\n\npackage main\n",
            "cmd/api/main_test.go": "package main\n",
            "vendor/x/main.go": "package main\n",
            "other/go.mod": "module other\n",
            "other/main.go": "package main\n",
            "lib/lib.go": "package lib\n",
        },
    )
    assert find_main_packages(tmp_path) == ["./cmd/api", "./cmd/it's"]
    with pytest.raises(ConfigError, match="choose one with --main"):
        plan_project(tmp_path)
    with pytest.raises(ConfigError, match="must be one of"):
        plan_project(tmp_path, main="./lib")
    assert "mygoexecutable ./cmd/api\n" in plan_project(tmp_path, main="./cmd/api").files["Dockerfile"]
    assert """'./cmd/it'"'"'s'""" in plan_project(tmp_path, main="./cmd/it's").files["Dockerfile"]


@pytest.mark.parametrize(
    ("source", "port"),
    [
        ('http.ListenAndServe(":8080", nil)', 8080),
        ('net.Listen("tcp", "0.0.0.0:7000")', 7000),
        ('router.Run(":9999")', 9999),
        ('http.Server{Addr: ":8081"}', 8081),
        ("http.ListenAndServe(address, nil)", None),
        ('http.ListenAndServe(":80", nil); http.ListenAndServe(":81", nil)', None),
        ('http.ListenAndServe(":99999", nil)', None),
    ],
)
def test_the_port_is_that_of_the_sources_if_they_name_one(
    tmp_path: Path, source: str, port: int | None
) -> None:
    write(tmp_path, {"go.mod": "module shop\n", "main.go": f"package main\nfunc main() {{ {source} }}\n"})
    assert find_port(tmp_path) == port
    assert f'"9000:{port or 9000}"' in plan_project(tmp_path).files["docker-compose-dev.yml"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("example.com/a/Shop_API", "shop-api"),
        ('"quoted.org/x"', "x"),
        ("on", "app-on"),
        ("1", "app-1"),
        ("é", "app"),
    ],
)
def test_the_service_has_a_name_that_compose_takes(tmp_path: Path, module: str, name: str) -> None:
    write(tmp_path, {"go.mod": f"// a comment\nmodule {module}\n"})
    assert read_module(tmp_path) == module.strip('"')
    plan = plan_project(tmp_path)
    write(tmp_path, plan.files)
    assert list(load_compose(tmp_path / "docker-compose.yml", env={}).services) == [name]


MAIN = "package main\n\nfunc main() {}\n"
MOD = "module example.com/Shop.API\n\ngo 1.22\n"
SERVING = 'package main\n\nimport "net/http"\n\nfunc main() {\n\thttp.ListenAndServe(":8080", nil)\n}\n'
# What lies in the project; texts that stand in the Dockerfile, and in the compose file.
SHAPES: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    "one command in a folder": (
        {"go.mod": MOD, "cmd/api/main.go": MAIN},
        ["go build -o mygoexecutable ./cmd/api", "go mod download", "CGO_ENABLED=0"],
        ["  shop-api:", '"9000:9000"', "ENV: dev"],
    ),
    "a generator that go ignores": (
        {"go.mod": MOD, "cmd/api/main.go": MAIN, "gen/gen.go": f"//go:build ignore\n\n{MAIN}"},
        ["./cmd/api"],
        ["shop-api"],
    ),
    "a nested module": (
        {"go.mod": MOD, "main.go": MAIN, "tools/go.mod": MOD, "tools/main.go": MAIN},
        ["go build -o mygoexecutable .\n"],
        [],
    ),
    "a library": (
        {"go.mod": MOD, "shop.go": "package shop\n"},
        ["go build -o mygoexecutable ./cmd/shop-api"],
        [],
    ),
    "vendored modules": (
        {"go.mod": MOD, "main.go": MAIN, "vendor/modules.txt": "# x\n"},
        ["WORKDIR /workspace\nCOPY . ."],
        [],
    ),
    "cgo": (
        {"go.mod": MOD, "main.go": 'package main\n\nimport "C"\n\nfunc main() {}\n'},
        ["apk add --no-cache gcc libc-dev", "CGO_ENABLED=1"],
        [],
    ),
    "sqlite": (
        {"go.mod": f"{MOD}\nrequire github.com/mattn/go-sqlite3 v1.14.22\n", "main.go": MAIN},
        ["CGO_ENABLED=1"],
        [],
    ),
    "a port from a flag": (
        {"go.mod": MOD, "main.go": 'package main\n\nvar addr = flag.String("addr", ":8081", "where")\n'},
        [],
        ['"9000:8081"'],
    ),
    "a port from the environment": (
        {"go.mod": MOD, "main.go": 'package main\n\nvar port = os.Getenv("PORT")\n'},
        [],
        ["environment:", 'PORT: "9000"', '"9000:9000"'],
    ),
    "an address from the environment": (
        {"go.mod": MOD, "main.go": SERVING + 'var a = os.Getenv("HTTP_ADDR")\n'},
        [],
        ['HTTP_ADDR: ":8080"', '"9000:8080"'],
    ),
    "a workspace": (
        {"go.work": "go 1.22\n\nuse ./api\n", "api/go.mod": MOD, "api/main.go": MAIN},
        ["WORKDIR /workspace\nCOPY . .", "go build -o mygoexecutable ./api"],
        [],
    ),
}


@pytest.mark.parametrize(("files", "dockerfile", "compose"), SHAPES.values(), ids=SHAPES.keys())
def test_what_is_written_fits_the_project(
    tmp_path: Path, files: dict[str, str], dockerfile: list[str], compose: list[str]
) -> None:
    write(tmp_path, files)
    assert init(tmp_path) == 0
    text, services = (tmp_path / "Dockerfile").read_text(), (tmp_path / "docker-compose-dev.yml").read_text()
    assert [each for each in dockerfile if each not in text] == []
    assert [each for each in compose if each not in services] == []
    (service,) = load_compose(tmp_path / "docker-compose-dev.yml", env={}).services.values()
    assert service.build


def test_a_program_for_a_library_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path, {"go.mod": MOD, "shop.go": "package shop\n"})
    assert init(tmp_path) == 0
    assert not (tmp_path / "main.go").exists()
    assert find_main_packages(tmp_path) == ["./cmd/shop-api"]


def test_a_dockerfile_of_the_user_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = 'FROM golang:alpine\nCOPY . .\nRUN go build -o /app .\nEXPOSE 7000\nCMD ["/app"]\n'
    write(tmp_path, {"go.mod": MOD, "main.go": MAIN, "Dockerfile": own})
    assert init(tmp_path) == 0
    assert (tmp_path / "Dockerfile").read_text() == own
    assert not (tmp_path / "_envs").exists()
    services = (tmp_path / "docker-compose-dev.yml").read_text()
    assert '"9000:7000"' in services
    assert "ENV" not in services
    said = capsys.readouterr().out
    assert missing(said, "Dockerfile", "stays", "your Dockerfile", 7000, "http://localhost:9000") == []


def test_a_compose_file_in_a_folder_is_used_and_of_several_one_is_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"go.mod": MOD, "deploy/compose.yaml": "services: {web: {build: ..}}\n"})
    assert init(tmp_path) == 0
    assert tomllib.loads((tmp_path / "watcher.toml").read_text())["compose_file"] == "deploy/compose.yaml"
    write(tmp_path, {"dev/docker-compose.yml": "services: {web: {build: ..}}\n"})
    capsys.readouterr()
    assert init(tmp_path, force=True) == 0
    said = capsys.readouterr().out
    assert missing(said, "compose_file", "deploy/compose.yaml", "dev/docker-compose.yml") == []
    assert not (tmp_path / "Dockerfile").exists()
