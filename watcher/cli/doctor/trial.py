"""Run an image beside the live container, and find out whether it answers as another one does."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from watcher import compose, labels
from watcher.compose import ComposeProject, ServiceSpec
from watcher.deploy import DeployPolicy
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.owned import OwnContainers
from watcher.deploy.probe import health_path
from watcher.deploy.ready import until_ready
from watcher.engine import ContainerCommand, Engine, EngineError, NewFile
from watcher.errors import Failure, UserError
from watcher.front import Backend
from watcher.observers.events import Fanout

TRIAL = "trial"  # value of `labels.KIND`
PATHS = ("/health", "/healthz", "/")  # asked besides the path of the health check
_SECONDS = 3.0  # of silence that end an answer, and of a body
_LARGEST = 1 << 16  # bytes of a body that are compared
_HEALTH_TRIES, _HEALTH_PAUSE = 6, 0.5  # a health check can fail while the program starts; seconds between
HEALTH_SECONDS = 30.0  # for the command of a health check, as the engine's default


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a GET of `path`: status (0: no answer), content type, digest of the body.

    The digest is of the first 64 KiB; it is empty if the body did not end in time.
    """

    path: str
    status: int
    kind: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class TrialRun:
    """What a container did: seconds from its start until it was ready, its answers, its health check.

    `health` is the exit status of the health check's command: -1 if it cannot be run or does not end, None
    without a health check.
    """

    seconds: float
    answers: tuple[Answer, ...] = ()
    health: int | None = None


def find_difference(first: TrialRun, second: TrialRun, other: TrialRun) -> str:
    """Return how `other` differs from what two runs of the same image have in common; empty if it does not.

    What differs between the two runs is not compared, such as a body with the container's name or the time.
    """
    if first.health == second.health and other.health != first.health:
        return f"{_describe_health(other.health)} instead of {first.health}"
    again_by_path = {answer.path: answer for answer in second.answers}
    after_by_path = {answer.path: answer for answer in other.answers}
    for before in first.answers:
        again = again_by_path.get(before.path, Answer(before.path, 0))
        after = after_by_path.get(before.path, Answer(before.path, 0))
        if before.status == again.status != after.status:
            return f"GET {after.path} is answered {after.status or 'nothing'} instead of {before.status}"
        if before.kind == again.kind != after.kind:
            return f"GET {after.path} has the content type {after.kind!r} instead of {before.kind!r}"
        if before.digest == again.digest != after.digest:
            return f"GET {after.path} is answered with another body"
    return ""


def _describe_health(status: int | None) -> str:
    return "it has no health check" if status is None else f"its health check ends with status {status}"


class Trials:
    """Run images of one service, each in a container of its own that is removed afterwards.

    `beside`: a daemon runs, and with it what the service depends on; the container joins the same networks.
    `obstacle` says why no container can be run; it is empty if one can.
    """

    def __init__(
        self,
        engine: Engine,
        project: ComposeProject,
        spec: ServiceSpec,
        policy: DeployPolicy,
        *,
        project_id: str,
        beside: bool,
        health_seconds: float = HEALTH_SECONDS,
    ) -> None:
        self._engine, self._policy, self._beside = engine, policy, beside
        self._health_seconds = health_seconds
        self.obstacle = find_trial_obstacle(project, spec, beside=beside)
        self._own = OwnContainers(engine, project_id, spec.name)
        self._project_id = project_id
        spec = prepare_trial(spec, beside=beside)
        self._recipe = ComposeContainer(
            project,
            spec,
            project_id,
            engine,
            Fanout(),
            Dependencies(engine, Fanout(), project, project_id, managed=project.managed),
            pause_container=False,
        )

    async def run(self, image: str) -> TrialRun:
        """Run a container of the image until it has answered, and remove it.

        Raises UserError if it does not become ready, EngineUnavailable.
        """
        recipe, spec = self._recipe, self._recipe.spec
        own = {labels.PROJECT: self._project_id, labels.SERVICE: spec.name, labels.KIND: TRIAL}
        body = compose.container_config(
            spec,
            image=image,
            name=recipe.name,
            publish=dict.fromkeys(recipe.ports, (("127.0.0.1", 0),)),
            labels=own,
            named=False,
        )
        body["HostConfig"]["RestartPolicy"] = {"Name": "no"}
        container = ""
        try:
            name = f"watcher-doctor-{secrets.token_hex(6)}"
            container = await self._own.create(name, body, platform=recipe.platform)
            if self._beside:
                await recipe.created(container, named=False)
            elif spec.files:
                files = [NewFile(one.target, one.content, one.uid, one.gid, one.mode) for one in spec.files]
                await self._engine.put_files(container, files)
            begun = time.monotonic()
            await self._engine.start(container)
            reached = await until_ready(self._engine, recipe, self._policy, container, "")
            seconds = time.monotonic() - begun
            return await self._ask(container, seconds, reached)
        except EngineError as error:
            raise UserError(Failure("container", f"the container cannot be run: {error}")) from error
        finally:
            if container:
                await self._own.remove(container)

    async def _ask(self, container: str, seconds: float, reached: Mapping[int, Backend]) -> TrialRun:
        found = await self._engine.container(container)
        test = found.healthcheck if found else ()
        answers: list[Answer] = []
        port = next(iter(reached), None)
        if port is not None and self._policy.protocol != "tcp":
            own = self._policy.ready_path or health_path(test, port)
            backend = reached[port]
            paths = dict.fromkeys((*((own,) if own else ()), *PATHS))
            answers = [
                await asyncio.to_thread(get_answer, backend.host, backend.port, path) for path in paths
            ]
        return TrialRun(seconds, tuple(answers), await self._check_health(container, test))

    async def _check_health(self, container: str, test: Sequence[str]) -> int | None:
        """Run the command of the health check until it succeeds, six times at most; see `TrialRun.health`."""
        match tuple(test):
            case ("CMD", *words) if words:
                command = ContainerCommand(tuple(words))
            case ("CMD-SHELL", text):
                command = ContainerCommand(("/bin/sh", "-c", text))
            case _:
                return None
        status = -1
        for _ in range(_HEALTH_TRIES):
            try:
                async with asyncio.timeout(self._health_seconds):
                    status, _ = await self._engine.execute(container, command)
            except (EngineError, TimeoutError):
                return -1
            if status == 0:
                break
            await asyncio.sleep(_HEALTH_PAUSE)
        return status


def find_trial_obstacle(project: ComposeProject, spec: ServiceSpec, *, beside: bool) -> str:
    """Return why no second container of a service can run; empty if one can."""
    if spec.name in compose.find_jobs(project.services.values()):
        return "it is a job, which is not run on trial"
    if beside and spec.side_by_side_conflicts:
        return f"no second container can run beside it: {'; '.join(spec.side_by_side_conflicts)}"
    needed = project.needs(spec.name)
    if needed and not beside:
        return f"it depends on {', '.join(sorted(needed))}: start the watcher first (`watcher up`)"
    return ""


def prepare_trial(spec: ServiceSpec, *, beside: bool) -> ServiceSpec:
    """Return the service as a trial runs it: with host ports that the engine chooses.

    Without a daemon also with an empty volume for each named one, and without the project's networks.
    """
    ports = tuple(
        replace(port, host_ip="127.0.0.1", host_port=None, last_host_port=None)
        for port in spec.ports
        if port.protocol == "tcp"
    )
    if beside:
        return replace(spec, ports=ports)
    mounts = tuple(replace(each, source="") if each.type == "volume" else each for each in spec.mounts)
    mode = spec.network_mode if spec.network_mode == "none" else "bridge"
    return replace(spec, ports=ports, networks=(), network_mode=mode, mounts=mounts)


def get_answer(host: str, port: int, path: str, seconds: float = _SECONDS) -> Answer:
    """Send a GET and return the answer; a silence of `seconds`, or a body that takes longer, ends it."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "User-Agent": "watcher"})
        answer = connection.getresponse()
        kind = answer.getheader("Content-Type", "")
        return Answer(path, answer.status, kind, _digest_body(answer, time.monotonic() + seconds))
    except (OSError, ValueError, http.client.HTTPException):
        return Answer(path, 0)
    finally:
        connection.close()


def _digest_body(answer: http.client.HTTPResponse, until: float) -> str:
    """Return the digest of the first `_LARGEST` bytes; empty if they do not arrive until then (monotonic)."""
    digest, left = hashlib.sha256(), _LARGEST
    try:
        while left and (data := answer.read1(left)):
            if time.monotonic() > until:  # an event stream goes on for ever
                return ""
            digest.update(data)
            left -= len(data)
    except (OSError, http.client.HTTPException):
        return ""
    return digest.hexdigest()
