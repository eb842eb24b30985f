"""Which engines can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from watcher.daemon.engine_access import NoBuildKit, check_product
from watcher.engine import SystemInfo

PODMAN = SystemInfo("4.3.1", "1.41", "vfs", "unix:///run/podman.sock", "x86_64", product="Podman")
DOCKER = SystemInfo("28.0", "1.45", "overlay2", "unix:///run/docker.sock", "x86_64")


def test_podman_alone_is_refused_by_name_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NoBuildKit) as error:
        check_product(PODMAN, load(project=tmp_path))
    said = str(error.value)
    assert missing(said, "engine", "unix:///run/podman.sock", "Podman 4.3.1", "no BuildKit") == []
    assert missing(said, "build.buildkit", "buildkitd", "Docker engine") == []


def test_podman_with_a_buildkitd_and_docker_are_used(tmp_path: Path) -> None:
    check_product(PODMAN, load(project=tmp_path, build={"buildkit": "unix:///run/buildkitd.sock"}))
    check_product(DOCKER, load(project=tmp_path))
