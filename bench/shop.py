"""Save in each part of examples/shop: what is built and replaced, how soon, and what fails meanwhile.

    ./dev bench shop                                  # the watcher, then docker compose watch
    ./dev bench shop --tools watcher
    DOCKER_HOST=unix:///path COMPOSE=/path/to/docker-compose ./dev bench shop

The saves: in `worker/`, in the package that all services share, in the migration, in an env file of `api`.
`images` and `containers` are the services that have another one afterwards. `seconds` go from the save until
the last container that the save must replace runs (a job: has ended). `failed` are requests of the clients of
`./dev bench between --project shop`: two outside, six in another service.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench._between_caller import CLIENTS
from bench._peers import find_plugin, format_table, how_busy
from bench.between import LONG, ROOT, ComposeWatch, Project, Watcher, fetch, wait_for

NEVER = 90.0  # seconds after which a save that replaced nothing is taken not to
QUIET = 8.0  # seconds to see what else is replaced
SERVICES = ("api", "worker", "migrate", "db")
HEAD = ("images", "containers", "seconds", "requests", "failed")


@dataclass(frozen=True)
class Save:
    """One save: the file's change, and the services whose containers it must replace."""

    name: str
    file: str
    change: Callable[[str], str]
    replaces: tuple[str, ...]


SAVES = (
    Save("worker", "worker/main.go", lambda text: text.replace("carrying out", "doing"), ("worker",)),
    Save(
        "shared package",
        "shared/orders/orders.go",
        lambda text: f'{text}\nfunc init() {{ println("saved") }}\n',
        ("api", "worker", "migrate"),
    ),
    Save("migration", "migrate/main.go", lambda text: text.replace('= "1"', '= "2"'), ("migrate",)),
    Save("env file", "api.env", lambda text: f"{text}MORE=1\n", ("api",)),
)


def look(project: Project) -> dict[str, tuple[str, str, bool]]:
    """Return container id, image id, and whether it runs or has ended well, by service."""
    label = f"label=com.docker.compose.project={project.name}"
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--no-trunc", "--filter", label], capture_output=True, text=True, check=True
    ).stdout.split()
    if not listed:
        return {}
    inspected = subprocess.run(["docker", "inspect", *listed], capture_output=True, text=True, check=False)
    found: dict[str, tuple[str, str, bool]] = {}
    for item in json.loads(inspected.stdout or "[]"):
        name, state = item["Config"]["Labels"].get("com.docker.compose.service", ""), item["State"]
        plain = item["Name"] == f"/{project.name}-{name}-1"
        if name in SERVICES and plain:
            good = state["Status"] == "running" or (state["Status"], state["ExitCode"]) == ("exited", 0)
            found[name] = item["Id"], item["Image"], good
    return found


def has_replaced(
    project: Project, before: dict[str, tuple[str, str, bool]], services: tuple[str, ...]
) -> bool:
    """Return whether these services have other containers, which run or have ended well."""
    now = look(project)
    return all(name in now and now[name][2] and now[name][0] != before[name][0] for name in services)


def count_requests(project: Project) -> tuple[int, int]:
    """Return how many requests all clients have made, and how many failed."""
    stats = project.stats() | (project.outside.stats() if project.outside else {})
    return sum(each["Requests"] for each in stats.values()), sum(each["Failed"] for each in stats.values())


def try_saves(project: Project) -> list[list[str]]:
    """Make the saves one after the other; return a row for each."""
    (project.folder / "api.env").write_text("SOME=1\n")
    compose = project.folder / "compose.yaml"
    compose.write_text(compose.read_text().replace("  api:\n", "  api:\n    env_file: api.env\n"))
    rows = []
    begun = time.monotonic()
    with project.up():
        wait_for(lambda: len(project.stats()) == len(CLIENTS), "the caller reaches the api")
        wait_for(lambda: fetch(project.api), "the api answers from outside")
        wait_for(lambda: look(project).keys() >= {*SERVICES}, "all services are there")
        print(f"{project.name}: up after {time.monotonic() - begun:.1f} s", flush=True)
        with project.called_from_outside():
            time.sleep(QUIET)
            for save in SAVES:
                before, (requests, failed) = look(project), count_requests(project)
                path = project.folder / save.file
                new = path.with_suffix(".new~")
                new.write_text(save.change(path.read_text()))
                saved = time.monotonic()
                new.replace(path)
                seconds = "never"
                with contextlib.suppress(SystemExit):
                    limit = NEVER if save.name == "env file" else LONG
                    wait_for(lambda: has_replaced(project, before, save.replaces), save.name, limit)  # noqa: B023
                    seconds = f"{time.monotonic() - saved:.1f}"
                time.sleep(QUIET)
                now, (more, worse) = look(project), count_requests(project)
                images, containers = (
                    [name for name in SERVICES if name in now and now[name][place] != before[name][place]]
                    for place in (1, 0)
                )
                counts = [f"{more - requests}", f"{worse - failed}"]
                rows.append(
                    [save.name, " ".join(images) or "-", " ".join(containers) or "-", seconds, *counts]
                )
    return rows


def main() -> None:
    """Run the tools one after the other, and print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tools", default="watcher,watch", help="of watcher, watch")
    tools = parser.parse_args().tools.split(",")
    if wrong := set(tools) - {"watcher", "watch"}:
        raise SystemExit(f"{', '.join(wrong)}: must be one of watcher, watch")
    subprocess.run([ROOT / "deploy/bases/redis", "--no-pull"], check=True, timeout=300)
    plugin = find_plugin("docker-compose")
    print(how_busy(), file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix=f"shop{uuid.uuid4().hex[:6]}"))
    try:
        for tool in tools:
            if tool == "watch" and plugin is None:
                print("watch: docker compose is not on this machine", file=sys.stderr)
                continue
            project = (
                Watcher(folder, tool, shop=True)
                if tool == "watcher"
                else ComposeWatch(folder, tool, [str(plugin)], shop=True)
            )
            try:
                rows = try_saves(project)
            finally:
                project.clean()
            print(tool)
            print(format_table(HEAD, {row[0]: row[1:] for row in rows}, 16), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
