"""Load the managed services of a compose file and everything that they need."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from watcher import regex
from watcher.compose import key_policy
from watcher.compose.build import SERVICE, service_contexts
from watcher.compose.build_spec import BuildSpec, SecretSource
from watcher.compose.choice import ServiceChoice, check_distinct_names, choose_managed
from watcher.compose.field import Field, Unsupported
from watcher.compose.find import find_overrides, override_candidates
from watcher.compose.links import resolve_links
from watcher.compose.networks import read_network, read_source, read_volume
from watcher.compose.paths import BaseDirectory
from watcher.compose.resolve import Definitions, Files, FileScope, replace_variables
from watcher.compose.service import left_to_compose, read_service
from watcher.compose.spec import (
    ComposeProject,
    Dependency,
    NetworkSpec,
    ServiceSpec,
    VolumeSpec,
)
from watcher.errors import ConfigError, raise_all
from watcher.system.regular_file import read_regular

_NOT_IN_A_NAME = regex.compile(r"[^a-z0-9_-]")
MOST_JSON = 4 << 20  # bytes of a seccomp profile
MOST_DEPENDENT = 400  # each is read inside of the one that depends on it
_PROJECT = "COMPOSE_PROJECT_NAME"
_PROFILES = "COMPOSE_PROFILES"


def _absolute_path(path: Path) -> Path:
    """Return the path without `..`; symbolic links stay, because they are part of the project's name."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def load(
    path: Path,
    *,
    env: Mapping[str, str],
    services: Sequence[str] = (),
    profiles: Sequence[str] = (),
    overrides: Sequence[Path] | None = None,
    seen: dict[Path, None] | None = None,
    missing_files: list[ConfigError] | None = None,
) -> ComposeProject:
    """Read services of a compose file and their dependencies; raise ConfigError with the path of the error.

    `services` selects them by name; without names, all with a build section and an active profile. `env` is
    the environment of the process; it overrides the `.env` file next to the compose file. `overrides` are
    files merged over the first, as with several `-f`; None selects the override file that docker compose
    applies by default. `seen` receives the entries of `ComposeProject.files` while they are read, so the
    caller has them after an error. `missing_files` receives an error for each environment or label file that
    does not exist; without it, the first one is raised. Other services are not checked.
    """
    found = find_overrides(path) if overrides is None else overrides
    files = Files({} if seen is None else seen, missing_files)
    if overrides is None:
        files.seen.update(dict.fromkeys(_absolute_path(each) for each in override_candidates(path)))
    others = [_absolute_path(each) for each in found]
    loading = _Loading(files, _absolute_path(path), env, profiles, others)
    return loading.project(services)


class _Loading:
    """One call of `load`; implements the `Project` protocol for the readers."""

    def __init__(
        self,
        files: Files,
        path: Path,
        env: Mapping[str, str],
        profiles: Sequence[str],
        overrides: Sequence[Path],
    ) -> None:
        self._path, self._directory = path, path.parent
        self._files = files
        self._warnings: dict[str, None] = {}
        self._paths = (path, *overrides)
        for each in self._paths:
            self._files.seen[each] = None
        self.env: Mapping[str, str] = self._files.read_dot_env(self._directory, env, self._warn_unset)
        self.name = self._project_name()
        self.env = {**self.env, _PROJECT: self.name}
        self._definitions = Definitions(self._files, self._warn_unset)
        for each in self._paths:
            self._definitions.add_file(each, FileScope(self._directory, self.env))
        for key in self._definitions.not_run:
            self.warn(f"{key}: {key_policy.NOT_RUN[key]}")
        listed = self.env.get(_PROFILES, "").split(",")
        active = {each for each in (*profiles, *listed) if each}
        self._choice = ServiceChoice(self._definitions, path.name, active)
        self._networks: dict[str, NetworkSpec] = {}
        self._volumes: dict[str, VolumeSpec] = {}

    def project(self, names: Sequence[str]) -> ComposeProject:
        roots = self._choice.roots(names)
        services: dict[str, ServiceSpec] = {}
        problems: list[ConfigError] = []
        for name in roots:
            try:
                self._add_service(name, services, roots, ())
            except ConfigError as error:
                problems.append(error)
        raise_all(problems)
        if not names:
            self._add_images(services)
        managed = choose_managed(services, roots)
        for name in managed:
            services[name] = self._with_one_container(services[name])
        check_distinct_names(services.values())
        return ComposeProject(
            name=self.name,
            file=self._path,
            directory=self._directory,
            managed=managed,
            services=services,
            networks=self._networks,
            volumes=self._volumes,
            files=tuple(self._files.seen),
            config_files=self._paths,
            warnings=tuple(self._warnings),
            others=tuple(name for name in self._definitions.names("services") if name not in services),
        )

    def _add_images(self, services: dict[str, ServiceSpec]) -> None:
        """Add the services that nothing depends on, as `docker compose up` starts them too."""
        for name in self._definitions.names("services"):
            try:
                if not self._choice.is_outside(name) and self._choice.is_active(name, self._warn_unset):
                    self._add_service(name, services, (), ())
            except ConfigError as error:
                self.warn(f"{name} is not started: {error}")

    # Which project, which services.

    def _project_name(self) -> str:
        given = self.env.get(_PROJECT)
        if given:
            if _normalize_name(given) != given:
                raise ConfigError(
                    _PROJECT,
                    given,
                    "must be lower case letters, digits, '-' and '_', and start with a letter or digit",
                )
            return given
        name = ""
        for path in self._paths:
            for document in self._files.documents(path):
                field = Field(path.name, document.value).mapping().get("name")
                if field is not None and field.value is not None:
                    field = Field("name", field.value)
                    name = (
                        _normalize_name(
                            replace_variables(field, self.env, self._warn_unset, self._files.budget).text()
                        )
                        or name
                    )
        name = name or _normalize_name(self._directory.name)
        if not name:
            raise ConfigError(
                "name", None, "cannot be made from the name of the directory: set name in the compose file"
            )
        return name

    def _add_service(
        self, name: str, services: dict[str, ServiceSpec], roots: Sequence[str], trail: tuple[str, ...]
    ) -> None:
        """Add a service after those that it depends on."""
        if name in services:
            return
        if name in trail:
            raise _describe_cycle(trail[trail.index(name) :])
        if len(trail) > MOST_DEPENDENT:
            rule = f"is one of more than {MOST_DEPENDENT} services that depend on each other in a row"
            raise ConfigError(f"services.{trail[-1]}.depends_on", name, rule)
        spec = self._read_service(name, required=name in roots)
        known = self._definitions.names("services")
        needed: dict[str, Dependency] = {}
        for other, dependency in spec.depends_on.items():
            field = f"services.{name}.depends_on.{other}"
            if other not in known:
                raise ConfigError(field, None, f"there is no such service in {self._path.name}")
            if self._choice.is_outside(other):
                hint = f"`docker compose up -d {other}` starts it"
                self.warn(f"{other} is run by a program outside of the engine: {hint}")
            elif self._choice.is_active(other, self._warn_unset):
                needed[other] = dependency
                self._add_service(other, services, roots, (*trail, name))
            elif dependency.required:
                raise ConfigError(field, None, "its profile is not active")
            else:
                self.warn(f"{field} is skipped: its profile is not active")
        services[name] = resolve_links(
            replace(spec, depends_on=needed, build=self._with_images(spec)), services
        )

    def _read_service(self, name: str, *, required: bool) -> ServiceSpec:
        """Read a service. A dependency with unsupported keys is left to docker compose."""
        field = self._definitions.service(name, self._warn_unset)
        try:
            return read_service(name, field, self)
        except Unsupported as error:
            if required:
                raise
            self.warn(f"{error}; {name} is left to `docker compose up -d {name}`")
            return left_to_compose(name, field, self, str(error))

    def _with_one_container(self, spec: ServiceSpec) -> ServiceSpec:
        """Return a managed service as it is run: once."""
        if spec.replicas == 0:
            raise ConfigError(f"services.{spec.name}.scale", 0, "must be 1: this service is managed")
        if spec.replicas > 1:
            self.warn(f"services.{spec.name}: {spec.replicas} containers are configured, one is run")
        return replace(spec, replicas=1)

    def _with_images(self, spec: ServiceSpec) -> BuildSpec | None:
        """Return the build section; a context that is the image of a service gets the name of the image."""
        if spec.build is None or not service_contexts(spec.build):
            return spec.build
        contexts = dict(spec.build.additional_contexts)
        for name, text in contexts.items():
            other = text.removeprefix(SERVICE)
            if text != other:
                if other not in self._definitions.names("services"):
                    field = f"services.{spec.name}.build.additional_contexts.{name}"
                    raise ConfigError(field, text, f"there is no such service in {self._path.name}")
                given = self._definitions.service(other, self._warn_unset).mapping().get("image")
                image = given.word() if given and given.value is not None else f"{self.name}-{other}"
                contexts[name] = f"docker-image://{image}"
        return replace(spec.build, additional_contexts=contexts)

    def _warn_unset(self, variable: str) -> None:
        self.warn(f"the variable {variable} is not set; it is replaced by an empty string")

    # The methods of `Project`.

    def network_name(self, field: Field, key: str) -> str:
        if key not in self._networks:
            if key == "default" and key not in self._definitions.names("networks"):
                self._networks[key] = NetworkSpec(key=key, name=f"{self.name}_default")
            else:
                given, _ = self._resource(field, "networks", key)
                self._networks[key] = read_network(key, given, self.name)
        return self._networks[key].name

    def volume_name(self, field: Field, key: str) -> str:
        if key not in self._volumes:
            given, base = self._resource(field, "volumes", key)
            self._volumes[key] = read_volume(key, given, self.name, base)
        return self._volumes[key].name

    def secret_source(self, field: Field, key: str) -> str | bytes:
        return self._read_source(field, "secrets", key)

    def config_source(self, field: Field, key: str) -> str | bytes:
        return self._read_source(field, "configs", key)

    def warn(self, text: str) -> None:
        self._warnings[text] = None

    def build_secret(self, field: Field, key: str, id_: str) -> SecretSource:
        given, base = self._resource(field, "secrets", key)
        source = read_source(given, base)
        if source.file:
            return SecretSource(id_, file=Path(source.file))
        return SecretSource(id_, value=self._read_variable(field, key, source.variable))

    def read_env(self, field: Field, into: dict[str, str], *, own: Mapping[str, str], raw: bool) -> None:
        if not self._lacks_file(field, "create it, or mark it with `required: false`"):
            outside = {**own, **self.env}
            self._files.env(Path(field.word()), into, outside, self._warn_unset, raw=raw)

    def read_labels(self, field: Field, into: dict[str, str]) -> None:
        if not self._lacks_file(field, "create it"):
            self._files.env(Path(field.word()), into, {}, self._warn_unset)

    def _lacks_file(self, field: Field, remedy: str) -> bool:
        """Return whether the file is missing, if the caller of `load` wants to know; else raise."""
        path = Path(field.word())
        self.track_file(path)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = field.error(f"there is no such file; {remedy}")
            if self._files.missing is None:
                raise problem from error
            self._files.missing.append(problem)
            return True
        except OSError:
            pass  # reading it gives the reason
        return False

    def read_json(self, field: Field, path: str) -> str:
        file = self._directory / path
        self.track_file(file)
        try:
            content = json.loads(read_regular(file, MOST_JSON))
        except (OSError, ValueError) as error:
            why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not valid JSON"
            raise field.error(f"{file} {why}") from error
        return json.dumps(content, separators=(",", ":"))

    def track_file(self, path: Path) -> None:
        self._files.seen[path] = None

    def _read_source(self, field: Field, section: str, key: str) -> str | bytes:
        """Return the path of a secret or config, or its content."""
        given, base = self._resource(field, section, key)
        source = read_source(given, base)
        if source.file:
            return source.file
        if source.content is not None:
            return source.content.encode("utf-8", "surrogateescape")
        return self._read_variable(field, key, source.variable).encode("utf-8", "surrogateescape")

    def _read_variable(self, field: Field, key: str, variable: str) -> str:
        if variable not in self.env:
            raise field.error(f"{key} needs the variable {variable}, which is not set")
        return self.env[variable]

    def _resource(self, field: Field, section: str, key: str) -> tuple[Field, BaseDirectory]:
        """Return the declaration of `key`; raise ConfigError at the field that refers to it."""
        if key not in self._definitions.names(section):
            raise field.error(f"{key} is not declared under {section} at the top of the file")
        return self._definitions.resource(section, key, self._warn_unset)


def _normalize_name(name: str) -> str:
    """Return a name as a project name, by the rules of compose."""
    return _NOT_IN_A_NAME.sub("", name.lower()).lstrip("_-")


def _describe_cycle(cycle: Sequence[str]) -> ConfigError:
    """Return the same error for a cycle of `depends_on`, whichever of its services it was found from."""
    first = cycle.index(min(cycle))
    names = (*cycle[first:], *cycle[: first + 1])
    return ConfigError(f"services.{names[0]}.depends_on", None, f"is circular: {' → '.join(names)}")
