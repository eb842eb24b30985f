"""The commands that need no running daemon. Each returns the exit status of the process."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TextIO

from watcher import prune as pruning
from watcher.builder import connect_engine
from watcher.cli.dockerfile import explain_dockerfiles
from watcher.cli.doctor import DoctorOptions, Finding, Grade, examine_project, worst_grade
from watcher.cli.down import print_report, stop_and_report, take_down
from watcher.cli.init_plan import InitPlan, plan_project
from watcher.cli.prune import Cleaned, prune_once
from watcher.cli.run import run_loop
from watcher.cli.settings_schema import SCHEMA_NAME, render_schema
from watcher.cli.settings_template import render_settings
from watcher.errors import EXIT_FAILED, ConfigError
from watcher.observers.tables import print_table
from watcher.observers.terminal import Terminal
from watcher.prune.build_cache import TrimEstimate
from watcher.settings import Settings
from watcher.settings_sources import TOML_NAME


def prune(settings: Settings, *, dry_run: bool, all_projects: bool, caches: bool, as_json: bool) -> int:
    """`watcher prune`."""

    async def main() -> int:
        done = await prune_once(settings, dry_run=dry_run, all_projects=all_projects, caches=caches)
        if as_json:
            print(json.dumps(_pruned_as_json(done), indent=2))
            return 0
        printed: set[pruning.Row] = set()  # services of one project see many of the same objects
        for name, report in done.reports.items():
            if len(done.reports) > 1:
                print(f"service {name}")
            rows = tuple(row for row in pruning.report_rows(report) if row._replace(age="") not in printed)
            printed |= {row._replace(age="") for row in rows}
            if rows:
                print_table(pruning.Row._fields, rows)
            print("\n".join(pruning.summarize_report(report)))
        if done.problem:
            print(f"build steps of this project are recognised by their marks only: {done.problem}")
        if isinstance(done.emptied, pruning.NotMeasured):
            print(f"the Go caches were not emptied: {done.emptied.why}")
        for mount in done.emptied if isinstance(done.emptied, tuple) else ():
            print(pruning.summarize_emptied(mount))
        if not isinstance(done.go_caches, pruning.NotMeasured):
            most = settings.prune.go_cache_max
            print(pruning.summarize_go_cache(done.go_caches, most, done.go_freed, dry_run=dry_run))
        if isinstance(done.trimmed, TrimEstimate):
            print(pruning.summarize_estimate(done.trimmed.holds, done.trimmed.keep, done.trimmed.over))
        elif done.trimmed is not None:
            print(pruning.summarize_trim(done.trimmed.records, done.trimmed.freed))
        print()
        if done.shares is not None:
            print_table(pruning.UsageText._fields, pruning.format_usage(done.shares))
        else:
            print("the engine's disk usage cannot be summed up while other builds run")
        print(pruning.free_space_text(done.disk))
        return 0

    return run_loop(main)


def _pruned_as_json(done: Cleaned) -> dict[str, Any]:
    services = {name: pruning.report_as_json(report) for name, report in done.reports.items()}
    document = {"services": services, **pruning.engine_as_json(done.shares or (), done.disk)}
    if isinstance(done.go_caches, pruning.NotMeasured):
        document["go_caches"] = {"not_measured": done.go_caches.why}
    else:
        mounts = [asdict(mount) for mount in done.go_caches]
        document["go_caches"] = {"mounts": mounts, "freed": done.go_freed}
    if done.problem:
        document["journal_problem"] = done.problem
    if done.trimmed is not None:
        document["build_cache"] = asdict(done.trimmed)
    return document


def down(settings: Settings, *, images: bool, caches: bool, as_json: bool) -> int:
    """`watcher down`."""
    pid = stop_and_report(settings, as_json=as_json)
    report = run_loop(partial(take_down, settings, images=images, caches=caches))
    return print_report(report, pid, as_json=as_json)


def prune_gone(settings: Settings, *, named: Sequence[str], dry_run: bool, yes: bool, as_json: bool) -> int:
    """`watcher prune --gone`: the `named` projects, or all with a deleted folder."""

    choices = {pruning.Choice.OFFERED} | ({pruning.Choice.BY_NAME} if named else set())
    done = pruning.Removed()

    async def find() -> list[pruning.LeftProject]:
        async with await connect_engine(settings.engine) as engine:
            return await pruning.GoneProjects(engine, pruning.Registry()).find_projects(named)

    async def remove() -> int:
        async with await connect_engine(settings.engine) as engine:
            projects = pruning.GoneProjects(engine, pruning.Registry())
            await pruning.remove_gone(projects, chosen, done, named=bool(named))
        return EXIT_FAILED if any(left.choice is pruning.Choice.REFUSED for left in done.projects) else 0

    found = run_loop(find)
    chosen = [left for left in found if left.choice in choices and (left.is_named(named) or not named)]
    refused = [left for left in found if left.id in named and left not in chosen]
    status = EXIT_FAILED if refused else 0
    if not as_json:
        _print_gone(select_asked(found, named), chosen, refused)
    # Ask outside of the loop: inside, Ctrl-C would have to wait for the answer.
    if not chosen or dry_run or not (yes or (not as_json and _ask_user())):
        if as_json:
            print(json.dumps(pruning.gone_as_json(found, None), indent=2))
        return status
    try:
        return run_loop(remove) or status
    finally:
        if as_json:
            print(json.dumps(pruning.gone_as_json(found, done), indent=2))
        else:
            print_table(pruning.GoneRow._fields, pruning.gone_rows(done.projects, done=True))
            print("\n".join(pruning.removal_summary(done)))


def select_asked(found: Sequence[pruning.LeftProject], named: Sequence[str]) -> list[pruning.LeftProject]:
    """Return the projects that the table shows: those that were named, all if none was."""
    return [left for left in found if not named or left.is_named(named)]


def _print_gone(
    found: Sequence[pruning.LeftProject],
    chosen: Sequence[pruning.LeftProject],
    refused: Sequence[pruning.LeftProject],
) -> None:
    if found:
        print_table(pruning.ProjectRow._fields, pruning.project_rows(found))
        print()
        if lines := pruning.gone_rows(chosen, done=False):
            print_table(pruning.GoneRow._fields, lines)
            print()
    print("\n".join(pruning.gone_summary(found, chosen)))
    for left in refused:
        print(f"{left.id} is kept: {left.why}")


def _ask_user() -> bool:
    """Return whether the user agrees. Without a terminal the answer is no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("nothing was removed: --yes removes it without asking")
        return False
    try:
        answer = input("Remove it? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was removed")
    return False


def doctor(settings: Settings, asked: DoctorOptions, *, as_json: bool) -> int:
    """`watcher doctor`."""

    async def main() -> int:
        found, printed = [], set()
        async for finding in examine_project(settings, asked):
            found.append(finding)
            content = (finding.topic, finding.text, finding.advice)
            if not as_json and content not in printed:  # services can share a tree and a Dockerfile
                printed.add(content)
                _print_finding(finding, sys.stderr if asked.patch else sys.stdout)
                if asked.patch:
                    print(finding.patch, end="")
        if as_json:
            print(json.dumps([asdict(finding) for finding in found], indent=2))
        return EXIT_FAILED if worst_grade(found) is Grade.ERROR else 0

    return run_loop(main)


def dockerfile(settings: Settings, *, as_json: bool) -> int:
    """`watcher dockerfile`."""

    async def main() -> int:
        found = await explain_dockerfiles(settings)
        if as_json:
            print(json.dumps({"services": [one.as_json() for one in found]}, indent=2))
            return 0
        out = Terminal()
        styles = {"+": "green", "-": "red", "@": "cyan", "#": "yellow"}
        for one in found:
            for line in one.render_lines():
                style = "bold" if line.startswith(("---", "+++")) else styles.get(line[:1], "")
                out.print(line, style=style, soft_wrap=True)
        return 0

    return run_loop(main)


def _print_finding(finding: Finding, file: TextIO) -> None:
    mark = {Grade.GOOD: "✓", Grade.TASTE: "~", Grade.ADVICE: "!", Grade.ERROR: "✗"}[finding.grade]
    service = f"{finding.service}: " if finding.service else ""
    print(f"{mark} {service}{finding.topic}: {finding.text}", file=file, flush=True)
    if finding.advice:
        print(f"    {finding.advice}", file=file, flush=True)


def init(
    settings: Settings, *, force: bool, every: bool, main: str | None, settings_only: bool, schema_only: bool
) -> int:
    """`watcher init`."""
    root = settings.root
    if not root.is_dir():
        raise ConfigError("project", str(settings.project), "there is no such folder")
    if (root / TOML_NAME).exists() and not force and not schema_only:
        raise ConfigError(TOML_NAME, None, f"is there already in {root}; --force replaces it")
    plan = plan_project(root, main=main, settings_only=settings_only or every)
    if every:
        plan.files[TOML_NAME] = render_settings()
    if schema_only:
        plan = InitPlan({SCHEMA_NAME: render_schema()})
    for name, text in plan.files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if name in (TOML_NAME, SCHEMA_NAME) else "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ConfigError("project", str(root), f"{name} cannot be written: {error.strerror}") from error
        print(f"wrote {path}")
    for note in plan.notes:
        print(note)
    return 0
