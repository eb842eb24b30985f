"""Where a service's definition comes from: `extends`, `include`, override files, several documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.compose.conftest import Compose
from watcher.compose import Dependency, load
from watcher.errors import ConfigError

BASE = """
services:
  base:
    image: base
    command: [base]
    environment: {A: base, B: base}
    labels: [a=base]
    ports: ["80"]
    volumes: ["./data:/data", "named:/named"]
    depends_on: [db]
    healthcheck: {test: base, interval: 1s}
    logging: {driver: local, options: {a: "1"}}
    ulimits: {nofile: {soft: 1, hard: 2}}
    dns: 1.1.1.1
    build: {context: ./app, args: {X: base, Y: base}}
  db: {image: db}
  cache: {image: cache}
volumes: {named: }
"""


# extends


def test_a_service_is_laid_over_the_one_it_extends(compose: Compose) -> None:
    text = BASE.replace(
        "volumes: {named: }",
        """  web:
    extends: {service: base}
    command: [web]
    environment: [B=web, C=web]
    labels: {b: web}
    ports: ["81"]
    volumes: ["/other:/data"]
    depends_on: {cache: {condition: service_healthy}, db: {restart: true}}
    healthcheck: {test: [CMD, web]}
    logging: {options: {b: "2"}}
    ulimits: {nofile: 5}
    dns: [8.8.8.8]
    build: {args: [Y=web]}
volumes: {named: }
""",
    )
    spec = compose.load(text).managed_services[0]
    assert spec.image == "base"
    assert spec.command == ("web",)
    assert spec.environment == {"A": "base", "B": "web", "C": "web"}
    assert spec.labels == {"a": "base", "b": "web"}
    assert [str(port) for port in spec.ports] == ["80", "81"]
    assert [(mount.source, mount.target) for mount in spec.mounts] == [
        ("/other", "/data"),
        ("shop_named", "/named"),
    ]
    assert spec.depends_on == {
        "db": Dependency("service_started", restart=True),
        "cache": Dependency("service_healthy"),
    }
    assert spec.healthcheck is not None
    assert (spec.healthcheck.test, spec.healthcheck.interval) == (("CMD", "web"), 1.0)
    assert spec.logging == ("local", {"a": "1", "b": "2"})
    assert spec.limits.ulimits == {"nofile": (5, 5)}
    assert spec.dns == ("1.1.1.1", "8.8.8.8")
    assert spec.build is not None
    assert spec.build.context == compose.root / "app"
    assert spec.build.args == {"X": "base", "Y": "web"}


def test_null_takes_back_a_command_and_nothing_else(compose: Compose) -> None:
    text = BASE.replace(
        "volumes: {named: }",
        "  web: {extends: base, command: null, image: null, environment: null}\nvolumes: {named: }",
    )
    spec = compose.load(text).managed_services[0]
    assert (spec.command, spec.image) == (None, "base")
    assert spec.environment == {"A": "base", "B": "base"}


def test_another_log_driver_takes_nothing_over(compose: Compose) -> None:
    text = BASE.replace(
        "volumes: {named: }", "  web: {extends: base, logging: {driver: none}}\nvolumes: {named: }"
    )
    assert compose.load(text).managed_services[0].logging == ("none", {})


def test_paths_of_another_file_are_relative_to_it(compose: Compose) -> None:
    compose.write("lib/base.yaml", BASE)
    compose.write("lib/e.env", "E=lib\n")
    compose.write(
        "lib/base.yaml",
        """
        services:
          base:
            image: base
            build: {dockerfile: D, additional_contexts: {a: ./ctx}, ssh: [k=./id]}
            env_file: e.env
            volumes: ["./data:/data", {type: bind, source: ../up, target: /up}]
        """,
    )
    spec = compose.load("services: {web: {extends: {file: lib/base.yaml, service: base}}}").managed_services[
        0
    ]
    assert spec.environment == {"E": "lib"}
    assert [mount.source for mount in spec.mounts] == [f"{compose.root}/lib/data", f"{compose.root}/up"]
    assert spec.build is not None
    assert spec.build.context == compose.root  # a build without a context means the project, as with compose
    assert spec.build.additional_contexts == {"a": f"{compose.root}/lib/ctx"}
    assert spec.build.ssh == {"k": f"{compose.root}/lib/id"}


def test_what_is_extended_may_extend(compose: Compose) -> None:
    compose.write("a.yaml", "services: {one: {extends: {file: b.yaml, service: two}, user: a}}")
    compose.write("b.yaml", "services: {two: {extends: three, working_dir: /b}, three: {image: three}}")
    project = compose.load("services: {web: {extends: {file: a.yaml, service: one}}}")
    spec = project.managed_services[0]
    assert (spec.image, spec.working_dir, spec.user) == ("three", "/b", "a")
    assert {compose.root / "a.yaml", compose.root / "b.yaml"} <= set(project.files)


@pytest.mark.parametrize(
    ("extends", "facts"),
    [
        ("web", ("services.web.extends", "'web'", "itself")),
        ("nobody", ("services.nobody", "no such service", "compose.yaml")),
        ("{file: a.yaml}", ("services.web.extends", "must have a service")),
        ("{service: a, files: b}", ("services.web.extends.files", "not a known key", "extends")),
        ("{service: a, file: none.yaml}", ("{root}/none.yaml", "no such file")),
        (
            "{service: a, file: 'https://example.com/a.yaml'}",
            ("services.web.extends.file", "'https://example.com/a.yaml'", "must be a local file"),
        ),
        ("{service: a, file: circle.yaml}", ("circle.yaml", "services.a.extends", "'b'", "itself")),
        ("{service: nobody, file: circle.yaml}", ("services.nobody", "no such service", "circle.yaml")),
        ("{service: wrong, file: wrong.yaml}", ("services.web.foo", "not a known key", "service")),
    ],
)
def test_extends_that_leads_nowhere_is_refused(
    compose: Compose, extends: str, facts: tuple[str, ...]
) -> None:
    compose.write("circle.yaml", "services: {a: {extends: b}, b: {extends: a}}")
    compose.write("wrong.yaml", "services: {wrong: {image: a, foo: 1}}")
    with pytest.raises(ConfigError) as caught:
        compose.load(f"services: {{web: {{image: a, extends: {extends}}}}}")
    assert missing(str(caught.value).replace(str(compose.root), "{root}"), *facts) == []


def test_a_value_of_the_wrong_kind_is_refused_after_merging_too(compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"services\.web\.labels\[0\]: must be a string, not a mapping"):
        compose.load("services: {a: {labels: {x: {y: z}}}, web: {image: a, extends: a, labels: [b=c]}}")


def test_what_does_not_fit_together_is_refused(compose: Compose) -> None:
    with pytest.raises(
        ConfigError, match=r"services\.web\.cap_add: is a list in one definition and not in the other"
    ):
        compose.load("services: {a: {cap_add: [x]}, web: {image: a, extends: a, cap_add: x}}")
    with pytest.raises(ConfigError, match=r"services\.web\.healthcheck: is a mapping in one definition"):
        compose.load("services: {a: {healthcheck: {}}, web: {image: a, extends: a, healthcheck: x}}")


# include


def test_an_included_file_is_a_project_of_its_own(compose: Compose) -> None:
    compose.write(
        "sub/inc.yaml",
        """
        services:
          web:
            build: ./app
            image: "i:${TAG}"
            volumes: ["./d:/d", "data:/e"]
            networks: [n]
            environment: {F: $FROM}
        volumes: {data: }
        networks: {n: {driver: "${DRIVER:-bridge}"}}
        """,
    )
    compose.write("sub/.env", "TAG=sub\nFROM=sub\n")
    compose.write(".env", "FROM=main\n")
    project = compose.load("include: [sub/inc.yaml]\nservices: {}\n")
    spec = project.managed_services[0]
    sub = compose.root / "sub"
    assert spec.image == "i:sub"
    assert spec.environment == {"F": "main"}  # the including project's variables win
    assert spec.build is not None
    assert spec.build.context == sub / "app"
    assert [mount.source for mount in spec.mounts] == [f"{sub}/d", "shop_data"]
    assert project.networks["n"].driver == "bridge"
    assert {sub / "inc.yaml", sub / ".env", compose.root / ".env"} <= set(project.files)
    assert project.config_files == (compose.root / "compose.yaml",)


def test_the_including_file_may_add_to_an_included_service(compose: Compose) -> None:
    compose.write("sub/inc.yaml", "services: {web: {build: {target: dev}, user: a}}")
    spec = compose.load("include: [{path: sub/inc.yaml}]\nservices: {web: {user: b}}").managed_services[0]
    assert spec.user == "b"
    assert spec.build is not None
    assert (spec.build.context, spec.build.target) == (compose.root / "sub", "dev")


def test_an_include_may_name_its_directory_variables_and_several_files(compose: Compose) -> None:
    compose.write(
        "sub/one.yaml", "services: {web: {image: 'i:${TAG}', build: ., user: one, working_dir: /one}}"
    )
    compose.write("sub/two.yaml", "services: {web: {user: two}}")
    compose.write("tags.env", "TAG=named\n")
    spec = compose.load(
        "include: [{path: [sub/one.yaml, sub/two.yaml], project_directory: ., env_file: tags.env}]\n"
    ).managed_services[0]
    assert (spec.image, spec.user, spec.working_dir) == ("i:named", "two", "/one")
    assert spec.build is not None
    assert spec.build.context == compose.root


def test_an_include_may_do_without_variables(compose: Compose) -> None:
    compose.write("sub/inc.yaml", "services: {web: {image: 'i:${TAG:-none}'}}")
    compose.write("sub/.env", "TAG=sub\n")
    project = compose.load("include: [{path: sub/inc.yaml, env_file: /dev/null}]\n")
    assert project.managed_services[0].image == "i:none"


@pytest.mark.parametrize(
    ("include", "facts"),
    [
        ("a.yaml", ("include", "'a.yaml'", "must be a list", "string")),
        ("[none.yaml]", ("{root}/none.yaml", "no such file")),
        ("[{paths: a}]", ("include[0]", "must have a path")),
        ("[{path: [], env_file: a}]", ("include[0]", "must have a path")),
        ("[{path: ok.yaml, foo: a}]", ("include[0].foo", "not a known key", "include")),
        ("['oci://example.com/a']", ("include[0]", "'oci://example.com/a'", "must be a local file")),
        ("[round.yaml]", ("round.yaml", "include[0]", "'round.yaml'", "round.yaml includes itself")),
        ("[compose.yaml]", ("include[0]", "'compose.yaml'", "compose.yaml includes itself")),
        (
            "[{path: ok.yaml, env_file: none.env}]",
            ("{root}/none.env", "cannot be read", "No such file or directory"),
        ),
        ("[wrong.yaml]", ("wrong.yaml", "service", "not a known section")),
        ("[list.yaml]", ("list.yaml", "not a compose file", "must be a mapping")),
    ],
)
def test_an_include_that_leads_nowhere_is_refused(
    compose: Compose, include: str, facts: tuple[str, ...]
) -> None:
    compose.write("ok.yaml", "services: {web: {image: a}}")
    compose.write("round.yaml", "include: [round.yaml]\n")
    compose.write("wrong.yaml", "service: {web: {image: a}}")
    compose.write("list.yaml", "[a]")
    with pytest.raises(ConfigError) as caught:
        compose.load(f"include: {include}\nservices: {{web: {{image: a}}}}")
    assert missing(str(caught.value).replace(str(compose.root), "{root}"), *facts) == []


# Override files and several documents.


@pytest.mark.parametrize(
    "name", ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml"]
)
def test_an_override_file_is_laid_over_a_file_of_composes_own_names(compose: Compose, name: str) -> None:
    compose.write(name, "services: {web: {user: over, ports: ['81:81']}}")
    project = compose.load("services: {web: {image: a, user: main, ports: ['80:80']}}")
    assert project.managed_services[0].user == "over"
    assert [str(port) for port in project.managed_services[0].ports] == ["80:80", "81:81"]
    assert project.config_files == (compose.root / "compose.yaml", compose.root / name)


def test_no_override_is_laid_over_a_file_of_another_name(compose: Compose) -> None:
    compose.write("compose.override.yml", "services: {web: {user: over}}")
    path = compose.write("docker-compose-dev.yml", "services: {web: {image: a}}")
    assert load(path, services=("web",), env={}).managed_services[0].user == ""
    assert compose.root / "compose.override.yml" not in load(path, services=("web",), env={}).files


def test_an_override_that_may_come_is_looked_for(compose: Compose) -> None:
    project = compose.load("services: {web: {image: a}}")
    assert compose.root / "compose.override.yaml" in project.files
    assert project.config_files == (compose.root / "compose.yaml",)


def test_overrides_may_be_named_or_left_out(compose: Compose, tmp_path: Path) -> None:
    compose.write("compose.override.yml", "services: {web: {user: over}}")
    path = compose.write("compose.yaml", "services: {web: {image: a}}")
    more = tmp_path / "more.yaml"
    more.write_text("services: {web: {volumes: ['./x:/x'], user: more}}")
    assert load(path, services=("web",), env={}, overrides=()).managed_services[0].user == ""
    spec = load(path, services=("web",), env={}, overrides=[more]).managed_services[0]
    assert spec.user == "more"
    assert spec.mounts[0].source == f"{compose.root}/x"  # as with several -f: the first file's directory


def test_several_documents_are_laid_over_each_other(compose: Compose) -> None:
    spec = compose.load(
        "services: {web: {image: a, user: x}}\n---\nservices: {web: {user: y}}\n"
    ).managed_services[0]
    assert (spec.image, spec.user) == ("a", "y")


def test_resources_are_merged_too(compose: Compose) -> None:
    compose.write("compose.override.yml", "networks: {n: {internal: true}}\nvolumes: {vv: {name: real}}")
    project = compose.load(
        """
        services: {web: {image: a, networks: [n], volumes: ["vv:/v"]}}
        networks: {n: {driver: bridge}}
        volumes: {vv: }
        """
    )
    assert (project.networks["n"].driver, project.networks["n"].internal) == ("bridge", True)
    assert project.managed_services[0].mounts[0].source == "real"


def test_anchors_and_extensions_help_to_say_things_once(compose: Compose) -> None:
    text = """
    x-env: &env {A: 1, B: 2}
    x-common: &common
      image: a
      environment: *env
    services:
      web:
        <<: *common
        environment: {<<: *env, B: 3}
    """
    spec = compose.load(text).managed_services[0]
    assert (spec.image, spec.environment) == ("a", {"A": "1", "B": "3"})
