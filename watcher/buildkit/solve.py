"""One build: the request, its session, its progress, its result."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from watcher.buildkit import filesync, gateway
from watcher.buildkit.errors import BuildkitError, RpcError, SolveFailed
from watcher.buildkit.frontend_cache import FrontendCache
from watcher.buildkit.gateway import Direction
from watcher.buildkit.grpc import Channel, frame_message
from watcher.buildkit.messages.control_pb2 import (
    CacheOptions,
    CacheOptionsEntry,
    SolveResponse,
    StatusRequest,
)
from watcher.buildkit.messages.control_pb2 import SolveRequest as SolveMessage
from watcher.buildkit.packets import StatPackets
from watcher.buildkit.progress import Progress, ProgressReader
from watcher.buildkit.session import (
    CredentialsFor,
    Session,
    SessionDialer,
    build_secrets,
    registry_logins,
    take_output,
)
from watcher.buildkit.sources import ContextSource
from watcher.buildkit.sshagent import ssh_agents

_STATUS = "/moby.buildkit.v1.Control/Status"


@dataclass(frozen=True, slots=True)
class SolvePatience:
    """Seconds to wait for what comes after a result."""

    rest: float = 3.0  # of the build, after its result or the end of its session; usually milliseconds
    # The same without any progress yet: a build that was refused before its first step leaves the call for
    # its progress waiting until the engine gives up.
    first_progress: float = 0.25
    stopped: float = 2.0  # of a build that was stopped, until the engine has ended it; usually milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheImport:
    """A cache to read from, like `CacheImport(type="registry", attrs={"ref": "host/name:tag"})`."""

    type: str
    attrs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveRequest:
    """What to build, with BuildKit's own Dockerfile frontend.

    `context` gives the files, `dockerfile` the Dockerfile under the name `filename` (and its `.dockerignore`,
    if it has one of its own). The engine keeps what it received under `shared_key`: the same key for the same
    project makes the next transfer incremental.

    `names` are full references, like `docker.io/library/x:tag`, that the image gets. `exporter` is `moby`
    for an engine's image store, `image` for a standalone buildkitd; empty builds without a result.
    `exporter_attrs` are added to it, e.g. `compression=uncompressed`. `output` is the file, open for writing,
    that an exporter writes into: `docker` or `oci` of a standalone buildkitd, or `tar`.

    `image_resolve_mode` `local` does not ask a registry for a base image that is here; `default` and `pull`
    do. `network` is the network of every RUN: `none`, `host` (needs `entitlements=("network.host",)`) or
    empty. `without_network` are the first lines of those RUN that get none in any case: every BuildKit can
    do that, while not every frontend takes `RUN --network=none`. `ssh` are the sockets of SSH agents by id,
    for `RUN --mount=type=ssh`. `frontend_attrs` are passed on as they are and win over everything else.

    `frontend_inputs`, if not empty, identifies what the frontend reads besides: the Dockerfile, its ignore
    file, the ids of base images. As long as that and the rest stay the same, the frontend is not asked again.

    `contexts` are further ones by their names in the session. `markers` (path of the main context -> name)
    select what the Dockerfile reads from them; see `llb.redirect_sources`.

    `locate` sets the first line of its instruction on each step. Names of steps do not identify them, because
    variables are expanded in them.
    """

    context: ContextSource
    dockerfile: ContextSource
    shared_key: str
    filename: str = "Dockerfile"
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    no_cache: bool = False
    image_resolve_mode: str = "local"
    add_hosts: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    without_network: tuple[int, ...] = ()
    frontend_inputs: str = ""
    locate: bool = False
    contexts: Mapping[str, ContextSource] = field(default_factory=dict)
    markers: Mapping[str, str] = field(default_factory=dict)
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    exporter: str = "moby"
    exporter_attrs: Mapping[str, str] = field(default_factory=dict)
    cache_imports: tuple[CacheImport, ...] = ()
    entitlements: tuple[str, ...] = ()
    secrets: Mapping[str, bytes | Path] = field(default_factory=dict)
    ssh: Mapping[str, Path] = field(default_factory=dict)
    credentials: CredentialsFor | None = None
    output: BinaryIO | None = None

    def frontend_options(self) -> dict[str, str]:
        """Return the attributes of the Dockerfile frontend (moby/buildkit, frontend/dockerui/config.go)."""
        attrs = {"filename": self.filename, "image-resolve-mode": self.image_resolve_mode}
        if self.target:
            attrs["target"] = self.target
        if self.platform:
            attrs["platform"] = self.platform
        if self.no_cache:
            attrs["no-cache"] = ""
        if self.add_hosts:
            attrs["add-hosts"] = ",".join(f"{name}={address}" for name, address in self.add_hosts.items())
        if self.network:
            attrs["force-network-mode"] = self.network
        attrs |= {f"build-arg:{name}": value for name, value in self.build_args.items()}
        attrs |= {f"label:{name}": value for name, value in self.labels.items()}
        return attrs | dict(self.frontend_attrs)

    def frontend_cache_key(self) -> Hashable | None:
        """Return what the frontend's work can be used again for; None: for nothing."""
        if not self.frontend_inputs:
            return None
        attrs = tuple(sorted(self.frontend_options().items()))
        return self.frontend_inputs, attrs, self.without_network, tuple(sorted(self.markers.items()))

    def to_message(self, ref: str, session: str) -> bytes:
        """Return the serialized `moby.buildkit.v1.SolveRequest`."""
        exporter = dict(self.exporter_attrs)
        if self.names:
            exporter = {"name": ",".join(self.names)} | exporter
        imports = [CacheOptionsEntry(Type=each.type, Attrs=each.attrs) for each in self.cache_imports]
        return SolveMessage(
            Ref=ref,
            ExporterDeprecated=self.exporter,
            ExporterAttrsDeprecated=exporter,
            Session=session,
            Frontend="dockerfile.v0",
            FrontendAttrs=self.frontend_options(),
            Cache=CacheOptions(Imports=imports),
            Entitlements=self.entitlements,
        ).SerializeToString()


@dataclass(frozen=True, slots=True)
class SolveResult:
    """A build that succeeded. `image_id` is what the engine calls the image, empty without an image."""

    image_id: str


@dataclass(frozen=True, slots=True)
class ContextCache:
    """What the next build of the same context can use of the ones before."""

    packets: StatPackets = field(default_factory=StatPackets)
    frontend: FrontendCache = field(default_factory=FrontendCache)


@dataclass(frozen=True, slots=True)
class SolveContext:
    """What a client builds with.

    `dial` opens a connection for a session, if one is available besides `channel`; `cache` is that of the
    same context's builds; `workers` are threads for files and for the caller's functions.
    """

    channel: Channel
    dial: SessionDialer | None
    cache: ContextCache
    workers: Executor
    patience: SolvePatience = SolvePatience()


async def solve(
    solving: SolveContext, request: SolveRequest, on_progress: Callable[[Progress], None]
) -> SolveResult:
    """Build. Raises `SolveFailed`, `ContextChanged`, `ConnectError`, or what a source raised.

    All progress is delivered before this returns or raises `SolveFailed`. Cancelling stops the build, and
    waits until the engine has ended it, for `SolvePatience.stopped` seconds at most.
    """
    return await _Solve(solving, request, on_progress).result()


class _Solve:
    """The calls that one build consists of."""

    def __init__(
        self, solving: SolveContext, request: SolveRequest, on_progress: Callable[[Progress], None]
    ) -> None:
        self._channel = solving.channel
        self._dial, self._patience = solving.dial, solving.patience
        self._frontend_cache = solving.cache.frontend
        self._request = request
        self._on_progress = on_progress
        self._progress = ProgressReader()
        self._ref = secrets.token_hex(16)
        self._failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._contexts = filesync.FileSync(
            {**request.contexts, "context": request.context, "dockerfile": request.dockerfile},
            packets=solving.cache.packets,
            workers=solving.workers,
            on_failure=self._set_failure,
        )
        handlers = {
            filesync.METHOD: self._contexts.diff_copy,
            **registry_logins(request.credentials, solving.workers),
            **build_secrets(request.secrets, solving.workers),
            **ssh_agents(request.ssh),
        }
        if request.output is not None:
            handlers |= take_output(request.output, solving.workers, self._set_failure)
        self._session = Session(request.shared_key, handlers)

    async def result(self) -> SolveResult:
        """Run everything and end everything."""
        session = asyncio.create_task(self._session.run(self._channel, self._dial))
        status = asyncio.create_task(self._follow_progress())
        message = self._request.to_message(self._ref, self._session.id)
        lines, key = self._request.without_network, self._request.frontend_cache_key()
        markers = self._request.markers
        direction = Direction(lines, self._frontend_cache, key, markers, self._progress.locate)
        solving = asyncio.create_task(
            gateway.solve_directed(self._channel, message, direction)
            if lines or key is not None or markers or self._request.locate
            else self._channel.unary(gateway.SOLVE, message)
        )
        try:
            await self._wait_for_end(solving, session, status)
            patience = self._patience
            await asyncio.wait(
                (status,), timeout=patience.rest if self._progress.began else patience.first_progress
            )
            if status.done():
                status.result()
            for event in self._progress.end():
                self._on_progress(event)
            return self._read_result(solving)
        finally:
            await self._end_calls(solving, session, status)

    async def _end_calls(
        self, solving: asyncio.Task[bytes], session: asyncio.Task[None], status: asyncio.Task[None]
    ) -> None:
        """End what still runs; a build is stopped first, and has ended when the engine ends its progress.

        The next build often has the same steps. If it begins before the engine has ended this one, both share
        these steps, and a BuildKit before 0.14 drops what they need with the first: the next build can fail
        ("inconsistent graph state"), and before 0.10 the engine crashes (moby/buildkit, solver/jobs.go,
        `CalcSlowCache`).
        """
        try:
            if not solving.done():
                solving.cancel()
                if self._progress.began:  # before that no step can be shared
                    await asyncio.wait((status,), timeout=self._patience.stopped)
        finally:
            for task in (solving, status, session):
                task.cancel()
            await asyncio.gather(solving, status, session, return_exceptions=True)

    async def _wait_for_end(
        self, solving: asyncio.Task[bytes], session: asyncio.Task[None], status: asyncio.Task[None]
    ) -> None:
        """Wait until the build has ended. Raises what makes going on pointless."""
        waiting: set[asyncio.Future[Any]] = {solving, session, status, self._failure}
        while not solving.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._failure in done:
                raise self._failure.result()
            if status in done:
                # Raises what the listener raised, if it did.
                status.result()
            if session in done and not solving.done():
                await self._session_ended(solving, session)

    async def _session_ended(self, solving: asyncio.Task[bytes], session: asyncio.Task[None]) -> None:
        """The engine ended the session first: its answer to the build, with the reason, must come soon."""
        await asyncio.wait((solving,), timeout=self._patience.rest)
        if not solving.done():
            try:
                session.result()
            except RpcError as error:
                raise SolveFailed(f"the engine ended the session of the build: {error}") from error
            raise SolveFailed("the engine ended the session of the build")

    def _set_failure(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_result(error)

    def _read_result(self, solving: asyncio.Task[bytes]) -> SolveResult:
        try:
            response = SolveResponse.FromString(solving.result())
        except RpcError as error:
            step, log = self._progress.failure
            name, line = (step.name, step.line) if step else ("", 0)
            if not log:  # no command of the Dockerfile is the cause: the stored result can be
                self._frontend_cache.clear()
            raise SolveFailed(self._describe_failure(error), step=name, log=log, line=line) from error
        return SolveResult(response.ExporterResponse.get("containerimage.digest", ""))

    def _describe_failure(self, error: RpcError) -> str:
        """Return the engine's message, or its known meaning where the message is unclear."""
        if "UTF-8" in error.message and (path := self._contexts.beyond_utf8()):
            return (
                f'the name or link target of "{path}" is not UTF-8, and this engine takes no other: '
                "rename it, or leave it out with .dockerignore"
            )
        return error.message

    async def _follow_progress(self) -> None:
        """Emit the progress until the engine ends it."""
        request = StatusRequest(Ref=self._ref).SerializeToString()
        try:
            with self._channel.open(_STATUS) as call:
                await call.send(frame_message(request))
                call.end()
                while batch := await call.receive():
                    for data in batch:
                        for event in self._progress.read(data):
                            self._on_progress(event)
        except BuildkitError:
            # Without progress a build is still a build; a lost connection is reported by the build's own
            # call.
            return
