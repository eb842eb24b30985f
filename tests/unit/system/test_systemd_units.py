"""The systemd units that come with the project are ones that systemd takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """A wrong key is only a warning to systemd, and is ignored by it."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("%h/.local/bin/watcher", "/bin/true")  # it must exist
        (tmp_path / unit.name).write_text(text)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", *map(str, tmp_path.glob("watcher.*"))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
