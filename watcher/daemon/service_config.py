"""Assemble one service from the compose file and the settings: values, and parts that are not started yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from watcher import compose
from watcher.builder import BuildJournal, BuildkitConnection, Recipe
from watcher.compose import ComposeProject, ServiceSpec
from watcher.daemon.build_order import BuildOrder
from watcher.daemon.port_protocols import check_protocols, protocol_of
from watcher.daemon.recipe import agents_of, recipe_of
from watcher.daemon.shared_images import SharedImages
from watcher.daemon.start_order import StartOrder
from watcher.deploy import DeployPolicy, HostPorts, SourceMount, source_mounts
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.live_reloader import PATIENCE, StartCommand, outputs, start_command
from watcher.deploy.own_container import OwnContainer
from watcher.engine import Engine, SystemInfo
from watcher.errors import ConfigError
from watcher.front import ExtraHeaders, Front, FrontLimits, Listen, Unavailable, room_for
from watcher.fswatch import NativeBackends
from watcher.image.process import summarize_apart
from watcher.image.summary import ImageSummary
from watcher.observers.events import Observer
from watcher.prune import CacheNames
from watcher.reconcile import state_machine
from watcher.reconcile.build_slots import BuildSlots
from watcher.settings import PortProtocol, Settings
from watcher.tree import Tree, TreePool, TreeWithContexts


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedResources:
    """Everything that the services of a project share. `project` is its id; `explain` see `Front`."""

    project: str
    engine: Engine
    connection: BuildkitConnection
    journal: BuildJournal
    observer: Observer
    explain: Callable[[str], Unavailable]
    info: SystemInfo
    host_ports: HostPorts
    dependencies: Dependencies
    order: StartOrder
    slots: BuildSlots
    build_order: BuildOrder = field(default_factory=BuildOrder)
    images: SharedImages
    backends: NativeBackends = field(default_factory=NativeBackends)
    trees: TreePool = field(default_factory=TreePool)
    base_notices: set[str] = field(default_factory=set)  # about base images, of all services
    cache_names: CacheNames
    kept_builds: dict[str, int | None]  # see `count_kept_builds`, as the files are now
    pruning: asyncio.Lock  # held while one of them prunes
    summarize_image: Callable[[str, str | None], Awaitable[ImageSummary | None]] = summarize_apart
    own: OwnContainer | None = None  # that the watcher runs in, where loopback does not reach the others


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """One service as configured. `fronts` are by port of the container; empty for `recreate`."""

    spec: ServiceSpec
    settings: Settings
    compose_file: str
    recipe: Recipe
    container: ComposeContainer
    fronts: Mapping[int, Front]
    tree: Tree
    source_mounts: tuple[SourceMount, ...] = ()
    command: StartCommand = field(default_factory=StartCommand)

    @property
    def inputs(self) -> Mapping[str, str]:
        """Return the part of a revision that is not the tree."""
        return {**self.recipe.inputs(), "container": self.container.digest}

    @property
    def policy(self) -> DeployPolicy:
        """Return how long a deploy may take."""
        deploy = self.settings.deploy
        patience = deploy.startup_timeout
        if self.command.compiles and "startup_timeout" not in deploy.model_fields_set:
            patience = max(patience, PATIENCE)
        first = next(iter(self.container.ports), 0)  # the one that is asked for readiness
        return DeployPolicy(deploy.ready_path, self.protocol(first), patience, deploy.soak, deploy.drain)

    def equals(self, other: ServiceConfig) -> bool:
        """Return whether nothing that concerns this service differs, whatever differs in others."""
        return self._essence() == other._essence()

    def _essence(self) -> tuple[object, ...]:
        project, settings = self.container.compose_project, self.settings
        needed = [project.services[name] for name in sorted(project.needs(self.spec.name))]
        networks = {each.key for spec in (self.spec, *needed) for each in spec.networks}
        volumes = {each.source for spec in (self.spec, *needed) for each in spec.mounts}
        return (
            self.spec,
            self.recipe,
            {port: id(front) for port, front in self.fronts.items()},
            settings.watch,
            settings.build,
            settings.deploy,
            settings.front,
            settings.image,
            settings.prune,
            (project.name, project.config_files, len(project.services) > 1 or bool(project.others)),
            [network for key, network in project.networks.items() if key in networks],
            [volume for volume in project.volumes.values() if volume.name in volumes],
            needed,
            self.source_mounts,
            self.command,
        )

    def protocol(self, port: int) -> PortProtocol:
        """Return the protocol that the front assumes for this port of the container."""
        return protocol_of(self.spec, port, self.settings.deploy)

    def notices(self) -> Iterator[str]:
        """Yield what a user should know about sources that the container reads itself."""
        yield from notices_of(self.command, self.source_mounts)

    @property
    def limits(self) -> state_machine.BuildLimits:
        """Return how long newer saves may cancel builds."""
        build = self.settings.build
        return state_machine.BuildLimits(build.max_cancels, build.max_wait, build.timeout)


def assemble_service(
    shared: SharedResources,
    spec: ServiceSpec,
    compose_project: ComposeProject,
    settings: Settings,
    fronts: Mapping[int, Front] | None = None,
) -> ServiceConfig:
    """Assemble one service; start and change nothing. Raises ConfigError.

    `spec` has one host port where the file has a range (`HostPorts`).
    `fronts` already exist: those whose addresses stay are used again.
    """
    compose.check_api(compose_project, shared.info.api)
    check_protocols(spec, settings.deploy)
    recipe = replace(recipe_of(spec, settings, shared.project, shared.info.platform), ssh=agents_of(spec))
    front = settings.deploy.strategy == "front"
    container = ComposeContainer(
        compose_project,
        spec,
        shared.project,
        shared.engine,
        shared.observer,
        shared.dependencies,
        settings.deploy.pause_container,
        shared.own,
        address=front and settings.deploy.address_container,
    )
    tree = tree_of(spec, recipe, settings, shared.trees.make_tree)
    return ServiceConfig(
        spec=spec,
        settings=settings,
        compose_file=compose_project.file.name,
        recipe=recipe,
        container=container,
        fronts=_fronts(shared, container, settings, fronts or {}) if front else {},
        tree=tree,
        source_mounts=source_mounts(spec, tree.root),
        command=start_command(spec, tree.root, recipe.dockerfile),
    )


def tree_of(
    spec: ServiceSpec, recipe: Recipe, settings: Settings, make_tree: Callable[..., Tree] = Tree
) -> Tree:
    """Return the build context of a service as it is watched: without what a live reloader writes."""
    context, watch = spec.build.context if spec.build else settings.root, settings.watch
    written: tuple[str, ...] = ()
    if any(not mount.read_only for mount in source_mounts(spec, context)):
        written = outputs(start_command(spec, context, recipe.dockerfile), context)
    ignore, inline = (*written, *watch.ignore), recipe.inline is not None
    if recipe.contexts:
        return TreeWithContexts(
            context,
            contexts={name: Tree(path, ignore=watch.ignore) for name, path in recipe.contexts.items()},
            ignore=ignore,
            env_dirs=watch.env_dirs,
            dockerfile=recipe.dockerfile,
            inline=inline,
        )
    return make_tree(
        context, ignore=ignore, env_dirs=watch.env_dirs, dockerfile=recipe.dockerfile, inline=inline
    )


def notices_of(command: StartCommand, mounts: Sequence[SourceMount]) -> Iterator[str]:
    """Yield what a user should know about sources that the container reads itself."""
    if not mounts:
        return
    targets = ", ".join(mount.target for mount in mounts)
    text = f"files of the project are mounted into the container ({targets}): a save of one of them replaces "
    text += "the container, also when the image stays the same"
    if command.reloader:
        text += (
            f"; {command.reloader} in the container reloads the service by itself too, so a save is built "
            f"twice: a command without {command.reloader} is enough here"
        )
    yield text
    if command.compiles:
        yield (
            f"`{command.text}` compiles at the container's start, so that takes as long as a build: a volume "
            "for /root/.cache/go-build (and /go/pkg/mod) makes it short; deploy.startup_timeout bounds it"
        )


def unwatched_notice(folders: Sequence[str]) -> str:
    """Say what it means that mounted sources are not in the build context."""
    return (
        f"{', '.join(folders)}: mounted into the container, with Go files that are not in the build context "
        "(build.context, or the ignore file): a save there builds nothing, and replaces the container"
    )


def count_fronts(project: ComposeProject) -> int:
    """Return how many fronts the managed services have: they share the process's descriptors."""
    services = project.managed_services
    return sum(len(compose.published(spec)) or len(spec.expose) for spec in services)


def front_options(settings: Settings, fronts: int) -> tuple[FrontLimits, ExtraHeaders]:
    """Return the limits of each of so many fronts, and the headers that it adds."""
    front = settings.front
    limits = FrontLimits(
        connections=min(front.connections, max(room_for(front.connections * fronts) // max(fronts, 1), 1)),
        held=front.hold_requests,
        hold_seconds=front.hold_timeout,
        head_bytes=front.head_size,
        answer_head_bytes=front.answer_head_size,
    )
    return limits, ExtraHeaders(front.forwarded, front.revision_header)


def limits_of_fronts(settings: Settings, container: ComposeContainer) -> tuple[FrontLimits, ExtraHeaders]:
    """Return `front_options` of this service; all fronts share the process's descriptors."""
    return front_options(settings, count_fronts(container.compose_project))


def _fronts(
    shared: SharedResources,
    container: ComposeContainer,
    settings: Settings,
    there: Mapping[int, Front],
) -> dict[int, Front]:
    wanted = {
        port: tuple(Listen(host, number) for host, number in bound)
        for port, bound in container.listening.items()
    }
    kept = _kept_fronts(wanted, there)
    taken = {item.port for front in there.values() if front not in kept.values() for item in front.listen}
    fronts = {}
    for port, listen in wanted.items():
        for item in listen:
            if port not in kept and item.port and item.port in taken:
                rule = (
                    "this port is listened on at other addresses now: start the watcher again to change them"
                )
                raise ConfigError(f"services.{container.service}.ports", f"{item}:{port}", rule)
        fronts[port] = kept.get(port) or make_front(shared, container, settings, port, listen)
    return fronts


def make_front(
    shared: SharedResources,
    container: ComposeContainer,
    settings: Settings,
    port: int,
    listen: Sequence[Listen] = (),
) -> Front:
    """Return a front for this port of the container. Without `listen` only other services reach it."""
    limits, extra_headers = limits_of_fronts(settings, container)
    return Front(
        listen,
        observer=shared.observer,
        service=container.service,
        protocol=protocol_of(container.spec, port, settings.deploy),
        limits=limits,
        extra_headers=extra_headers,
        explain=lambda: shared.explain(container.service),
        port=port,
    )


def _kept_fronts(wanted: Mapping[int, Sequence[Listen]], there: Mapping[int, Front]) -> dict[int, Front]:
    """Return the fronts that listen where `wanted` has it, by the container port that they now serve."""
    kept = {port: there[port] for port in wanted if port in there and there[port].listen == wanted[port]}
    for port, listen in wanted.items():
        free = (front for front in there.values() if front not in kept.values() and front.listen == listen)
        if port not in kept and (found := next(free, None)):
            kept[port] = found
    return kept
