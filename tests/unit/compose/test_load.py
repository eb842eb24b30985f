"""Which file, which project, which service, what it needs, what was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.compose.conftest import Compose
from watcher.compose import (
    FILE_NAMES,
    ContainerFile,
    Dependency,
    DeviceRequest,
    NetworkSpec,
    Subnet,
    VolumeSpec,
    check_api,
    find_compose_file,
    find_jobs,
    load,
)
from watcher.errors import ConfigError

# The file.


def test_the_first_of_the_known_names_is_taken(tmp_path: Path) -> None:
    for name in reversed(FILE_NAMES):
        (tmp_path / name).write_text("services: {}")
        assert find_compose_file(tmp_path, None) == tmp_path / name


def test_a_named_file_is_relative_to_the_project(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("")
    (tmp_path / "compose.yaml").write_text("")
    assert find_compose_file(tmp_path, Path("my.yaml")) == tmp_path / "my.yaml"
    assert find_compose_file(Path("/else"), tmp_path / "my.yaml") == tmp_path / "my.yaml"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_compose_file(tmp_path, None)
    assert missing(str(caught.value), "compose_file", tmp_path, "docker-compose-dev.yml") == []
    with pytest.raises(ConfigError) as caught:
        find_compose_file(tmp_path, Path("my.yaml"))
    assert missing(str(caught.value), "compose_file", "my.yaml", "no such file") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "{file}: is empty: a compose file must have services"),
        ("# only this\n", "{file}: is empty: a compose file must have services"),
        ("[a]", "compose.yaml: is not a compose file: it must be a mapping"),
        ("words", "compose.yaml: is not a compose file: it must be a mapping"),
        ("service: {}", "service: is not a known section of a compose file"),
        ("services: [web]", "services: must be a mapping, not a list"),
        ("networks: {a: }", "services.web: there is no such service in compose.yaml (it has none)"),
        ("services: {web: }", "services.web: must be a mapping, not empty"),
        ("services: {web: [a]}", "services.web: must be a mapping, not a list"),
        ("services: {web: {image: a}}\nvolumes: x", "volumes = 'x': must be a mapping, not a string"),
        (
            "services: {web: {image: a}, web: {image: b}}",
            "{file}:1: the key 'web' is already set in line 1",
        ),
    ],
)
def test_a_file_that_is_no_compose_file_is_refused(compose: Compose, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.load(text)
    assert str(caught.value) == sentence.replace("{file}", f"{compose.root}/compose.yaml")


def test_a_missing_file_is_refused(compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file"):
        load(compose.root / "none.yaml", env={})


def test_old_and_foreign_top_level_keys_are_accepted(compose: Compose) -> None:
    text = "version: '3.5'\nname: a\nmodels: {m: {model: x}}\nx-y: 1\nservices: {web: {image: a}}\nsecrets:\n"
    assert compose.load(text).name == "a"


# The project's name.


@pytest.mark.parametrize(
    ("name", "env", "dot_env", "result"),
    [
        ("", {}, "", "shop"),
        ("name: Given.Name", {}, "", "givenname"),
        ("name: p-${X:-y}", {}, "", "p-y"),
        ("name: given", {"COMPOSE_PROJECT_NAME": "env"}, "", "env"),
        ("name: given", {}, "COMPOSE_PROJECT_NAME=dot", "dot"),
        ("name: given", {"COMPOSE_PROJECT_NAME": "env"}, "COMPOSE_PROJECT_NAME=dot", "env"),
        ("name: given", {"COMPOSE_PROJECT_NAME": ""}, "", "given"),
        ("name:", {}, "", "shop"),
    ],
)
def test_where_the_name_comes_from(
    compose: Compose, name: str, env: dict[str, str], dot_env: str, result: str
) -> None:
    compose.write(".env", dot_env)
    project = compose.load(f"{name}\nservices: {{web: {{image: $COMPOSE_PROJECT_NAME}}}}", env=env)
    assert project.name == result
    assert project.managed_services[0].image == result


@pytest.mark.parametrize(
    ("directory", "name"), [("My App!", "myapp"), ("_-x", "x"), ("Größe", "gre"), ("a_b-c", "a_b-c")]
)
def test_a_directory_gives_its_name_as_compose_makes_it(tmp_path: Path, directory: str, name: str) -> None:
    path = tmp_path / directory / "compose.yaml"
    path.parent.mkdir()
    path.write_text("services: {web: {image: a}}")
    assert load(path, services=("web",), env={}).name == name


def test_a_symbolic_link_gives_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "compose.yaml").write_text("services: {web: {image: a}}")
    (tmp_path / "link").symlink_to("real")
    assert load(tmp_path / "link" / "compose.yaml", services=("web",), env={}).name == "link"


def test_a_relative_path_is_made_absolute(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    compose.write("compose.yaml", "services: {web: {image: a, volumes: ['./x:/x']}}")
    (compose.root / "sub").mkdir()
    monkeypatch.chdir(compose.root / "sub")
    project = load(Path("../compose.yaml"), services=("web",), env={})
    assert (project.name, project.directory) == ("shop", compose.root)
    assert project.managed_services[0].mounts[0].source == f"{compose.root}/x"


def test_a_name_that_compose_would_not_take_is_refused(compose: Compose) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.load("services: {web: {image: a}}", env={"COMPOSE_PROJECT_NAME": "My App"})
    said = str(caught.value)
    assert missing(said, "COMPOSE_PROJECT_NAME", "My App", "lower case", "digits", "'-'", "'_'") == []
    assert missing(said, "start with a letter or digit") == []


def test_a_directory_without_a_usable_name_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / "§§" / "compose.yaml"
    path.parent.mkdir()
    path.write_text("services: {web: {image: a}}")
    with pytest.raises(ConfigError, match=r"name: .*set name in the compose file"):
        load(path, services=("web",), env={})


# The service.


def test_the_only_service_that_is_built_is_the_one_to_keep(compose: Compose) -> None:
    project = compose.load("services: {db: {image: a}, api: {build: .}}", service=None)
    assert project.managed == ("api",)


def test_a_build_may_come_by_extends(compose: Compose) -> None:
    compose.write("base.yaml", "services: {base: {build: .}}")
    text = "services: {db: {image: a}, api: {extends: {file: base.yaml, service: base}}}"
    assert compose.load(text, service=None).managed == ("api",)


def test_all_built_services_are_managed_in_start_order(compose: Compose) -> None:
    text = """
    services:
      web: {build: ., depends_on: [api, db]}
      api: {build: ., depends_on: [db]}
      db: {image: db}
      cache: {image: cache}
    """
    project = compose.load(text, service=None)
    assert project.managed == ("api", "web")
    assert [spec.name for spec in project.dependencies] == ["db", "cache"]
    assert project.others == ()
    assert project.needs("web") == {"api", "db"}
    assert compose.load(text, service="api").managed == ("api",)
    assert compose.load(text, service="web").managed == ("api", "web")


def test_everything_wrong_with_the_managed_services_is_said_at_once(compose: Compose) -> None:
    text = "services: {a: {build: ., foo: 1}, b: {build: .}, c: {build: ., ports: [odd], depends_on: [a]}}"
    with pytest.raises(ConfigError) as caught:
        compose.load(text, service=None)
    assert "services.a.foo" in str(caught.value)
    assert "services.c.ports" in str(caught.value)
    assert str(caught.value).count("services.a.foo") == 1


def test_a_built_service_that_cannot_be_put_together_is_not_dropped(compose: Compose) -> None:
    text = "services: {a: {build: .}, b: {build: ., extends: {file: none.yaml, service: x}}}"
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file"):
        compose.load(text, service=None)


def test_a_built_job_is_managed_and_comes_first(compose: Compose) -> None:
    condition = "{condition: service_completed_successfully}"
    text = f"services: {{web: {{build: ., depends_on: {{job: {condition}}}}}, job: {{build: .}}}}"
    project = compose.load(text, service=None)
    assert project.managed == ("job", "web")
    assert find_jobs(project.services.values()) == {"job"}


def test_without_names_every_service_is_started_as_compose_does(compose: Compose) -> None:
    text = (
        "services: {web: {build: .}, db: {image: db}, off: {image: off, profiles: [x]}, odd: {image: o, %s}}"
    )
    project = compose.load(text % "env_file: [none.env]", service=None)
    assert [spec.name for spec in project.dependencies] == ["db"]
    assert project.others == ("off", "odd")
    assert any("odd is not started: " in each and "none.env" in each for each in project.warnings)
    assert compose.load(text % "tty: true", service="web").dependencies == ()


def test_a_built_service_with_no_containers_is_not_managed(compose: Compose) -> None:
    project = compose.load("services: {a: {build: .}, b: {build: ., scale: 0}}", service=None)
    assert project.managed == ("a",)


def test_a_named_service_activates_its_profiles(compose: Compose) -> None:
    text = "services: {a: {build: ., profiles: [x], depends_on: [b]}, b: {image: b, profiles: [x]}}"
    assert compose.load(text, service="a").managed == ("a",)


def test_a_file_without_a_built_service_is_refused(compose: Compose) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.load("services: {a: {image: a}}", service=None)
    assert missing(str(caught.value), "compose.yaml", "no service", "build") == []


PROFILES = (
    "services: {a: {build: ., profiles: [dev]}, b: {build: ., profiles: ['${P:-test}']}, c: {build: .}}"
)


@pytest.mark.parametrize(
    ("profiles", "env", "wanted"),
    [
        ([], {}, "c"),
        (["nothing"], {}, "c"),
    ],
)
def test_a_service_of_an_inactive_profile_is_no_candidate(
    compose: Compose, profiles: list[str], env: dict[str, str], wanted: str
) -> None:
    assert compose.load(PROFILES, service=None, profiles=profiles, env=env).managed == (wanted,)


@pytest.mark.parametrize(
    ("profiles", "env", "named"),
    [
        (["dev"], {}, "a, c"),
        ([], {"COMPOSE_PROFILES": "dev,test"}, "a, b, c"),
        (["*"], {}, "a, b, c"),
        (["x"], {"P": "x"}, "b, c"),
    ],
)
def test_active_profiles_add_candidates(
    compose: Compose, profiles: list[str], env: dict[str, str], named: str
) -> None:
    project = compose.load(PROFILES, service=None, profiles=profiles, env=env)
    assert ", ".join(project.managed) == named


def test_inactive_candidates_are_named_when_there_is_no_other(compose: Compose) -> None:
    with pytest.raises(
        ConfigError, match=r"no service with a build section \(those of inactive profiles are a\)"
    ):
        compose.load("services: {a: {build: ., profiles: [dev]}}", service=None)


def test_a_named_service_needs_no_profile(compose: Compose) -> None:
    assert compose.load(PROFILES, service="a").managed == ("a",)


def test_what_is_wrong_with_another_service_does_not_matter(compose: Compose) -> None:
    text = """
    services:
      web: {build: .}
      odd: {image: a, foo: 1, links: [x], ports: [nonsense], volumes: [none:/x], env_file: none.env}
      unset: {image: "${NOWHERE:?must be set}"}
      circle: {extends: circle}
      lost: {extends: {file: none.yaml, service: a}}
      empty:
      list: [a]
    networks: {broken: {foo: 1}}
    """
    project = compose.load(text, service=None)
    assert project.managed == ("web",)
    broken = ("odd", "unset", "circle", "lost", "empty", "list")
    assert [each.partition(" is not started: ")[0] for each in project.warnings] == [*broken]
    assert compose.load(text, service="web").warnings == ()


# What it depends on.


def test_dependencies_come_in_the_order_in_which_they_start(compose: Compose) -> None:
    text = """
    services:
      web: {build: ., depends_on: [api, cache], networks: [front]}
      api: {image: api, depends_on: [db], networks: [front, back]}
      cache: {image: cache, volumes: ["cc:/c"]}
      db: {image: db, networks: [back], volumes: ["dd:/d"]}
      other: {image: other, networks: [unused]}
    networks: {front: , back: , unused: }
    volumes: {cc: , dd: {name: real}, unused: }
    """
    project = compose.load(text)
    assert list(project.services) == ["db", "api", "cache", "web"]
    assert [spec.name for spec in project.dependencies] == ["db", "api", "cache"]
    assert {network.name for network in project.networks.values()} == {
        "shop_front",
        "shop_back",
        "shop_default",
    }
    assert {volume.name for volume in project.volumes.values()} == {"shop_cc", "real"}


def test_a_circle_of_dependencies_is_refused(compose: Compose) -> None:
    text = "services: {web: {image: a, depends_on: [b]}, b: {image: b, depends_on: [web]}}"
    with pytest.raises(ConfigError) as caught:
        compose.load(text)
    assert missing(str(caught.value), "services.b.depends_on", "circular", "b → web → b") == []


def test_a_cycle_is_named_once_when_several_services_are_managed(compose: Compose) -> None:
    text = "services: {web: {build: ., depends_on: [api]}, api: {build: ., depends_on: [web]}}"
    with pytest.raises(ConfigError) as caught:
        compose.load(text)
    assert missing(str(caught.value), "services.api.depends_on", "circular", "api → web → api") == []


@pytest.mark.parametrize(
    "key", ["umask: '022'", "use_api_socket: true", "credential_spec: {file: x}", "key_of_tomorrow: 1"]
)
def test_a_dependency_that_only_compose_can_start_is_left_to_it(compose: Compose, key: str) -> None:
    text = f"services: {{web: {{image: a, depends_on: [db]}}, db: {{image: b, {key}, container_name: box}}}}"
    project = compose.load(text)
    db = project.services["db"]
    assert db.left_to_compose.startswith(f"services.db.{key.partition(':')[0]}")
    assert (db.image, db.default_name) == ("b", "box")
    assert project.warnings[0].endswith("; db is left to `docker compose up -d db`")
    with pytest.raises(ConfigError):
        compose.load(text, service="db")


def test_what_is_wrong_in_a_dependency_is_refused_as_compose_refuses_it(compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"services\.db\.ports\[0\] = 'x'"):
        compose.load("services: {web: {image: a, depends_on: [db]}, db: {image: b, ports: [x]}}")


def test_a_dependency_that_a_program_runs_is_left_out_and_said(compose: Compose) -> None:
    text = "services: {web: {image: a, depends_on: [ai]}, ai: {provider: {type: model}}}"
    project = compose.load(text)
    assert list(project.services) == ["web"]
    assert project.managed_services[0].depends_on == {}
    assert missing(project.warnings[0], "ai", "program", "engine") == []


def test_everyday_dependencies_keep_nobody_from_running(compose: Compose) -> None:
    project = compose.load(
        """
        services:
          web:
            build: .
            links: [db, "db:database"]
            depends_on: [ollama, prometheus]
          ollama:
            image: ollama/ollama
            deploy:
              replicas: 2
              resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}
          prometheus:
            image: prom/prometheus
            configs: [{source: scrape, target: /etc/prometheus/prometheus.yml, uid: "65534"}]
          db: {image: postgres, network_mode: "service:ollama", volumes_from: ["prometheus:ro"], gpus: all}
        configs:
          scrape: {content: "job: ${NAME:-web}"}
        """
    )
    ollama, prometheus, db = (project.services[name] for name in ("ollama", "prometheus", "db"))
    assert ollama.device_requests == (DeviceRequest(driver="nvidia", count=-1, capabilities=("gpu",)),)
    assert ollama.replicas == 2
    assert prometheus.files == (
        ContainerFile(target="/etc/prometheus/prometheus.yml", content=b"job: web", uid=65534),
    )
    assert project.managed_services[0].links == (("shop-db-1", "database"),)
    assert project.managed_services[0].depends_on["db"] == Dependency(restart=True)
    assert db.network_mode == "container:shop-ollama-1"
    assert db.volumes_from == ("shop-prometheus-1:ro",)
    assert db.device_requests == (DeviceRequest(count=-1, capabilities=("gpu",)),)
    assert list(project.services)[-1] == "web"
    assert project.warnings == ()


def test_of_several_containers_of_the_kept_service_there_is_one(compose: Compose) -> None:
    project = compose.load("services: {web: {image: a, deploy: {replicas: 3}}}")
    assert project.managed_services[0].replicas == 1
    (warning,) = project.warnings
    assert missing(warning, "services.web", "3 containers", "one") == []
    with pytest.raises(ConfigError, match="must be 1: this service is managed"):
        compose.load("services: {web: {image: a, scale: 0}}")


def test_a_dependency_of_an_inactive_profile_is_refused_or_left_out(compose: Compose) -> None:
    text = "services: {web: {image: a, depends_on: {db: {required: %s}}}, db: {image: b, profiles: [p]}}"
    with pytest.raises(ConfigError, match=r"services\.web\.depends_on\.db: its profile is not active"):
        compose.load(text % "true")
    project = compose.load(text % "false")
    assert list(project.services) == ["web"]
    (warning,) = project.warnings
    assert missing(warning, "services.web.depends_on.db", "skipped", "profile") == []
    assert list(compose.load(text % "true", profiles=["p"]).services) == ["db", "web"]


@pytest.mark.parametrize("other", ["profiles: [p], image: b", "provider: {type: model}"])
def test_a_link_to_an_optional_service_that_is_not_started_is_dropped(compose: Compose, other: str) -> None:
    web = "image: a, depends_on: {db: {required: false}}, links: ['db:x', cache]"
    text = f"services: {{web: {{{web}}}, cache: {{image: c}}, db: {{{other}}}}}"
    project = compose.load(text)
    assert list(project.services) == ["cache", "web"]
    assert project.services["web"].links == ()


@pytest.mark.parametrize("other", ["profiles: [p], image: b", "provider: {type: model}"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network_mode", "service:db"),
        ("ipc", "service:db"),
        ("pid", "service:db"),
        ("volumes_from", "[cache, 'db:ro']"),
    ],
)
def test_what_a_service_shares_with_one_that_is_not_started_is_refused(
    compose: Compose, key: str, value: str, other: str
) -> None:
    needs = "depends_on: {db: {required: false}}"
    text = f"services: {{web: {{image: a, {needs}, {key}: {value}}}, cache: {{image: c}}, db: {{{other}}}}}"
    rule = "has no container to share: the watcher does not start that service"
    with pytest.raises(ConfigError, match=rf"services\.web\.{key} = '(service:)?db(:ro)?': {rule}"):
        compose.load(text)
    project = compose.load(
        text.replace("web:", "main: {build: .}, web:"), service=None
    )  # what nothing depends on is named, and all else starts
    assert list(project.services) == ["main", "cache"]
    assert any(text.startswith("web is not started") and rule in text for text in project.warnings)


def test_what_is_left_out_is_not_waited_for(compose: Compose) -> None:
    text = "services: {web: {image: a, depends_on: {db: {required: false}}}, db: {image: b, profiles: [p]}}"
    assert compose.load(text).managed_services[0].depends_on == {}


def test_a_dependency_that_is_not_there_is_refused_even_if_not_required(compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"depends_on\.db: there is no such service in compose\.yaml"):
        compose.load("services: {web: {image: a, depends_on: {db: {required: false}}}}")


def test_two_containers_cannot_have_one_name(compose: Compose) -> None:
    text = """
    services:
      web: {image: a, container_name: box, depends_on: [db]}
      db: {image: b, container_name: box}
    """
    with pytest.raises(
        ConfigError, match="container_name = 'box': is already the container name of another service"
    ):
        compose.load(text)


# Variables.


def test_the_process_comes_before_the_env_file(compose: Compose) -> None:
    compose.write(".env", "A=dot\nB=dot\nC=${A}-${B}\n")
    project = compose.load("services: {web: {image: '$A-$B-$C'}}", env={"A": "process"})
    assert project.managed_services[0].image == "process-dot-process-dot"


def test_variables_that_are_not_set_are_told_once(compose: Compose) -> None:
    project = compose.load(
        "services: {web: {image: 'a:$TAG', user: $TAG, labels: {a: $B}}, x: {image: $OTHER}}"
    )
    assert project.managed_services[0].image == "a:"
    first, second = project.warnings
    assert missing(first, "TAG", "not set", "empty string") == []
    assert missing(second, "B", "not set", "empty string") == []


def test_keys_and_plain_numbers_are_not_interpolated(compose: Compose) -> None:
    spec = compose.load(
        "services: {web: {image: a, labels: {$A: $A}, environment: {N: 1}}}", env={"A": "x"}
    ).managed_services[0]
    assert (spec.labels, spec.environment) == ({"$A": "x"}, {"N": "1"})


def test_a_missing_env_file_is_looked_for_and_a_directory_is_none(compose: Compose) -> None:
    assert compose.root / ".env" in compose.load("services: {web: {image: a}}").files
    (compose.root / ".env").mkdir()
    assert compose.load("services: {web: {image: a}}").name == "shop"


def test_a_broken_env_file_is_named_with_its_line(compose: Compose) -> None:
    compose.write(".env", "A=1\nB C=2\n")
    with pytest.raises(ConfigError, match=r"\.env:2: a variable name must not contain a space"):
        compose.load("services: {web: {image: a}}")


# Networks, volumes.


def test_networks_and_volumes_in_full(compose: Compose) -> None:
    text = """
    services: {web: {image: a, networks: [n, old, plain], volumes: ["vv:/v", "old:/o"]}}
    networks:
      n:
        name: real
        driver: bridge
        driver_opts: {com.docker.network.bridge.name: br0}
        internal: true
        attachable: true
        enable_ipv4: true
        enable_ipv6: true
        labels: [a=b]
        ipam:
          driver: default
          options: {o: p}
          config:
            - {subnet: 10.1.0.0/16, ip_range: 10.1.1.0/24, gateway: 10.1.0.1, aux_addresses: {h: 10.1.0.2}}
      old: {external: {name: theirs}}
      plain: {}
    volumes:
      vv: {driver: local, driver_opts: {type: none, o: bind, device: ./data}, labels: {c: d}}
      old: {external: true, name: theirs}
    """
    project = compose.load(text)
    assert project.networks == {
        "n": NetworkSpec(
            key="n",
            name="real",
            driver="bridge",
            driver_opts={"com.docker.network.bridge.name": "br0"},
            internal=True,
            attachable=True,
            enable_ipv4=True,
            enable_ipv6=True,
            labels={"a": "b"},
            ipam_driver="default",
            ipam_options={"o": "p"},
            subnets=(
                Subnet(
                    subnet="10.1.0.0/16",
                    ip_range="10.1.1.0/24",
                    gateway="10.1.0.1",
                    aux_addresses={"h": "10.1.0.2"},
                ),
            ),
        ),
        "old": NetworkSpec(key="old", name="theirs", external=True),
        "plain": NetworkSpec(key="plain", name="shop_plain"),
    }
    assert project.volumes == {
        "vv": VolumeSpec(
            key="vv",
            name="shop_vv",
            driver="local",
            driver_opts={"type": "none", "o": "bind", "device": f"{compose.root}/data"},
            labels={"c": "d"},
        ),
        "old": VolumeSpec(key="old", name="theirs", external=True),
    }


@pytest.mark.parametrize(
    ("section", "value", "facts"),
    [
        ("networks", "{n: {foo: 1}}", ("networks.n.foo", "not a known key", "network")),
        ("networks", "{n: {external: {id: x}}}", ("networks.n.external.id", "not a known key", "external")),
        ("networks", "{n: {external: maybe}}", ("networks.n.external", "'maybe'", "true or false")),
        (
            "networks",
            "{n: {ipam: {config: [{mask: x}]}}}",
            ("networks.n.ipam.config[0].mask", "not a known key"),
        ),
        ("networks", "{n: [a]}", ("networks.n", "must be a mapping", "list")),
        ("volumes", "{vv: {size: 1}}", ("volumes.vv.size", "not a known key", "volume")),
        ("secrets", "{s: {}}", ("secrets.s", "must have one of", "file", "environment")),
        (
            "secrets",
            "{s: {file: a, environment: B}}",
            ("secrets.s", "must have one of", "file", "environment"),
        ),
        ("secrets", "{s: {external: true}}", ("secrets.s.external", "True", "not supported", "swarm")),
        ("secrets", "{s: {path: a}}", ("secrets.s.path", "not a known key", "secret")),
    ],
)
def test_a_resource_that_is_wrong_is_refused_when_it_is_used(
    compose: Compose, section: str, value: str, facts: tuple[str, ...]
) -> None:
    top = {"networks": "{n: }", "volumes": "{vv: }", "secrets": "{s: {file: a}}", section: value}
    lines = "\n".join(f"{key}: {text}" for key, text in top.items())
    with pytest.raises(ConfigError) as caught:
        compose.load(
            f"services: {{web: {{image: a, networks: [n], volumes: ['vv:/v'], secrets: [s]}}}}\n{lines}"
        )
    assert missing(str(caught.value), *facts) == []


# What old engines drop.


def test_what_an_older_engine_would_drop_is_named(compose: Compose) -> None:
    project = compose.load(
        """
        services:
          web:
            image: a
            healthcheck: {test: x, start_period: 1s, start_interval: 1s}
            volumes:
              - {type: volume, source: vv, target: /v, volume: {subpath: s}}
              - {type: bind, source: /b, target: /b, bind: {recursive: readonly}}
        volumes: {vv: }
        networks: {default: {enable_ipv4: true}}
        """
    )
    check_api(project, "1.48")
    with pytest.raises(ConfigError) as caught:
        check_api(project, "1.44")
    place = "services.web.volumes (/v).volume.subpath"
    assert missing(str(caught.value), place, "not supported", "1.45", "1.44") == []


def test_an_ordinary_service_needs_nothing_new(compose: Compose) -> None:
    project = compose.load("services: {web: {image: a, healthcheck: {test: x}, volumes: ['/a:/a', '/v']}}")
    check_api(project, "1.41")
