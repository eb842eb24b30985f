"""What holds for every input: no crash, no silent loss, and the same meaning however a thing is written."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.compose import ComposeProject, PortSpec, compose_labels, config_digest, container_config, load
from watcher.compose.budget import Budget
from watcher.compose.envfile import read_env_file
from watcher.compose.field import Field
from watcher.compose.interpolate import TemplateError, interpolate
from watcher.compose.ports import read_ports
from watcher.compose.units import UnitError, command_words, parse_duration, parse_size
from watcher.compose.yaml_reader import parse_documents
from watcher.errors import ConfigError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
PIECES = st.sampled_from(
    ["$", "${", "}", "{", "A", "B", ":-", "-", ":?", "?", ":+", "+", "$$", "x", " ", "é"]
)


Result = TypeVar("Result")
Refusal = TypeVar("Refusal", bound=Exception)


def outcome(call: Callable[[], Result], refusal: type[Refusal]) -> Result | Refusal:
    """What `call` gives, or the one kind of error that it may raise."""
    try:
        return call()
    except refusal as error:
        return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("properties") / "shop"
    root.mkdir()
    (root / "a.env").write_text("FROM_FILE=1\n")
    return root


# Interpolation.


@given(st.lists(PIECES, max_size=12).map("".join) | TEXT, st.dictionaries(NAMES, TEXT, max_size=3))
def test_interpolation_gives_text_or_says_what_is_wrong(text: str, env: dict[str, str]) -> None:
    found = outcome(lambda: interpolate(text, env, lambda _: None), TemplateError)
    assert isinstance(found, str) or str(found)
    assert "$" in text or found == text


@given(TEXT, st.dictionaries(NAMES, TEXT, max_size=3))
def test_doubled_dollars_give_the_text_back(text: str, env: dict[str, str]) -> None:
    assert interpolate(text.replace("$", "$$"), env, lambda _: None) == text


@given(NAMES, TEXT, st.text(string.ascii_letters + " .:/", max_size=9))
def test_the_operators_mean_what_the_specification_says(name: str, value: str, word: str) -> None:
    def of(template: str, env: dict[str, str]) -> str:
        return interpolate(template, env, lambda _: None)

    assert of(f"${{{name}}}", {name: value}) == value
    assert of(f"${{{name}-{word}}}", {name: value}) == value
    assert of(f"${{{name}-{word}}}", {}) == word
    assert of(f"${{{name}:-{word}}}", {name: value}) == (value or word)
    assert of(f"${{{name}+{word}}}", {name: value}) == word
    assert of(f"${{{name}:+{word}}}", {name: value}) == (word if value else "")
    assert of(f"${{{name}+{word}}}", {}) == ""


@given(st.text(st.sampled_from("AB=:'\"\\$\n #{}é\t"), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_environment_file_gives_variables_or_says_where_it_is_wrong(folder: Path, text: str) -> None:
    path = folder / "random.env"
    path.write_text(text, encoding="utf-8", newline="")
    found: dict[str, str] = {}
    error = outcome(
        lambda: read_env_file(path, found, {"A": "a"}, lambda _: None, budget=Budget()), ConfigError
    )
    assert error is None or error.field.rpartition(":")[2].isdecimal()
    assert all(found)


# Ports, units.

PORTS = st.integers(1, 65535)
SPECS = st.builds(
    PortSpec,
    PORTS,
    st.sampled_from(["tcp", "udp", "sctp"]),
    st.sampled_from(["", "127.0.0.1", "::1", "10.0.0.1"]),
    st.none() | PORTS,
)


@given(st.lists(SPECS, max_size=4, unique=True))
def test_ports_come_back_from_their_short_form(ports: list[PortSpec]) -> None:
    assert list(read_ports(Field("ports", [str(port) for port in ports]))) == ports


@given(st.lists(SPECS, max_size=4, unique=True))
def test_the_long_form_means_the_same_as_the_short_one(ports: list[PortSpec]) -> None:
    long = [
        {
            "target": port.container_port,
            "published": "" if port.host_port is None else port.host_port,
            "host_ip": port.host_ip,
            "protocol": port.protocol,
        }
        for port in ports
    ]
    assert list(read_ports(Field("ports", long))) == ports


@given(PORTS, PORTS, st.integers(0, 20))
def test_a_range_is_as_many_ports(first: int, host: int, more: int) -> None:
    first, host = min(first, 65535 - more), min(host, 65535 - more)
    (found) = read_ports(Field("ports", [f"{host}-{host + more}:{first}-{first + more}"]))
    assert list(found) == [PortSpec(first + n, host_port=host + n) for n in range(more + 1)]


@given(st.text(st.sampled_from("0123456789:-./[]tcpudp "), max_size=20) | TEXT)
def test_a_port_is_read_or_refused(text: str) -> None:
    found = outcome(lambda: read_ports(Field("ports", [text])), ConfigError)
    if isinstance(found, ConfigError):
        assert found.field == "ports[0]"
    else:
        assert found
        assert all(0 < port.container_port < 65536 for port in found)


@given(TEXT)
def test_sizes_durations_and_commands_are_read_or_refused(text: str) -> None:
    for read in (parse_size, parse_duration, command_words):
        found = outcome(partial(read, text), UnitError)
        assert isinstance(found, int | float | tuple) or str(found)


@given(st.lists(TEXT, max_size=4))
def test_a_quoted_command_line_gives_its_words_back(words: list[str]) -> None:
    line = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)
    assert list(command_words(line)) == words


# YAML.

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
TREES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=12,
)


@given(TREES)
def test_what_yaml_writes_is_read_back(tree: object) -> None:
    written = yaml.safe_dump(tree)
    assert [each.value for each in parse_documents(written.encode(), "t")] == [_with_word_keys(tree)]


def _with_word_keys(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _with_word_keys(value) for key, value in tree.items()}
    return [_with_word_keys(each) for each in tree] if isinstance(tree, list) else tree


@given(st.binary(max_size=60) | st.text(st.sampled_from("ab:-[]{}&*!|>?#'\"\\ \n\t<%@`,0.~"), max_size=40))
def test_any_bytes_are_documents_or_a_config_error(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    found = outcome(lambda: parse_documents(raw, "t"), ConfigError)
    assert isinstance(found, list) or found.field.startswith("t")


# Whole files.

FILE: dict[str, Any] = {
    "name": "shop",
    "include": ["inc.yaml"],
    "services": {
        "web": {
            "extends": {"service": "base"},
            "build": {"context": ".", "args": {"A": "1"}, "ssh": ["default"], "secrets": ["s"]},
            "container_name": "box",
            "ports": ["9000:9000", {"target": 80, "published": "8080"}],
            "environment": ["A=1", "B"],
            "env_file": [{"path": "a.env", "required": False}],
            "volumes": ["./a:/a", {"type": "volume", "source": "data", "target": "/d"}],
            "networks": {"net": {"aliases": ["x"]}, "default": None},
            "depends_on": {"db": {"condition": "service_started"}},
            "healthcheck": {"test": ["CMD", "x"], "interval": "10s"},
            "ulimits": {"nofile": {"soft": 1, "hard": 2}},
            "logging": {"driver": "local", "options": {"a": "b"}},
            "deploy": {"resources": {"limits": {"memory": "50M"}}},
            "command": "run ${A:-b}",
            "restart": "always",
            "extra_hosts": ["a=1"],
            "secrets": ["s"],
        },
        "base": {"image": "base", "labels": {"a": "b"}},
        "db": {"image": "db", "tmpfs": "/run"},
    },
    "networks": {"net": {"ipam": {"config": [{"subnet": "10.0.0.0/8"}]}}},
    "volumes": {"data": {"name": "real"}},
    "secrets": {"s": {"file": "./s"}},
}
INCLUDED = "services: {other: {image: other}}\n"
STRANGE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["", "${", "$A", "~", "::", "a:b:c:d", "-1", "[::1]:1:1", "service:x", "web", "default"]
    )
    | st.lists(st.none() | st.integers() | st.sampled_from(["a", "a=b", ""]), max_size=2)
    | st.dictionaries(
        st.sampled_from(["a", "path", "source", "target", "x-a", ""]), st.none() | TEXT, max_size=2
    )
)


def _places(tree: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    below = [place for key, value in entries for place in _places(value, (*path, key))]
    return ([path] if path else []) + below


PLACES = _places(FILE)
CHANGES = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(["set", "drop", "add"]), STRANGE), max_size=4
)


def _changed(changes: list[tuple[tuple[str | int, ...], str, object]]) -> object:
    tree: Any = copy.deepcopy(FILE)
    for place, verb, value in changes:
        holder = tree
        for key in place[:-1]:
            try:
                holder = holder[key]
            except (KeyError, IndexError, TypeError):
                holder = None
            if not isinstance(holder, dict | list):
                break
        last = place[-1]
        if isinstance(holder, dict) and isinstance(last, str):
            if verb == "drop":
                holder.pop(last, None)
            else:
                holder[last if verb == "set" else f"{last}_more"] = value
        elif isinstance(holder, list):
            if verb == "add" or not holder:
                holder.append(value)
            elif isinstance(last, int) and last < len(holder):
                holder[last] = value
    return tree


def _load(folder: Path, content: object) -> ComposeProject:
    (folder / "inc.yaml").write_text(INCLUDED)
    path = folder / "compose.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    project = load(path, services=("web",), env={"A": "a", "HOME": "/home/ann"})
    spec = project.managed_services[0]
    labels = compose_labels(project, spec, config_hash=config_digest(spec), image_id="i")
    body = container_config(spec, image="i", name=spec.default_name, labels=labels)
    assert json.loads(json.dumps(body)) == body
    for mount in spec.mounts:
        assert mount.type != "bind" or mount.source.startswith("/")
    assert set(spec.depends_on) < set(project.services)
    assert {each.key for each in spec.networks} <= set(project.networks)
    return project


def test_the_file_that_is_changed_below_is_good_itself(folder: Path) -> None:
    _load(folder, FILE)


@given(CHANGES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_compose_file_is_read_or_refused_by_name(
    folder: Path, changes: list[tuple[tuple[str | int, ...], str, object]]
) -> None:
    error = outcome(lambda: _load(folder, _changed(changes)), ConfigError)
    assert not isinstance(error, ConfigError) or (error.field and error.rule and "\n" not in str(error))


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_compose_file_with_damaged_text_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    text = yaml.safe_dump(FILE)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 10)))
    damage = data.draw(st.text(st.sampled_from("ab:-[]{}&*!'\" \n$#"), max_size=5))
    path = folder / "compose.yaml"
    path.write_text(text[:start] + damage + text[end:])
    (folder / "inc.yaml").write_text(INCLUDED)
    found = outcome(lambda: load(path, services=("web",), env={}), ConfigError)
    assert "\n" not in str(found)


@given(
    st.sampled_from([place for place in PLACES if len(place) >= 3 and isinstance(place[-1], str)]), st.data()
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_unknown_key_is_dropped_in_silence(
    folder: Path, place: tuple[str | int, ...], data: st.DataObject
) -> None:
    free = {"args", "options", "labels", "environment", "ulimits", "depends_on", "networks"}
    if place[-2] in free or place[:2] not in (("services", "web"), ("services", "base"), ("services", "db")):
        return
    name = data.draw(st.from_regex(r"zz[a-z]{1,8}", fullmatch=True))
    content: Any = copy.deepcopy(FILE)
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[name] = "1"
    try:
        project = _load(folder, content)
    except ConfigError as error:
        said = str(error)
    else:  # a key of a dependency is left to docker compose
        said = project.services["db"].left_to_compose
        assert any(name in text for text in project.warnings)
    assert f".{name}: is not" in said
