"""Which program a container starts with, and what a reloader writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.facts import missing
from watcher.compose import BuildSpec, ServiceSpec
from watcher.daemon.service_config import notices_of
from watcher.deploy import SourceMount
from watcher.deploy.live_reloader import outputs, start_command


def service(root: Path, **given: object) -> ServiceSpec:
    return ServiceSpec(name="svc", project_name="p", image="svc", build=BuildSpec(context=root), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "reloader", "compiles"),
    [
        ('CMD ["air"]', "air", True),
        ('CMD ["air", "-c", ".air.toml"]', "air", True),
        ("CMD air", "air", True),
        ('ENTRYPOINT ["/go/bin/reflex", "-r", "x", "--", "go", "run", "."]', "reflex", True),
        ('ENTRYPOINT ["sh", "-c"]\nCMD ["go mod download && exec air"]', "air", True),
        ('CMD ["go", "run", "github.com/air-verse/air@v1.61.0"]', "air", True),
        ('CMD ["go", "run", "github.com/githubnemo/CompileDaemon/v2@latest"]', "compiledaemon", True),
        ('CMD ["go", "tool", "wgo", "run", "."]', "wgo", True),
        ('CMD ["tini", "--", "gow", "run", "."]', "gow", True),
        ('CMD ["go", "run", "."]', "", True),
        ('CMD ["go", "run", "./cmd/server"]', "", True),
        ('CMD ["go", "version"]', "", False),
        ('CMD ["./server", "air"]', "", False),
        ('CMD ["air"]\nENTRYPOINT ["./server"]', "", False),
        ('CMD ["air"]\nCMD ["./server"]', "", False),
        ("CMD echo air; ./server", "", False),
        ("RUN air", "", False),
    ],
)
def test_what_the_dockerfile_starts(tmp_path: Path, last: str, reloader: str, compiles: bool) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM golang AS a\nCMD reflex\nFROM golang:alpine\n{last}\n")
    found = start_command(service(tmp_path), tmp_path, "Dockerfile")
    assert (found.reloader, found.compiles) == (reloader, compiles)


def test_the_compose_file_wins_over_the_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM golang\nCMD ["./server"]\n')
    assert start_command(service(tmp_path, command=("air",)), tmp_path, "Dockerfile").reloader == "air"
    plain = service(tmp_path, entrypoint=("./server",))
    assert start_command(plain, tmp_path, "Dockerfile").reloader == ""


def test_the_target_stage_is_what_counts(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM golang AS dev\nCMD ["air"]\nFROM alpine\nCMD ["./server"]\n')
    spec = ServiceSpec(
        name="svc", project_name="p", image="svc", build=BuildSpec(context=tmp_path, target="dev")
    )
    assert start_command(spec, tmp_path, "Dockerfile").reloader == "air"
    assert start_command(service(tmp_path), tmp_path, "Dockerfile").reloader == ""


@pytest.mark.parametrize("text", ["", "FROM\n", "nonsense", "\x00", "FROM golang\nCMD [\n"])
def test_a_dockerfile_that_is_none_starts_nothing_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    assert start_command(service(tmp_path), tmp_path, "Dockerfile").reloader == ""
    assert start_command(service(tmp_path), tmp_path, "missing").reloader == ""


@pytest.mark.parametrize(
    ("config", "written"),
    [
        (None, ("tmp",)),
        ('tmp_dir = "build/air"\n', ("build/air",)),
        ("[build]\n", ("tmp",)),
        ("tmp_dir = 7\n", ()),
        ('tmp_dir = "../away"\n', ()),
        ('tmp_dir = "."\n', ()),
        ("this is no toml", ("tmp",)),
    ],
)
def test_what_air_writes_stands_in_its_configuration(
    tmp_path: Path, config: str | None, written: tuple[str, ...]
) -> None:
    if config is not None:
        (tmp_path / ".air.toml").write_text(config)
    command = start_command(service(tmp_path, command=("air",)), tmp_path, "Dockerfile")
    assert outputs(command, tmp_path) == written


def test_the_configuration_that_air_is_told_wins(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('tmp_dir = "out"\n')
    command = start_command(service(tmp_path, command=("air", "-c", "other.toml")), tmp_path, "Dockerfile")
    assert outputs(command, tmp_path) == ("out",)


def test_what_it_means_is_said_only_where_sources_are_mounted(tmp_path: Path) -> None:
    command = start_command(service(tmp_path, command=("air",)), tmp_path, "Dockerfile")
    assert list(notices_of(command, ())) == []
    mounted, compiles = notices_of(command, (SourceMount("/app", "", read_only=False),))
    assert missing(mounted, "save", "replaces the container") == []
    assert missing(mounted, "air", "reloads") == []
    assert "deploy.startup_timeout bounds it" in compiles
