"""The containers of one dependency: find, create, replace, start and stop them as docker compose would."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from watcher import compose, labels
from watcher.compose import ComposeProject, MountSpec, ServiceSpec
from watcher.deploy import hooks
from watcher.deploy.compose_program import ComposeHashes
from watcher.deploy.dependency_graph import NodeState
from watcher.deploy.former_owner import uses_former_owner
from watcher.diagnosis.diagnose import engine_trouble, trouble_hint
from watcher.diagnosis.failure_hints import image_hint, is_final_refusal
from watcher.engine import Container, Engine, EngineError, Image, NewFile, PullProgress, Removal
from watcher.errors import EngineTrouble, Failure, RegistryTrouble, UserError, WatcherError
from watcher.observers.humanize import short
from watcher.system import lock

OTHER = "another one"  # the digest of a configuration that is not the one in force
STOP_SECONDS = 10.0  # the engine's own grace period
_WORST_FIRST = (
    NodeState.FAILED,
    NodeState.UNHEALTHY,
    NodeState.ABSENT,
    NodeState.CHECKING,
    NodeState.RUNNING,
    NodeState.COMPLETED,
    NodeState.HEALTHY,
)

Say = Callable[[str], None]
Pulling = Callable[[PullProgress], None]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the engine has of one dependency. `outdated` are ids of containers that are to be replaced."""

    containers: tuple[Container, ...] = ()
    outdated: frozenset[str] = frozenset()
    missing: int = 0  # containers that the compose file asks for and that do not exist

    @property
    def state(self) -> NodeState:
        """Return the state of all of its containers together: the worst one."""
        if not self.containers and not self.missing:
            return NodeState.UNUSED
        states = [container_state(each) for each in self.containers]
        return min([*states, *[NodeState.ABSENT] * bool(self.missing)], key=_WORST_FIRST.index)

    @property
    def reason(self) -> str:
        """Return the reason for a state that is not good: exit status or health."""
        worst = min(self.containers, key=lambda item: _WORST_FIRST.index(container_state(item)), default=None)
        if worst is None:
            return ""
        if worst.state == "restarting":
            return f"restarting after exit status {worst.exit_code}"
        if worst.paused:
            return "paused"
        if worst.running:
            return worst.health
        if worst.state == "exited" and not worst.exit_code:
            return ""
        return f"ended with status {worst.exit_code}" if worst.state in ("exited", "dead") else worst.state


def container_state(found: Container) -> NodeState:
    """Return the state of a dependency that has this one container."""
    if found.state == "restarting":
        return NodeState.CHECKING
    if found.running or found.paused:
        health = {
            "starting": NodeState.CHECKING,
            "healthy": NodeState.HEALTHY,
            "unhealthy": NodeState.UNHEALTHY,
        }
        return health.get(found.health, NodeState.RUNNING)
    if found.state == "exited":
        return NodeState.FAILED if found.exit_code else NodeState.COMPLETED
    return NodeState.FAILED if found.state == "dead" else NodeState.ABSENT


def stop_grace(spec: ServiceSpec) -> float:
    """Return the seconds after which a container that does not stop is killed."""
    return STOP_SECONDS if spec.stop_grace_period is None else spec.stop_grace_period


class DependencyContainers:
    """Changes the containers of dependencies. `owner` is the id of the watcher's project.

    `with_owner_ids`: see `Followers.with_owner_ids`.
    """

    def __init__(
        self,
        engine: Engine,
        owner: str,
        with_owner_ids: Callable[[ServiceSpec], ServiceSpec],
        warn: Callable[[str], None],
    ) -> None:
        self._engine, self._owner, self._with_owner_ids, self._warn = engine, owner, with_owner_ids, warn
        self._digests: dict[str, str] = {}  # container of docker compose -> configuration when first seen
        self.hashes = ComposeHashes()
        self.started: set[str] = set()  # ids of containers that this process has started
        self.pulling: set[str] = set()  # services whose image is pulled now

    async def find_containers(self, project: ComposeProject, name: str) -> list[Container]:
        """Return the containers of a service, also those of docker compose; running ones first."""
        selector = (
            f"{compose.PROJECT_LABEL}={project.name}",
            f"{compose.SERVICE_LABEL}={name}",
            f"{compose.ONE_OFF_LABEL}=False",
        )
        listed = await self._engine.containers(labels=selector)
        listed.sort(key=lambda item: (not item.running, item.name))
        found = [await self._engine.container(item.id) for item in listed]
        return [item for item in found if item and item.state != "removing"]

    async def observe_service(self, project: ComposeProject, spec: ServiceSpec) -> Observed:
        """Compare what the engine has with what the compose file asks for."""
        found = await self.find_containers(project, spec.name)
        image = await self._engine.image(spec.image) if found and not spec.left_to_compose else None
        digest, now = compose.config_digest(spec), self._with_owner_ids(spec)
        outdated = frozenset(
            [
                item.id
                for item in found
                if not spec.left_to_compose
                and self._may_replace(item, spec)
                and (
                    is_older(item, image)
                    or await self._digest_of(project, spec, item, digest) != digest
                    or await uses_former_owner(self._engine, now, item)
                )
            ]
        )
        return Observed(tuple(found), outdated, max(0, spec.replicas - len(found)))

    async def _digest_of(self, project: ComposeProject, spec: ServiceSpec, item: Container, now: str) -> str:
        """Return the digest of a container's configuration.

        Of docker compose's own the first one seen counts, unless its label says that it had another one.
        """
        if labels.is_proven(item.labels, item.name, item.image) and labels.CONFIG in item.labels:
            return item.labels[labels.CONFIG]
        if item.id not in self._digests:
            found = await self.hashes.find_hash(project, spec)
            comparable = found and self._is_comparable(project, item)
            changed = comparable and item.labels.get(compose.HASH_LABEL) != found
            self._digests.setdefault(item.id, OTHER if changed else now)
        return self._digests[item.id]

    def _is_comparable(self, project: ComposeProject, item: Container) -> bool:
        """Return whether the docker compose of this machine created the container from the same files."""
        files = compose.config_files_label(project)
        return item.labels.get(compose.FILES_LABEL) == files and self.hashes.is_version(
            item.labels.get(compose.VERSION_LABEL, "")
        )

    def _may_replace(self, item: Container, spec: ServiceSpec) -> bool:
        """Return whether a container is the dependency's. Labels are no proof: an image can pass them on."""
        names = {spec.replica_name(number) for number in range(1, spec.replicas + 1)}
        other = item.labels.get(labels.DEPENDENCY, self._owner)
        if other != self._owner and lock.find_running(other):  # a copy of this project runs, and uses it too
            return False
        return item.name in names or self.is_own(item)

    def is_own(self, item: Container) -> bool:
        """Return whether a watcher of this project created the container, or this process started it."""
        ours = item.labels.get(labels.DEPENDENCY) == self._owner
        return item.id in self.started or (ours and labels.is_proven(item.labels, item.name, item.image))

    async def bring_up(
        self,
        project: ComposeProject,
        spec: ServiceSpec,
        *,
        replace_all: bool = False,
        say: Say,
        pulling: Pulling,
    ) -> bool:
        """Create, replace or start what is missing; return whether a container was replaced.

        `say` receives lines for the user. Raises UserError or EngineError.
        """
        observed = await self.observe_service(project, spec)
        outdated = {item.id for item in observed.containers} if replace_all else observed.outdated
        if observed.missing or outdated:
            await self._check_supported(spec)
            await self._have_image(spec, say, pulling)
        replaced = False
        for item in observed.containers:
            if item.id in outdated:
                now = self._with_owner_ids(spec)
                changed = item.id in observed.outdated and not await uses_former_owner(
                    self._engine, now, item
                )
                reason = (
                    "its configuration or image changed"
                    if changed
                    else "what it depends on was replaced or has restarted"
                )
                await self._replace_container(project, spec, item, say, reason)
                replaced = True
            elif not (item.running or item.paused or item.state == "restarting"):
                await self.start_container(item.id)
                say(f"{spec.name} was started again ({item.name}, {short(item.id)})")
        taken = {item.name for item in observed.containers}
        for number in self._free_numbers(spec, taken, observed.missing):
            name = spec.replica_name(number)
            container = await self._create_container(project, spec, name, number)
            await self.start_container(container)
            say(f"{spec.name} was started ({name}, {short(container)})")
            await self._run_hooks(spec, container)
        return replaced

    @staticmethod
    def _free_numbers(spec: ServiceSpec, taken: Collection[str], count: int) -> list[int]:
        numbers = range(1, len(taken) + count + 1)
        return [number for number in numbers if spec.replica_name(number) not in taken][:count]

    async def start_container(self, container: str) -> None:
        """Start a container, and remember that it was this process."""
        await self._engine.start(container)
        self.started.add(container)

    async def stop_container(self, spec: ServiceSpec, item: Container) -> None:
        """Run the `pre_stop` commands and stop the container; warn of a command that fails."""
        if item.running and (
            failure := await hooks.run_hooks(self._engine, item.id, spec.pre_stop, "pre_stop")
        ):
            self._warn(f"{spec.name}: {failure.summary}")
        await self._engine.stop(item.id, stop_grace(spec))

    async def remove_container(self, item: Container) -> None:
        """Remove a container that does not run. Its volumes stay."""
        if await self._engine.remove(item.id, volumes=False) is Removal.IN_USE:
            await self._engine.stop(item.id, 0.0)  # started in between
            await self._engine.remove(item.id, volumes=False)

    async def check_startable(self, project: ComposeProject, spec: ServiceSpec) -> None:
        """Raise UserError for a dependency that does not exist yet and cannot be started."""
        if (await self.observe_service(project, spec)).missing:
            await self._check_supported(spec)
            await self._check_image(spec)

    async def _check_supported(self, spec: ServiceSpec) -> None:
        if rule := spec.left_to_compose or compose.missing_api(spec, (await self._engine.info()).api):
            hint = f"`docker compose up -d {spec.name}` may start it; then save again"
            raise UserError(Failure("container", f"it is not started here: {rule}", hint=hint))

    async def _check_image(self, spec: ServiceSpec) -> None:
        """Raise UserError for a missing image that must not be pulled."""
        if await self._engine.image(spec.image):
            return
        if spec.build:
            hint = f"`docker compose up -d {spec.name}` builds and starts it"
            raise UserError(Failure("container", f"its image {spec.image} is not built", hint=hint))
        if spec.pull_policy == "never":
            summary = f"its image {spec.image} is missing, and pull_policy: never forbids to pull it"
            raise UserError(Failure("container", summary))

    async def _have_image(self, spec: ServiceSpec, say: Say, pulling: Pulling) -> None:
        """Pull the image when `pull_policy` asks for it; raises UserError without one."""
        await self._check_image(spec)
        there = await self._engine.image(spec.image)
        old = there is not None and time.time() - there.tagged > spec.pull_after
        fresh = spec.pull_policy == "always" or (spec.pull_policy == "refresh" and old)
        if spec.build or (there and not fresh):
            return
        say(f"pulling {spec.image} for {spec.name}")
        begun = time.monotonic()
        self.pulling.add(spec.name)
        try:
            await self._engine.pull(spec.image, platform=spec.platform, progress=pulling)
        except EngineError as error:
            raise _explain_pull(spec.image, error) from error
        finally:
            self.pulling.discard(spec.name)
        say(f"pulled {spec.image} in {time.monotonic() - begun:.1f} s")

    async def _replace_container(
        self, project: ComposeProject, spec: ServiceSpec, old: Container, say: Say, reason: str
    ) -> None:
        """Put a new container in the place of `old`, which runs until the new one exists."""
        number = int(old.labels.get(compose.NUMBER_LABEL) or 1)
        name = spec.replica_name(number)
        new = await self._create_container(
            project,
            spec,
            name,
            number,
            created_as=f"{old.id[:12]}_{name}",
            volumes=old.generated_volumes,
        )
        await self.stop_container(spec, old)
        await self.remove_container(old)
        await self._engine.rename(new, name)
        await self.start_container(new)
        say(f"{spec.name} was replaced ({name}, {short(new)}): {reason}")
        await self._run_hooks(spec, new)

    async def _create_container(
        self,
        project: ComposeProject,
        spec: ServiceSpec,
        name: str,
        number: int,
        *,
        created_as: str = "",
        volumes: Mapping[str, str] | None = None,
    ) -> str:
        """Create a container that does not run yet, under the name `created_as` for as long as that is given.

        `volumes` are anonymous ones to go on with, by target.
        """
        image = await self._engine.image(spec.image)
        image_id, digest = image.id if image else "", compose.config_digest(spec)
        found = await self.hashes.find_hash(project, spec)
        own = {
            **compose.compose_labels(
                project, spec, config_hash=found or digest, image_id=image_id, number=number
            ),
            **labels.proof_labels(image_id),
            labels.DEPENDENCY: self._owner,
            labels.CONFIG: digest,
        }
        mounted = replace(
            self._with_owner_ids(spec), mounts=with_volumes(spec.mounts, spec.tmpfs, volumes or {})
        )
        body = compose.container_config(mounted, image=spec.image, name=name, labels=own)
        container = await self._engine.create(created_as or name, body, platform=spec.platform or None)
        try:
            for network, endpoint in compose.additional_networks(spec, name).items():
                await self._engine.connect(container, network, endpoint)
            if spec.files:
                files = [NewFile(f.target, f.content, f.uid, f.gid, f.mode) for f in spec.files]
                await self._engine.put_files(container, files)
        except BaseException:
            await self._engine.remove(container)  # the next try would take it for complete
            raise
        return container

    async def _run_hooks(self, spec: ServiceSpec, container: str) -> None:
        if failure := await hooks.run_hooks(self._engine, container, spec.post_start, "post_start"):
            raise UserError(failure)


def _explain_pull(image: str, error: EngineError) -> WatcherError:
    """Return the error for an image that could not be pulled: is it worth another try?"""
    said = str(error)
    if trouble := engine_trouble(said):
        return EngineTrouble(trouble, trouble_hint(trouble))
    text, hint = f"its image {image} cannot be pulled: {said}", image_hint(said)
    if is_final_refusal(said):
        return UserError(Failure("container", text, hint=hint))
    return RegistryTrouble(text, hint)


def is_older(item: Container, image: Image | None) -> bool:
    """Return whether the image's name leads to another image than the container was created from.

    With several platforms in one image the engine shows two ids; compose labels the one that it compares.
    """
    return image is not None and image.id not in (item.image, item.labels.get(compose.IMAGE_LABEL))


def with_volumes(
    mounts: Sequence[MountSpec], tmpfs: Collection[str], volumes: Mapping[str, str]
) -> tuple[MountSpec, ...]:
    """Return the mounts with the engine's own volumes (by target) of the container before."""
    found = tuple(
        replace(each, source=volumes[each.target])
        if each.type == "volume" and not each.source and each.target in volumes
        else each
        for each in mounts
    )
    taken = {*tmpfs, *(each.target for each in mounts)}
    return found + tuple(
        MountSpec(type="volume", source=name, target=target)
        for target, name in volumes.items()
        if target not in taken
    )
