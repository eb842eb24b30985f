"""The real engine through docker-py. Only this room imports `docker`.

Calls run in threads, because docker-py blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, TypeVar

import docker
import docker.errors

from watcher.engine import convert, inner, private_api, pulling
from watcher.engine.archive import ByteReader
from watcher.engine.calls import CONNECTION_ERRORS, EngineCalls, error_text
from watcher.engine.disk_usage import read_usage
from watcher.engine.endpoint import address_of, client_arguments, describe_error, tls_of
from watcher.engine.image_size import ImageSizer
from watcher.engine.image_stream import read_image
from watcher.engine.streams import batch_log, read_events
from watcher.engine.values import (
    CONTAINERD,
    Container,
    ContainerCommand,
    EngineError,
    EngineEvent,
    Image,
    Network,
    NewFile,
    Printed,
    PullProgress,
    Removal,
    SystemInfo,
    Usage,
)
from watcher.errors import EngineUnavailable

T = TypeVar("T")

# docker-py without a version uses the server's newest API, which lacks removed fields. This is the newest
# version that this code was checked with. Engines 29.0-29.2 refuse anything below 1.44, hence the clamp.
NEWEST_API = "1.45"


class DockerEngine:
    """The engine through docker-py. Create it with `DockerEngine.open`."""

    def __init__(self, client: docker.APIClient, pull_times: pulling.PullTimes | None = None) -> None:
        self._client, self._pull_times = client, pull_times or pulling.PullTimes()
        self._store: str | None = None
        self._calls = EngineCalls(client)
        self._sizer = ImageSizer(self._calls)

    @classmethod
    async def open(cls, endpoint: str | None = None) -> DockerEngine:
        """Connect to the engine at `endpoint` (default: as the docker CLI).

        Raises EngineUnavailable, and ConfigError for an invalid address or invalid certificates.
        """
        return await asyncio.to_thread(cls._open_client, endpoint)

    @classmethod
    def _open_client(cls, endpoint: str | None) -> DockerEngine:
        arguments = client_arguments(endpoint)
        try:
            client = docker.APIClient(version=NEWEST_API, **arguments)
            if arguments.get("tls"):
                client.trust_env = False  # otherwise REQUESTS_CA_BUNDLE replaces the CA of the engine
            server = client.version(api_version=False)
        except (docker.errors.DockerException, *CONNECTION_ERRORS) as error:
            raise EngineUnavailable(
                f"no Docker engine answers at {arguments['base_url']}: {describe_error(error)}"
            ) from error
        highest = min(NEWEST_API, server["ApiVersion"], key=convert.version_key)
        lowest = server.get("MinAPIVersion", "1.24")
        private_api.set_version(client, max(highest, lowest, key=convert.version_key))
        return cls(client)

    @property
    def endpoint(self) -> str:
        """Return the address of the engine as resolved by docker-py: unix://…, tcp://…."""
        return address_of(self._client)

    def tls(self) -> ssl.SSLContext | None:
        """Return a new TLS context for the endpoint; None without TLS."""
        return tls_of(self._client)

    async def info(self) -> SystemInfo:
        """See `Engine.info`."""
        raw = await self._calls.call(self._client.info)
        snapshotter = ["driver-type", "io.containerd.snapshotter.v1"] in (raw.get("DriverStatus") or [])
        podman = "BuildahVersion" in raw  # what builds for it, and only for it
        return SystemInfo(
            version=raw["ServerVersion"],
            api=self._client.api_version,
            store=CONTAINERD if snapshotter else raw["Driver"],
            endpoint=self.endpoint,
            architecture=raw.get("Architecture", ""),
            data_root=raw.get("DockerRootDir", ""),
            host=raw.get("Name", ""),
            clock=convert.parse_time(raw.get("SystemTime", 0)),
            id="" if podman else raw.get("ID") or "",  # Podman makes up a new one for each answer
            product="Podman" if podman else "Docker",
        )

    async def image(self, ref: str) -> Image | None:
        """See `Engine.image`."""
        try:
            return convert.parse_image(await self._calls.call(self._client.inspect_image, ref))
        except docker.errors.NotFound:
            return None

    async def images(self, *, labels: Sequence[str] = (), dangling: bool | None = None) -> list[Image]:
        """See `Engine.images`."""
        filters: dict[str, Any] = {"label": list(labels)} if labels else {}
        if dangling is not None:
            filters["dangling"] = dangling
        return [
            convert.parse_image(raw) for raw in await self._calls.call(self._client.images, filters=filters)
        ]

    async def image_size(self, image: str) -> int | None:
        """See `Engine.image_size`."""
        if not await self._is_containerd():
            return await self._sizer.sum_history(image)
        found = await self.image(image)
        return await self._sizer.measure_image(found.id) if found else None

    async def read_image(self, image: str, visit: Callable[[ByteReader], T]) -> T | None:
        """See `Engine.read_image`."""
        return await read_image(self._calls, image, visit)

    async def _is_containerd(self) -> bool:
        if self._store is None:
            self._store = (await self.info()).store
        return self._store == CONTAINERD

    async def remove_image(self, ref: str) -> Removal:
        """See `Engine.remove_image`."""
        return await self._calls.try_remove(self._client.remove_image, ref)

    async def usage(self, *, whole: bool = False) -> Usage:
        """See `Engine.usage`."""
        return await read_usage(self._calls, whole=whole)

    async def last_step(self, image: str) -> str:
        """See `Engine.last_step`."""
        try:
            layers = await self._calls.call(self._client.history, image)
        except docker.errors.NotFound:
            return ""
        return str(layers[0].get("CreatedBy") or "") if layers else ""

    async def tag(self, image: str, ref: str) -> None:
        """See `Engine.tag`."""
        repository, _, tag = ref.rpartition(":")
        try:
            await self._calls.call(self._client.tag, image, repository, tag)
        except docker.errors.NotFound as error:
            raise EngineError(f"image {image} is gone", 404) from error

    async def containers(self, *, labels: Sequence[str] = ()) -> list[Container]:
        """See `Engine.containers`."""
        filters = {"label": list(labels)} if labels else {}
        return [
            convert.parse_listed_container(raw)
            for raw in await self._calls.call(self._client.containers, all=True, filters=filters)
        ]

    async def container(self, ref: str) -> Container | None:
        """See `Engine.container`."""
        found = await self._inspect_container(ref)
        if found is None or not found.joined:
            return found
        holder = await self.container(found.joined)
        return replace(found, ports=holder.ports, addresses=holder.addresses) if holder else found

    async def _inspect_container(self, ref: str) -> Container | None:
        try:
            return convert.parse_container(await self._calls.call(self._client.inspect_container, ref))
        except docker.errors.NotFound:
            return None

    async def create(self, name: str, config: Mapping[str, Any], *, platform: str | None = None) -> str:
        """See `Engine.create`."""
        try:
            raw = await self._calls.call(
                self._client.create_container_from_config, dict(config), name, platform
            )
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error
        return str(raw["Id"])

    async def start(self, container: str) -> None:
        """See `Engine.start`."""
        try:
            await self._calls.call(self._client.start, container)
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error

    async def stop(self, container: str, timeout: float) -> None:
        """See `Engine.stop`."""
        with contextlib.suppress(docker.errors.NotFound):
            await self._calls.call(self._client.stop, container, timeout=max(0, round(timeout)))

    async def remove(self, container: str, *, volumes: bool = True) -> Removal:
        """See `Engine.remove`.

        The engine's own `v=true` is not used: volumes are removed one by one, by name, and the engine
        refuses each that anything still uses.
        """
        found = await self._inspect_container(container)
        if found is None:
            return Removal.GONE
        removal = await self._calls.try_remove(self._client.remove_container, found.id)
        if removal is Removal.REMOVED:
            for volume in found.volumes if volumes else ():
                with contextlib.suppress(EngineError):
                    await self._calls.try_remove(self._client.remove_volume, volume)
        return removal

    async def rename(self, container: str, name: str) -> None:
        """See `Engine.rename`."""
        try:
            await self._calls.call(self._client.rename, container, name)
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error

    async def connect(self, container: str, network: str, endpoint: Mapping[str, Any]) -> None:
        """See `Engine.connect`."""
        body = {"Container": container, "EndpointConfig": dict(endpoint)}
        await self._calls.post_json(f"/networks/{network}/connect", body)

    async def put_files(self, container: str, files: Sequence[NewFile]) -> None:
        """See `Engine.put_files`."""
        try:
            await self._calls.call(inner.put_files, self._client, container, files)
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error

    async def execute(self, container: str, command: ContainerCommand) -> tuple[int, tuple[str, ...]]:
        """See `Engine.execute`."""
        try:
            return await self._calls.call_apart(inner.run_command, self._client, container, command)
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error

    async def disconnect(self, container: str, network: str) -> None:
        """See `Engine.disconnect`."""
        with contextlib.suppress(docker.errors.NotFound, EngineError):
            await self._calls.call(self._client.disconnect_container_from_network, container, network)

    async def logs(self, container: str, *, tail: int) -> tuple[str, ...]:
        """See `Engine.logs`."""
        try:
            return await self._calls.call(inner.read_logs, self._client, container, tail)
        except (docker.errors.NotFound, EngineError):  # some logging drivers cannot be read back
            return ()

    async def follow(self, container: str, *, since: float, tail: int) -> AsyncGenerator[Sequence[Printed]]:
        """See `Engine.follow`."""
        try:
            stream: Any = await self._calls.call(
                self._client.logs,
                container,
                stream=True,
                follow=True,
                timestamps=True,
                tail=tail,
                since=since or None,
            )
        except docker.errors.NotFound:
            return
        async with contextlib.aclosing(batch_log(stream)) as batches:
            async for batch in batches:
                yield batch

    async def pull(
        self, ref: str, *, platform: str = "", progress: Callable[[PullProgress], None] | None = None
    ) -> None:
        """See `Engine.pull`."""
        times = self._pull_times
        pull = pulling.ImagePull(self._client, ref, platform, stalled=times.stalled)
        work = asyncio.ensure_future(self._calls.call_apart(pull.run))
        try:
            while not (await asyncio.wait([work], timeout=times.report_every))[0]:
                if progress:
                    progress(pull.progress)
            await work
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error
        finally:
            if not work.done():
                work.cancel()
                pull.cancel()

    async def load(self, archive: BinaryIO) -> None:
        """See `Engine.load`."""

        def load_archive() -> None:
            api: Any = self._client
            for said in api.load_image(archive, quiet=True):
                if "error" in said:
                    raise EngineError(str(said["error"]))

        await self._calls.call(load_archive)

    async def ensure_network(self, config: Mapping[str, Any]) -> None:
        """See `Engine.ensure_network`."""
        found = await self._calls.call(self._client.networks, names=[config["Name"]])
        if not any(network["Name"] == config["Name"] for network in found):
            await self._calls.post_json("/networks/create", config)

    async def networks(self, *, labels: Sequence[str] = ()) -> list[Network]:
        """See `Engine.networks`."""
        filters = {"label": list(labels)} if labels else {}
        return [
            convert.parse_network(raw)
            for raw in await self._calls.call(self._client.networks, filters=filters)
        ]

    async def remove_network(self, network: str) -> Removal:
        """See `Engine.remove_network`."""
        try:
            return await self._calls.try_remove(self._client.remove_network, network)
        except EngineError as error:
            if error.status == 403:  # it has active endpoints
                return Removal.IN_USE
            raise

    async def ensure_volume(self, config: Mapping[str, Any]) -> None:
        """See `Engine.ensure_volume`."""
        await self._calls.post_json(
            "/volumes/create", config
        )  # the engine itself leaves one that is there alone

    async def events(self, *, labels: Sequence[str], since: float) -> AsyncIterator[EngineEvent]:
        """See `Engine.events`."""
        filters = {"type": ["container"], "label": list(labels)}
        stream = await self._calls.call(self._client.events, since=int(since), filters=filters, decode=True)
        async with contextlib.aclosing(read_events(stream)) as events:
            async for event in events:
                yield event
        raise EngineUnavailable("the Docker engine closed its event stream")

    async def close(self) -> None:
        """See `Engine.close`."""
        await asyncio.to_thread(self._client.close)
