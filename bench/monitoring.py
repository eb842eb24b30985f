"""Let one Prometheus find and scrape five watchers: two projects, and three git worktrees of the first.

    ./dev bench monitoring           # three to six minutes; needs git and Debian's package prometheus
    ./dev bench monitoring --firing  # five minutes more: until the alert of the killed watcher fires

The watchers run in the background (`watcher up`); the configuration is the one that `watcher monitoring`
writes, with a scrape each second. Checked, with a line for each: five targets are up, with the right label
`project`; a save in each moves the metrics of that project and of no other; the dashboard's queries have
data for each project; `watcher list` shows which is which; a watcher that is killed is seen to be down, and
is back after `watcher up`; after `watcher down` nothing is left, neither a target nor an object of the
engine. The exit status is 1 as soon as one of these is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import docker
import docker.errors
import httpx

from tests.dashboard import query_panels
from tests.e2e.conftest import Project, clean_up
from tests.prometheus import Prometheus
from watcher.system.state_dir import targets_folder

PORTS = "127.0.0.1:{}-{}:9000"
PREFIX = "monitored-"  # watchers of others may run too
BRANCHES = ("agent1", "agent2", "agent3")
COUNT = "watcher_save_to_live_seconds_count"
# Each of them must be answered for each project: what one looks at after a save.
SHOWN = (
    "watcher_live_revision_timestamp_seconds",
    "watcher_image_size_bytes",
    "watcher_save_to_live_seconds_bucket",
)


class Failed(Exception):
    """Something is not as it should be."""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")


def until(condition: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
    """Wait until it returns something true, and return that."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() >= end:
            raise Failed(f"not within {timeout:g} s: {what}")
        time.sleep(0.2)
    return found


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def make_repository(folder: Path, ports: str) -> Project:
    """Copy the example as docs/howto/worktrees.md says: a range of ports, and no name of a container."""
    project = Project(folder)
    lines = project.compose.read_text().replace(f"127.0.0.1:{project.port}:9000", ports).splitlines()
    lines = [line for line in lines if "container_name" not in line]
    project.compose.write_text("\n".join([*lines, ""]))
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "Begin")):
        git(folder, *arguments)
    return project


def add_worktree(project: Project, branch: str) -> Project:
    """Return a worktree of the project, on a new branch."""
    folder = project.folder.with_name(f"{project.id}-{branch}")
    git(project.folder, "worktree", "add", "-q", "-b", branch, str(folder))
    worktree = Project.__new__(Project)
    vars(worktree).update(vars(project))
    worktree.id, worktree.folder = folder.name, folder
    worktree.compose = folder / project.compose.name
    worktree.version = folder / project.version.relative_to(project.folder)
    return worktree


def call(project: Project, *arguments: str, code: int = 0) -> str:
    """Run a command on the project; return what it printed. Raises Failed."""
    done = project.watcher(*arguments)
    if done.returncode != code:
        raise Failed(f"watcher {arguments[0]} of {project.id}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def list_watchers(project: Project) -> dict[str, dict[str, Any]]:
    """Return what `watcher list` says, by folder."""
    return {each["project"]: each for each in json.loads(call(project, "list", "--json"))["daemons"]}


def read_targets(prometheus: Prometheus) -> dict[str, str]:
    """Return the health of each target of ours, by its label `project`."""
    active = (prometheus.ask("targets") or {"activeTargets": []})["activeTargets"]
    found = {each["labels"]["project"]: each["health"] for each in active}
    return {project: health for project, health in found.items() if f"/{PREFIX}" in project}


def read_counts(prometheus: Prometheus) -> dict[str, float]:
    """Return the number of saves that became live, by project."""
    data = prometheus.ask("query", query=f"sum by (project) ({COUNT})") or {"result": []}
    found = {each["metric"]["project"]: float(each["value"][1]) for each in data["result"]}
    return {project: count for project, count in found.items() if f"/{PREFIX}" in project}


def check_saves(projects: list[Project], prometheus: Prometheus) -> None:
    """Save in one after the other; the count of that one goes up, and no other does."""
    for number, project in enumerate(projects):
        own, version = str(project.folder), f"2.{number}.0"
        before = until(partial(read_counts, prometheus), "counts of saves")
        project.set_version(version)
        expect(project.wait()["outcome"], "live", f"the save in {project.id}")
        url = project.status()["urls"][0]
        answer = httpx.get(f"{url}/health", trust_env=False).json()
        expect(answer["version"], version, f"what {project.id} answers at {url}")
        wait_for_count(prometheus, own, before.get(own, 0) + 1)
        after = read_counts(prometheus)
        expect({**after, own: 0}, {**before, own: 0}, "counts of the others")
        say(f"{project.id}: {url} answers the save, its {COUNT} is {after[own]:g}, the others did not move")


def wait_for_count(prometheus: Prometheus, project: str, count: float) -> None:
    until(lambda: read_counts(prometheus).get(project, 0) >= count, f"the save in {project} is counted")


def count_answers(prometheus: Prometheus, project: Project) -> tuple[int, int]:
    """Return how many of the dashboard's queries have data for the project, and how many there are."""
    queries = query_panels({"$project": str(project.folder)})
    answered = {expr for _, expr in queries if (prometheus.ask("query", query=expr) or {}).get("result")}
    for name in SHOWN:
        asked = {expr for _, expr in queries if name in expr}
        expect(bool(asked and asked <= answered), True, f"the dashboard of {project.id} shows {name}")
    return len(answered), len(queries)


def check_kill(projects: list[Project], prometheus: Prometheus, *, firing: bool) -> None:
    """Kill one watcher: its target is down, an alert names it, the others stay; `watcher up` mends it."""
    victim, other = projects[-2], projects[0]
    name = str(victim.folder)
    os.kill(int(list_watchers(victim)[name]["pid"]), signal.SIGKILL)
    until(lambda: read_targets(prometheus).get(name) == "down", "the target of the killed watcher is down")
    expect(sorted(read_targets(prometheus).values()), ["down", *["up"] * 4], "health of all")

    def read_alerts() -> list[tuple[str, str]]:
        alerts = (prometheus.ask("alerts") or {"alerts": []})["alerts"]
        down = [each for each in alerts if each["labels"]["alertname"] == "WatcherDown"]
        found = [(each["labels"]["project"], each["state"]) for each in down]
        return [each for each in found if f"/{PREFIX}" in each[0]]

    until(read_alerts, "an alert")
    if firing:
        until(lambda: read_alerts() == [(name, "firing")], "the alert fires", 400)
    ((alerting, state),) = read_alerts()
    expect(alerting, name, "the project of the alert")
    expect(name in list_watchers(other), False, "`watcher list` has the killed one")
    call(victim, "status", code=3)
    say(f"{victim.id} killed: its target is down, WatcherDown is {state}, `watcher list` has the other four")
    call(victim, "up")
    until(lambda: set(read_targets(prometheus).values()) == {"up"}, "all are up again")
    until(lambda: not read_alerts(), "the alert is gone")
    say(f"{victim.id}: `watcher up`; five targets are up, no alert")


def list_objects(client: docker.DockerClient, projects: list[Project]) -> set[str]:
    """Return the objects of the engine that belong to the projects, by name or label."""
    names = [each.id for each in projects] + [each.label() for each in projects]
    found = {f"container {each.name} {each.labels}" for each in client.containers.list(all=True)}
    found |= {f"image {each.id} {each.tags} {each.labels}" for each in client.images.list(all=True)}
    found |= {f"network {each.name} {each.attrs['Labels']}" for each in client.networks.list()}
    found |= {f"volume {each.name}" for each in client.volumes.list()}
    texts = {each.replace("': '", "=") for each in found}
    return {each for each in texts if any(name in each for name in names)}


def start(projects: list[Project], folder: Path) -> Prometheus:
    """Start the watchers, and a Prometheus with the configuration that the product writes."""
    began = time.monotonic()
    for project in projects:
        call(project, "up")
        say(f"{project.id}: up after {time.monotonic() - began:.0f} s in all")
    call(projects[0], "monitoring", "--output", str(folder / "monitoring"))
    config = folder / "monitoring/prometheus/prometheus.yml"
    config.write_text(config.read_text().replace("scrape_interval: 5s", "scrape_interval: 1s"))
    return Prometheus(config, folder)


def check_all(projects: list[Project], prometheus: Prometheus, *, firing: bool) -> None:
    wanted = {str(each.folder): "up" for each in projects}
    until(lambda: read_targets(prometheus) == wanted, "five targets are up")
    say("five targets are up, with the folders as `project`")
    listed = list_watchers(projects[0])
    branches: Mapping[str, str] = {name: listed[name]["branch"] for name in wanted}
    expect(list(branches.values()), ["main", *BRANCHES, "main"], "branches in `watcher list`")
    expect({listed[name]["state"] for name in wanted}, {"live"}, "states in `watcher list`")
    expect(len({listed[name]["page"] for name in wanted}), 5, "different pages in `watcher list`")
    say("`watcher list` names five folders, with their branches and pages")
    check_saves(projects, prometheus)
    for project in projects:
        answered, asked = count_answers(prometheus, project)
        say(f"{project.id}: {answered} of {asked} queries of the dashboard have data")
    check_kill(projects, prometheus, firing=firing)


def check_end(client: docker.DockerClient, projects: list[Project], prometheus: Prometheus) -> None:
    for project in projects:
        call(project, "down", "--images", "--caches")
    until(lambda: read_targets(prometheus) == {}, "no target is left")
    files = {each.name for each in targets_folder().iterdir() if each.name.startswith(PREFIX)}
    expect(files, set(), "target files")
    expect(list_watchers(projects[0]).keys() & {str(each.folder) for each in projects}, set(), "watchers")
    expect(list_objects(client, projects), set(), "objects of the engine")
    say("all five are down: no target, no file, no container, image, network or volume is left")


def run(*, firing: bool) -> None:
    name, client = f"{PREFIX}{uuid.uuid4().hex[:6]}", docker.from_env()
    first = 20000 + os.getpid() % 10000
    with tempfile.TemporaryDirectory(prefix=name) as directory:
        folder = Path(directory).resolve()
        main = make_repository(folder / name, PORTS.format(first, first + 20))
        projects = [main, *(add_worktree(main, branch) for branch in BRANCHES)]
        projects.append(make_repository(folder / f"{name}-other", PORTS.format(first + 30, first + 50)))
        prometheus: Prometheus | None = None
        try:
            prometheus = start(projects, folder)
            check_all(projects, prometheus, firing=firing)
            check_end(client, projects, prometheus)
        finally:
            if prometheus is not None:
                prometheus.stop()
            for project in projects:
                project.watcher("down", "--images", "--caches")
                with suppress(docker.errors.APIError):  # the first failure is the one to report
                    clean_up(client, project)


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--firing", action="store_true", help="wait until the alert fires")
    try:
        run(firing=parser.parse_args().firing)
    except Failed as error:
        say(f"FAILED: {error}")
        return 1
    say("all of it is so")
    return 0


if __name__ == "__main__":
    sys.exit(main())
