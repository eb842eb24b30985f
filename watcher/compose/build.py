"""`build`: how a service's image is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from watcher.compose.field import Field, Section
from watcher.compose.project_protocol import Project
from watcher.compose.service_fields import read_isolation
from watcher.compose.spec import BuildSpec, SecretSource

SERVICE = "service:"  # before the name of a service whose image is a context

# What is only for images that are published from elsewhere.
_NOT_DONE = {
    "cache_to": "is not done: the engine's own BuildKit keeps its cache itself, and none is exported",
    "provenance": "is not done: an image for this machine gets no attestations",
    "sbom": "is not done: an image for this machine gets no attestations",
}
_SECRET_RIGHTS = ("uid", "gid", "mode")


def read_build(field: Field, project: Project) -> BuildSpec:
    """The build section, with absolute paths; raises ConfigError.

    Build args that have no value take it from the project's environment.
    """
    if not isinstance(field.value, dict):
        return BuildSpec(context=_read_context(field))
    section = Section(field)
    for name, why in _NOT_DONE.items():
        given = section.take(name)
        if given and given.value not in (False, "false", [], ""):
            project.warn(f"{given.path} {why}")
    section.read("isolation", read_isolation, None)
    read = section.read
    dockerfile, inline = section.take("dockerfile"), section.take("dockerfile_inline")
    if dockerfile and inline:
        raise inline.error("must not be given beside dockerfile")
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
    """The services whose images are contexts of this build."""
    contexts = build.additional_contexts.values() if build else ()
    return tuple(text.removeprefix(SERVICE) for text in contexts if text.startswith(SERVICE))


def _read_args(field: Field, env: Mapping[str, str]) -> dict[str, str]:
    """Build args; one without a value takes it from `env`, and is left out when it is not set there."""
    found = {}
    for name, value in field.pairs().items():
        if value is not None:
            found[name] = value
        elif name in env:
            found[name] = env[name]
    return found


def _read_cache_sources(field: Field) -> tuple[Mapping[str, str], ...]:
    """Where a cache is read from: `NAME[:TAG]`, or `type=…,key=value` as buildx has it."""
    return tuple(_read_cache_source(item) for item in field.items())


def _read_cache_source(item: Field) -> Mapping[str, str]:
    text = item.word()
    if "=" not in text:
        return {"type": "registry", "ref": text}
    found = {}
    for pair in text.split(","):
        key, equals, value = pair.strip().partition("=")
        if not key or not equals:
            raise item.error("must be the name of an image, or type=…,key=value")
        found[key.lower()] = value
    if "type" not in found:
        raise item.error("must say its type, such as type=registry")
    if found["type"] == "local":
        raise item.unsupported("is not supported: a cache in a folder is not read; use type=registry")
    return found


def _read_entitlements(section: Section) -> tuple[str, ...]:
    given = section.read("entitlements", Field.words, ())
    if section.read("privileged", Field.boolean, False):
        given = (*given, "security.insecure")
    return tuple(dict.fromkeys(given))


def _read_context(field: Field) -> Path:
    text = field.word()
    if not text.startswith("/"):
        raise field.error("must be a directory: a context that is fetched from elsewhere cannot be watched")
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
            raise field.error(f"the ssh key {name!r} must have a path; only default means the user's agent")
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
    """`extra_hosts`: (name, address) pairs, each once; raises ConfigError."""
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
        raise field.error(f"{name!r} is no name of a host")
    return name


def _strip_brackets(address: str) -> str:
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
