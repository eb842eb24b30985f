"""Measure the binary cache: builds of the example with and without it, in turn.

    ./dev bench program                # 11 rounds
    ./dev bench program --rounds 5

In each round either way builds a Go change and then a change of `_envs`; after each build the program is kept
as the daemon does in idle time, which is not timed. Medians in seconds, from the request to the image, on the
engine that DOCKER_HOST names, else the machine's own. The image made here is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
import uuid
from pathlib import Path

import docker

from watcher.builder import config_of
from watcher.buildkit import Client, MemorySource, SolveRequest
from watcher.dockerfile import (
    SAVE_STAGE,
    Accelerated,
    Level,
    Platforms,
    accelerate,
    base_images,
    parse,
    save_binaries,
)
from watcher.engine import DockerEngine

EXAMPLE = Path(__file__).parents[1] / "examples" / "go-server"
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
ARGS = {"ENV": "dev"}
PLATFORMS = Platforms.of_this_machine("")


async def make_texts(name: str) -> dict[str, Accelerated]:
    """Return both texts by name."""
    text = (EXAMPLE / "Dockerfile").read_text()
    engine = await DockerEngine.open(ENGINE)
    try:
        names = base_images(parse(text), ARGS, None, PLATFORMS)
        found = {each: await engine.image(each) for each in names}
    finally:
        await engine.close()
    bases = {each: config_of(image) if image else None for each, image in found.items()}
    return {
        label: accelerate(
            text,
            level=Level.EXACT,
            build_args=ARGS,
            target=None,
            platforms=PLATFORMS,
            bases=bases,
            cache_scope=name,
            keep_programs=keep,
        )
        for label, keep in (("kept", True), ("not kept", False))
    }


async def bench_texts(rounds: int) -> None:
    name = f"bench-program-{uuid.uuid4().hex[:8]}"
    tree = {
        path.relative_to(EXAMPLE).as_posix(): path.read_bytes()
        for path in EXAMPLE.rglob("*")
        if path.is_file()
    }
    plans = await make_texts(name)
    times: dict[tuple[str, str], list[float]] = {}
    async with await Client.connect(ENGINE) as client:

        async def solve_once(text: str, *, target: str = "", names: tuple[str, ...] = ()) -> float:
            request = SolveRequest(
                context=MemorySource(tree),
                dockerfile=MemorySource({"Dockerfile": text.encode()}),
                shared_key=name,
                build_args=ARGS,
                target=target,
                names=names,
                exporter="moby" if names else "",
            )
            begun = time.monotonic()
            await client.solve(request, lambda _: None)
            return time.monotonic() - begun

        for number in range(rounds + 1):
            for label, plan in sorted(plans.items(), reverse=bool(number % 2)):
                source = f'package version\n\nvar Number = "{name} {label} {number}"\n'
                for what, path, data in (
                    ("Go", "internal/version/version.go", source.encode()),
                    ("_envs", "_envs/env_dev.yaml", tree["_envs/env_dev.yaml"] + b"# again\n"),
                ):
                    tree[path] = data
                    seconds = await solve_once(plan.text, names=(f"docker.io/library/{name}:latest",))
                    if number:  # the first round compiles the world
                        times.setdefault((what, label), []).append(seconds)
                    if plan.programs:
                        saving = save_binaries(plan.text, plan.programs, f"{label} {number} {what}")
                        await solve_once(saving, target=SAVE_STAGE)
    print(f"{'change of':<10} {'program':<9} {'median':>7}  range")
    for (what, label), taken in sorted(times.items()):
        print(f"{what:<10} {label:<9} {statistics.median(taken):7.2f}  {min(taken):.2f} to {max(taken):.2f}")
    docker.DockerClient(base_url=ENGINE).images.remove(f"{name}:latest")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    asyncio.run(bench_texts(max(parser.parse_args().rounds, 1)))


if __name__ == "__main__":
    main()
