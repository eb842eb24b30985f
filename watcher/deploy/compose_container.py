"""The container of a service as the compose file describes it, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from watcher import compose, labels
from watcher.compose import ComposeProject, ServiceSpec
from watcher.deploy import Published, hooks, used_networks
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.own_container import OwnContainer
from watcher.deploy.project_resources import ensure_networks
from watcher.engine import Engine, EngineError, NewFile
from watcher.errors import Failure, UserError
from watcher.observers.events import Notice, Observer
from watcher.system import lock

STOP_SECONDS = 10.0  # the engine's own grace period for a container to stop


@dataclass(frozen=True)
class ComposeContainer:
    """What a container of the service is made of, except its image (see `deploy.ContainerRecipe`)."""

    compose_project: ComposeProject
    spec: ServiceSpec
    project: str
    engine: Engine
    observer: Observer
    dependencies: Dependencies
    pause_container: bool = True  # as `deploy.pause_container` has it
    own: OwnContainer | None = None  # that the watcher runs in
    address: bool = False  # whether it may have an address container

    @property
    def name(self) -> str:
        """Return the name that the live container has."""
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
        """Return where the compose file publishes them."""
        return compose.published(self.spec)

    @property
    def direct(self) -> tuple[str, ...]:
        """Ports like `5353/udp` that the container publishes itself: a front serves TCP only."""
        ports = (port for port in self.spec.ports if port.protocol != "tcp")
        return tuple(f"{port.host_port or port.container_port}/{port.protocol}" for port in ports)

    @property
    def exclusive(self) -> bool:
        """Return whether no two of them can run at once, because a port or an address has one user."""
        return bool(self.spec.side_by_side_conflicts)

    @property
    def written(self) -> tuple[str, ...]:
        """Volumes and folders of the host that its program may write; two containers would share them."""
        mounts = (each for each in self.spec.mounts if not each.read_only)
        others = (each for each in self.spec.volumes_from if not each.endswith(":ro"))
        return tuple(dict.fromkeys((*(each.source for each in mounts if each.source), *others)))

    @property
    def completes(self) -> bool:
        """Return whether it is a job: others wait until it has ended with exit status 0."""
        return self.service in compose.find_jobs(self.compose_project.services.values())

    @property
    def stop_timeout(self) -> float:
        """Seconds that the program has to stop."""
        grace = self.spec.stop_grace_period
        return STOP_SECONDS if grace is None else grace

    @property
    def network(self) -> str | None:
        """Return the network that the watcher's own container joins; None where loopback ports suffice."""
        networks = self.spec.networks
        return networks[0].network if self.own and networks else None

    @property
    def listening(self) -> Published:
        """Return where fronts listen: as published, but within a container on all of its addresses."""
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
        """Return the platform that the compose file asks for."""
        return self.spec.platform or None

    @property
    def _is_called(self) -> bool:
        """Return whether other services can look it up by name."""
        project = self.compose_project
        return (
            len(project.services) > 1
            or bool(project.others)
            or any(network.external for network in project.networks.values())
        )

    @cached_property
    def address_endpoints(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the endpoints of its address container; none if it needs none, or cannot have one."""
        wanted = self.address and self._is_called and not self.completes
        return compose.address_endpoints(self.spec) if wanted and not self._address_conflicts else {}

    @cached_property
    def _address_conflicts(self) -> tuple[str, ...]:
        """Why it cannot have an address container."""
        spec, known = self.spec, {each.name: each for each in self.compose_project.networks.values()}
        used = [known[each.network] for each in spec.networks if each.network in known]
        reasons = [*spec.side_by_side_conflicts]
        reasons += [f"the network {each.key} has IPv6" for each in used if each.enable_ipv6]
        reasons += [
            f"the network {each.key} has the driver {each.driver}"
            for each in used
            if not each.external and each.driver not in ("", "bridge")
        ]
        return tuple(reasons)

    @property
    def address_notice(self) -> str:
        """Return a notice if other services can call it and it has no address container; else empty."""
        wanted = self.address and self._is_called and not self.completes and bool(self.spec.networks)
        if not wanted or not self._address_conflicts:
            return ""
        reasons = ", ".join(self._address_conflicts)
        return (
            f"{self.service} has no address container, because {reasons}: while it is replaced, other "
            "services find a container that does not answer yet, or none"
        )

    def allows_pause_container(self, *, named: bool) -> bool:
        """Return whether a pause container can hold its network.

        Nothing listens on a pause container's network until then: no other service must find it by name.
        """
        found = named and self._is_called
        return self.pause_container and not found and compose.can_share_network(self.spec)

    def config(
        self,
        image: str,
        publish: Published,
        extra_labels: Mapping[str, str],
        joins: str = "",
        *,
        named: bool = True,
    ) -> Mapping[str, Any]:
        """Return the Engine API's body to create it; ports other than TCP are published as in the file."""
        known = self.dependencies.containers.hashes.known_hash(self.spec)
        own = compose.compose_labels(
            self.compose_project, self.spec, config_hash=known or self.digest, image_id=image
        )
        body = compose.container_config(
            self.dependencies.followers.with_owner_ids(self.spec),
            image=image,
            name=self.name,
            publish=publish,
            labels={**own, **extra_labels},
            named=named,
        )
        return compose.with_shared_network(body, joins) if joins else body

    def pause_config(
        self, image: str, publish: Published, own_labels: Mapping[str, str], *, named: bool = True
    ) -> Mapping[str, Any]:
        """Return the body for a container that only holds the network."""
        body = compose.container_config(
            self.spec, image=image, name=self.name, publish=publish, labels={}, named=named
        )
        return compose.pause_config(body, own_labels)

    async def created(self, container: str, *, named: bool = True) -> None:
        """Attach it to the networks after the first, which creating it took, and write its files."""
        for network, endpoint in compose.additional_networks(self.spec, self.name, named=named).items():
            await self.engine.connect(container, network, endpoint)
        if self.spec.files:
            files = [NewFile(f.target, f.content, f.uid, f.gid, f.mode) for f in self.spec.files]
            await self.engine.put_files(container, files)

    async def started(self, container: str) -> None:
        """Run the commands of `post_start`; raises UserError for one that fails."""
        if failure := await hooks.run_hooks(self.engine, container, self.spec.post_start, "post_start"):
            raise UserError(failure)

    async def stopping(self, container: str) -> None:
        """Run the commands of `pre_stop`; report one that fails, and stop the container anyway."""
        if failure := await hooks.run_hooks(self.engine, container, self.spec.pre_stop, "pre_stop"):
            self._tell(failure.summary, "warning")

    # What it needs.

    async def join(self) -> None:
        """Be where the container can be reached; raises UserError."""
        if self.own and self.network:
            try:
                await ensure_networks(self.engine, self.compose_project, self.project)
                await self.own.join(self.network)
            except EngineError as error:
                text = f"the watcher's own container cannot join the network {self.network}: {error}"
                raise UserError(Failure("container", text)) from error

    async def remove_networks(self) -> None:
        """Remove the project's networks that a watcher created and no container uses, like `compose down`.

        They stay while the watcher of a copy of the project runs, which can use the same names.
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
            if unused and (other == self.project or lock.find_running(other) is None):
                await self.engine.remove_network(network.id)

    async def prepare(self) -> None:
        """Create networks and volumes, and start what it depends on; raises WatcherError."""
        await self.dependencies.require(self.service)
        await self.join()

    def _tell(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        self.observer.notify(Notice(service=self.service, level=level, text=text))
