"""Tell where a service answers, and what about it differs from what a user would expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from watcher import labels
from watcher.daemon.service_config import ServiceConfig, SharedResources
from watcher.observers.events import Notice, ServiceStarted
from watcher.system import lock

_SHOWN_AS = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}


def service_urls(config: ServiceConfig) -> tuple[str, ...]:
    """Return the addresses at which the service answers."""
    reached: Mapping[int, Iterable[tuple[str, int]]] = config.container.published
    if config.fronts:
        reached = {
            port: [(item.host, item.port) for item in front.addresses]
            for port, front in config.fronts.items()
        }
    schemes = {port: "tcp" if config.protocol(port) == "tcp" else "http" for port in reached}
    addresses = [(schemes[port], *address) for port, bound in reached.items() for address in bound]
    urls = (f"{scheme}://{_SHOWN_AS.get(host, host)}:{number}" for scheme, host, number in addresses)
    return tuple(dict.fromkeys(urls))


def holds_port(shared: SharedResources, config: ServiceConfig) -> bool:
    """Return whether the watcher's own container publishes what the service's would."""
    return bool(config.fronts and shared.own and shared.own.holds(config.container.published))


class ServiceNotices:
    """Emits `ServiceStarted` and the notices that go with it, whenever they differ from the last ones."""

    def __init__(self, shared: SharedResources) -> None:
        self._shared = shared
        self._emitted: ServiceStarted | None = None

    def emit(self, config: ServiceConfig) -> None:
        """Emit what is managed and where it answers, unless that was the last thing emitted."""
        event = ServiceStarted(
            service=config.spec.name,
            urls=service_urls(config),
            compose_file=config.compose_file,
            image=config.recipe.image,
            container=config.container.name,
            image_budget=config.settings.image.max_size,
        )
        if self._emitted and replace(event, at=self._emitted.at) == self._emitted:
            return
        self._emitted = event
        self._shared.observer.notify(event)
        for text in self._warnings(config):
            self._notify(config, "warning", text)
        for chosen in self._shared.host_ports.chosen(config.spec.name):
            self._notify(config, "info", str(chosen))
        if text := config.container.address_notice:
            self._notify(config, "info", text)
        for text in config.notices():
            self._notify(config, "info", text)

    def _warnings(self, config: ServiceConfig) -> Iterator[str]:
        """Yield what a front cannot do here, and what differs because the watcher runs in a container."""
        if config.fronts:
            if direct := config.container.direct:
                yield f"{', '.join(direct)}: the front serves TCP only; the container publishes this itself"
            if reasons := config.spec.side_by_side_conflicts:
                yield (
                    f"{', '.join(reasons)}: the old container is stopped before the new one starts, and "
                    "requests wait meanwhile"
                )
            yield from config.container.notices()
        if config.settings.deploy.on_exit == "keep" and holds_port(self._shared, config):
            yield (
                "deploy.on_exit = keep: the port is the watcher's own container's, so your container runs on "
                "when the watcher ends, but nothing reaches it until the watcher is started again"
            )

    async def warn_of_copy(self, config: ServiceConfig) -> None:
        """Warn when another running watcher builds under the same name: the name goes to and fro."""
        image = config.recipe.image
        found = await self._shared.engine.image(image)
        other = found.labels.get(labels.PROJECT, self._shared.project) if found else self._shared.project
        if other != self._shared.project and lock.find_running(other):
            text = (
                f"the watcher of another project ({other}; is it a copy of this one?) builds {image} too: "
                "the name goes to whoever builds last; give one of the two another image"
            )
            self._notify(config, "warning", text)

    def _notify(self, config: ServiceConfig, level: str, text: str) -> None:
        self._shared.observer.notify(Notice(service=config.spec.name, level=level, text=text))
