"""The keys of a service: each is honoured, ignored for a reason, or refused by name."""

from __future__ import annotations

import json

import pytest

from tests.facts import missing
from tests.unit.compose.conftest import Compose
from watcher.compose import (
    Attachment,
    BlockIo,
    Dependency,
    DeviceRequest,
    HealthSpec,
    Hook,
    ResourceLimits,
    load,
)
from watcher.compose import key_policy as keys
from watcher.dockerfile.spans import word_set
from watcher.errors import ConfigError

NAME_RULE = "must be letters, digits, '_', '.' or '-', and start with a letter or digit"

# The keys of a service in schema/compose-spec.json of github.com/compose-spec/compose-go/v2 v2.16.2.
KNOWN_TO_COMPOSE = word_set(
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs"
    " container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime"
    " cpu_shares cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices dns"
    " dns_opt dns_search domainname entrypoint env_file environment expose extends external_links"
    " extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links"
    " logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode"
    " networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_start"
    " pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart runtime"
    " scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls"
    " tmpfs tty ulimits umask use_api_socket user userns_mode uts volumes volumes_from working_dir"
)


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("image: repo/a:1", "image", "repo/a:1"),
        ("container_name: box", "container_name", "box"),
        ("command: sh -c 'a b'", "command", ("sh", "-c", "a b")),
        ("command: [sh, -c, a b, 1]", "command", ("sh", "-c", "a b", "1")),
        ("command: []", "command", ()),
        ("command: null", "command", None),
        ("entrypoint: /run me", "entrypoint", ("/run", "me")),
        ("entrypoint: ['']", "entrypoint", ("",)),
        ("stop_signal: SIGINT", "stop_signal", "SIGINT"),
        ("stop_grace_period: 1m30s", "stop_grace_period", 90.0),
        ("user: 1000:1000", "user", "1000:1000"),
        ("user: 1000", "user", "1000"),
        ("working_dir: /app", "working_dir", "/app"),
        ("hostname: h", "hostname", "h"),
        ("domainname: d", "domainname", "d"),
        ("platform: linux/arm64", "platform", "linux/arm64"),
        ("pull_policy: never", "pull_policy", "never"),
        ("runtime: runsc", "runtime", "runsc"),
        ("init: true", "init", True),
        ("init: 'false'", "init", False),
        ("tty: yes", "tty", True),
        ("stdin_open: on", "stdin_open", True),
        ("privileged: true", "privileged", True),
        ("read_only: true", "read_only", True),
        ("shm_size: 64m", "shm_size", 64 << 20),
        ("cap_add: [NET_ADMIN, NET_ADMIN]", "cap_add", ("NET_ADMIN",)),
        ("cap_drop: [ALL]", "cap_drop", ("ALL",)),
        (
            "security_opt: [no-new-privileges, 'label:disable']",
            "security_opt",
            ("no-new-privileges", "label:disable"),
        ),
        (
            "devices: [/dev/a, '/dev/b:/dev/c:r']",
            "devices",
            (("/dev/a", "/dev/a", "rwm"), ("/dev/b", "/dev/c", "r")),
        ),
        (
            "devices: [{source: /dev/a, target: /dev/b, permissions: rw}]",
            "devices",
            (("/dev/a", "/dev/b", "rw"),),
        ),
        ("device_cgroup_rules: ['c 1:3 mr']", "device_cgroup_rules", ("c 1:3 mr",)),
        ("dns: 1.1.1.1", "dns", ("1.1.1.1",)),
        ("dns: [1.1.1.1, 8.8.8.8]", "dns", ("1.1.1.1", "8.8.8.8")),
        ("dns_opt: [use-vc]", "dns_opt", ("use-vc",)),
        ("dns_search: a.b", "dns_search", ("a.b",)),
        (
            "extra_hosts: ['a:1.1.1.1', 'b=[::1]', 'c=2,3']",
            "extra_hosts",
            (("a", "1.1.1.1"), ("b", "::1"), ("c", "2"), ("c", "3")),
        ),
        (
            "extra_hosts: {a: host-gateway, b: ['1', '2']}",
            "extra_hosts",
            (("a", "host-gateway"), ("b", "1"), ("b", "2")),
        ),
        ("group_add: [audio, 1000]", "group_add", ("audio", "1000")),
        ("sysctls: {net.core.somaxconn: 1024}", "sysctls", {"net.core.somaxconn": "1024"}),
        ("sysctls: [a.b=1]", "sysctls", {"a.b": "1"}),
        ("storage_opt: {size: 1G}", "storage_opt", {"size": "1G"}),
        ("cgroup: host", "cgroup", "host"),
        ("cgroup_parent: p", "cgroup_parent", "p"),
        ("ipc: host", "ipc", "host"),
        ("pid: host", "pid", "host"),
        ("uts: host", "uts", "host"),
        ("userns_mode: host", "userns_mode", "host"),
        ("restart: always", "restart", ("always", 0)),
        ("restart: no", "restart", ("no", 0)),
        ("restart: false", "restart", ("no", 0)),
        ("restart: on-failure:3", "restart", ("on-failure", 3)),
        ("deploy: {restart_policy: {condition: any, max_attempts: 2, delay: 1s}}", "restart", ("always", 2)),
        ("labels: {a: 1, b: null, c: true}", "labels", {"a": "1", "b": "", "c": "true"}),
        ("labels: [a=1, b]", "labels", {"a": "1", "b": ""}),
        ("logging: {driver: local, options: {max-file: 3}}", "logging", ("local", {"max-file": "3"})),
        ("logging: {options: {a: b}}", "logging", ("", {"a": "b"})),
        ("network_mode: host", "network_mode", "host"),
        ("depends_on: []", "depends_on", {}),
        ("annotations: {a: 1}", "annotations", {"a": "1"}),
        ("mac_address: '02:42:ac:11:00:09'", "mac_address", "02:42:ac:11:00:09"),
        ("external_links: [box, 'other:alias']", "external_links", (("box", "box"), ("other", "alias"))),
        ("volumes_from: ['container:box:ro']", "volumes_from", ("box:ro",)),
        ("pid: container:box", "pid", "container:box"),
        ("isolation: default", "name", "web"),
        ("pull_policy: if_not_present", "pull_policy", "missing"),
        ("pull_policy: daily", "pull_after", 86400.0),
        ("pull_policy: every_12h", "pull_after", 43200.0),
        ("pull_policy: refresh\npull_refresh_after: 5m", "pull_after", 300.0),
        (
            "blkio_config: {weight: 10, device_read_bps: [{path: /dev/a, rate: 1mb}]}",
            "block_io",
            BlockIo(weight=10, device_read_bps=(("/dev/a", 1 << 20),)),
        ),
        ("gpus: all", "device_requests", (DeviceRequest(count=-1, capabilities=("gpu",)),)),
        (
            "gpus: [{driver: nvidia, device_ids: ['0'], options: {a: b}}]",
            "device_requests",
            (DeviceRequest(driver="nvidia", device_ids=("0",), capabilities=("gpu",), options={"a": "b"}),),
        ),
        (
            "devices: [/dev/a, vendor.com/gpu=all]",
            "device_requests",
            (DeviceRequest(driver="cdi", device_ids=("vendor.com/gpu=all",)),),
        ),
        ("devices: [/dev/a, vendor.com/gpu=all]", "devices", (("/dev/a", "/dev/a", "rwm"),)),
        (
            "pre_stop: [{command: sh -c 'a b', user: root, privileged: true, environment: [A=1, B]}]",
            "pre_stop",
            (Hook(command=("sh", "-c", "a b"), user="root", privileged=True, environment=("A=1",)),),
        ),
        ("healthcheck: {disable: true}", "healthcheck", HealthSpec(test=("NONE",))),
        ("healthcheck: {test: curl -f x}", "healthcheck", HealthSpec(test=("CMD-SHELL", "curl -f x"))),
        (
            "healthcheck: {test: [CMD, a], interval: 10s, timeout: 1.5s, retries: 3, start_period: 1m, "
            "start_interval: 500ms}",
            "healthcheck",
            HealthSpec(
                test=("CMD", "a"), interval=10, timeout=1.5, retries=3, start_period=60, start_interval=0.5
            ),
        ),
    ],
)
def test_each_key_says_what_it_says_in_compose(
    compose: Compose, line: str, attribute: str, value: object
) -> None:
    assert getattr(compose.service(line), attribute) == value


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        ("mem_limit: 64m", ResourceLimits(memory=64 << 20)),
        (
            "mem_reservation: 1k\nmemswap_limit: -1\nmem_swappiness: 0",
            ResourceLimits(memory_reservation=1024, memory_swap=-1, memory_swappiness=0),
        ),
        ("cpus: '1.5'", ResourceLimits(nano_cpus=1_500_000_000)),
        (
            "cpu_shares: 5\ncpu_quota: 50000\ncpu_period: 100000\ncpuset: 0,1",
            ResourceLimits(cpu_shares=5, cpu_quota=50000, cpu_period=100000, cpuset="0,1"),
        ),
        ("cpu_rt_period: 7\ncpu_rt_runtime: 8", ResourceLimits(cpu_rt_period=7, cpu_rt_runtime=8)),
        ("pids_limit: -1", ResourceLimits(pids=-1)),
        (
            "oom_kill_disable: true\noom_score_adj: -500",
            ResourceLimits(oom_kill_disable=True, oom_score_adj=-500),
        ),
        (
            "ulimits: {nofile: 100, nproc: {soft: 1, hard: 2}}",
            ResourceLimits(ulimits={"nofile": (100, 100), "nproc": (1, 2)}),
        ),
        (
            "deploy: {resources: {limits: {memory: 50M, cpus: '0.5', pids: 9}, reservations: {memory: 20M}}}",
            ResourceLimits(memory=50 << 20, nano_cpus=500_000_000, pids=9, memory_reservation=20 << 20),
        ),
        ("mem_limit: 50m\ndeploy: {resources: {limits: {memory: 51200k}}}", ResourceLimits(memory=50 << 20)),
        (
            "deploy: {replicas: 1, mode: replicated, update_config: {order: start-first}, labels: {a: b}}",
            ResourceLimits(),
        ),
    ],
)
def test_limits_from_both_places(compose: Compose, lines: str, limits: ResourceLimits) -> None:
    assert compose.service(lines).limits == limits


def test_without_an_image_it_is_named_after_project_and_service(compose: Compose) -> None:
    assert compose.service("build: .").image == "shop-web"
    assert compose.service("build: .").default_name == "shop-web-1"
    assert compose.service("container_name: box").default_name == "box"


def test_networks_come_by_priority_then_by_name(compose: Compose) -> None:
    top = "networks: {b: , a: , c: {name: real}, d: {external: true}}"
    spec = compose.service(
        "networks: {b: {aliases: [x, y]}, a: , c: {priority: 9, ipv4_address: 10.0.0.9}, d: {}}", top=top
    )
    assert spec.networks == (
        Attachment(key="c", network="real", priority=9, ipv4_address="10.0.0.9"),
        Attachment(key="a", network="shop_a"),
        Attachment(key="b", network="shop_b", aliases=("x", "y")),
        Attachment(key="d", network="d"),
    )


@pytest.mark.parametrize(
    "line", ["working_dir: /", "networks: []", "networks: {}", "networks:", "networks: [default]"]
)
def test_without_networks_it_is_on_the_default_one(compose: Compose, line: str) -> None:
    assert compose.service(line).networks == (Attachment(key="default", network="shop_default"),)


def test_a_network_mode_leaves_no_networks(compose: Compose) -> None:
    project = compose.load("services: {web: {image: a, network_mode: none}}")
    assert project.managed_services[0].networks == ()
    assert project.networks == {}


def test_two_containers_cannot_always_stand_side_by_side(compose: Compose) -> None:
    assert compose.service("ports: ['9000:9000', '80']").side_by_side_conflicts == ()
    assert compose.service("network_mode: host").side_by_side_conflicts == ("network_mode is host",)
    assert compose.service("network_mode: container:box").side_by_side_conflicts == (
        "network_mode is container:box",
    )
    assert compose.service("network_mode: none").side_by_side_conflicts == ()
    assert compose.service("mac_address: '02:42:ac:11:00:09'").side_by_side_conflicts == (
        "its mac_address is 02:42:ac:11:00:09",
    )
    assert compose.service("ports: ['53:53/udp', '9/udp']").side_by_side_conflicts == (
        "it publishes 53:53/udp",
    )
    fixed = compose.service("networks: {a: {ipv4_address: 10.0.0.9}}", top="networks: {a: }")
    (conflict,) = fixed.side_by_side_conflicts
    assert missing(conflict, "fixed address", "network a") == []


# Environment.


def test_the_environment_is_laid_over_its_files_in_order(compose: Compose) -> None:
    compose.write("one.env", "A=one\nB=one\nC=one\nREF=${SAID}-${OUT}-${A}\n")
    compose.write("two.env", "B=two\nC=two\n")
    spec = compose.service(
        "env_file: [one.env, ./two.env]\nenvironment: {C: said, SAID: yes, N: 1.10, T: true, OUT: , GONE: }",
        env={"OUT": "outside"},
    )
    assert spec.environment == {
        "A": "one",
        "B": "two",
        "C": "said",
        "REF": "yes-outside-one",
        "SAID": "yes",
        "N": "1.1",
        "T": "true",
        "OUT": "outside",
        "GONE": None,
    }


def test_an_environment_may_be_a_list(compose: Compose) -> None:
    spec = compose.service("environment: [A=1, B=x=y, OUT, GONE, C=]", env={"OUT": "o"})
    assert spec.environment == {"A": "1", "B": "x=y", "OUT": "o", "GONE": None, "C": ""}


def test_an_environment_file_may_be_missing_only_if_it_is_not_required(compose: Compose) -> None:
    project = compose.load("services: {web: {image: a, env_file: [{path: no.env, required: false}]}}")
    assert compose.root / "no.env" in project.files
    for key, remedy in (("env_file", "required: false"), ("label_file", "create it")):
        with pytest.raises(ConfigError) as raised:
            compose.service(f"{key}: no.env")
        assert missing(str(raised.value), f"services.web.{key}", "no.env", "no such file", remedy) == []


def test_missing_files_can_be_listed_instead(compose: Compose) -> None:
    compose.write("here.env", "A=1\n")
    compose.root.joinpath("folder").mkdir()
    found: list[ConfigError] = []
    text = "services: {web: {image: a, env_file: [here.env, no.env], label_file: no.labels}, %s}"
    path = compose.write("compose.yaml", text % "api: {build: ., env_file: here.env/below}")
    project = load(path, env={}, services=("web", "api"), missing_files=found)
    assert [error.field for error in found] == [
        "services.web.env_file[1]",
        "services.web.label_file",
        "services.api.env_file",
    ]
    assert project.services["web"].environment == {"A": "1"}
    compose.write("compose.yaml", text % "api: {build: ., env_file: folder}")
    with pytest.raises(ConfigError, match="cannot be read"):  # it is there
        load(path, env={}, services=("web", "api"), missing_files=found)


def test_an_environment_file_may_be_raw(compose: Compose) -> None:
    compose.write("raw.env", "A='$B' # c\n")
    assert compose.service("env_file: [{path: raw.env, format: raw}]").environment == {"A": "'$B' # c"}


def test_labels_may_come_from_files(compose: Compose) -> None:
    compose.write("l.env", "a=file\nb=file\nc=$a\nd=$HOME\n")
    spec = compose.service("label_file: l.env\nlabels: {b: said}", env={"HOME": "/h"})
    assert spec.labels == {"a": "file", "b": "said", "c": "file", "d": ""}


def test_a_seccomp_profile_is_read(compose: Compose) -> None:
    profile = compose.write("profile.json", json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}, indent=2))
    project = compose.load(
        "services: {web: {image: a, security_opt: ['seccomp:profile.json', seccomp=unconfined]}}"
    )
    assert project.managed_services[0].security_opt == (
        'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}',
        "seccomp=unconfined",
    )
    assert profile in project.files


def test_dependencies_in_both_forms(compose: Compose) -> None:
    text = """
    services:
      web: {image: a, depends_on: {db: {condition: service_healthy, restart: true}, cache: {required: false}}}
      other: {image: a, depends_on: [db]}
      db: {image: b}
      cache: {image: c}
    """
    assert compose.load(text).managed_services[0].depends_on == {
        "db": Dependency("service_healthy", restart=True),
        "cache": Dependency(required=False),
    }
    assert compose.load(text, service="other").managed_services[0].depends_on == {"db": Dependency()}


# What is ignored, and what is refused.


def test_every_ignored_key_is_accepted(compose: Compose) -> None:
    for key in keys.IGNORED.keys() - {"extends", "profiles"}:
        assert compose.service(f"{key}: {{watch: [{{path: .}}]}}").name == "web"
    assert compose.service("x-anything: {a: 1}\nprofiles: [dev]").name == "web"


@pytest.mark.parametrize("key", sorted(keys.REFUSED))
def test_every_unsupported_key_is_refused_with_its_reason(compose: Compose, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.service(f"{key}: [something]")
    assert caught.value.field == f"services.web.{key}"
    assert caught.value.rule == f"is not supported: {keys.REFUSED[key]}"


@pytest.mark.parametrize("value", ["[]", "{}", "", "null", "false", "''"])
def test_an_unsupported_key_that_asks_for_nothing_is_accepted(compose: Compose, value: str) -> None:
    assert compose.service(f"umask: {value}").name == "web"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("foo: 1", "foo: is not a known key of a service"),
        ("port: ['80']", "port: is not a known key of a service"),
        ("build:", ": must have an image or a build section"),
        ("image: ''", "image = '': must not be empty"),
        ("image: [a]", "image: must be a string, not a list"),
        (
            "container_name: a b",
            f"container_name = 'a b': {NAME_RULE}",
        ),
        (
            "container_name: a",
            f"container_name = 'a': {NAME_RULE}",
        ),
        (
            "container_name: émile",
            f"container_name = 'émile': {NAME_RULE}",
        ),
        (
            "command: a; b",
            "command = 'a; b': a command does not run in a shell: quote ';', or write [sh, -c, …]",
        ),
        ("command: {a: b}", "command: must be a string, not a mapping"),
        ("deploy: {foo: 1}", "deploy.foo: is not a known key of a deploy section"),
        (
            "deploy: {resources: {limits: {foo: 1}}}",
            "deploy.resources.limits.foo: is not a known key of limits and reservations",
        ),
        (
            "deploy: {resources: {reservations: {devices: [1]}}}",
            "deploy.resources.reservations.devices[0] = 1: must be a mapping, not a number",
        ),
        (
            "deploy: {resources: {reservations: {devices: [{count: 1}]}}}",
            "deploy.resources.reservations.devices[0]: must have capabilities, such as [gpu]",
        ),
        ("gpus: some", "gpus = 'some': must be all, or a list of device requests"),
        ("gpus: [{count: 1, device_ids: ['0']}]", "gpus[0]: must not have both count and device_ids"),
        ("scale: 2\ndeploy: {replicas: 3}", "scale = 2: differs from services.web.deploy.replicas"),
        (
            "scale: 2\ncontainer_name: box",
            "container_name = 'box': is the name of one container: remove it to run several "
            "(scale, deploy.replicas)",
        ),
        ("links: [':x']", "links[0] = ':x': must be a service, or service:alias"),
        ("links: [nobody]", "depends_on.nobody: there is no such service in compose.yaml"),
        ("uts: container:x", "uts = 'container:x': must be one of host"),
        ("isolation: hyperv", "isolation = 'hyperv': is not supported: it is for Windows only"),
        ("post_start: [{command: ''}]", "post_start[0]: must have a command that is not empty"),
        ("post_start: [{run: x}]", "post_start[0]: must have a command, the command to run"),
        ("blkio_config: {weight: 2000}", "blkio_config.weight = 2000: must be between 0 and 1000"),
        (
            "pull_policy: sometimes",
            "pull_policy = 'sometimes': must be always, never, missing, build, refresh, daily, weekly or "
            "every_<duration>",
        ),
        (
            "volumes_from: ['a:b']",
            "volumes_from[0] = 'a:b': must be SERVICE or container:NAME, optionally followed by :ro or :rw",
        ),
        (
            "deploy: {restart_policy: {condition: x}}",
            "deploy.restart_policy.condition = 'x': must be one of none, on-failure, any",
        ),
        (
            "mem_limit: 1m\ndeploy: {resources: {limits: {memory: 2m}}}",
            "mem_limit = '1m': differs from services.web.deploy.resources.limits.memory",
        ),
        ("mem_limit: much", "mem_limit = 'much': must be a size such as 64m or 1g"),
        ("mem_limit: -5", "mem_limit = -5: must be at least 0"),
        ("mem_swappiness: 101", "mem_swappiness = 101: must be between -1 and 100"),
        ("cpus: many", "cpus = 'many': must be a number"),
        ("cpus: -1", "cpus = -1: must be at least 0"),
        ("cpus: .inf", "cpus = inf: must be a number"),
        ("cpu_shares: 1.5", "cpu_shares = 1.5: must be a whole number"),
        ("cpu_quota: 99999999999999999999", "cpu_quota = 1e+20: is too large a number"),
        ("pids_limit: true", "pids_limit = True: must be a whole number"),
        ("oom_score_adj: 1001", "oom_score_adj = 1001: must be between -1000 and 1000"),
        ("ulimits: {nofile: {soft: 1}}", "ulimits.nofile: must have a hard, a number"),
        ("ulimits: {nofile: lots}", "ulimits.nofile = 'lots': must be a whole number"),
        ("ulimits: [nofile]", "ulimits: must be a mapping, not a list"),
        (
            "restart: sometimes",
            "restart = 'sometimes': must be no, always, on-failure[:tries] or unless-stopped",
        ),
        (
            "restart: always:3",
            "restart = 'always:3': must be no, always, on-failure[:tries] or unless-stopped",
        ),
        (
            "restart: on-failure:x",
            "restart = 'on-failure:x': must be no, always, on-failure[:tries] or unless-stopped",
        ),
        ("stop_grace_period: 10", "stop_grace_period = 10: must be a duration such as 10s or 1m30s"),
        ("stop_grace_period: soon", "stop_grace_period = 'soon': must be a duration such as 10s or 1m30s"),
        ("tty: maybe", "tty = 'maybe': must be true or false"),
        ("init: 1", "init = 1: must be true or false"),
        ("cap_add: NET_ADMIN", "cap_add = 'NET_ADMIN': must be a list, not a string"),
        ("cap_add: [[a]]", "cap_add[0]: must be a string, not a list"),
        ("cgroup: mine", "cgroup = 'mine': must be one of host, private"),
        (
            "network_mode: host\nnetworks: [a]",
            "network_mode = 'host': must not be set together with networks",
        ),
        ("networks: [a]", "networks[0]: a is not declared under networks at the top of the file"),
        (
            "networks: {default: {foo: 1}}",
            "networks.default.foo: is not a known key of a service's network",
        ),
        (
            "depends_on: {db: {condition: happy}}",
            "depends_on.db.condition = 'happy': must be one of service_started, service_healthy, "
            "service_completed_successfully",
        ),
        ("depends_on: {db: {when: x}}", "depends_on.db.when: is not a known key of a dependency"),
        ("depends_on: {db: }", "depends_on.db: must be a mapping, not empty"),
        ("depends_on: [nobody]", "depends_on.nobody: there is no such service in compose.yaml"),
        ("healthcheck: {test: [curl]}", "healthcheck.test: must start with NONE, CMD or CMD-SHELL"),
        (
            "healthcheck: {test: x, interval: 10}",
            "healthcheck.interval = 10: must be a duration such as 10s or 1m30s",
        ),
        (
            "healthcheck: {test: x, start_interval: 1s}",
            "healthcheck.start_interval: requires start_period",
        ),
        ("healthcheck: {tests: x}", "healthcheck.tests: is not a known key of a healthcheck"),
        ("healthcheck: {retries: -1}", "healthcheck.retries = -1: must be at least 0"),
        ("logging: {level: x}", "logging.level: is not a known key of a logging section"),
        ("devices: [a]", "devices[0] = 'a': must be /path[:/container path[:permissions]]"),
        ("devices: ['/a:b:c:d']", "devices[0] = '/a:b:c:d': must be /path[:/container path[:permissions]]"),
        ("devices: [{target: /a}]", "devices[0]: must have a source, the path on the host"),
        ("security_opt: [what]", "security_opt[0] = 'what': must be name=value"),
        ("extra_hosts: [a]", "extra_hosts[0] = 'a': must be name=address"),
        ("extra_hosts: ['=1']", "extra_hosts[0] = '=1': '' is not a host name"),
        ("extra_hosts: {'a:b': '1'}", "extra_hosts.a:b = '1': 'a:b' is not a host name"),
        ("environment: {A: [1]}", "environment.A: must be a string, not a list"),
        ("environment: [=1]", "environment[0] = '=1': must be NAME=value or NAME"),
        ("environment: ['A =1']", "environment: the name 'A ' must not end with a space"),
        ("environment: words", "environment = 'words': must be a mapping or a list"),
        ("env_file: [{required: true}]", "env_file[0]: must have a path, the file to read"),
        ("env_file: [{path: a, format: toml}]", "env_file[0].format = 'toml': must be one of raw"),
        ("env_file: ''", "env_file = '': must not be empty"),
        ("labels: {a: {}}", "labels.a: must be a string, not a mapping"),
        ("tty: ${UNSET:?say it}", "tty = '${UNSET:?say it}': the variable UNSET must be set: say it"),
        (
            "labels: {a: ['${']}",
            "labels.a[0] = '${': '${' is not closed by '}'; write '$$' for a dollar sign",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_sentence(compose: Compose, line: str, sentence: str) -> None:
    text = "services:\n  db: {image: db}\n  web:\n"
    lines = line if line.startswith(("image", "build:")) else f"image: busybox\n{line}"
    text += "".join(f"    {each}\n" for each in lines.splitlines())
    with pytest.raises(ConfigError) as caught:
        compose.load(text)
    dot = "" if sentence.startswith(":") else "."
    assert str(caught.value) == f"services.web{dot}{sentence}"


def test_a_seccomp_profile_that_is_none_is_refused(compose: Compose) -> None:
    compose.write("bad.json", "{")
    with pytest.raises(ConfigError, match=r"security_opt\[0\] = 'seccomp=bad\.json': .*is not valid JSON"):
        compose.service("security_opt: [seccomp=bad.json]")


@pytest.mark.parametrize("key", sorted(KNOWN_TO_COMPOSE))
def test_no_key_that_compose_knows_is_unknown_here(compose: Compose, key: str) -> None:
    """It may be refused for its value or for a reason, but by somebody who knows it."""
    said = ""
    try:
        compose.service(f"{key}: null")
    except ConfigError as error:
        said = str(error)
    assert "not a known key" not in said


def test_a_key_that_compose_does_not_know_is_named(compose: Compose) -> None:
    with pytest.raises(ConfigError, match="is not a known key of a service"):
        compose.service("command_line: null")


def test_on_the_hosts_network_nothing_is_published_and_that_is_said(compose: Compose) -> None:
    project = compose.load("services: {web: {image: a, network_mode: host, ports: ['9000:9000']}}")
    assert project.managed_services[0].ports == ()
    (warning,) = project.warnings
    assert missing(warning, "services.web.ports", "network_mode host", "no front") == []


def test_what_is_written_into_a_container_needs_one_that_can_be_written(compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"read_only: must not be true: /c is written into the container"):
        compose.service("configs: [c]\nread_only: true", top="configs: {c: {content: x}}")
