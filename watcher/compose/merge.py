"""Merge one definition over another, key by key, as docker compose does (compose-go, override/merge.go).

Mappings are merged, lists are joined, other values are replaced; some keys have their own rules. The result
may hold an entry twice: the readers use the later one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from watcher.compose.field import Field, scalar_text

Path = tuple[str, ...]
RESOURCE = "<resource>"  # first part of the path of a value of a network, volume, secret or config

# Converted to lists of NAME=value (or of strings) and joined.
_JOINED: frozenset[Path] = frozenset(
    {
        ("annotations",),
        ("build", "additional_contexts"),
        ("build", "args"),
        ("build", "extra_hosts"),
        ("build", "labels"),
        ("dns",),
        ("dns_opt",),
        ("dns_search",),
        ("env_file",),
        ("environment",),
        ("extra_hosts",),
        ("label_file",),
        ("labels",),
        ("sysctls",),
        ("tmpfs",),
        (RESOURCE, "labels"),
    }
)
_REPLACED: frozenset[Path] = frozenset({("command",), ("entrypoint",), ("healthcheck", "test")})
# Joined without duplicates: the order of files matters.
_ONCE: frozenset[Path] = frozenset(
    {("dns",), ("dns_opt",), ("dns_search",), ("env_file",), ("label_file",), ("tmpfs",)}
)
# Lists of mappings that are joined without duplicates.
_ONCE_EACH: frozenset[Path] = frozenset({("gpus",), ("post_start",), ("pre_stop",)})
# Lists that become mappings before another file is merged (compose-go, transform/canonical.go).
NAMED: frozenset[Path] = frozenset({("depends_on",), ("networks",), ("build", "additional_contexts")})
# A list of names here is a mapping without values.
_NAMES: frozenset[Path] = frozenset({("depends_on",), ("networks",)})


def merge_service(below: Mapping[str, object], above: Mapping[str, object], path: str) -> dict[str, object]:
    """Return the service `above` merged over `below`; `path` is for errors. Raises ConfigError."""
    merged = _merge_values(dict(below), dict(above), (), path)
    assert isinstance(merged, dict)  # noqa: S101 - for mypy: two mappings merge to one
    return merged


def remove_path(value: object, path: Path, *, named: frozenset[Path] = frozenset(), at: Path = ()) -> object:
    """Return the definition without the value at `path`; None if nothing is left.

    `named` are the paths of lists whose entries have names, like mappings.
    """
    if not path:
        return None
    name, rest = path[0], path[1:]
    if isinstance(value, dict) and name in value:
        left = {key: each for key, each in value.items() if key != name}
        kept = remove_path(value[name], rest, named=named, at=(*at, name))
        return left if kept is None else {**value, name: kept}
    if isinstance(value, list) and not rest and at in named:
        return [each for each in value if not (isinstance(each, str) and each.partition("=")[0] == name)]
    return value


def merge_resource(below: object, above: object, path: str) -> object:
    """Return a network, volume, secret or config `above` merged over `below`; `path` is for errors.

    Raises ConfigError.
    """
    return _merge_values(below, above, (RESOURCE,), path)


def _merge_values(below: object, above: object, at: Path, root: str) -> object:
    if at in _REPLACED:
        return above
    if above is None or below is None:
        return below if above is None else above
    if at in _JOINED:
        both = _as_list(below), _as_list(above)
        return _join_once(*both) if at in _ONCE else [*both[0], *both[1]]
    if at == (RESOURCE, "ipam", "config"):
        return _merge_subnets(below, above)
    if at == ("build",):
        below, above = _as_build(below), _as_build(above)
    elif at in _NAMES:
        below, above = _as_mapping(below, at), _as_mapping(above, at)
    elif (at == ("logging",) and _other_driver(below, above)) or (len(at) == 2 and at[0] == "ulimits"):
        return above
    if isinstance(below, dict) or isinstance(above, dict):
        if not (isinstance(below, dict) and isinstance(above, dict)):
            raise _field_at(root, at).error("is a mapping in one definition and not in the other")
        done = dict(below)
        for key, value in above.items():
            done[key] = _merge_values(below[key], value, (*at, key), root) if key in below else value
        return done
    if isinstance(below, list) and isinstance(above, list):
        return _append_new(below, above) if at in _ONCE_EACH else below + above
    if isinstance(below, list) or isinstance(above, list):
        raise _field_at(root, at).error("is a list in one definition and not in the other")
    return above


def _field_at(root: str, at: Path) -> Field:
    return Field(".".join((root, *(key for key in at if key != RESOURCE))), None)


def _append_new(below: list[object], above: list[object]) -> list[object]:
    """Return both lists, without the entries of the second that the first holds."""
    known = {_identity(each) for each in below}
    return [*below, *(each for each in above if _identity(each) not in known)]


def _identity(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _merge_subnets(below: object, above: object) -> object:
    """Return the configurations of `ipam`; those of the same subnet are merged."""
    if not (isinstance(below, list) and isinstance(above, list)):
        return above
    merged = list(below)
    for each in above:
        subnet = each.get("subnet") if isinstance(each, dict) else None
        place = next(
            (at for at, one in enumerate(merged) if isinstance(one, dict) and one.get("subnet") == subnet),
            None,
        )
        if place is None:
            merged.append(each)
        elif isinstance(each, dict):
            merged[place] = {**merged[place], **each}
    return merged


def _join_once(below: list[object], above: list[object]) -> list[object]:
    """Return both lists, without the strings of the second that the first holds."""
    words = {each for each in below if isinstance(each, str)}
    return [*below, *(each for each in above if not (isinstance(each, str) and each in words))]


def _as_list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    done: list[object] = []
    for name, given in value.items():
        for each in given if isinstance(given, list) else [given]:
            done += [name if each is None else _to_pair(name, each)]
    return done


def _to_pair(name: str, value: object) -> object:
    """Return `NAME=value`; a value of the wrong type is unchanged, so the reader of the key refuses it."""
    try:
        return f"{name}={scalar_text(value)}"
    except TypeError:
        return {name: value}


def _as_build(value: object) -> object:
    return {"context": value} if isinstance(value, str) else value


def _as_mapping(value: object, at: Path) -> object:
    if not isinstance(value, list):
        return value
    started = {"condition": "service_started", "required": True} if at == ("depends_on",) else None
    return {each: started for each in value if isinstance(each, str)}


def _other_driver(below: object, above: object) -> bool:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return False
    return "driver" in below and "driver" in above and below["driver"] != above["driver"]
