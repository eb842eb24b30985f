"""How much room the engine's disk has, and when that cannot be seen from here."""

from __future__ import annotations

import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from watcher.engine import SystemInfo
from watcher.prune import Disk, NotMeasured, free_space

INFO = SystemInfo(
    "28", "1.45", "overlay2", "unix:///var/run/docker.sock", "x86_64", host=socket.gethostname()
)


def test_the_data_root_of_an_engine_on_this_machine_is_measured(tmp_path: Path) -> None:
    found = free_space(replace(INFO, data_root=str(tmp_path)))
    assert isinstance(found, Disk)
    assert found.total == shutil.disk_usage(tmp_path).total
    assert 0 < found.free <= found.total


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"endpoint": "tcp://10.0.0.7:2376"}, "the engine is remote, at tcp://10.0.0.7:2376"),
        (
            {"host": "docker-desktop"},
            f"the engine runs on docker-desktop, this process on {socket.gethostname()}",
        ),
        ({"data_root": ""}, "the engine does not report its data folder"),
        ({"data_root": "/no/such/folder"}, "/no/such/folder cannot be read: No such file or directory"),
    ],
)
def test_why_it_cannot_be_measured_is_said(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    change = {"data_root": str(tmp_path), **change}
    assert free_space(replace(INFO, **change)) == NotMeasured(why)
