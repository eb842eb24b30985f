"""Check one thing after the other: engine, base images, Dockerfile, tree, events, ports, disk."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from watcher import compose, labels
from watcher import dockerfile as dockerfiles
from watcher.builder import (
    BaseImage,
    BaseImages,
    BuildEntry,
    BuildkitConnection,
    EngineConnection,
    Recipe,
    accelerate_dockerfile,
    missing_repository,
    open_journal,
    original_dockerfile,
    platforms_of,
)
from watcher.cli.doctor import findings
from watcher.cli.doctor.disk import examine_disk
from watcher.cli.doctor.findings import Finding, Grade
from watcher.cli.doctor.options import DoctorOptions
from watcher.cli.doctor.repeated import TOPIC, repeated_steps
from watcher.cli.doctor.review import review_service
from watcher.compose import ComposeProject, ServiceSpec
from watcher.daemon.compose_project import compose_project
from watcher.daemon.engine_access import EngineAccess, NoBuildKit, open_engine
from watcher.daemon.recipe import agents_of, check_dockerfile, recipe_of
from watcher.daemon.service_config import notices_of, tree_of, unwatched_notice
from watcher.daemon.status_port import candidate_ports, explain_other_port, is_explicit
from watcher.deploy import HostPorts, NoFreePort, fixed_addresses, source_mounts, unwatched_sources
from watcher.deploy.live_reloader import start_command
from watcher.dockerfile import DockerfileError, ImageConfig
from watcher.engine import Engine
from watcher.errors import ConfigError, EngineUnavailable, WatcherError
from watcher.front import CannotListen, Listen, check_free
from watcher.fswatch import self_test
from watcher.observers import humanize
from watcher.prune import GoneProjects, Registry
from watcher.settings import Settings
from watcher.system import lock
from watcher.system.blocking_call import in_thread
from watcher.system.lock import watcher_at
from watcher.tree import Snapshot, TreeGone

ECHO = 2.0  # seconds within which a test event must arrive


async def examine_project(settings: Settings, options: DoctorOptions | None = None) -> AsyncIterator[Finding]:
    """Yield each finding as soon as it is known. Raises ConfigError if there is no project."""
    options = options or DoctorOptions()
    missing: list[ConfigError] = []
    project = await in_thread(lambda: compose_project(settings, missing_files=missing), str(settings.project))
    running = lock.find_running(labels.project_id(settings.root))
    if running:
        yield Finding("daemon", Grade.GOOD, f"process {running.pid} manages the project, {running.url}")
    else:
        yield Finding("daemon", Grade.GOOD, "none runs for this project")
    for text in project.warnings:
        yield Finding(project.file.name, Grade.ADVICE, text)
    for error in missing:  # the rest is examined as if they were empty
        yield Finding(project.file.name, Grade.ERROR, str(error), "the watcher does not start without it")
    access = None
    begun = time.monotonic()
    async with AsyncExitStack() as stack:
        try:
            access = await stack.enter_async_context(open_engine(settings))
            engine, connection = access.engine, access.connection
            info = await engine.info()
            yield findings.judge_engine(info, time.monotonic() - begun)
            yield await _check_buildkit(connection)
            yield await asyncio.to_thread(_check_disk, info.data_root)
            if not options.quick:
                async for finding in find_gone_projects(access.own, settings.prune.gone_after):
                    yield finding
        except NoBuildKit as error:
            yield Finding("engine", Grade.ERROR, str(error))
        except EngineUnavailable as error:
            yield Finding("engine", Grade.ERROR, str(error), "start it, or set `engine` or DOCKER_HOST")
        if settings.http.port and not running:
            yield _check_status_port(settings, project)
        async for finding in _examine_services(project, settings, access, options):
            yield finding


async def _examine_services(
    project: ComposeProject, settings: Settings, access: EngineAccess | None, options: DoctorOptions
) -> AsyncIterator[Finding]:
    several = len(project.managed_services) > 1
    for spec in project.managed_services:
        name = spec.name if several else ""
        try:
            async for finding in _examine_service(spec, project, settings, access, options):
                yield replace(finding, service=name)
        except ConfigError as error:
            if not several:
                raise
            yield Finding("service", Grade.ERROR, str(error), service=name)


async def _examine_service(
    spec: ServiceSpec,
    project: ComposeProject,
    settings: Settings,
    access: EngineAccess | None,
    options: DoctorOptions,
) -> AsyncIterator[Finding]:
    """Check everything of one service. Raises ConfigError if it cannot be managed at all."""
    check_dockerfile(spec, settings.root)
    agents_of(spec)
    engine = access.engine if access else None
    native = (await engine.info()).platform if engine else ""
    own = settings.for_service(spec.name)
    recipe = recipe_of(spec, own, labels.project_id(settings.root), native)
    bases, cache = (access.bases, access.build_cache) if access else (None, "")
    async for finding in _check_service(spec, project, recipe, settings=own, bases=bases, cache=cache):
        yield finding
    if access and not options.quick:
        for finding in await examine_disk(spec, recipe, own, access):
            yield finding
    async for finding in _check_ports(spec, project, own, engine):
        yield finding
    if access and options.measure:
        # Reading binaries needs pyelftools, which nothing else of the doctor does.
        from watcher.cli.doctor.shrink_service import ServiceShrinker  # noqa: PLC0415

        async for finding in ServiceShrinker(spec, project, recipe, own, access, options).shrink():
            yield finding


async def find_gone_projects(engine: EngineConnection, after: float) -> AsyncIterator[Finding]:
    """Report what projects with a deleted folder left, once it is older than `after` seconds."""
    try:
        found = await GoneProjects(engine, Registry()).find_deleted(time.time() - after)
    except (WatcherError, OSError) as error:
        yield Finding("gone projects", Grade.ADVICE, f"could not be checked: {error}")
        return
    if found:
        yield findings.judge_gone(found)


async def _check_buildkit(connection: BuildkitConnection) -> Finding:
    begun = time.monotonic()
    try:
        await connection.client()
    except EngineUnavailable as error:
        return Finding("BuildKit", Grade.ERROR, str(error), "Engine 20.10 or newer has it built in")
    return Finding("BuildKit", Grade.GOOD, f"answers in {humanize.seconds(time.monotonic() - begun)}")


def _check_disk(root: str) -> Finding:
    try:
        return findings.judge_disk(root, shutil.disk_usage(root).free)
    except OSError:
        return Finding("disk", Grade.GOOD, "the engine's disk is not on this machine")


async def _check_service(
    spec: ServiceSpec,
    project: ComposeProject,
    recipe: Recipe,
    *,
    settings: Settings,
    bases: BaseImages | None,
    cache: str,
) -> AsyncIterator[Finding]:
    """Check the service's tree, mounts, events and Dockerfile."""
    tree = tree_of(spec, recipe, settings)
    begun = time.monotonic()
    try:
        snapshot = await asyncio.to_thread(tree.scan)
    except TreeGone as error:
        yield Finding("tree", Grade.ERROR, str(error))
        return
    for finding in findings.judge_tree(snapshot, time.monotonic() - begun):
        yield finding
    mounts = source_mounts(spec, tree.root)
    for text in notices_of(start_command(spec, tree.root, recipe.dockerfile), mounts):
        yield Finding("mounts", Grade.ADVICE, text)
    if folders := await asyncio.to_thread(unwatched_sources, spec, settings.root, snapshot):
        yield Finding("mounts", Grade.ADVICE, unwatched_notice(folders))
    test = await asyncio.to_thread(self_test, tree.root, tree.watch_dirs, ECHO)
    yield findings.judge_events(len(tree.watch_dirs), test)
    journal = open_journal(recipe.project, cache=cache)
    try:
        builds = await asyncio.to_thread(journal.entries)
    except OSError as error:
        yield Finding(TOPIC, Grade.ADVICE, f"the journal of builds cannot be read: {error}")
        builds = []
    async for finding in _check_dockerfile(spec, project, snapshot, recipe, bases=bases, builds=builds):
        yield finding


async def _check_dockerfile(
    spec: ServiceSpec,
    project: ComposeProject,
    snapshot: Snapshot,
    recipe: Recipe,
    *,
    bases: BaseImages | None,
    builds: Sequence[BuildEntry],
) -> AsyncIterator[Finding]:
    text = original_dockerfile(recipe, snapshot)
    if text is None:
        yield Finding(recipe.dockerfile, Grade.ERROR, snapshot.no_dockerfile)
        return
    args, target = recipe.build_args, recipe.target
    try:
        platforms = await platforms_of(recipe, bases)
        names = dockerfiles.base_images(dockerfiles.parse(text), args, target, platforms)
        names = tuple(recipe.images.get(name, name) for name in names if name not in recipe.contexts)
        configs: dict[str, ImageConfig | None] = {}
        for name in names:
            base = await bases.try_to_find(name, recipe.platform) if bases else BaseImage(None)
            configs[name] = base.config
            yield _describe_base(name, base)
        plan = await asyncio.to_thread(accelerate_dockerfile, recipe, text, snapshot, configs, platforms)
        git = await asyncio.to_thread(missing_repository, text, snapshot)
        advice = dockerfiles.lint(
            text,
            build_args=args,
            target=target,
            platforms=platforms,
            vendored="vendor/modules.txt" in snapshot.files,
        )
        graph = dockerfiles.Graph(dockerfiles.parse(text), args, platforms)
        repeated = repeated_steps(builds, recipe.service, graph, plan)
        reviewed = await asyncio.to_thread(
            review_service, spec, project, recipe, snapshot, text=text, bases=configs, platforms=platforms
        )
    except DockerfileError as error:
        yield Finding(recipe.dockerfile, Grade.ERROR, str(error))
        return
    for finding in findings.judge_dockerfile(recipe.dockerfile, plan, advice):
        yield finding
    for finding in reviewed:
        yield finding
    if git:
        yield Finding(recipe.dockerfile, Grade.ADVICE, git)
    for finding in repeated:
        yield finding


def _describe_base(name: str, base: BaseImage) -> Finding:
    if base.problem:
        text = f"{name} not found locally and could not be pulled: {base.problem}"
        return Finding("base image", Grade.ADVICE, text, "check the name; run docker login if it is private")
    if base.placeholder:
        text = f"{name} is a placeholder image made on this machine"
        return Finding("base image", Grade.ADVICE, text, f"if a registry can be reached: docker pull {name}")
    if base.here:
        return Finding("base image", Grade.GOOD, f"{name} is available")
    return Finding("base image", Grade.GOOD, f"{name} not found locally: the first build pulls it")


async def _check_ports(
    spec: ServiceSpec, project: ComposeProject, settings: Settings, engine: Engine | None
) -> AsyncIterator[Finding]:
    """Check whether the ports of a daemon are free."""
    project_id = labels.project_id(settings.root)
    if lock.find_running(project_id):  # a running daemon has them
        return
    ports = HostPorts(engine, project_id, open_journal(project_id).folder)
    front = settings.deploy.strategy == "front"
    try:
        spec = await ports.choose(spec, project, front=front, avoid=(settings.http.port,), remember=False)
    except NoFreePort as error:
        yield Finding("port", Grade.ERROR, str(error))
    for chosen in ports.chosen(spec.name):
        yield Finding("port", Grade.GOOD, f"{chosen.port} is free, of {chosen.wanted.host_ports}")
    picked = {chosen.port for chosen in ports.chosen(spec.name)}
    wanted = [
        Listen("" if host == "0.0.0.0" else host, port)
        for bound in compose.published(spec).values()
        for host, port in bound
        if port and port not in picked
    ]
    own = await _list_own_ports(engine, project_id) if engine and wanted else {}
    for listen in wanted:
        finding = _check_port(listen)
        if finding.grade is Grade.ERROR and (holder := own.get(listen.port)):
            text = (
                f"{listen.port} is published by this project's own container {holder}; a watcher replaces it"
            )
            finding = Finding("port", Grade.GOOD, text)
        yield finding


async def _list_own_ports(engine: Engine, project_id: str) -> dict[int, str]:
    """Return the names of the project's containers, as `watcher once` leaves them, by published port."""
    containers = await engine.containers(labels=[f"{labels.PROJECT}={project_id}"])
    return {
        port: container.name
        for container in containers
        for addresses in container.ports.values()
        for _, port in addresses
    }


def _check_status_port(settings: Settings, project: ComposeProject) -> Finding:
    """Find the port of the status page: by default the first that is free, else the one that is set."""
    http = settings.http
    if is_explicit(http):
        return _check_port(Listen(http.host, http.port))
    published = {address.port for spec in project.services.values() for address in fixed_addresses(spec)}
    for port in candidate_ports(http, published, None):
        finding = _check_port(Listen(http.host, port))
        if finding.grade is Grade.GOOD:
            text = explain_other_port(http, port, published, watcher_at(http.port))
            return Finding("port", Grade.GOOD, text) if text else finding
    return finding


def _check_port(listen: Listen) -> Finding:
    """Check whether an address can be listened on."""
    try:
        check_free(listen)
    except CannotListen as error:
        return Finding("port", Grade.ERROR, str(error))
    return Finding("port", Grade.GOOD, f"{listen.port} is free")
