"""What the compose file and the settings make of a service's image: the recipe, and checks before a build."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from watcher.builder import Recipe, shared_cache_scope
from watcher.buildkit import CacheImport
from watcher.compose import BuildSpec, SecretSource, ServiceSpec, with_tag
from watcher.dockerfile import Level, Runs
from watcher.errors import ConfigError
from watcher.settings import Settings

_IMAGE = "docker-image://"


def check_dockerfile(spec: ServiceSpec, root: Path) -> None:
    """Raise ConfigError for a build without context or Dockerfile, at the start, before a build fails."""
    if (build := spec.build) and not build.context.is_dir():
        there = "it is not a directory" if build.context.exists() else "there is no such directory"
        raise ConfigError(f"services.{spec.name}.build.context", str(_shown(build.context, root)), there)
    if build and build.dockerfile_inline is None:
        place = build.context / build.dockerfile
        if not place.is_file():
            field, shown = f"services.{spec.name}.build.dockerfile", _shown(place, root)
            there = "it is not a regular file" if place.exists() else "there is no such file"
            raise ConfigError(field, str(shown), there)


def agents_of(spec: ServiceSpec) -> dict[str, Path]:
    """Return the sockets of the SSH agents that builds may use, by id. Raises ConfigError for what is none.

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
    """Return what decides the service's image; raises ConfigError when it has no build section.

    `native` is the engine's own platform; empty when there is no engine to ask.
    """
    if spec.build is None:
        raise ConfigError(f"services.{spec.name}", None, "has no build section: there is nothing to keep")
    build = spec.build
    return Recipe(
        service=spec.name,
        project=project,
        cache_scope=shared_cache_scope() if settings.build.cache_scope == "machine" else "",
        image=with_tag(spec.image),
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
        tags=tuple(with_tag(tag) for tag in build.tags),
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
    """Return the folders of additional contexts; raises ConfigError for one that is missing."""
    found = {name: Path(place) for name, place in build.additional_contexts.items() if place.startswith("/")}
    for name, path in found.items():
        if not path.is_dir():
            field = f"services.{spec.name}.build.additional_contexts.{name}"
            raise ConfigError(field, str(path), "there is no such folder")
    return found


def platform_of(spec: ServiceSpec, native: str) -> str:
    """Return the platform to build for: of several the engine's own (`native`), if it is one of them.

    One container runs of the image: the others are for those who publish it.
    """
    platforms = spec.build.platforms if spec.build else ()
    if spec.platform or len(platforms) < 2:
        return spec.platform or next(iter(platforms), "")
    return native if native in platforms else platforms[0]


def _cache(given: Mapping[str, str]) -> CacheImport:
    return CacheImport(
        type=given["type"], attrs={key: value for key, value in given.items() if key != "type"}
    )


def _entitlements(build: BuildSpec) -> tuple[str, ...]:
    """Return what a build may do beyond the normal; the host's network has to be asked for twice."""
    host = ("network.host",) if build.network == "host" else ()
    return tuple(dict.fromkeys((*build.entitlements, *host)))


def _secret(source: SecretSource) -> bytes | Path:
    return source.file if source.file is not None else (source.value or "").encode()


def _frontend_attrs(build: BuildSpec) -> dict[str, str]:
    """Return what has no field of its own in a solve request (moby/buildkit, frontend/dockerui/config.go)."""
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
