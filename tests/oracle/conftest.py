"""Programs in Go that answer what the original does; each is built once a session."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def go() -> str | None:
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the path of the built program of a folder here. Without Go the test is skipped, but not in CI."""
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            compiler = go()
            if compiler is None:
                message = "there is no go to build the oracle with"
                if os.environ.get("CI"):
                    pytest.fail(message)
                pytest.skip(message)
            binary = tmp_path_factory.mktemp("oracle") / name
            done = subprocess.run(
                [compiler, "build", "-o", binary, "."],
                cwd=Path(__file__).parent / name,
                env={**os.environ, "GOFLAGS": "-mod=readonly"},
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            built[name] = binary
        return built[name]

    return build
