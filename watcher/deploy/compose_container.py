"""The container of a service as the compose file wants it, and what it needs beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from watcher import compose, labels
from watcher.compose import ComposeProject, Dependency, ServiceSpec
from watcher.deploy import Published, hooks, used_networks
from watcher.deploy.own_container import OwnContainer
from watcher.diagnosis.diagnose import engine_trouble, trouble_hint
from watcher.engine import Container, Engine, EngineError, NewFile
from watcher.errors import EngineTrouble, Failure, UserError
from watcher.observers.events import Notice, Observer, short
from watcher.system import lock

STOP_SECONDS = 10.0  # what the engine gives a container to stop when nobody says otherwise
CONDITION_PAUSE = 0.25  # seconds between looks at a service that this one depends on


@dataclass(frozen=True)
class ComposeContainer:
    """What a container of the service is made of, beside its image (see `deploy.ContainerRecipe`)."""

    compose_project: ComposeProject
    spec: ServiceSpec
    project: str
    engine: Engine
    observer: Observer
    pause_container: bool = True  # as `deploy.pause_container` has it
    own: OwnContainer | None = None  # that the watcher runs in

    @property
    def name(self) -> str:
        """The name that the live container has."""
        return self.spec.default_name

    @property
    def service(self) -> str:
        """Service of the compose file."""
        return self.spec.name

    @cached_property
    def digest(self) -> str:
        """Digest over all that decides how the container runs."""
        return compose.config_digest(self.spec)

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP ports that are published, as the compose file orders them."""
        return tuple(self.published)

    @cached_property
    def published(self) -> Published:
        """Where the compose file publishes them."""
        return compose.published(self.spec)

    @property
    def direct(self) -> tuple[str, ...]:
        """Ports like `5353/udp` that the container publishes itself: a front serves TCP only."""
        ports = (port for port in self.spec.ports if port.protocol != "tcp")
        return tuple(f"{port.host_port or port.container_port}/{port.protocol}" for port in ports)

    @property
    def exclusive(self) -> bool:
        """Whether no two of them can run at once, because a port or an address has one user."""
        return bool(self.spec.side_by_side_conflicts)

    @property
    def stop_timeout(self) -> float:
        """Seconds that the program may take to stop."""
        grace = self.spec.stop_grace_period
        return STOP_SECONDS if grace is None else grace

    @property
    def network(self) -> str | None:
        """The service's first network, which the watcher's own container joins; None: loopback ports do."""
        networks = self.spec.networks
        return networks[0].network if self.own and networks else None

    @property
    def listening(self) -> Published:
        """Where fronts listen: as published, but within a container on all of its addresses."""
        if self.network is None:
            return self.published
        return {
            port: tuple(dict.fromkeys(("", number) for _, number in bound))
            for port, bound in self.published.items()
        }

    def notices(self) -> Iterator[str]:
        """What a person should know of ports that a front serves from within a container."""
        if not self.own:
            return
        if self.network:
            yield from self.own.notices(self.published)
        elif self.ports:
            yield (
                f"the watcher runs in a container and cannot reach {self.service}, which is on no network "
                f"of the compose file (network_mode: {self.spec.network_mode}): run it with `--network host`"
            )

    @property
    def platform(self) -> str | None:
        """The platform that the compose file asks for."""
        return self.spec.platform or None

    @property
    def allows_pause_container(self) -> bool:
        """Whether a pause container may hold its network.

        Nobody else may look for it by name meanwhile: nothing listens on a pause container's network yet.
        """
        project, spec = self.compose_project, self.spec
        shared = bool(project.others) or any(network.external for network in project.networks.values())
        return self.pause_container and not shared and compose.can_share_network(spec)

    def config(
        self, image: str, publish: Published, extra_labels: Mapping[str, str], joins: str = ""
    ) -> Mapping[str, Any]:
        """The Engine API's body for creating it; ports other than TCP are published as the file says."""
        own = compose.compose_labels(self.compose_project, self.spec, config_hash=self.digest, image_id=image)
        body = compose.container_config(
            self.spec, image=image, name=self.name, publish=publish, labels={**own, **extra_labels}
        )
        return compose.with_shared_network(body, joins) if joins else body

    def pause_config(
        self, image: str, publish: Published, own_labels: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """The body for a container that only holds the network."""
        body = compose.container_config(self.spec, image=image, name=self.name, publish=publish, labels={})
        return compose.pause_config(body, own_labels)

    async def created(self, container: str) -> None:
        """Attach it to the networks after the first, which creating it took, and write its files."""
        await self._finish(self.spec, container, self.name)

    async def started(self, container: str) -> None:
        """Run the commands of `post_start`; raises UserError for one that fails."""
        if failure := await hooks.run(self.engine, container, self.spec.post_start, "post_start"):
            raise UserError(failure)

    async def stopping(self, container: str) -> None:
        """Run the commands of `pre_stop`; one that fails is told, and the container stops all the same."""
        if failure := await hooks.run(self.engine, container, self.spec.pre_stop, "pre_stop"):
            self._tell(failure.summary, "warning")

    async def _finish(self, spec: ServiceSpec, container: str, name: str) -> None:
        for network, endpoint in compose.additional_networks(spec, name).items():
            await self.engine.connect(container, network, endpoint)
        if spec.files:
            files = [NewFile(f.target, f.content, f.uid, f.gid, f.mode) for f in spec.files]
            await self.engine.put_files(container, files)

    # What it needs.

    async def join(self) -> None:
        """Be where the container can be reached; raises UserError."""
        if self.network:
            try:
                await self._networks()
            except EngineError as error:
                text = f"the watcher's own container cannot join the network {self.network}: {error}"
                raise UserError(Failure("container", text)) from error

    async def _networks(self) -> None:
        """Make the project's networks; from within a container, be on the one that the service is on."""
        project = self.compose_project
        for network in project.networks.values():
            if not network.external:
                body = compose.network_config(project.name, network)
                own = labels.network(self.project, network.name)
                await self.engine.ensure_network({**body, "Labels": {**body["Labels"], **own}})
        if self.own and self.network:
            await self.own.join(self.network)

    async def remove_networks(self) -> None:
        """Remove the project's networks that a watcher created and no container uses, like `compose down`.

        A copy of the project may have created them under the same name; while its watcher runs they stay.
        """
        if self.own:
            await self.own.leave()
        project = f"{compose.PROJECT_LABEL}={self.compose_project.name}"
        used = await used_networks(self.engine)
        for network in await self.engine.networks(labels=(project, f"{labels.KIND}={labels.NETWORK_KIND}")):
            other = network.labels.get(labels.PROJECT, "")
            unused = labels.is_own_network(network.labels, network.name) and not used & {
                network.id,
                network.name,
            }
            if unused and (other == self.project or lock.find(other) is None):
                await self.engine.remove_network(network.id)

    async def prepare(self) -> None:
        """Make networks and volumes, and bring up the services it depends on; raises UserError."""
        project = self.compose_project
        try:
            await self._networks()
            for volume in project.volumes.values():
                if not volume.external:
                    await self.engine.ensure_volume(compose.volume_config(project.name, volume))
            needed = project.services
            for spec in project.dependencies:
                await self._bring_up(spec)
            for name, dependency in self.spec.depends_on.items():
                if name in needed:
                    await self._until(needed[name], dependency)
        except EngineError as error:
            if trouble := engine_trouble(str(error)):
                raise EngineTrouble(trouble, trouble_hint(trouble)) from error
            raise UserError(
                Failure("container", f"what {self.service} needs cannot be made: {error}")
            ) from error

    async def _found(self, spec: ServiceSpec) -> list[Container]:
        """The containers of another service of the project, whoever started them."""
        selector = (
            f"com.docker.compose.project={self.compose_project.name}",
            f"com.docker.compose.service={spec.name}",
            "com.docker.compose.oneoff=False",
        )
        listed = await self.engine.containers(labels=selector)
        listed.sort(key=lambda item: not item.running)
        found = [await self.engine.container(item.id) for item in listed]
        return [item for item in found if item]

    async def _bring_up(self, spec: ServiceSpec) -> None:
        """Start another service once, and leave it alone from then on."""
        found = await self._found(spec)
        for item in found:
            if not item.running and not (item.exit_code == 0 and item.state == "exited"):
                await self.engine.start(item.id)
        missing = spec.replicas - len(found)
        if missing <= 0:
            return
        rule = spec.left_to_compose or compose.missing_api(spec, (await self.engine.info()).api)
        if rule:
            hint = f"`docker compose up -d {spec.name}` may start it; then save again"
            summary = f"{self.service} depends on {spec.name}, which is not started here: {rule}"
            raise UserError(Failure("container", summary, hint=hint))
        await self._have_image(spec)
        image = await self.engine.image(spec.image)
        taken = {item.name for item in found}
        names = (spec.replica_name(number) for number in range(1, len(found) + spec.replicas + 1))
        for number, name in enumerate(names, 1):
            if missing and name not in taken:
                missing -= 1
                await self._create(spec, name, number, image.id if image else "")

    async def _have_image(self, spec: ServiceSpec) -> None:
        """Pull the image of another service when `pull_policy` wants it; raises UserError without one."""
        there = await self.engine.image(spec.image)
        old = there is not None and time.time() - there.tagged > spec.pull_after
        if spec.build:
            if there is None:
                hint = f"`docker compose up -d {spec.name}` builds and starts it"
                summary = f"{self.service} depends on {spec.name}, whose image {spec.image} is not built"
                raise UserError(Failure("container", summary, hint=hint))
        elif spec.pull_policy == "always" or (spec.pull_policy == "refresh" and old) or there is None:
            if spec.pull_policy == "never":
                summary = f"{spec.name} is never pulled (pull_policy), and {spec.image} is not here"
                raise UserError(Failure("container", summary))
            self._tell(f"pulling {spec.image} for {spec.name}")
            await self.engine.pull(spec.image, platform=spec.platform)

    async def _create(self, spec: ServiceSpec, name: str, number: int, image: str) -> None:
        """Create and start a container of another service."""
        own = compose.compose_labels(
            self.compose_project,
            spec,
            config_hash=compose.config_digest(spec),
            image_id=image,
            number=number,
        )
        body = compose.container_config(spec, image=spec.image, name=name, labels=own)
        container = await self.engine.create(name, body, platform=spec.platform or None)
        try:
            await self._finish(spec, container, name)
        except BaseException:
            await self.engine.remove(container)  # what is half made would be taken for whole the next time
            raise
        await self.engine.start(container)
        self._tell(f"{spec.name} was started ({name}, {short(container)})")
        if failure := await hooks.run(self.engine, container, spec.post_start, "post_start"):
            raise UserError(replace(failure, summary=f"{spec.name}: {failure.summary}"))

    async def _until(self, spec: ServiceSpec, dependency: Dependency) -> None:
        """Wait for what `depends_on` asks of another service."""
        while dependency.condition != "service_started":
            found = await self._found(spec)
            if spec.replicas and not any(item.state != "dead" for item in found):
                raise UserError(Failure("container", f"{spec.name}, which {self.service} needs, is gone"))
            waiting = False
            for item in found:
                waiting = await self._is_waited_for(spec, dependency, item) or waiting
            if not waiting:
                return
            await asyncio.sleep(CONDITION_PAUSE)

    async def _is_waited_for(self, spec: ServiceSpec, dependency: Dependency, found: Container) -> bool:
        """Whether a container of another service is not yet as it must be; raises UserError for never."""
        ended = not found.running
        if dependency.condition == "service_completed_successfully":
            if ended and found.exit_code == 0:
                return False
        elif found.health == "healthy":
            return False
        if ended or found.health == "unhealthy":
            log = await self.engine.logs(found.id, tail=30)
            state = found.health if found.running else f"ended with status {found.exit_code}"
            summary = f"{spec.name}, which {self.service} needs, is {state}"
            raise UserError(Failure("container", summary, log))
        return True

    def _tell(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        self.observer.notify(Notice(service=self.service, level=level, text=text))
