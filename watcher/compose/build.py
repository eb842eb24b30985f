"""Read the `build` section of a service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from watcher.compose.build_spec import BuildSpec, SecretSource
from watcher.compose.field import Field, Section
from watcher.compose.project_protocol import Project
from watcher.compose.service_fields import read_isolation

SERVICE = "service:"  # prefix of a context that is the image of another service

# These keys matter only for images that are pushed to a registry.
_NO_EFFECT = {
    "cache_to": "is ignored: the BuildKit of the engine keeps its own cache, and no cache is exported",
    "provenance": "is ignored: an image for this machine gets no attestations",
    "sbom": "is ignored: an image for this machine gets no attestations",
}
_SECRET_RIGHTS = ("uid", "gid", "mode")


def read_build(field: Field, project: Project) -> BuildSpec:
    """Return the build section, with absolute paths; raise ConfigError.

    A build arg without a value takes it from the environment of the project.
    """
    if not isinstance(field.value, dict):
        return BuildSpec(context=_read_context(field))
    section = Section(field)
    for name, why in _NO_EFFECT.items():
        given = section.take(name)
        if given and given.value not in (False, "false", [], ""):
            project.warn(f"{given.path} {why}")
    section.read("isolation", read_isolation, None)
    read = section.read
    dockerfile, inline = section.take("dockerfile"), section.take("dockerfile_inline")
    if dockerfile and inline:
        raise inline.error("must not be set together with dockerfile")
    build = BuildSpec(
        context=_read_context(section.need("context", "a directory")),
        dockerfile=dockerfile.word() if dockerfile else "Dockerfile",
        dockerfile_inline=inline.text() if inline else None,
        args=read("args", lambda given: _read_args(given, project.env), {}),
        target=read("target", Field.word, None),
        labels=read("labels", Field.labels, {}),
        tags=read("tags", Field.words, ()),
        secrets=read("secrets", lambda given: _read_secrets(given, project), ()),
        ssh=read("ssh", _read_ssh, {}),
        additional_contexts=read("additional_contexts", _read_contexts, {}),
        platforms=read("platforms", Field.words, ()),
        extra_hosts=read("extra_hosts", read_hosts, ()),
        network=read("network", Field.word, ""),
        shm_size=read("shm_size", Field.size, 0),
        ulimits=read("ulimits", read_ulimits, {}),
        no_cache=read("no_cache", Field.boolean, False),
        no_cache_filter=read("no_cache_filter", Field.word_or_words, ()),
        pull=read("pull", Field.boolean, False),
        cache_from=read("cache_from", _read_cache_sources, ()),
        entitlements=_read_entitlements(section),
    )
    section.end("a build section")
    return build


def service_contexts(build: BuildSpec | None) -> tuple[str, ...]:
    """Return the names of the services whose images are contexts of this build."""
    contexts = build.additional_contexts.values() if build else ()
    return tuple(text.removeprefix(SERVICE) for text in contexts if text.startswith(SERVICE))


def _read_args(field: Field, env: Mapping[str, str]) -> dict[str, str]:
    """Return the build args. One without a value takes it from `env`; it is left out if not set there."""
    found = {}
    for name, value in field.pairs().items():
        if value is not None:
            found[name] = value
        elif name in env:
            found[name] = env[name]
    return found


def _read_cache_sources(field: Field) -> tuple[Mapping[str, str], ...]:
    """Return the sources of `cache_from`: `NAME[:TAG]`, or `type=…,key=value` as in buildx."""
    return tuple(_read_cache_source(item) for item in field.items())


def _read_cache_source(item: Field) -> Mapping[str, str]:
    text = item.word()
    if "=" not in text:
        return {"type": "registry", "ref": text}
    found = {}
    for pair in text.split(","):
        key, equals, value = pair.strip().partition("=")
        if not key or not equals:
            raise item.error("must be an image name, or type=…,key=value")
        found[key.lower()] = value
    if "type" not in found:
        raise item.error("must have a type, such as type=registry")
    if found["type"] == "local":
        raise item.unsupported("is not supported: type=local is not read; use type=registry")
    return found


def _read_entitlements(section: Section) -> tuple[str, ...]:
    given = section.read("entitlements", Field.words, ())
    if section.read("privileged", Field.boolean, False):
        given = (*given, "security.insecure")
    return tuple(dict.fromkeys(given))


def _read_context(field: Field) -> Path:
    text = field.word()
    if not text.startswith("/"):
        raise field.error("must be a local directory: a remote context cannot be watched")
    return Path(text)


def _read_contexts(field: Field) -> dict[str, str]:
    found = {}
    for name, value in field.pairs().items():
        if not value:
            raise field.error(f"the context {name} must have a value")
        found[name] = value
    return found


def _read_ssh(field: Field) -> dict[str, str]:
    found = {}
    for name, value in field.pairs().items():
        if value is None and name != "default":
            raise field.error(f"the ssh key {name!r} must have a path; only default is the agent of the user")
        found[name] = value or ""
    return found


def _read_secrets(field: Field, project: Project) -> tuple[SecretSource, ...]:
    found = {}
    for item in field.items():
        name = id_ = item
        if isinstance(item.value, dict):
            section = Section(item)
            if rights := [key for key in _SECRET_RIGHTS if section.take(key)]:
                rule = "are not used: RUN --mount=type=secret in the Dockerfile sets them"
                project.warn(f"{item.path}: {', '.join(rights)} {rule}")
            name = section.need("source", "a secret at the top of the file")
            id_ = section.take("target") or name
            section.end("a build secret")
        found[id_.word()] = project.build_secret(name, name.word(), id_.word())
    return tuple(found.values())


def read_hosts(field: Field) -> tuple[tuple[str, str], ...]:
    """Return `extra_hosts` as distinct (name, address) pairs; raise ConfigError."""
    found: dict[tuple[str, str], None] = {}
    if isinstance(field.value, dict):
        for name, given in field.mapping().items():
            addresses = given.words() if isinstance(given.value, list) else (given.word(),)
            found.update(
                dict.fromkeys(
                    (_check_host_name(given, name), _strip_brackets(address)) for address in addresses
                )
            )
        return tuple(found)
    for item in field.items():
        text = item.word()
        separator = "=" if "=" in text else ":"
        name, found_separator, addresses_text = text.partition(separator)
        if not found_separator or not addresses_text:
            raise item.error("must be name=address")
        for address in addresses_text.split(","):
            found[_check_host_name(item, name), _strip_brackets(address)] = None
    return tuple(found)


def _check_host_name(field: Field, name: str) -> str:
    if not name or ":" in name or "=" in name:
        raise field.error(f"{name!r} is not a host name")
    return name


def _strip_brackets(address: str) -> str:
    return (
        address[1:-1] if len(address) > 2 and address.startswith("[") and address.endswith("]") else address
    )


def read_ulimits(field: Field) -> dict[str, tuple[int, int]]:
    """Return `ulimits` as name → (soft, hard); raise ConfigError."""
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
