"""What the compose file and the settings make of one service: values, and parts that are not started yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from watcher import compose
from watcher.builder import BuildJournal, BuildkitLink, Recipe
from watcher.buildkit import CacheImport
from watcher.compose import BuildSpec, ComposeProject, SecretSource, ServiceSpec
from watcher.daemon.port_protocols import check_protocols, protocol_of
from watcher.deploy import HostPorts, Policy, SourceMount, source_mounts
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.live_reloader import PATIENCE, StartCommand, outputs, start_command
from watcher.deploy.own_container import OwnContainer
from watcher.dockerfile import Level, Runs
from watcher.engine import Engine, SystemInfo
from watcher.errors import ConfigError
from watcher.front import ExtraHeaders, Front, FrontLimits, Listen, Unavailable, room_for
from watcher.observers.events import Observer
from watcher.reconcile import state_machine
from watcher.settings import PortProtocol, Settings
from watcher.tree import Tree, TreeWithContexts


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedResources:
    """What the services of a project share. `project` is its id; `explain` see `Front`."""

    project: str
    engine: Engine
    link: BuildkitLink
    journal: BuildJournal
    observer: Observer
    explain: Callable[[str], Unavailable]
    info: SystemInfo
    host_ports: HostPorts
    own: OwnContainer | None = None  # that the watcher runs in, where loopback does not reach the others


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """One service as it is to be kept. `fronts` are by port of the container; empty for `recreate`."""

    spec: ServiceSpec
    settings: Settings
    compose_file: str
    recipe: Recipe
    container: ComposeContainer
    fronts: Mapping[int, Front]
    tree: Tree
    source_mounts: tuple[SourceMount, ...] = ()
    command: StartCommand = field(default_factory=StartCommand)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The part of a revision that is not the tree."""
        return {**self.recipe.inputs(), "container": self.container.digest}

    @property
    def policy(self) -> Policy:
        """How patient a deploy is."""
        deploy = self.settings.deploy
        patience = deploy.startup_timeout
        if self.command.compiles and "startup_timeout" not in deploy.model_fields_set:
            patience = max(patience, PATIENCE)
        first = next(iter(self.container.ports), 0)  # the one that is asked for readiness
        return Policy(deploy.ready_path, self.protocol(first), patience, deploy.soak, deploy.drain)

    def protocol(self, port: int) -> PortProtocol:
        """What the front takes this port of the container for."""
        return protocol_of(self.spec, port, self.settings.deploy)

    def notices(self) -> Iterator[str]:
        """What a person should know of sources that the container reads itself."""
        yield from notices_of(self.command, self.source_mounts)

    @property
    def limits(self) -> state_machine.BuildLimits:
        """How long builds may be cancelled."""
        build = self.settings.build
        return state_machine.BuildLimits(build.max_cancels, build.max_wait, build.timeout)


def assemble_service(
    site: SharedResources,
    spec: ServiceSpec,
    compose_project: ComposeProject,
    settings: Settings,
    fronts: Mapping[int, Front] | None = None,
) -> ServiceConfig:
    """Put one service together; nothing is started, or changed. Raises ConfigError.

    `spec` has one host port where the file has a range (`HostPorts`).
    `fronts` are those that there are already: the ones whose addresses stay are used again.
    """
    compose.check_api(compose_project, site.info.api)
    check_protocols(spec, settings.deploy)
    recipe = replace(recipe_of(spec, settings, site.project, site.info.platform), ssh=agents_of(spec))
    container = ComposeContainer(
        compose_project,
        spec,
        site.project,
        site.engine,
        site.observer,
        settings.deploy.pause_container,
        site.own,
    )
    front = settings.deploy.strategy == "front"
    tree = tree_of(spec, recipe, settings)
    return ServiceConfig(
        spec=spec,
        settings=settings,
        compose_file=compose_project.file.name,
        recipe=recipe,
        container=container,
        fronts=_fronts(site, spec, container, settings, fronts or {}) if front else {},
        tree=tree,
        source_mounts=source_mounts(spec, tree.root),
        command=start_command(spec, tree.root, recipe.dockerfile),
    )


def tree_of(spec: ServiceSpec, recipe: Recipe, settings: Settings) -> Tree:
    """The build context of a service, as it is watched: without what a reloader in the container writes."""
    context, watch = spec.build.context if spec.build else settings.root, settings.watch
    written: tuple[str, ...] = ()
    if any(not mount.read_only for mount in source_mounts(spec, context)):
        written = outputs(start_command(spec, context, recipe.dockerfile), context)
    ignore = (*written, *watch.ignore)
    if recipe.contexts:
        return TreeWithContexts(
            context,
            contexts={name: Tree(path, ignore=watch.ignore) for name, path in recipe.contexts.items()},
            ignore=ignore,
            env_dirs=watch.env_dirs,
            dockerfile=recipe.dockerfile,
        )
    return Tree(context, ignore=ignore, env_dirs=watch.env_dirs, dockerfile=recipe.dockerfile)


def notices_of(command: StartCommand, mounts: Sequence[SourceMount]) -> Iterator[str]:
    """What a person should know of sources that the container reads itself."""
    if not mounts:
        return
    targets = ", ".join(mount.target for mount in mounts)
    text = f"files of the project are mounted into the container ({targets}): a save of one of them replaces "
    text += "the container, also when the image stays the same"
    if command.reloader:
        text += (
            f"; {command.reloader} in the container reloads the service by itself too, so a save is built "
            f"twice: a command without {command.reloader} is enough here"
        )
    yield text
    if command.compiles:
        yield (
            f"`{command.text}` compiles at the container's start, so that takes as long as a build: a volume "
            "for /root/.cache/go-build (and /go/pkg/mod) makes it short; deploy.startup_timeout bounds it"
        )


def beside_notice(folders: Sequence[str]) -> str:
    """What it means that mounted sources are no part of the build context."""
    return (
        f"{', '.join(folders)}: mounted into the container, with Go files that are not in the build context "
        "(build.context, or the ignore file): a save there builds nothing, and replaces the container"
    )


def front_options(settings: Settings, fronts: int) -> tuple[FrontLimits, ExtraHeaders]:
    """How much each of so many fronts takes on, and what it adds."""
    front = settings.front
    limits = FrontLimits(
        connections=min(front.connections, max(room_for(front.connections * fronts) // max(fronts, 1), 1)),
        held=front.hold_requests,
        hold_seconds=front.hold_timeout,
        head_bytes=front.head_size,
        answer_head_bytes=front.answer_head_size,
    )
    return limits, ExtraHeaders(front.forwarded, front.revision_header)


def _fronts(
    site: SharedResources,
    spec: ServiceSpec,
    container: ComposeContainer,
    settings: Settings,
    there: Mapping[int, Front],
) -> dict[int, Front]:
    limits, extra_headers = front_options(settings, len(container.listening))
    wanted = {
        port: tuple(Listen(host, number) for host, number in bound)
        for port, bound in container.listening.items()
    }
    kept = _kept_fronts(wanted, there)
    taken = {item.port for front in there.values() if front not in kept.values() for item in front.listen}
    fronts = {}
    for port, listen in wanted.items():
        for item in listen:
            if port not in kept and item.port and item.port in taken:
                rule = (
                    "this port is listened on at other addresses now: start the watcher again to change them"
                )
                raise ConfigError(f"services.{container.service}.ports", f"{item}:{port}", rule)
        fronts[port] = kept.get(port) or Front(
            listen,
            observer=site.observer,
            service=container.service,
            protocol=protocol_of(spec, port, settings.deploy),
            limits=limits,
            extra_headers=extra_headers,
            explain=lambda: site.explain(container.service),
        )
    return fronts


def _kept_fronts(wanted: Mapping[int, Sequence[Listen]], there: Mapping[int, Front]) -> dict[int, Front]:
    """The fronts that listen where `wanted` has it, by the port of the container that they are for now."""
    kept = {port: there[port] for port in wanted if port in there and there[port].listen == wanted[port]}
    for port, listen in wanted.items():
        free = (front for front in there.values() if front not in kept.values() and front.listen == listen)
        if port not in kept and (found := next(free, None)):
            kept[port] = found
    return kept


def check_dockerfile(spec: ServiceSpec, root: Path) -> None:
    """Raises ConfigError when there is none: said at the start, where a build could only fail later."""
    if (build := spec.build) and build.dockerfile_inline is None:
        place = build.context / build.dockerfile
        if not place.is_file():
            field, shown = f"services.{spec.name}.build.dockerfile", _shown(place, root)
            there = "it is not a regular file" if place.exists() else "there is no such file"
            raise ConfigError(field, str(shown), there)


def agents_of(spec: ServiceSpec) -> dict[str, Path]:
    """The sockets of the SSH agents that builds may use, by id. Raises ConfigError for what is none.

    Whether one answers, the build will find. Only who builds needs them: no part of `recipe_of`.
    """
    found = {}
    at = f"services.{spec.name}.build.ssh"
    for name, given in (spec.build.ssh if spec.build else {}).items():
        place = given or os.environ.get("SSH_AUTH_SOCK", "")
        if not place:
            rule = "needs an SSH agent, and SSH_AUTH_SOCK names none: eval $(ssh-agent), then ssh-add"
            raise ConfigError(at, name, rule)
        path = found[name] = Path(place)
        if path.exists() and not path.is_socket():
            rule = "is no agent's socket; give an agent the key with ssh-add and write: ssh: [default]"
            raise ConfigError(at, f"{name}={place}", rule)
    return found


def recipe_of(spec: ServiceSpec, settings: Settings, project: str, native: str) -> Recipe:
    """What decides the service's image; raises ConfigError when it has no build section.

    `native` is the engine's own platform; empty when there is no engine to ask.
    """
    if spec.build is None:
        raise ConfigError(f"services.{spec.name}", None, "has no build section: there is nothing to keep")
    build = spec.build
    image = _tagged(spec.image)
    return Recipe(
        service=spec.name,
        project=project,
        image=image,
        folder=os.path.relpath(build.context, settings.root),
        dockerfile=build.dockerfile,
        inline=build.dockerfile_inline,
        build_args={**build.args, **settings.build.args},
        target=settings.build.target or build.target,
        level=Level(settings.build.accelerate),
        platform=platform_of(spec, native),
        image_labels=build.labels,
        secrets={item.id: _secret(item) for item in build.secrets},
        frontend_attrs=_frontend_attrs(build),
        contexts=_contexts(spec, build),
        images={
            name: place.removeprefix(_IMAGE)
            for name, place in build.additional_contexts.items()
            if place.startswith(_IMAGE)
        },
        network=build.network,
        tags=tuple(_tagged(tag) for tag in build.tags),
        cache_from=tuple(_cache(each) for each in build.cache_from),
        entitlements=_entitlements(build),
        no_cache=build.no_cache,
        runs=Runs(
            spec.command,
            spec.entrypoint,
            spec.healthcheck.test if spec.healthcheck else (),
            tuple(hook.command for hook in (*spec.post_start, *spec.pre_stop)),
        ),
        builder_label=settings.prune.builder_label,
    )


def _contexts(spec: ServiceSpec, build: BuildSpec) -> dict[str, Path]:
    """The folders that the build reads beside its own context; raises ConfigError for one that is missing."""
    found = {name: Path(place) for name, place in build.additional_contexts.items() if place.startswith("/")}
    for name, path in found.items():
        if not path.is_dir():
            field = f"services.{spec.name}.build.additional_contexts.{name}"
            raise ConfigError(field, str(path), "there is no such folder")
    return found


def platform_of(spec: ServiceSpec, native: str) -> str:
    """The platform to build for: of several the engine's own (`native`), if it is one of them.

    One container runs of the image: the others are for those who publish it.
    """
    platforms = spec.build.platforms if spec.build else ()
    if spec.platform or len(platforms) < 2:
        return spec.platform or next(iter(platforms), "")
    return native if native in platforms else platforms[0]


_IMAGE = "docker-image://"


def _tagged(reference: str) -> str:
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def _cache(given: Mapping[str, str]) -> CacheImport:
    return CacheImport(
        type=given["type"], attrs={key: value for key, value in given.items() if key != "type"}
    )


def _entitlements(build: BuildSpec) -> tuple[str, ...]:
    """What a build may do beyond the normal; the host's network has to be asked for twice."""
    host = ("network.host",) if build.network == "host" else ()
    return tuple(dict.fromkeys((*build.entitlements, *host)))


def _secret(source: SecretSource) -> bytes | Path:
    return source.file if source.file is not None else (source.value or "").encode()


def _frontend_attrs(build: BuildSpec) -> dict[str, str]:
    """What has no field of its own in a solve request (moby/buildkit, frontend/dockerui/config.go)."""
    contexts = build.additional_contexts.items()
    attrs = {f"context:{name}": place for name, place in contexts if not place.startswith(("/", _IMAGE))}
    if build.extra_hosts:
        attrs["add-hosts"] = ",".join(f"{name}={address}" for name, address in build.extra_hosts)
    if build.shm_size:
        attrs["shm-size"] = str(build.shm_size)
    if build.ulimits:
        attrs["ulimit"] = ",".join(f"{name}={soft}:{hard}" for name, (soft, hard) in build.ulimits.items())
    if build.no_cache_filter:
        attrs["no-cache"] = ",".join(build.no_cache_filter)
    if build.pull:
        attrs["image-resolve-mode"] = "pull"
    return attrs


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
