"""Remove the objects of one project on request, although its folder exists: `watcher down`.

What is ours is decided by `select_gone`, as for a deleted project. Volumes stay: they hold data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from watcher.prune.address_image import remove_address_image
from watcher.prune.engine_visits import visit_engines
from watcher.prune.gone import GoneProjects
from watcher.prune.gone_removal import is_left, remove_object
from watcher.prune.late_images import find_late_images
from watcher.prune.left_project import Choice, LeftProject
from watcher.prune.model import Cause, ObjectKind, Verdict
from watcher.system import lock
from watcher.system.lock import ProjectLock

_RUNTIME = frozenset({ObjectKind.CONTAINER, ObjectKind.NETWORK})
_IMAGES = frozenset({ObjectKind.FINAL, ObjectKind.BUILDER, ObjectKind.TAG})


@dataclass(frozen=True, slots=True)
class DownReport:
    """What was removed, what of the requested kinds is left, and why engines could not be asked.

    `spared` are parts of the build cache that others use, or an image that stays.
    """

    removed: tuple[Verdict, ...] = ()
    kept: tuple[Verdict, ...] = ()
    spared: tuple[Verdict, ...] = ()
    problems: tuple[str, ...] = ()
    forgotten: bool = False  # the record and the journal of the project were removed

    @property
    def complete(self) -> bool:
        """Return whether nothing of the requested kinds is left."""
        return not self.kept and not self.problems


async def remove_project_objects(
    projects: GoneProjects, root: Path, project: str, *, images: bool, caches: bool
) -> DownReport:
    """Remove containers and networks of the project, with `images` and `caches` those too.

    Holds the project's lock meanwhile. Raises AlreadyRunning and EngineUnavailable.
    """
    held = ProjectLock.take(root, project)
    try:
        record = projects.registry.entry(project).record
        left = LeftProject(project, str(root), Choice.BY_NAME, "", record=record)
        kinds = _RUNTIME | (_IMAGES if images else frozenset())
        verdicts: list[Verdict] = []
        other = _find_copy(projects, project)
        async with visit_engines(projects.own, [record] if record else [], projects.open_engine) as visits:
            problems = [visits.problems[use] for use in visits.unreachable_engines(record)]
            for each in visits.engines:
                chosen = [verdict for verdict in each.judge(left) if verdict.kind in kinds]
                shared = set() if other is None else each.dependencies_of(project)
                for verdict in chosen:
                    if verdict.id in shared:
                        verdicts.append(verdict.as_kept(Cause.IN_USE, f"{other} uses it too"))
                    else:
                        verdicts.append(await remove_object(each.engine, verdict))
                if images:
                    late = await find_late_images(each, left)
                    verdicts += [await remove_object(each.engine, verdict) for verdict in late]
                verdicts += await remove_address_image(each.engine)
                if caches:
                    steps, problem = await projects.process_caches(left, each)
                    verdicts += steps
                    problems += [problem] if problem else []
        spared = [verdict for verdict in verdicts if _is_spared(verdict, images=images)]
        report = DownReport(
            tuple(verdict for verdict in verdicts if verdict.remove),
            tuple(verdict for verdict in verdicts if is_left(verdict) and verdict not in spared),
            tuple(spared),
            tuple(problems),
        )
        if images and caches and report.complete and (projects.registry.home / project).is_dir():
            try:
                projects.registry.forget(project)
            except OSError as error:
                text = f"the project's folder in the state folder cannot be removed: {error}"
                return replace(report, problems=(text,))
            return replace(report, forgotten=True)
        return report
    finally:
        held.release()


def _is_spared(verdict: Verdict, *, images: bool) -> bool:
    """Return whether it is a part of the build cache that others use, or an image that stays."""
    if verdict.remove or verdict.kind not in (ObjectKind.STEP, ObjectKind.GO_CACHE):
        return False
    return verdict.why.cause is Cause.FOREIGN or (verdict.why.cause is Cause.NEEDED and not images)


def _find_copy(projects: GoneProjects, project: str) -> str | None:
    """Describe the running watcher of a copy: it has the same compose project, and its dependencies."""
    own = projects.registry.entry(project).record
    for name, running in lock.list_running().items():
        record = projects.registry.entry(name).record if name != project else None
        if own and record and record.compose_project == own.compose_project:
            return f"the watcher of {running.project or name}"
    return None
