"""BuildKit's own parser and word expansion, asked as a program of their code: `tests/oracle/dockerfile`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[2] / "oracle" / "dockerfile"


class Oracle:
    """Answers one question after the other; `asked` counts them by kind."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asked: Counter[str] = Counter()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def parse(self, text: str) -> dict[str, Any]:
        """What the parser makes of a Dockerfile; `error`, or `refused` by the reader of instructions."""
        self.asked["Dockerfiles"] += 1
        return self._ask({"Text": text})

    def expand(self, word: str, env: Mapping[str, str], escape: str = "\\") -> str | None:
        """The word with variables put in; None where BuildKit refuses it."""
        self.asked["words"] += 1
        answer = self._ask({"Text": word, "Env": env, "Escape": escape})
        return None if "error" in answer else answer["word"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def started(folder: Path) -> Iterator[Oracle]:
    """Build the program, and end it at last. Skips without go, unless in CI, where it has to be there."""
    go = shutil.which("go")
    if go is None:
        assert "CI" not in os.environ, "go is missing, and CI has to compare with BuildKit's own code"
        pytest.skip("needs go")
    program = folder / "oracle"
    subprocess.run([go, "build", "-o", program, "."], cwd=SOURCES, check=True, timeout=300)
    oracle = Oracle(program)
    try:
        yield oracle
    finally:
        oracle.close()
