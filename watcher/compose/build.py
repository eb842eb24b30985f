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
_SECRET_REFUSED = dict.fromkeys(("uid", "gid", "mode"), "RUN --mount=type=secret in the Dockerfile sets it")
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
    section.refuse(_REFUSED)
    for name in _ATTESTATIONS:
        section.read(name, _no_attestation, None)
    read = section.read
    dockerfile, inline = section.take("dockerfile"), section.take("dockerfile_inline")
    if dockerfile and inline:
        raise inline.error("must not be given beside dockerfile")
    build = BuildSpec(
        context=_context(section.need("context", "a directory")),
        dockerfile=dockerfile.word() if dockerfile else "Dockerfile",
        dockerfile_inline=inline.text() if inline else None,
        args=read("args", lambda given: _args(given, env), {}),
        target=read("target", Field.word, None),
        labels=read("labels", Field.labels, {}),
        tags=read("tags", Field.words, ()),
        secrets=read("secrets", lambda given: _secrets(given, secret_source), ()),
        ssh=read("ssh", _ssh, {}),
        additional_contexts=read("additional_contexts", _contexts, {}),
        platform=read("platforms", _platform, ""),
        extra_hosts=read("extra_hosts", read_hosts, ()),
        network=read("network", Field.word, ""),
        shm_size=read("shm_size", Field.size, 0),
        ulimits=read("ulimits", read_ulimits, {}),
        no_cache=read("no_cache", Field.boolean, False),
        pull=read("pull", Field.boolean, False),
        cache_from=read("cache_from", Field.words, ()),
    )
    section.end("a build section")
    return build


def _args(field: Field, env: Mapping[str, str]) -> dict[str, str]:
    """Build args; one without a value takes it from `env`, and is left out when it is not set there."""
    found = {}
    for name, value in field.pairs().items():
        if value is not None:
            found[name] = value
        elif name in env:
            found[name] = env[name]
    return found


def _no_attestation(field: Field) -> None:
    if field.text() != "false":
        raise field.error("is not supported: the engine's image store keeps no attestations; set it to false")


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
        name = id_ = item
        if isinstance(item.value, dict):
            section = Section(item)
            section.refuse(_SECRET_REFUSED)
            name = section.need("source", "a secret at the top of the file")
            id_ = section.take("target") or name
            section.end("a build secret")
        found[id_.word()] = source(name, name.word(), id_.word())
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
            soft, hard = section.need("soft", "a number"), section.need("hard", "a number")
            section.end("a ulimit")
            found[name] = (soft.integer(-1), hard.integer(-1))
        else:
            limit = given.integer(-1)
            found[name] = (limit, limit)
    return found
