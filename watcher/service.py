"""One service of the compose file, kept: its tree, its builder, its front, its deployer, its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher import compose, plan
from watcher.build import BuildkitLink, ImageBuilder, Recipe
from watcher.chores import IdleChores
from watcher.compose import ComposeProject, ServiceSpec
from watcher.deploy import ContainerDeployer, Policy, Published
from watcher.dockerfile import Level
from watcher.engine import Engine
from watcher.errors import ConfigError
from watcher.events import Source
from watcher.front import Front, Limits, Listen, Unavailable
from watcher.observe import Event, Observer, ServiceStarted
from watcher.prune import Needed, Pruner, Scope
from watcher.prune import Policy as PrunePolicy
from watcher.reconcile import Reconciler
from watcher.settings import Settings
from watcher.settle import Lookout
from watcher.tree import Snapshot, Tree
from watcher.watch import TreeWatch


@dataclass(frozen=True)
class ComposeContainer:
    """How the compose file wants a container of the service (see `deploy.ContainerRecipe`)."""

    compose_project: ComposeProject
    spec: ServiceSpec
    project: str
    engine: Engine

    @property
    def name(self) -> str:
        """The name that the live container has: the compose file's, else the one compose would give."""
        return self.spec.container_name or f"{self.spec.project_name}-{self.spec.name}-1"

    @property
    def service(self) -> str:
        """Service of the compose file."""
        return self.spec.name

    @property
    def digest(self) -> str:
        """Digest over all that decides how the container runs."""
        return compose.config_digest(self.spec)

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP ports that the front serves, as the compose file orders them."""
        return tuple(dict.fromkeys(port.container_port for port in self.spec.ports if port.protocol == "tcp"))

    @property
    def published(self) -> Published:
        """Where the compose file publishes them."""
        found: dict[int, list[tuple[str, int]]] = {}
        for port in self.spec.ports:
            if port.protocol == "tcp":
                found.setdefault(port.container_port, []).append((port.host_ip, port.host_port or 0))
        return found

    @property
    def stop_timeout(self) -> float:
        """Seconds that the program may take to stop."""
        return 10.0 if self.spec.stop_grace_period is None else self.spec.stop_grace_period

    @property
    def network(self) -> str | None:
        """Reached over published loopback ports."""
        return None

    def config(self, image: str, publish: Published, extra_labels: Mapping[str, str]) -> Mapping[str, Any]:
        """The Engine API's body for creating it."""
        own = compose.compose_labels(self.compose_project, self.spec, config_hash=self.digest, image=image)
        return compose.container_config(
            self.spec, image=image, publish=publish, labels={**own, **extra_labels}
        )

    async def prepare(self) -> None:
        """Make the networks and volumes that the service names."""
        for network in compose.networks_of(self.compose_project, self.spec):
            await self.engine.ensure_network(network.name, labels=network.labels)
        for volume in compose.volumes_of(self.compose_project, self.spec):
            await self.engine.ensure_volume(volume.name, labels=volume.labels)

    async def created(self, container: str) -> None:
        """Attach it to the networks after the first, which creating it took."""
        for network in compose.networks_of(self.compose_project, self.spec)[1:]:
            await self.engine.connect(container, network.name, [self.spec.name])


class Service:
    """A kept service. Made by `create`; `start` takes the ports, `run` keeps it, `stop` ends it."""

    def __init__(
        self,
        spec: ServiceSpec,
        *,
        fronts: Mapping[int, Front],
        watch: TreeWatch,
        builder: ImageBuilder,
        deployer: ContainerDeployer,
        reconciler: Reconciler[Snapshot],
        settings: Settings,
        engine: Engine,
    ) -> None:
        self.name = spec.name
        self.spec, self.settings = spec, settings
        self.fronts, self.watch, self.builder = fronts, watch, builder
        self.deployer, self.reconciler = deployer, reconciler
        self._engine = engine

    async def start(self, observer: Observer, compose_file: Path) -> None:
        """Take the ports and adopt what serves already; raises PortInUse or EngineUnavailable."""
        await self.deployer.clear_the_way()
        for front in self.fronts.values():
            await front.start()
        observer.notify(
            ServiceStarted(
                service=self.name,
                urls=self.urls,
                compose_file=compose_file.name,
                image=self.builder.recipe.image,
                container=self.deployer.recipe.name,
                image_budget=self.settings.image.max_size,
            )
        )
        revision = await self.deployer.adopt()
        if revision is not None:
            self.reconciler.adopted(revision)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the service answers."""
        scheme = "http" if self.settings.deploy.protocol == "http" else "tcp"
        published = self.deployer.recipe.published
        addresses = [address for bound in published.values() for address in bound]
        if self.fronts:
            addresses = [(item.host, item.port) for front in self.fronts.values() for item in front.addresses]
        names = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}
        return tuple(dict.fromkeys(f"{scheme}://{names.get(host, host)}:{port}" for host, port in addresses))

    async def run(self) -> None:
        """Keep the container equal to the tree until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch.run(self.reconciler))
            group.create_task(self.reconciler.run())

    async def stop(self) -> None:
        """Drain and end; the container stays, publishing the port itself, if the settings say so."""
        keep = self.settings.deploy.on_exit == "keep"
        live = self.deployer.container
        await self.deployer.close(stop=not keep)
        for front in self.fronts.values():
            await front.close()
        if keep and live and self.fronts:
            await self._publish(live.revision, live.image)
        self.watch.close()

    async def _publish(self, revision: str, image: str) -> None:
        """From now on the container publishes the ports itself, as compose would have it."""
        alone = ContainerDeployer(
            self.deployer.recipe,
            engine=self._engine,
            fronts={},
            policy=self.deployer.policy,
            observer=_Nobody(),
            on_lost=lambda _: None,
            on_rolled_back=lambda _: None,
        )
        await alone.clear_the_way()
        await alone.deploy(revision, image)


class _Nobody:
    """An observer for what happens when nobody is there any more."""

    def notify(self, event: Event) -> None:
        """Nobody wants to know."""


def recipe_of(spec: ServiceSpec, settings: Settings, project: str, root: Path) -> Recipe:
    """What decides the service's image; raises ConfigError when it has no build section."""
    if spec.build is None:
        raise ConfigError(f"services.{spec.name}", None, "has no build section: there is nothing to keep")
    build = spec.build
    image = spec.image if ":" in spec.image.rpartition("/")[2] else f"{spec.image}:latest"
    recipe = Recipe(
        service=spec.name,
        project=project,
        image=image,
        dockerfile=build.dockerfile,
        build_args={**build.args, **settings.build.args},
        target=settings.build.target or build.target,
        level=Level(settings.build.accelerate),
        platform=spec.platform or "",
        image_labels=build.labels,
        add_hosts=build.extra_hosts,
        network=build.network or "",
        no_cache=build.no_cache,
    )
    if not (build.context / build.dockerfile).is_file():
        place = build.context / build.dockerfile
        raise ConfigError(
            f"services.{spec.name}.build.dockerfile", str(_shown(place, root)), "there is no such file"
        )
    return recipe


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def create(
    spec: ServiceSpec,
    *,
    compose_project: ComposeProject,
    settings: Settings,
    project: str,
    engine: Engine,
    link: BuildkitLink,
    observer: Observer,
    explain: Callable[[str], Unavailable],
) -> Service:
    """Put one service together; nothing is started yet. Raises ConfigError."""
    recipe = recipe_of(spec, settings, project, settings.root)
    container = ComposeContainer(compose_project, spec, project, engine)
    builder = ImageBuilder(recipe, engine=engine, link=link, observer=observer)
    fronts = _fronts(container, settings, observer, explain) if settings.deploy.strategy == "front" else {}
    deploy = settings.deploy
    loop: list[Reconciler[Snapshot]] = []
    deployer = ContainerDeployer(
        container,
        engine=engine,
        fronts=fronts,
        policy=Policy(deploy.ready_path, deploy.protocol, deploy.startup_timeout, deploy.soak, deploy.drain),
        observer=observer,
        on_lost=lambda event: loop[0].lost(event),  # noqa: PLW0108 - the loop is made after this
        on_rolled_back=lambda event: loop[0].rolled_back(event),  # noqa: PLW0108
    )
    pruner = Pruner(
        engine,
        observer,
        scope=Scope.of(recipe, container=container.name),
        policy=PrunePolicy.of(settings.prune),
        needed=lambda: _needed(loop[0], deployer),
    )
    reconciler: Reconciler[Snapshot] = Reconciler(
        spec.name,
        builder=builder,
        deployer=deployer,
        chores=IdleChores(
            builder, pruner if settings.prune.enabled else None, export_builder=settings.build.builder_image
        ),
        observer=observer,
        limits=plan.Limits(settings.build.max_cancels, settings.build.max_wait),
        chores_every=settings.prune.interval or float("inf"),
    )
    loop.append(reconciler)
    context = spec.build.context if spec.build else settings.root
    watch = settings.watch
    tree = Tree(context, ignore=watch.ignore, env_dirs=watch.env_dirs, dockerfile=recipe.dockerfile)
    source = Source(context, observer=observer, service=spec.name, mode=watch.mode, full_look=watch.full_scan)
    lookout = Lookout(source, context, hold=reconciler.hold)
    inputs = {**recipe.inputs(), "container": container.digest}
    return Service(
        spec,
        fronts=fronts,
        watch=TreeWatch(spec.name, tree, lookout, inputs=lambda: inputs, observer=observer),
        builder=builder,
        deployer=deployer,
        reconciler=reconciler,
        settings=settings,
        engine=engine,
    )


def _needed(reconciler: Reconciler[Snapshot], deployer: ContainerDeployer) -> Needed:
    """What this process must not lose to pruning."""
    state = reconciler.state
    revisions = (state.wanted, state.building, state.deploying, state.live, deployer.live)
    return Needed(
        live=deployer.container.image if deployer.container else None,
        ids=deployer.needed,
        revisions=frozenset(revision for revision in revisions if revision),
        failed=deployer.unfit,
    )


def _fronts(
    container: ComposeContainer,
    settings: Settings,
    observer: Observer,
    explain: Callable[[str], Unavailable],
) -> dict[int, Front]:
    limits = Limits(held=settings.front.hold_requests, hold_seconds=settings.front.hold_timeout)
    return {
        port: Front(
            [Listen("" if host in ("", "0.0.0.0") else host, number) for host, number in bound],
            observer=observer,
            service=container.service,
            protocol=settings.deploy.protocol,
            limits=limits,
            explain=lambda: explain(container.service),
        )
        for port, bound in container.published.items()
    }
