"""Choose which services of a compose file are managed, by their names, build sections and profiles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from watcher.compose.interpolate import Missing
from watcher.compose.resolve import Definitions
from watcher.compose.spec import ServiceSpec
from watcher.errors import ConfigError

COMPLETED = "service_completed_successfully"


class ServiceChoice:
    """Answers questions about services that have not been read yet."""

    def __init__(self, definitions: Definitions, file: str, profiles: Collection[str]) -> None:
        self._definitions, self._file, self._profiles = definitions, file, set(profiles)

    def roots(self, named: Sequence[str]) -> tuple[str, ...]:
        """Return the named services, else all of active profiles with a build section; raises ConfigError.

        As in compose, naming a service activates its profiles.
        """
        if named:
            known = self._definitions.names("services")
            for name in named:
                if name not in known:
                    rule = f"there is no such service in {self._file} (it has {', '.join(known) or 'none'})"
                    raise ConfigError(f"services.{name}", None, rule)
                self._profiles |= set(self._profiles_of(name, _ignore))
            return tuple(dict.fromkeys(named))
        built = [name for name in self._definitions.names("services") if self._has_build(name)]
        active = tuple(name for name in built if self.is_active(name, _ignore))
        if not active:
            hint = f" (those of inactive profiles are {', '.join(built)})" if built else ""
            raise ConfigError(self._file, None, f"has no service with a build section{hint}")
        return active

    def is_active(self, name: str, missing: Missing) -> bool:
        """Return whether one of the service's profiles is active, or it has none."""
        try:
            wanted = self._profiles_of(name, missing)
        except ConfigError:  # reported when the service is read
            return True
        return not wanted or "*" in self._profiles or bool(self._profiles.intersection(wanted))

    def is_outside(self, name: str) -> bool:
        """Return whether a program outside of the engine runs the service (`provider`)."""
        given = self._definitions.service(name, _ignore).mapping().get("provider")
        return given is not None and given.value is not None

    def _profiles_of(self, name: str, missing: Missing) -> Sequence[str]:
        field = self._definitions.service(name, missing).mapping().get("profiles")
        return () if field is None or field.value is None else field.words()

    def _has_build(self, name: str) -> bool:
        """Return whether a service is built; of one that cannot be put together its own keys decide."""
        try:
            build = self._definitions.service(name, _ignore).mapping().get("build")
        except ConfigError:
            own = (layer.sections["services"].get(name) for layer in self._definitions.layers)
            return any(isinstance(keys, dict) and keys.get("build") is not None for keys in own)
        return build is not None and build.value is not None


def choose_managed(services: Mapping[str, ServiceSpec], roots: Sequence[str]) -> tuple[str, ...]:
    """Return the services to build and deploy, in start order.

    One with `scale: 0` is no such service. If nothing is left, they are the roots: whatever is wrong with
    them is reported later.
    """
    managed = tuple(
        name for name, spec in services.items() if spec.build and not spec.left_to_compose and spec.replicas
    )
    return managed or tuple(roots)


def find_jobs(services: Iterable[ServiceSpec]) -> frozenset[str]:
    """Return the services that others wait for to complete."""
    return frozenset(
        name
        for spec in services
        for name, dependency in spec.depends_on.items()
        if dependency.condition == COMPLETED
    )


def check_distinct_names(services: Iterable[ServiceSpec]) -> None:
    """Raise ConfigError when two services would have containers of the same name."""
    taken: set[str] = set()
    for spec in services:
        if spec.default_name in taken:
            field = f"services.{spec.name}.container_name"
            raise ConfigError(field, spec.default_name, "is already the container name of another service")
        taken.add(spec.default_name)


def _ignore(_: str) -> None:
    """Take no notice of an unset variable: the service may not be managed."""
