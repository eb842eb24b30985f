"""HTTP conformance and fuzzing of the front, counted: the tests of tests/unit/front, with more examples.

    ./dev bench conformance                    # 1,000 examples for each property
    ./dev bench conformance --examples 20000   # an hour or so

Counts: malformed request heads and bad chunks that must be refused; runs of each property, on asyncio's
loop and on uvloop. Any sequence of valid exchanges passes unchanged on the backend of its moment; no
mutated stream lets a backend, which reads with h11 and not with the front's parser, see a request that
the front does not know of; no answer of a backend makes the front fail. Real programs take part, too:
gRPC, TLS, WebSockets, curl.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.unit.front.test_framing import BAD_CHUNKS, REFUSED

ROOT = Path(__file__).resolve().parent.parent
_TEST = re.compile(r"^tests/unit/front/(\S+?)\.py::(\w+):$")
_RUNS = re.compile(r"(\d+) passing, (\d+) failing, and (\d+) invalid test cases")


def count_examples(output: str) -> dict[str, tuple[int, int, int]]:
    """Passing, failing and invalid examples of each property, all phases together."""
    counts: dict[str, tuple[int, int, int]] = {}
    test = ""
    for line in output.splitlines():
        if match := _TEST.match(line.strip()):
            test = match[2]
        elif test and (match := _RUNS.search(line)):
            before = counts.get(test, (0, 0, 0))
            counts[test] = tuple(a + int(b) for a, b in zip(before, match.groups(), strict=True))  # type: ignore[assignment]
    return counts


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--examples", type=int, default=1000, help="for each property")
    options = parser.parse_args()
    command = [sys.executable, "-m", "pytest", "tests/unit/front", "-q", "--timeout", "0"]
    done = subprocess.run(
        [*command, "--hypothesis-show-statistics"],
        cwd=ROOT,
        env={**os.environ, "FRONT_EXAMPLES": str(options.examples)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout)
    print(f"malformed request heads that are refused, whatever the split and the method: {len(REFUSED)}")
    print(f"bad chunked bodies that are refused, whole and byte by byte: {len(BAD_CHUNKS)}")
    counts = count_examples(done.stdout)
    for test, (passing, failing, invalid) in counts.items():
        name = test.removeprefix("test_").replace("_", " ")
        print(f"{passing:8} runs, {failing} failed, {invalid} not valid: {name}")
    print(f"{sum(passing for passing, _, _ in counts.values()):8} runs in all")
    print(done.stdout.strip().splitlines()[-1])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
