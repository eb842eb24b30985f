"""Run random edits on a copy of examples/shop, with the real daemon and engine: `./dev bench shop_edits`.

The edits change sources, modules, the shared package, the env file, the compose file and the Dockerfile,
delete folders and files, put them back, break code and correct it, with short pauses. From time to time
`watcher wait` must be right about each service: not live where the tree cannot be built, live when all of it
is repaired. At the end the files and the configuration of each live image are compared with those of a plain
build of the same folder from scratch (the engine's classic builder, no cache, without the watcher).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import docker

from tests.e2e.conftest import LONG, ROOT, clean_up
from tests.e2e.plain_build import build_plainly, read_content
from tests.e2e.shop import Shop, container_ids
from tests.e2e.shop_writer import SERVICES, ShopWriter


def compare_images(client: docker.DockerClient, shop: Shop) -> bool:
    """Compare each live container's image with a plain build; return whether all are equal."""
    equal = True
    live = container_ids(client, shop)
    for service in SERVICES:
        ours = read_content(client, client.containers.get(live[service]).attrs["Image"])
        begun = time.monotonic()
        plain = read_content(client, build_plainly(client, shop, service))
        print(f"plain build of {service} from scratch: {time.monotonic() - begun:.0f} s", flush=True)
        different = sorted(path for path in {*ours, *plain} if ours.get(path) != plain.get(path))
        print(f"{service}: {len(plain)} files, {'EQUAL' if not different else 'DIFFERENT'}", flush=True)
        for path in different[:10]:
            print(f"  {path}: live {ours.get(path)}, plain {plain.get(path)}")
        equal = equal and not different
    return equal


def read_outcomes(shop: Shop, timeout: float = LONG) -> dict[str, str]:
    """Return what `wait` says of each service."""
    done = shop.watcher("wait", "--json", "--timeout", str(timeout))
    if not done.stdout:
        print("".join(shop.output[-60:]))
        sys.exit(f"wait gave no answer: {done.stderr}")
    return {each["service"]: each["outcome"] for each in json.loads(done.stdout)["services"]}


def judge(shop: Shop, writer: ShopWriter) -> str:
    """Compare what `wait` says with the tree; a wrong answer ends the run."""
    outcomes, broken = read_outcomes(shop), writer.broken
    wrong = [
        name
        for name, outcome in outcomes.items()
        if outcome == ("live" if name in broken else "failed") or (outcome != "live" and not broken)
    ]
    if wrong or {*outcomes} != {*SERVICES}:
        print("".join(shop.output[-80:]))
        sys.exit(
            f"wait says {outcomes}, but what cannot be built is: {', '.join(sorted(broken)) or 'nothing'}"
        )
    return "failed" if broken else "live"


def print_report(shop: Shop, acts: Counter[str], verdicts: Counter[str], seconds: float) -> int:
    """Print what was done; return the number of errors of the watcher itself."""
    metrics = shop.metrics()
    print(f"{acts.total()} edits in {seconds:.0f} s: {dict(acts.most_common())}")
    print(f"wait was right each time: {dict(verdicts)}")
    for what in ("builds", "deploys"):
        counts = Counter[str]()
        for key, value in metrics.items():
            if key.startswith(f"watcher_{what}_total") and value:
                counts[key.split('outcome="')[1].split('"')[0]] += round(value)
        print(f"{what}: {dict(counts)}")
    errors = sum(value for key, value in metrics.items() if key.startswith("watcher_internal_errors_total"))
    print(f"errors of the watcher itself: {errors:.0f}")
    return round(errors)


def run_edits(edits: int, pause: float, every: int, seed: int, seconds: float) -> None:
    client = docker.from_env(timeout=1800)
    subprocess.run([ROOT / "deploy/bases/redis", "--no-pull"], check=True, timeout=300)
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(Path(directory) / f"shop-{uuid.uuid4().hex[:8]}")
        writer = ShopWriter(shop.folder, seed)
        try:
            shop.start()
            begun = time.monotonic()
            while "timeout" in read_outcomes(shop).values():
                pass  # a cold compile can take longer than one wait
            print(f"first version live after {time.monotonic() - begun:.0f} s", flush=True)
            begun, acts, verdicts = time.monotonic(), Counter[str](), Counter[str]()
            for number in range(1, edits + 1):
                if time.monotonic() - begun > seconds:
                    print(f"the time is up after {number - 1} edits of {edits}", flush=True)
                    break
                acts[writer.act()] += 1
                time.sleep(writer.chance.uniform(0.0, 2 * pause))
                if number % every == 0:
                    if writer.chance.random() < 0.5:
                        writer.repair()
                    verdicts[judge(shop, writer)] += 1
                    print(f"{number} edits, {time.monotonic() - begun:.0f} s", flush=True)
            writer.repair()
            verdicts[judge(shop, writer)] += 1
            errors = print_report(shop, acts, verdicts, time.monotonic() - begun)
            if not compare_images(client, shop) or errors:
                print("".join(shop.output[-200:]))
                sys.exit(1)
        finally:
            if shop.process:
                shop.stop()
            clean_up(client, shop)
            for volume in client.volumes.list(filters={"name": f"{shop.id}_orders"}):
                volume.remove()
            shutil.rmtree(Path(directory) / f"{shop.id}-deleted", ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=2000)
    parser.add_argument("--pause", type=float, default=0.3, help="mean seconds between two edits")
    parser.add_argument("--every", type=int, default=25, help="edits between two questions to `wait`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=180.0, help="stop editing then, and compare")
    given = parser.parse_args()
    run_edits(given.edits, given.pause, given.every, given.seed, given.minutes * 60)


if __name__ == "__main__":
    main()
