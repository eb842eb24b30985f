"""Run a thousand random edits on the example, with the real daemon and engine: `./dev bench edits`.

The edits change, create, rename, remove, revert, check out and break files, with short pauses. From time to
time and at the end, `watcher wait` must report the tree on disk correctly: live, or failed if it does not
compile. At the end the binary of the live container is compared, byte for byte, with that of a plain build of
the same folder from scratch (the engine's classic builder, no cache, without the watcher).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tarfile
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import docker

from tests.e2e.conftest import Project, clean_up
from tests.e2e.plain_build import build_from_scratch
from tests.e2e.writer import Writer

BINARY = "/mygoexecutable"


def tree_digest(client: docker.DockerClient, image: str) -> str:
    """Return the SHA-256 of the program in an image."""
    made = client.api.create_container(image, command="x")["Id"]
    try:
        stream, _ = client.api.get_archive(made, BINARY)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            file = archive.extractfile(BINARY.strip("/"))
            assert file is not None
            return hashlib.sha256(file.read()).hexdigest()
    finally:
        client.api.remove_container(made)


def plain_build(client: docker.DockerClient, project: Project) -> str:
    """Build the folder from scratch; return the image id."""
    begun = time.monotonic()
    image = build_from_scratch(client, project.folder, {"ENV": "dev"}, f"{project.id}:plain")
    print(f"plain build from scratch: {time.monotonic() - begun:.0f} s", flush=True)
    return image


def judge_edit(project: Project, writer: Writer) -> str:
    """Return what `wait` reports for the current tree; a wrong answer ends the run."""
    settled, truth = project.wait(), "failed" if writer.broken else "live"
    if settled["outcome"] != truth:
        print("".join(project.output[-60:]))
        sys.exit(f"wait says {settled['outcome']}, but the tree is {truth}: {settled}")
    return truth


def run_edits(edits: int, pause: float, every: int, seed: int) -> None:
    client = docker.from_env(timeout=1800)
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory) / f"edits-{uuid.uuid4().hex[:8]}")
        writer = Writer(project.folder, seed)
        try:
            project.start()
            begun = time.monotonic()
            while project.wait()["outcome"] == "timeout":
                pass  # a cold compile can take longer than one wait
            print(f"first version live after {time.monotonic() - begun:.0f} s", flush=True)
            begun, acts, verdicts = time.monotonic(), Counter[str](), Counter[str]()
            for number in range(1, edits + 1):
                acts[writer.act()] += 1
                time.sleep(writer.chance.uniform(0.0, 2 * pause))
                if number % every == 0:
                    verdicts[judge_edit(project, writer)] += 1
                    print(f"{number} edits, {time.monotonic() - begun:.0f} s", flush=True)
            writer.repair()
            verdicts[judge_edit(project, writer)] += 1
            print_report(project, acts, verdicts, time.monotonic() - begun)
            compare_trees(client, project)
        finally:
            if project.process:
                project.stop()
            clean_up(client, project)


def print_report(project: Project, acts: Counter[str], verdicts: Counter[str], seconds: float) -> None:
    metrics = project.metrics()
    print(f"{acts.total()} edits in {seconds:.0f} s: {dict(acts.most_common())}")
    print(f"wait was right each time: {dict(verdicts)}")
    for what in ("builds", "deploys"):
        name = f"watcher_{what}_total"
        counts = {
            key.split('outcome="')[1].split('"')[0]: round(value)
            for key, value in metrics.items()
            if key.startswith(name) and value
        }
        print(f"{what}: {counts}")
    errors = sum(value for key, value in metrics.items() if key.startswith("watcher_internal_errors_total"))
    print(f"errors of the watcher itself: {errors:.0f}")
    if errors:
        print("".join(project.output))
        sys.exit(1)


def compare_trees(client: docker.DockerClient, project: Project) -> None:
    live = tree_digest(client, project.status()["live"]["image"])
    plain = tree_digest(client, plain_build(client, project))
    print(f"live binary  {live}\nplain binary {plain}\n{'EQUAL' if live == plain else 'DIFFERENT'}")
    if live != plain:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.3, help="mean seconds between two edits")
    parser.add_argument("--every", type=int, default=50, help="edits between two questions to `wait`")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run_edits(given.edits, given.pause, given.every, given.seed)


if __name__ == "__main__":
    main()
