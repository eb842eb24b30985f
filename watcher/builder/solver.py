"""Solve one variant of a Dockerfile: request, time limit of lookups, journal, loading of the image."""

from __future__ import annotations

import asyncio
import posixpath
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from watcher import labels
from watcher.builder.base_images import DEFAULT_PATIENCE, Lookups, RegistryPatience, credentials_of
from watcher.builder.connection import BuildkitConnection
from watcher.builder.journal import BuildJournal
from watcher.builder.recipe import Recipe
from watcher.buildkit import (
    Client,
    ConnectError,
    Credentials,
    MemorySource,
    Progress,
    SolveRequest,
    Step,
)
from watcher.buildkit.session import CredentialsFor
from watcher.diagnosis.diagnose import base_failure
from watcher.engine import Engine, EngineError, Login
from watcher.errors import EngineUnavailable, RegistryTrouble
from watcher.reconcile.ports import Scan
from watcher.tree import Snapshot

# A containerd store keeps layers as they would be pushed, and compressing one takes longer than linking it
# (moby/buildkit, exporter/containerimage/opts.go; a graph driver's exporter ignores the attribute).
_NOT_COMPRESSED = {"compression": "uncompressed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveJob:
    """What to solve: `text` is the Dockerfile, `names` the references of the image, without any none is made.

    `no_network_lines`, `frontend_inputs` and `locate` are those of `SolveRequest`. `show` names steps for
    people. `kind` is the label of the image: final or builder.
    """

    recipe: Recipe
    scan: Scan[Snapshot]
    text: str
    names: tuple[str, ...]
    target: str | None
    no_network_lines: tuple[int, ...] = ()
    frontend_inputs: str = ""
    locate: bool = False
    show: Callable[[Step], str] = lambda step: step.name
    kind: str = labels.FINAL

    def request(self, credentials: CredentialsFor, *, import_caches: bool) -> SolveRequest:
        """Return the request to BuildKit."""
        recipe, snapshot = self.recipe, self.scan.snapshot
        filename = posixpath.basename(recipe.dockerfile)
        files = {filename: self.text.encode("utf-8", "surrogateescape")}
        if snapshot.ignore_file and snapshot.ignore_file[0] == f"{recipe.dockerfile}.dockerignore":
            files[f"{filename}.dockerignore"] = snapshot.ignore_file[1]
        return SolveRequest(
            context=snapshot,
            dockerfile=MemorySource(files),
            shared_key=(
                f"{recipe.project}/{recipe.labelled_service}{snapshot.odd_modes and '/'}{snapshot.odd_modes}"
            ),
            filename=filename,
            target=self.target or "",
            build_args=recipe.build_args,
            labels={
                **recipe.image_labels,
                **labels.image_labels(recipe.project, recipe.labelled_service, self.kind),
            },
            platform=recipe.platform,
            no_cache=recipe.no_cache,
            frontend_attrs=recipe.frontend_attrs,
            network=recipe.network,
            without_network=self.no_network_lines,
            frontend_inputs=self.frontend_inputs,
            locate=self.locate,
            contexts={marker[1:]: snapshot.contexts[name] for name, marker in recipe.markers.items()},
            markers={marker: marker[1:] for marker in recipe.markers.values()},
            names=self.names,
            cache_imports=recipe.cache_from if import_caches else (),
            entitlements=recipe.entitlements,
            exporter="moby" if self.names else "",
            exporter_attrs=_NOT_COMPRESSED if self.kind == labels.FINAL else {},
            secrets=recipe.secrets,
            ssh=recipe.ssh,
            credentials=credentials,
        )


class Solver:
    """Solves jobs through one connection.

    `logins` returns the login for a registry and is called in a thread. `progressed` is called for every
    event of BuildKit's, `warn` with a text for the user.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        connection: BuildkitConnection,
        journal: BuildJournal,
        logins: Callable[[str], Login | None],
        progressed: Callable[[], None],
        warn: Callable[[str], None],
        patience: RegistryPatience = DEFAULT_PATIENCE,
    ) -> None:
        self._patience = patience
        self._engine, self._connection, self._journal = engine, connection, journal
        self._logins, self._progressed, self._warn = logins, progressed, warn
        self._solved = False

    async def solve(self, job: SolveJob, on_progress: Callable[[Progress], None]) -> str:
        """Solve, and return the id of the image. Raises what `Client.solve` does, and EngineUnavailable.

        Raises RegistryTrouble if a registry does not answer in time.
        """
        # Once something was built, this engine's own cache has more than any that can be fetched.
        request = job.request(self.credentials_finder(), import_caches=not self._solved)
        image = await self._send(job, request, on_progress)
        self._solved = True
        return image

    async def _send(
        self, job: SolveJob, request: SolveRequest, on_progress: Callable[[Progress], None]
    ) -> str:
        client = await self._connection.client()
        clock, lookups = asyncio.get_running_loop().time, Lookups(self._patience.first)
        recipe, revision = job.recipe, job.scan.revision
        final = job.kind == labels.FINAL
        try:
            with self._journal.build(recipe.service, revision, final=final, show=job.show) as write_down:
                async with asyncio.timeout(None) as limit:

                    def pass_on(event: Progress) -> None:
                        self._progressed()
                        if lookups.follow(event, clock()) and not limit.expired():
                            limit.reschedule(lookups.until)
                        write_down(event)
                        on_progress(event)

                    if self._connection.standalone and job.names:
                        return await self._load(client, request, pass_on)
                    return (await client.solve(request, pass_on)).image_id
        except TimeoutError as error:
            if not limit.expired():
                raise
            failure = base_failure(lookups.pending, self._patience.no_answer)
            raise RegistryTrouble(failure.summary, failure.hint) from error
        except ConnectError as error:
            raise EngineUnavailable(f"the connection to BuildKit was lost: {error}") from error

    async def _load(self, client: Client, request: SolveRequest, pass_on: Callable[[Progress], None]) -> str:
        """Build on a buildkitd, load the image into the engine, and return its id there."""
        with tempfile.TemporaryFile(prefix="watcher-") as archive:
            await client.solve(replace(request, exporter="docker", output=archive), pass_on)
            archive.seek(0)
            await self._engine.load(archive)
        image = await self._engine.image(request.names[0])
        if image is None:
            raise EngineError(f"{request.names[0]} is gone, although it was loaded")
        return image.id

    def credentials_finder(self) -> CredentialsFor:
        """Return a function that finds logins and runs in a thread; call this in the event loop."""
        return partial(self._find_credentials, asyncio.get_running_loop())

    def _find_credentials(self, loop: asyncio.AbstractEventLoop, host: str) -> Credentials | None:
        try:
            login = self._logins(host)
        except EngineError as error:
            loop.call_soon_threadsafe(self._warn, f"{host} is asked without a login: {error}")
            return None
        return credentials_of(login)
