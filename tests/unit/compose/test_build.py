"""`build`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.compose.conftest import Compose
from watcher.compose import BuildSpec, SecretSource
from watcher.errors import ConfigError

TOP = """
secrets:
  token: {file: ./token}
  variable: {environment: TOKEN}
"""


def build(compose: Compose, text: str, env: dict[str, str] | None = None) -> BuildSpec:
    spec = compose.service(f"build: {text}", env=env or {}, top=TOP).build
    assert spec is not None
    return spec


def test_a_word_is_the_context(compose: Compose) -> None:
    assert build(compose, "./app") == BuildSpec(context=compose.root / "app")
    assert build(compose, "/abs") == BuildSpec(context=Path("/abs"))
    assert build(compose, "..") == BuildSpec(context=compose.root.parent)


def test_without_a_context_it_is_the_directory_of_the_compose_file(compose: Compose) -> None:
    assert build(compose, "{}").context == compose.root
    assert build(compose, "{dockerfile: D}").context == compose.root


def test_every_key_is_read(compose: Compose) -> None:
    found = build(
        compose,
        """
          context: app
          dockerfile: docker/Dev
          args: {A: 1, B: null, C: null, D: "${X:-x}"}
          target: final
          labels: [a=b, c]
          tags: [one, two]
          secrets: [token, {source: variable, target: t}]
          ssh: [default, key=./id]
          additional_contexts: {docs: ./docs, base: "docker-image://alpine"}
          platforms: [linux/amd64]
          extra_hosts: {db: 10.0.0.1}
          network: host
          shm_size: 64m
          ulimits: {nofile: {soft: 1, hard: 2}}
          no_cache: true
          pull: "yes"
          no_cache_filter: builder
          cache_from: [old, "type=registry,ref=host/cache:1,scope=x"]
          provenance: false
          sbom: "false"
          isolation: default
          entitlements: [network.host]
          privileged: true
          x-note: anything
        """,
        {"B": "from outside", "TOKEN": "s3cret"},
    )
    root = compose.root
    assert found == BuildSpec(
        context=root / "app",
        dockerfile="docker/Dev",
        args={"A": "1", "B": "from outside", "D": "x"},
        target="final",
        labels={"a": "b", "c": ""},
        tags=("one", "two"),
        secrets=(SecretSource("token", file=root / "token"), SecretSource("t", value="s3cret")),
        ssh={"default": "", "key": f"{root}/id"},
        additional_contexts={"docs": f"{root}/docs", "base": "docker-image://alpine"},
        platforms=("linux/amd64",),
        extra_hosts=(("db", "10.0.0.1"),),
        network="host",
        shm_size=64 << 20,
        ulimits={"nofile": (1, 2)},
        no_cache=True,
        pull=True,
        no_cache_filter=("builder",),
        cache_from=(
            {"type": "registry", "ref": "old"},
            {"type": "registry", "ref": "host/cache:1", "scope": "x"},
        ),
        entitlements=("network.host", "security.insecure"),
    )


def test_the_value_of_a_secret_is_not_shown(compose: Compose) -> None:
    found = build(compose, "{secrets: [variable]}", {"TOKEN": "s3cret"})
    assert "s3cret" not in repr(found)


def test_a_dockerfile_may_stand_in_the_file(compose: Compose) -> None:
    assert build(compose, "{dockerfile_inline: FROM scratch}").dockerfile_inline == "FROM scratch"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[a]", ": must be a string, not a list"),
        ("{foo: 1}", ".foo: is not a known key of a build section"),
        ("{context: ''}", ".context = '': must not be empty"),
        (
            "https://example.com/a.git",
            " = 'https://example.com/a.git': must be a local directory: a remote context cannot be watched",
        ),
        (
            "{dockerfile: a, dockerfile_inline: b}",
            ".dockerfile_inline = 'b': must not be set together with dockerfile",
        ),
        (
            "{additional_contexts: {a: 'service:db'}}",
            ".additional_contexts.a = 'service:db': there is no such service in compose.yaml",
        ),
        ("{isolation: hyperv}", ".isolation = 'hyperv': is not supported: it is for Windows only"),
        (
            "{cache_from: ['type=local,src=/c']}",
            ".cache_from[0] = 'type=local,src=/c': is not supported: type=local is not read; "
            "use type=registry",
        ),
        ("{cache_from: ['ref=a']}", ".cache_from[0] = 'ref=a': must have a type, such as type=registry"),
        ("{additional_contexts: [a]}", ".additional_contexts: the context a must have a value"),
        ("{ssh: [key]}", ".ssh: the ssh key 'key' must have a path; only default is the agent of the user"),
        (
            "{secrets: [none]}",
            ".secrets[0] = 'none': none is not declared under secrets at the top of the file",
        ),
        (
            "{secrets: [variable]}",
            ".secrets[0] = 'variable': variable needs the variable TOKEN, which is not set",
        ),
        ("{no_cache: maybe}", ".no_cache = 'maybe': must be true or false"),
        ("{ulimits: {nofile: {soft: 1}}}", ".ulimits.nofile: must have a hard, a number"),
        ("{extra_hosts: [a]}", ".extra_hosts[0] = 'a': must be name=address"),
        ("{args: {A: [1]}}", ".args.A: must be a string, not a list"),
        ("{args: ['=1']}", ".args[0] = '=1': must be NAME=value or NAME"),
        ("{shm_size: big}", ".shm_size = 'big': must be a size such as 64m or 1g"),
    ],
)
def test_a_build_that_is_wrong_is_refused(compose: Compose, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(compose, text)
    assert str(caught.value) == f"services.web.build{sentence}"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{cache_to: ['type=inline']}", "cache_to is ignored"),
        ("{provenance: mode=max}", "provenance is ignored"),
        ("{sbom: true}", "sbom is ignored"),
        ("{secrets: [{source: token, mode: 0400, uid: '1'}]}", "secrets[0]: uid, mode are not used"),
    ],
)
def test_what_only_publishing_needs_is_left_out_and_said(compose: Compose, text: str, warning: str) -> None:
    project = compose.load(f"services: {{web: {{build: {text}}}}}\n{TOP}")
    assert len(project.warnings) == 1
    assert project.warnings[0].startswith(f"services.web.build.{warning}")


def test_the_image_of_another_service_may_be_a_context(compose: Compose) -> None:
    project = compose.load(
        """
        services:
          web: {build: {context: ., additional_contexts: {base: "service:base", other: "service:named"}}}
          base: {build: ./base}
          named: {build: ./named, image: "example.com/named:1"}
        """
    )
    assert project.managed_services[0].build is not None
    assert project.managed_services[0].build.additional_contexts == {
        "base": "docker-image://shop-base",
        "other": "docker-image://example.com/named:1",
    }
