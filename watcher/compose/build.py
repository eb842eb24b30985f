"""`build`: how a service's image is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from watcher.compose.field import Field, Section
from watcher.compose.spec import BuildSpec, SecretSource

# Keys that mean something which this program's builds do not do.
_REFUSED = {
    "cache_to": "the engine's own BuildKit keeps its cache itself and exports none",
    "entitlements": "builds run without special rights",
    "isolation": "it is for Windows only",
    "no_cache_filter": "stages are cached all together or not at all; use no_cache",
    "privileged": "builds run without special rights",
}
# Keys for which only the value that changes nothing is accepted.
_ATTESTATIONS = ("provenance", "sbom")


def read_build(
    field: Field, env: Mapping[str, str], secret_source: Callable[[Field, str, str], SecretSource]
) -> BuildSpec:
    """The build section, with absolute paths; raises ConfigError.

    Build args that have no value take it from `env`.
    """
    if not isinstance(field.value, dict):
        return BuildSpec(context=_context(field))
    section = Section(field)
    for refused, reason in section.drop(_REFUSED):
        raise refused.error(f"is not supported: {reason}")
    for name in _ATTESTATIONS:
        given = section.take(name)
        if given and given.value is not False and given.text() != "false":
            raise given.error(
                "is not supported: the engine's image store keeps no attestations; set it to false"
            )
    context = section.take("context")
    dockerfile, inline = section.take("dockerfile"), section.take("dockerfile_inline")
    if dockerfile and inline:
        raise inline.error("must not be given beside dockerfile")
    args, labels = section.take("args"), section.take("labels")
    contexts, ssh = section.take("additional_contexts"), section.take("ssh")
    secrets, hosts = section.take("secrets"), section.take("extra_hosts")
    target, network, shm_size = section.take("target"), section.take("network"), section.take("shm_size")
    tags, caches, platforms = section.take("tags"), section.take("cache_from"), section.take("platforms")
    no_cache, pull, limits = section.take("no_cache"), section.take("pull"), section.take("ulimits")
    section.end("a build section")
    return BuildSpec(
        context=_context(context) if context else _context(Field(f"{field.path}.context", ".")),
        dockerfile=dockerfile.word() if dockerfile else "Dockerfile",
        dockerfile_inline=inline.text() if inline else None,
        args=resolved(args, env) if args else {},
        target=target.word() if target else None,
        labels=labels.labels() if labels else {},
        tags=tags.words() if tags else (),
        secrets=_secrets(secrets, secret_source) if secrets else (),
        ssh=_ssh(ssh) if ssh else {},
        additional_contexts=_contexts(contexts) if contexts else {},
        platform=_platform(platforms) if platforms else "",
        extra_hosts=read_hosts(hosts) if hosts else (),
        network=network.word() if network else "",
        shm_size=shm_size.size() if shm_size else 0,
        ulimits=read_ulimits(limits) if limits else {},
        no_cache=no_cache.boolean() if no_cache else False,
        pull=pull.boolean() if pull else False,
        cache_from=caches.words() if caches else (),
    )


def resolved(field: Field, env: Mapping[str, str]) -> dict[str, str]:
    """Build args; one without a value takes it from `env`, and is left out when it is not set there."""
    found = {}
    for name, value in field.pairs().items():
        if value is not None:
            found[name] = value
        elif name in env:
            found[name] = env[name]
    return found


def _context(field: Field) -> Path:
    text = field.word()
    if not text.startswith("/"):
        raise field.error("must be a directory: a context that is fetched from elsewhere cannot be watched")
    return Path(text)


def _contexts(field: Field) -> dict[str, str]:
    found = {}
    for name, value in field.pairs().items():
        if not value:
            raise field.error(f"the context {name} must have a value")
        if value.startswith("service:"):
            raise field.error(f"the context {name} is another service's image, which is not supported")
        found[name] = value
    return found


def _ssh(field: Field) -> dict[str, str]:
    found = {}
    for name, value in field.pairs().items():
        if value is None and name != "default":
            raise field.error(f"the ssh key {name!r} must have a path; only default means the user's agent")
        found[name] = value or ""
    return found


def _platform(field: Field) -> str:
    platforms = field.words()
    if len(platforms) != 1:
        raise field.error("must name one platform: one container runs of the image")
    return platforms[0]


def _secrets(field: Field, source: Callable[[Field, str, str], SecretSource]) -> tuple[SecretSource, ...]:
    found = {}
    for item in field.items():
        name = id_ = ""
        if isinstance(item.value, dict):
            section = Section(item)
            given, target = section.take("source"), section.take("target")
            for refused, _ in section.drop(dict.fromkeys(("uid", "gid", "mode"), "")):
                raise refused.error("is set in the Dockerfile, with RUN --mount=type=secret")
            section.end("a build secret")
            if given is None:
                raise item.error("must have a source")
            name = given.word()
            id_ = target.word() if target else name
        else:
            name = id_ = item.word()
        found[id_] = source(item, name, id_)
    return tuple(found.values())


def read_hosts(field: Field) -> tuple[tuple[str, str], ...]:
    """`extra_hosts`: (name, address) pairs, each once; raises ConfigError."""
    found: dict[tuple[str, str], None] = {}
    if isinstance(field.value, dict):
        for name, given in field.mapping().items():
            addresses = given.words() if isinstance(given.value, list) else (given.word(),)
            found.update(dict.fromkeys((_host(given, name), _bare(address)) for address in addresses))
        return tuple(found)
    for item in field.items():
        text = item.word()
        separator = "=" if "=" in text else ":"
        name, found_separator, addresses_text = text.partition(separator)
        if not found_separator or not addresses_text:
            raise item.error("must be name=address")
        for address in addresses_text.split(","):
            found[_host(item, name), _bare(address)] = None
    return tuple(found)


def _host(field: Field, name: str) -> str:
    if not name or ":" in name or "=" in name:
        raise field.error(f"{name!r} is no name of a host")
    return name


def _bare(address: str) -> str:
    return (
        address[1:-1] if len(address) > 2 and address.startswith("[") and address.endswith("]") else address
    )


def read_ulimits(field: Field) -> dict[str, tuple[int, int]]:
    """`ulimits`: name → (soft, hard); raises ConfigError."""
    found = {}
    for name, given in field.mapping().items():
        if isinstance(given.value, dict):
            section = Section(given)
            soft, hard = section.take("soft"), section.take("hard")
            section.end("a ulimit")
            if soft is None or hard is None:
                raise given.error("must have both soft and hard")
            found[name] = (soft.integer(-1), hard.integer(-1))
        else:
            limit = given.integer(-1)
            found[name] = (limit, limit)
    return found
