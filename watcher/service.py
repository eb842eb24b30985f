"""One service of the compose file, kept: its tree, its builder, its front, its deployer, its loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from watcher import plan
from watcher.build import BuildkitLink, ImageBuilder, Recipe
from watcher.chores import IdleChores
from watcher.compose import BuildSpec, ComposeProject, SecretSource, ServiceSpec
from watcher.container import ComposeContainer
from watcher.deploy import ContainerDeployer, Policy
from watcher.dockerfile import Level
from watcher.engine import Engine
from watcher.errors import ConfigError
from watcher.events import Source
from watcher.front import Additions, Front, Limits, Listen, Unavailable
from watcher.observe import DeployFinished, DeployOutcome, Event, Observer, ServiceStarted
from watcher.prune import Needed, Pruner, Scope
from watcher.prune import Policy as PrunePolicy
from watcher.reconcile import Reconciler
from watcher.settings import Settings
from watcher.settle import Lookout
from watcher.tree import Snapshot, Tree
from watcher.watch import TreeWatch


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
        await self._adopt()

    async def _adopt(self) -> None:
        begun = time.monotonic()
        await self.deployer.adopt()
        if live := self.deployer.container:
            self.reconciler.adopted(
                DeployFinished(
                    service=self.name,
                    revision=live.revision,
                    image=live.image,
                    outcome=DeployOutcome.ADOPTED,
                    seconds=time.monotonic() - begun,
                    container=live.id,
                )
            )
            self.builder.measure(live.revision, live.image)
        elif lost := self.deployer.lost:
            self.reconciler.found_stopped(lost.revision, lost.image)

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
    _refuse(spec, build)
    if build.dockerfile_inline is None and not (build.context / build.dockerfile).is_file():
        place = _shown(build.context / build.dockerfile, root)
        raise ConfigError(f"services.{spec.name}.build.dockerfile", str(place), "there is no such file")
    return Recipe(
        service=spec.name,
        project=project,
        image=image,
        dockerfile=build.dockerfile,
        inline=build.dockerfile_inline,
        build_args={**build.args, **settings.build.args},
        target=settings.build.target or build.target,
        level=Level(settings.build.accelerate),
        platform=build.platform or spec.platform,
        image_labels=build.labels,
        secrets={item.id: _secret(item) for item in build.secrets},
        frontend_attrs=_frontend_attrs(build),
        network=build.network,
        no_cache=build.no_cache,
        builder_label=settings.prune.builder_label,
    )


def _refuse(spec: ServiceSpec, build: BuildSpec) -> None:
    """Name what the compose file may ask of a build and this program cannot do."""
    at = f"services.{spec.name}.build"
    if build.ssh:
        raise ConfigError(f"{at}.ssh", ", ".join(build.ssh), "SSH agent forwarding is not supported")
    for name, place in build.additional_contexts.items():
        if "://" not in place:
            rule = "a local folder is not supported here; an image (docker-image://) or a URL is"
            raise ConfigError(f"{at}.additional_contexts.{name}", place, rule)


def _secret(source: SecretSource) -> bytes | Path:
    return source.file if source.file is not None else (source.value or "").encode()


def _frontend_attrs(build: BuildSpec) -> dict[str, str]:
    """What has no field of its own in a solve request (moby/buildkit, frontend/dockerui/config.go)."""
    attrs = {f"context:{name}": place for name, place in build.additional_contexts.items()}
    if build.extra_hosts:
        attrs["add-hosts"] = ",".join(f"{name}={address}" for name, address in build.extra_hosts)
    if build.shm_size:
        attrs["shm-size"] = str(build.shm_size)
    if build.ulimits:
        attrs["ulimit"] = ",".join(f"{name}={soft}:{hard}" for name, (soft, hard) in build.ulimits.items())
    if build.pull:
        attrs["image-resolve-mode"] = "pull"
    return attrs


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
    container = ComposeContainer(compose_project, spec, project, engine, observer)
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
    chores = IdleChores(
        builder,
        pruner if settings.prune.enabled else None,
        export_builder=settings.build.builder_image,
        prune_every=settings.prune.interval,
    )
    reconciler: Reconciler[Snapshot] = Reconciler(
        spec.name,
        builder=builder,
        deployer=deployer,
        chores=chores,
        observer=observer,
        limits=plan.Limits(settings.build.max_cancels, settings.build.max_wait),
        chores_every=chores.every,
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
            additions=Additions(settings.front.forwarded, settings.front.revision_header),
            explain=lambda: explain(container.service),
        )
        for port, bound in container.published.items()
    }
