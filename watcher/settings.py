"""Define every setting once: type, default, rule and help text.

Precedence: command line, `WATCHER_*` environment, `watcher.toml` in the project, compose file, default. A
setting with the default `None` takes its value from the compose file. `config/watcher.toml` shows all
settings with their defaults; a test keeps it equal to this file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    CliSuppress,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from watcher import regex
from watcher.errors import ConfigError
from watcher.settings_sources import ENV_PREFIX, TOML_NAME, PrefixedEnvironment, TomlSource, config_error

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0)]
PortProtocol = Literal["auto", "http", "tcp"]


_HTTP_PATH = r"/[\x21-\x7e]*"
_PATH = regex.compile(_HTTP_PATH)
HttpPath = Field(json_schema_extra={"pattern": f"^{_HTTP_PATH}$"})
_PORT_NUMBER = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
PortKeys = Field(json_schema_extra={"propertyNames": {"pattern": f"^({_PORT_NUMBER})$"}})


def _check_http_path(value: str | None) -> str | None:
    if value is not None and not _PATH.fullmatch(value):
        raise ValueError("must be a path that starts with '/' and contains no spaces")
    return value


# Settings that the services of a project share, by section.
SHARED_SETTINGS = {
    "build": {"buildkit", "buildkit_certs", "parallel"},
    "prune": {
        "cache_keep_storage",
        "cache_keep_duration",
        "gone_after",
        "go_cache_max",
        "min_free",
        "steps_max",
    },
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class WatchSettings(_Section):
    """Which files are watched, and how."""

    ignore: tuple[str, ...] = ()
    """Additional .dockerignore patterns of files that neither trigger a build nor enter its context."""
    env_dirs: tuple[str, ...] = ("_envs",)
    """Directories with environment files; used only to describe changes."""
    mode: Literal["auto", "events", "polling"] = "auto"
    """How changes are detected; auto uses events, and polling if they do not arrive."""
    full_scan: Seconds = 60.0
    """Seconds between full scans of the tree, even without notifications; 0 = never."""


class BuildSettings(_Section):
    """How an image is built."""

    accelerate: Literal["off", "exact", "fast"] = "exact"
    """off: original Dockerfile; exact: add Go cache mounts, drop -a, same binary; fast: also no DWARF."""
    cache_scope: Literal["machine", "project"] = "machine"
    """Go caches: machine: one for all projects of this user, where that is correct; project: its own."""
    args: dict[str, str] = {}
    """Build arguments that override those of the compose file."""
    target: str | None = None
    """Stage to build; the compose file's target, else the last stage."""
    buildkit: Annotated[str | None, Field(pattern=r"^(unix:///|tcp://)[^\s]+$")] = None
    """Address of a buildkitd, like unix:///run/buildkit/buildkitd.sock; default: that of the engine."""
    buildkit_certs: Path | None = None
    """Folder with ca.pem, cert.pem and key.pem, for a buildkitd at tcp:// that requires TLS."""
    parallel: Annotated[int, Field(ge=1)] | None = None
    """Builds that may run at once, of all services; default: the number of cores, at least 2."""
    max_cancels: Annotated[int, Field(ge=1)] = 3
    """Cancelled builds in a row after which one build runs to its end, even during continuous saves."""
    max_wait: Seconds = 10.0
    """Seconds after which a newer save no longer cancels a running build, unless it prints nothing."""
    timeout: Seconds = 1800.0
    """Seconds after which a build is cancelled and fails; 0 = never."""
    builder_image: bool = False
    """Export the builder stage as a tagged image, once for each Dockerfile and base image."""


class DeploySettings(_Section):
    """How an image becomes the live container."""

    strategy: Literal["front", "recreate"] = "front"
    """front: start new next to old, then switch; recreate: the container publishes the port itself."""
    protocol: PortProtocol = "auto"
    """Protocol of the ports: http, tcp (raw bytes), or auto (detected per connection)."""
    protocols: Annotated[dict[Annotated[int, Field(ge=1, le=65535)], PortProtocol], PortKeys] = {}
    """Protocol of single container ports, like 2525 = "tcp"; overrides protocol and app_protocol."""
    ready_path: Annotated[str | None, AfterValidator(_check_http_path), HttpPath] = None
    """Path that answers below 400 when the app is ready; default: that of HEALTHCHECK, else any answer."""
    startup_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds within which a new container must answer."""
    soak: Seconds = 3.0
    """Seconds to keep the old container after a switch, to return to it: a failure, or an undone save."""
    drain: Seconds = 10.0
    """Seconds for open requests of the old container to end; an active transfer gets 10 minutes."""
    pause_container: bool = True
    """Prepare the network of the next container in advance if possible: containers start faster."""
    address_container: bool = True
    """Give a service an address for other services that stays when its container is replaced."""
    on_exit: Literal["stop", "keep"] = "stop"
    """What happens to the container when the daemon stops; keep: it publishes the port itself."""


class FrontSettings(_Section):
    """Requests that arrive while no container can answer are held."""

    hold_timeout: Seconds = 60.0
    """Seconds a request is held before it is answered 503."""
    hold_requests: Count = 1000
    """Maximum number of held requests; further ones are answered 503."""
    connections: Annotated[int, Field(ge=1)] = 10_000
    """Maximum client connections per port, 3/4 of it per address; above that, idle ones are closed."""
    head_size: Annotated[ByteSize, Field(ge=1024)] = ByteSize(64 * 1024)
    """Largest head (line and fields) of a request; a larger one is answered 431."""
    answer_head_size: Annotated[ByteSize, Field(ge=1024)] = ByteSize(1024 * 1024)
    """Largest head of an app's answer; a larger one is answered 502."""
    forwarded: bool = False
    """Add X-Forwarded-For, -Proto and -Port to requests."""
    revision_header: bool = False
    """Add X-Watcher-Revision and Server-Timing to answers."""


class ImageSettings(_Section):
    """Size limits of images."""

    max_size: ByteSize | None = None
    """Largest final image (like 30MB); above it `run` warns and `once` fails."""
    components: dict[str, ByteSize] = {}
    """Largest size of single components, like DWARF = "1MB": Go modules, packages, files; as max_size."""


class PruneSettings(_Section):
    """Automatic removal of images, build cache and Go caches."""

    enabled: bool = True
    """Remove superseded images and their build cache after a successful deploy."""
    keep: Annotated[int, Field(ge=1)] = 3
    """Number of revisions to keep, including the live one: final images and their build cache."""
    grace: Seconds = 60.0
    """Minimum age in seconds of an image that the running watcher did not build, before it is removed."""
    builder_label: Annotated[str, Field(pattern=r"^[^=\s]+=[^=\s]+$")] = "stage=builder"
    """Label of the builder stage in the Dockerfile; untagged images with it are stale."""
    interval: Seconds = 600.0
    """Seconds between prunes without a deploy; 0 = only after a deploy or when the disk is nearly full."""
    go_cache_max: ByteSize = ByteSize(10_000_000_000)
    """Maximum size of the Go build caches that the project uses; least recently used first; 0 = no limit."""
    steps_max: ByteSize = ByteSize(20_000_000_000)
    """Size of superseded build steps above which they go although BuildKit then forgets others; 0 = none."""
    cache_keep_storage: ByteSize | None = None
    """Size of the engine's build cache to keep, of all its users: records have no owner; default: all."""
    cache_keep_duration: Seconds = 172800.0
    """Seconds since its last use during which a build cache record is never removed."""
    gone_after: Seconds = 604800.0
    """Seconds after which doctor reports a deleted project that left objects; 0 = immediately."""
    min_free: ByteSize | None = None
    """Free disk space below which only one final image is kept; default: a tenth, at most 5 GiB."""


class HttpSettings(_Section):
    """The status page, the API and the metrics."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a token."""
    port: Port = 9001
    """Port to listen on; 0 = any free one."""
    token: Annotated[str | None, Field(pattern=r"^([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?$")] = None
    """Bearer token for the API; required beyond loopback, useful on a shared machine."""


class ServiceSettings(_Section):
    """Settings of one service over those of the whole project; what is not set here is as there."""

    watch: WatchSettings = WatchSettings()
    build: BuildSettings = BuildSettings()
    deploy: DeploySettings = DeploySettings()
    front: FrontSettings = FrontSettings()
    image: ImageSettings = ImageSettings()
    prune: PruneSettings = PruneSettings()

    @model_validator(mode="after")
    def _refuse_shared(self) -> ServiceSettings:
        """Refuse what the services of a project share."""
        for section, names in SHARED_SETTINGS.items():
            given = getattr(self, section).model_fields_set & names
            if given:
                raise ValueError(f"{section}.{min(given)} is of the whole project: set it under [{section}]")
        return self


class Settings(BaseSettings):
    """All settings of one project."""

    model_config = SettingsConfigDict(
        defer_build=True,  # the commands are subclasses, and only one of them is used
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_use_class_docs_for_groups=True,
    )

    project: Path = Path()
    """Folder of the Go project."""
    compose_file: Path | None = None
    """Compose file in the project; default: docker-compose-dev.yml, compose.yaml, docker-compose.yml."""
    services: tuple[str, ...] = ()
    """Services of the compose file to manage, and those they depend on; default: all with a build section."""
    service: str | None = None
    """One service: to manage only this one and those it depends on, or to ask about in other commands."""
    profile: tuple[str, ...] = ()
    """Active profiles of the compose file, besides those of COMPOSE_PROFILES."""
    engine: str | None = None
    """Docker engine, like unix:///var/run/docker.sock; default: DOCKER_HOST, else the docker context."""
    watch: WatchSettings = WatchSettings()
    build: BuildSettings = BuildSettings()
    deploy: DeploySettings = DeploySettings()
    front: FrontSettings = FrontSettings()
    image: ImageSettings = ImageSettings()
    prune: PruneSettings = PruneSettings()
    http: HttpSettings = HttpSettings()
    plain: bool = False
    """Line output without colour or a live view, even on a terminal."""
    bell: bool = False
    """Ring the terminal bell when a revision fails and when a later one succeeds."""
    log_format: Literal["console", "json"] = "console"
    """json: one JSON object per event on standard output."""
    per_service: CliSuppress[dict[str, ServiceSettings]] = {}
    """By service, sections over those of the project: [service.NAME.deploy] in watcher.toml."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by priority: command line (as init values), environment, TOML file."""
        given = init_settings().get("project") or os.environ.get(f"{ENV_PREFIX}PROJECT")
        project = Path(given) if given else settings_cls.default_project()  # type: ignore[attr-defined]
        toml = TomlSource(settings_cls, project / TOML_NAME)
        default = InitSettingsSource(settings_cls, {"project": project})
        return init_settings, PrefixedEnvironment(settings_cls, env_settings), toml, default

    @classmethod
    def default_project(cls) -> Path:
        """Return the default project folder."""
        return Path()

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._given = given

    @property
    def root(self) -> Path:
        """Return the absolute project folder; raise ConfigError if it cannot be resolved."""
        try:
            return self.project.expanduser().resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links; no home folder
            raise ConfigError("project", str(self.project), f"cannot be resolved: {error}") from error

    @property
    def chosen_services(self) -> tuple[str, ...]:
        """Return the names of the services to manage; none for all. Raises ConfigError."""
        if self.service is None:
            return self.services
        if self.services and self.service not in self.services:
            raise ConfigError("service", self.service, f"is not one of services ({', '.join(self.services)})")
        return (self.service,)

    def for_service(self, name: str) -> Settings:
        """Return the settings of one service: its own over those of the project."""
        own = self.per_service.get(name)
        if own is None:
            return self
        sections = {each: _overlay(getattr(self, each), getattr(own, each)) for each in own.model_fields_set}
        return self.model_copy(update=sections)

    def reload(self) -> Settings:
        """Read the settings again, with the same command line; raise ConfigError."""
        try:
            return type(self)(**self._given)
        except (ValidationError, SettingsError) as error:
            raise config_error(error, type(self)) from error


def _overlay(common: BaseModel, own: BaseModel) -> BaseModel:
    """Return `common` with what is set in `own`; tables are merged."""
    update = {}
    for name in own.model_fields_set:
        value, before = getattr(own, name), getattr(common, name)
        update[name] = {**before, **value} if isinstance(value, dict) else value
    return common.model_copy(update=update)
