"""What each command does; every one returns the exit status of the process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import httpx
import rich.console
import rich.table

from watcher import labels, lock, log
from watcher import prune as pruning
from watcher.console import Console
from watcher.daemon import Daemon
from watcher.doctor import Finding, Grade, examine, worst
from watcher.errors import EXIT_FAILED, EXIT_TIMEOUT, ConfigError, WatcherError
from watcher.observe import Observer, short
from watcher.once import deploy_once, prune_once
from watcher.settings import TOML_NAME, Settings

WIDE = 240
NOT_RUNNING = "no watcher keeps {project}: start one with `watcher run`"


@contextmanager
def _observer(settings: Settings) -> Iterator[Observer]:
    """Who tells the user; the terminal is left clean, however the command ends."""
    log.configure(as_json=settings.log_format == "json")
    if settings.log_format == "json":
        yield log.JsonLog()
        return
    console = Console(plain=settings.plain, bell=settings.bell)
    try:
        yield console
    finally:
        console.close()


def _asyncio_run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    import uvloop  # noqa: PLC0415 - half of the start-up time of the commands that need no loop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def run(settings: Settings) -> int:
    """`watcher run`."""

    async def main() -> int:
        await Daemon(settings, observer).run()
        return 0

    with _observer(settings) as observer:
        return _asyncio_run(main)


def once(settings: Settings) -> int:
    """`watcher once`."""

    async def main() -> int:
        return 0 if await deploy_once(settings, observer) else EXIT_FAILED

    with _observer(settings) as observer:
        return _asyncio_run(main)


def _api(settings: Settings, *, timeout: float | None = 10.0) -> httpx.Client:
    """A client of the running daemon's API; raises WatcherError when there is none."""
    if not settings.root.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    running = lock.find(labels.project_id(settings.root))
    if running is None or not running.url:
        raise WatcherError(NOT_RUNNING.format(project=settings.root))
    headers = {"Authorization": f"Bearer {running.token}"} if running.token else {}
    return httpx.Client(base_url=running.url, headers=headers, timeout=timeout, trust_env=False)


def _answer(response: httpx.Response) -> Any:
    if response.is_error:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = response.text
        raise WatcherError(f"the watcher refused: {detail}")
    return response.json()


def status(settings: Settings, *, as_json: bool) -> int:
    """`watcher status`."""
    with _api(settings) as api:
        document = _answer(api.get("/api/status"))
    if as_json:
        print(json.dumps(document, indent=2))
        return 0
    for service in document["services"]:
        live, wanted = service["live"] or {}, service["wanted"] or {}
        stale = {True: "stale", False: "equal to the tree", None: "not known"}[service["stale"]]
        print(f"{service['name']}  {service['phase']}  {', '.join(service['urls'])}")
        print(f"  live    {short(live.get('revision'))}  {stale}")
        print(f"  wanted  {short(wanted.get('revision'))}")
        if service["failed"] and service["last_error"]:
            failure = service["last_error"]["failure"]
            print(f"  failed  {short(service['failed'])}  {failure['summary']}")
            for line in failure["lines"]:
                print(f"          {line}")
    return 0


def wait(settings: Settings, *, timeout: float | None, as_json: bool) -> int:
    """`watcher wait`."""
    longest = 3600.0 if timeout is None else timeout
    with _api(settings, timeout=longest + 30.0) as api:
        params = {"timeout": str(longest)} | ({"service": settings.service} if settings.service else {})
        while True:
            settled = _answer(api.post("/api/wait", params=params))
            if settled["outcome"] != "timeout" or timeout is not None:
                break
    if as_json:
        print(json.dumps(settled, indent=2))
    elif settled["outcome"] == "live":
        print(f"live {short(settled['revision'])}")
    else:
        failure = settled["failure"] or {"summary": f"{settled['outcome']}", "lines": []}
        print(f"{settled['outcome']} {short(settled['revision'])}: {failure['summary']}", file=sys.stderr)
        for line in failure["lines"]:
            print(line, file=sys.stderr)
    return {"live": 0, "timeout": EXIT_TIMEOUT}.get(settled["outcome"], EXIT_FAILED)


def act(settings: Settings, action: str) -> int:
    """`watcher rebuild`, `watcher pause`, `watcher resume`."""
    with _api(settings) as api:
        params = {"service": settings.service} if settings.service else {}
        _answer(api.post(f"/api/{action}", params=params))
    return 0


def prune(settings: Settings, *, dry_run: bool, all_projects: bool, as_json: bool) -> int:
    """`watcher prune`."""

    async def main() -> int:
        reports = await prune_once(settings, dry_run=dry_run, all_projects=all_projects)
        if as_json:
            print(json.dumps({name: pruning.as_json(report) for name, report in reports.items()}, indent=2))
            return 0
        out = rich.console.Console(highlight=False, markup=False)
        if not out.is_terminal:
            out.width = WIDE  # whoever reads a file can scroll; folded names help nobody
        for report in reports.values():
            table = rich.table.Table(*pruning.Row._fields, box=None, pad_edge=False)
            for row in pruning.rows(report):
                table.add_row(*row)
            out.print(table)
            for line in pruning.summary(report):
                out.print(line)
        return 0

    return _asyncio_run(main)


def doctor(settings: Settings, *, as_json: bool) -> int:
    """`watcher doctor`."""

    async def main() -> int:
        found = []
        async for finding in examine(settings):
            found.append(finding)
            if not as_json:
                _show(finding)
        if as_json:
            print(json.dumps([asdict(finding) for finding in found], indent=2))
        return EXIT_FAILED if worst(found) is Grade.TROUBLE else 0

    return _asyncio_run(main)


def _show(finding: Finding) -> None:
    mark = {Grade.GOOD: "✓", Grade.ADVICE: "!", Grade.TROUBLE: "✗"}[finding.grade]
    print(f"{mark} {finding.topic}: {finding.text}")
    if finding.advice:
        print(f"    {finding.advice}")


def init(settings: Settings, *, force: bool) -> int:
    """`watcher init`."""
    path = settings.root / TOML_NAME
    if not settings.root.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    if path.exists() and not force:
        raise ConfigError(TOML_NAME, None, f"is there already in {settings.root}; --force replaces it")
    path.write_text(files("config").joinpath(TOML_NAME).read_text("utf-8"), "utf-8")
    print(f"wrote {path}")
    return 0
