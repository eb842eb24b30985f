"""Base images: what decides how a Dockerfile on them is accelerated, and lookups at registries in builds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watcher import regex
from watcher.builder.connection import BuildkitConnection
from watcher.builder.recipe import Recipe, full_reference
from watcher.buildkit import (
    BuildkitError,
    Credentials,
    Progress,
    ResolvedImage,
    StepFinished,
    StepStarted,
    StepStatus,
)
from watcher.buildkit.session import CredentialsFor
from watcher.dockerfile import ImageConfig, Platforms
from watcher.engine import Engine, EngineError, Image, Login
from watcher.errors import EngineUnavailable

PLACEHOLDER_LABEL = "watcher.stand-in"
_PULL = regex.compile(r"(?:^|\] )(?:FROM|docker-image://)")
_LOOKUP = regex.compile(r"\[internal\] load metadata for (?:docker\.io/(?:library/)?)?(\S+)")
# The status of a FROM that looks its image up itself: the frontend did not, or the image was pruned.
_RESOLVE = regex.compile(r"resolve (?:docker\.io/(?:library/)?)?(\S+)")


@dataclass(frozen=True, slots=True)
class RegistryPatience:
    """How long a registry has to answer, and how long its answer is used. All in seconds."""

    first: float = 20.0  # an engine alone tries for minutes
    again: float = 2.0  # the same if an earlier answer of the registry is known
    fresh: float = 600.0  # for which an answer is used again

    @property
    def no_answer(self) -> str:
        """Return why a registry counts as silent."""
        return f"no answer within {self.first:g} s"


DEFAULT_PATIENCE = RegistryPatience()


def pulls_image(step: str) -> bool:
    """Return whether the step of this name pulls layers of an image."""
    return bool(_PULL.search(step))


def fetches_image(step: str) -> bool:
    """Return whether a build that ended at this step used a registry; "" is an end before the first step."""
    return not step or pulls_image(step) or bool(_LOOKUP.fullmatch(step))


class Lookups:
    """The lookups of base images that a build is waiting for.

    BuildKit keeps the lookup of a FROM open whose layers it has, and goes on; so a lookup has a time limit
    only while no other step runs.
    """

    def __init__(self, seconds: float = DEFAULT_PATIENCE.first) -> None:
        """A registry has `seconds` to answer."""
        self._seconds = seconds
        self._begun: dict[str, tuple[str, float]] = {}
        self._working: set[str] = set()  # digests of the other steps that run
        self._idle_since = 0.0

    def follow(self, event: Progress, now: float) -> bool:
        """Follow a build; return whether `until` may have changed (at `now`, seconds of any clock)."""
        match event:
            case StepStatus():
                found, ended = _RESOLVE.fullmatch(event.id), event.done
            case StepStarted() | StepFinished():
                found, ended = _LOOKUP.fullmatch(event.step.name), isinstance(event, StepFinished)
                if found is None and not _prepares(event.step.name):
                    return self._follow_work(event.step.digest, now, ended=ended)
            case _:
                return False
        if found is None:
            return False
        lookup = f"{event.step.digest} {found[1]}"
        if ended:
            self._begun.pop(lookup, None)
        else:
            self._begun.setdefault(lookup, (found[1], now))
        return True

    def _follow_work(self, step: str, now: float, *, ended: bool) -> bool:
        if ended:
            self._working.discard(step)
            self._idle_since = now
        else:
            self._working.add(step)
        return bool(self._begun)

    @property
    def pending(self) -> tuple[str, ...]:
        """Return the images, as a Dockerfile names them."""
        return tuple(sorted({image for image, _ in self._begun.values()}))

    @property
    def until(self) -> float | None:
        """Return when the oldest lookup times out; None without a lookup, or while a step runs."""
        if not self._begun or self._working:
            return None
        oldest = min(begun for _, begun in self._begun.values())
        return max(oldest, self._idle_since) + self._seconds


def _prepares(step: str) -> bool:
    """Return whether a step of this name is no work of the Dockerfile's own: its end says nothing."""
    return pulls_image(step) or step.startswith("[internal]")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What is known of a base image. If `config` is not known it is None, and `problem` is the reason.

    `digest` identifies the image in its registry; it is empty for an image that the engine has.
    """

    config: ImageConfig | None
    digest: str = ""
    here: bool = False  # the engine that builds has it
    placeholder: bool = False
    problem: str = ""


class BaseImages:
    """Looks base images up: in the engine if it builds itself, else in their registries through BuildKit.

    An engine does not list the images that its BuildKit pulls, and a buildkitd has none of the engine's.
    """

    def __init__(
        self,
        engine: Engine,
        connection: BuildkitConnection,
        credentials: Callable[[], CredentialsFor],
        patience: RegistryPatience = DEFAULT_PATIENCE,
    ) -> None:
        """`credentials` is called in the event loop; its result finds logins in a thread."""
        self.patience = patience
        self._engine, self._connection, self._credentials = engine, connection, credentials
        self._answers: dict[tuple[str, str], tuple[float, BaseImage]] = {}
        self.age = 0  # grows whenever all answers are forgotten

    async def find_image(self, name: str, platform: str = "") -> BaseImage:
        """Return the image that `FROM name` means. Raises EngineUnavailable.

        Raises TimeoutError if its registry does not answer within `patience.first` seconds and never has.
        """
        if not self._connection.standalone and (image := await self._engine.image(name)):
            return BaseImage(config_of(image), here=True, placeholder=PLACEHOLDER_LABEL in image.labels)
        key, now = (name, platform), time.monotonic()
        asked, known = self._answers.get(key, (-self.patience.fresh, BaseImage(None)))
        if now < asked + self.patience.fresh:
            return known
        client = await self._connection.client()
        try:
            seconds = self.patience.first if known.config is None else self.patience.again
            async with asyncio.timeout(seconds):
                answer = await client.resolve_image(
                    full_reference(name), platform=platform, credentials=self._credentials()
                )
        except (BuildkitError, TimeoutError) as error:
            if client.closed:
                raise EngineUnavailable(f"the connection to BuildKit was lost: {error}") from error
            if known.config is None:
                if isinstance(error, TimeoutError):
                    raise
                return BaseImage(None, problem=str(error))
            found = known  # without a network the earlier answer has to do
        else:
            found = _base_of(answer)
        self._answers[key] = now, found
        return found

    async def platforms(self, target: str) -> Platforms:
        """Return the platforms to build on and for; raises EngineUnavailable."""
        return await self._connection.platforms(target)

    def forget_answers(self) -> None:
        """Look everything up again: for a rebuild, or after an image has gone from its registry."""
        self._answers.clear()
        self.age += 1

    async def try_to_find(self, name: str, platform: str = "") -> BaseImage:
        """Do the same as `find_image`, but return any error as the `problem`."""
        try:
            return await self.find_image(name, platform)
        except TimeoutError:
            return BaseImage(None, problem=self.patience.no_answer)
        except (EngineUnavailable, EngineError) as error:
            return BaseImage(None, problem=str(error))


async def platforms_of(recipe: Recipe, bases: BaseImages | None) -> Platforms:
    """Return the platforms that a recipe is built on and for; this machine's if no engine answers."""
    with contextlib.suppress(EngineUnavailable):
        if bases:
            return await bases.platforms(recipe.platform)
    return Platforms.of_this_machine(recipe.platform)


def credentials_of(login: Login | None) -> Credentials | None:
    """Return a login in the form that BuildKit's client takes."""
    return Credentials(login.username, login.secret) if login else None


def config_of(image: Image) -> ImageConfig:
    """Return what of a base image decides how a Dockerfile on it is accelerated."""
    return ImageConfig(
        env=image.env,
        user=image.user,
        onbuild=image.onbuild,
        workdir=image.workdir,
        os=image.os,
        id=image.id,
        command=image.command,
        healthcheck=image.healthcheck,
        entrypoint=image.entrypoint,
    )


def _base_of(image: ResolvedImage) -> BaseImage:
    """Return the same for an OCI image configuration (opencontainers/image-spec, config.md)."""
    config: Mapping[str, Any] = image.config.get("config") or {}
    found = ImageConfig(
        env=dict(item.partition("=")[::2] for item in config.get("Env") or ()),
        user=config.get("User") or "",
        onbuild=tuple(config.get("OnBuild") or ()),
        workdir=config.get("WorkingDir") or "",
        os=image.config.get("os") or "linux",
        id=image.digest,
        command=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
    )
    return BaseImage(found, image.digest, placeholder=PLACEHOLDER_LABEL in (config.get("Labels") or {}))
