"""The Engine API's bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.compose.conftest import Compose
from watcher.compose import (
    additional_networks,
    compose_labels,
    config_digest,
    container_config,
    network_config,
    published,
    volume_config,
)


def body(compose: Compose, keys: str, top: str = "", **more: Any) -> dict[str, Any]:
    spec = compose.service(keys, top=top)
    return container_config(spec, image="sha256:1", name="box", **{"labels": {}, **more})


@pytest.mark.parametrize(
    ("keys", "path", "value"),
    [
        ("command: [a, b]", "Cmd", ["a", "b"]),
        ("command: []", "Cmd", []),
        ("entrypoint: /x y", "Entrypoint", ["/x", "y"]),
        ("environment: {A: 1, B: }", "Env", ["A=1", "B"]),
        ("user: a", "User", "a"),
        ("working_dir: /w", "WorkingDir", "/w"),
        ("hostname: h", "Hostname", "h"),
        ("domainname: d", "Domainname", "d"),
        ("tty: true", "Tty", True),
        ("stdin_open: true", "OpenStdin", True),
        ("stop_signal: SIGINT", "StopSignal", "SIGINT"),
        ("stop_grace_period: 1m1.9s", "StopTimeout", 61),
        ("stop_grace_period: 0s", "StopTimeout", 0),
        ("expose: ['80', 81/udp]\nports: ['82']", "ExposedPorts", {"82/tcp": {}, "80/tcp": {}, "81/udp": {}}),
        ("healthcheck: {disable: true}", "Healthcheck", {"Test": ["NONE"]}),
        (
            "healthcheck: {test: x, interval: 1.5s, timeout: 100ms, start_period: 1m, retries: 0}",
            "Healthcheck",
            {
                "Test": ["CMD-SHELL", "x"],
                "Interval": 1_500_000_000,
                "Timeout": 100_000_000,
                "StartPeriod": 60_000_000_000,
                "Retries": 0,
            },
        ),
        ("healthcheck: {interval: 1s}", "Healthcheck", {"Test": [], "Interval": 1_000_000_000}),
        ("restart: on-failure:3", "HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
        ("init: false", "HostConfig.Init", False),
        ("privileged: true", "HostConfig.Privileged", True),
        ("read_only: true", "HostConfig.ReadonlyRootfs", True),
        ("shm_size: 1m", "HostConfig.ShmSize", 1 << 20),
        ("runtime: r", "HostConfig.Runtime", "r"),
        ("storage_opt: {size: 1G}", "HostConfig.StorageOpt", {"size": "1G"}),
        ("cap_add: [A]", "HostConfig.CapAdd", ["A"]),
        ("cap_drop: [ALL]", "HostConfig.CapDrop", ["ALL"]),
        ("group_add: [g]", "HostConfig.GroupAdd", ["g"]),
        ("sysctls: {a: 1}", "HostConfig.Sysctls", {"a": "1"}),
        ("security_opt: [a=b, systempaths=unconfined]", "HostConfig.SecurityOpt", ["a=b"]),
        ("security_opt: [systempaths=unconfined]", "HostConfig.MaskedPaths", []),
        ("security_opt: [systempaths=unconfined]", "HostConfig.ReadonlyPaths", []),
        (
            "devices: ['/dev/a:/dev/b:r']",
            "HostConfig.Devices",
            [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
        ),
        ("device_cgroup_rules: [r]", "HostConfig.DeviceCgroupRules", ["r"]),
        ("dns: 1.1.1.1", "HostConfig.Dns", ["1.1.1.1"]),
        ("dns_opt: [o]", "HostConfig.DnsOptions", ["o"]),
        ("dns_search: [s]", "HostConfig.DnsSearch", ["s"]),
        ("extra_hosts: {a: '1', b: '::1'}", "HostConfig.ExtraHosts", ["a:1", "b:::1"]),
        ("cgroup: host", "HostConfig.CgroupnsMode", "host"),
        ("cgroup_parent: p", "HostConfig.CgroupParent", "p"),
        ("ipc: host", "HostConfig.IpcMode", "host"),
        ("pid: host", "HostConfig.PidMode", "host"),
        ("uts: host", "HostConfig.UTSMode", "host"),
        ("userns_mode: host", "HostConfig.UsernsMode", "host"),
        ("network_mode: none", "HostConfig.NetworkMode", "none"),
        (
            "logging: {driver: d, options: {a: 1}}",
            "HostConfig.LogConfig",
            {"Type": "d", "Config": {"a": "1"}},
        ),
        ("tmpfs: [/run, '/t:size=1m']", "HostConfig.Tmpfs", {"/run": "", "/t": "size=1m"}),
        ("mem_limit: 1m", "HostConfig.Memory", 1 << 20),
        ("mem_reservation: 1m", "HostConfig.MemoryReservation", 1 << 20),
        ("memswap_limit: -1", "HostConfig.MemorySwap", -1),
        ("mem_swappiness: 0", "HostConfig.MemorySwappiness", 0),
        ("cpus: 0.5", "HostConfig.NanoCpus", 500_000_000),
        ("cpu_shares: 1", "HostConfig.CpuShares", 1),
        ("cpu_period: 1", "HostConfig.CpuPeriod", 1),
        ("cpu_quota: 1", "HostConfig.CpuQuota", 1),
        ("cpu_rt_period: 1", "HostConfig.CpuRealtimePeriod", 1),
        ("cpu_rt_runtime: 1", "HostConfig.CpuRealtimeRuntime", 1),
        ("cpuset: '0'", "HostConfig.CpusetCpus", "0"),
        ("pids_limit: 0", "HostConfig.PidsLimit", 0),
        ("oom_kill_disable: true", "HostConfig.OomKillDisable", True),
        ("oom_score_adj: 1", "HostConfig.OomScoreAdj", 1),
        (
            "ulimits: {nofile: {soft: 1, hard: 2}}",
            "HostConfig.Ulimits",
            [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        ),
    ],
)
def test_each_key_lands_where_the_engine_wants_it(
    compose: Compose, keys: str, path: str, value: object
) -> None:
    found: Any = body(compose, keys)
    for part in path.split("."):
        found = found[part]
    assert found == value


def test_what_is_not_said_is_left_to_the_image_and_the_engine(compose: Compose) -> None:
    assert body(compose, "labels: {a: b}", labels={"c": "d"}) == {
        "Image": "sha256:1",
        "Env": [],
        "Labels": {"a": "b", "c": "d"},
        "ExposedPorts": {},
        "HostConfig": {
            "NetworkMode": "shop_default",
            "PortBindings": {},
            "Binds": [],
            "Mounts": [],
            "Tmpfs": {},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        },
        "NetworkingConfig": {"EndpointsConfig": {"shop_default": {"Aliases": ["box", "web"]}}},
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "OpenStdin": False,
    }


def test_ports_are_published_as_the_file_says_unless_told_otherwise(compose: Compose) -> None:
    keys = "ports: ['9000:80', '127.0.0.1:9001:80', '81', '53:53/udp', '[::1]:9002:82']"
    spec = compose.service(keys)
    assert published(spec) == {80: (("", 9000), ("127.0.0.1", 9001)), 81: (("", 0),), 82: (("::1", 9002),)}
    udp = {"53/udp": [{"HostIp": "", "HostPort": "53"}]}
    assert body(compose, keys)["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "9000"}, {"HostIp": "127.0.0.1", "HostPort": "9001"}],
        "81/tcp": [{"HostIp": "", "HostPort": ""}],
        "82/tcp": [{"HostIp": "::1", "HostPort": "9002"}],
        **udp,
    }
    front = body(compose, keys, publish={80: (("127.0.0.1", 0),)})
    assert front["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}], **udp}
    assert body(compose, keys, publish={})["HostConfig"]["PortBindings"] == udp


@pytest.mark.parametrize(
    ("entry", "bind"),
    [
        ("/a:/x", "/a:/x:rw"),
        ("/a:/x:ro,z,rslave", "/a:/x:ro,z,rslave"),
        ("data:/x:nocopy", "shop_data:/x:rw,nocopy"),
        ("{type: bind, source: /a, target: /x}", "/a:/x:rw"),
        ("{type: volume, source: data, target: /x}", "shop_data:/x:rw"),
    ],
)
def test_simple_mounts_are_binds_which_make_a_missing_directory(
    compose: Compose, entry: str, bind: str
) -> None:
    host = body(compose, f"volumes: [{entry if entry[0] == '{' else repr(entry)}]", "volumes: {data: }")[
        "HostConfig"
    ]
    assert (host["Binds"], host["Mounts"]) == ([bind], [])


@pytest.mark.parametrize(
    ("entry", "mount"),
    [
        ("/x", {"Type": "volume", "Target": "/x", "ReadOnly": False}),
        (
            "{type: bind, source: /a, target: /x, bind: {create_host_path: false, propagation: shared}}",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/x",
                "ReadOnly": False,
                "BindOptions": {"Propagation": "shared"},
            },
        ),
        (
            "{type: bind, source: /a, target: /x, bind: {recursive: disabled}}",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/x",
                "ReadOnly": False,
                "BindOptions": {"CreateMountpoint": True, "NonRecursive": True},
            },
        ),
        (
            "{type: bind, source: '/a:b', target: /x, read_only: true}",
            {
                "Type": "bind",
                "Source": "/a:b",
                "Target": "/x",
                "ReadOnly": True,
                "BindOptions": {"CreateMountpoint": True},
            },
        ),
        (
            "{type: volume, source: data, target: /x, volume: {subpath: s, nocopy: true, labels: {a: b}}}",
            {
                "Type": "volume",
                "Source": "shop_data",
                "Target": "/x",
                "ReadOnly": False,
                "VolumeOptions": {"NoCopy": True, "Subpath": "s", "Labels": {"a": "b"}},
            },
        ),
        (
            "{type: tmpfs, target: /x, tmpfs: {size: 1m, mode: 0700}}",
            {
                "Type": "tmpfs",
                "Target": "/x",
                "ReadOnly": False,
                "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700},
            },
        ),
        ("{type: tmpfs, target: /x}", {"Type": "tmpfs", "Target": "/x", "ReadOnly": False}),
    ],
)
def test_other_mounts_are_mounts(compose: Compose, entry: str, mount: dict[str, Any]) -> None:
    host = body(compose, f"volumes: [{entry}]", "volumes: {data: }")["HostConfig"]
    assert (host["Binds"], host["Mounts"]) == ([], [mount])


def test_only_the_main_network_is_there_at_creation(compose: Compose) -> None:
    keys = """
    networks:
      one: {aliases: [x, web], driver_opts: {o: p}}
      two: {priority: 5, ipv4_address: 10.0.0.9, ipv6_address: "fd00::9", link_local_ips: [169.254.1.1]}
    """
    top = "networks: {one: , two: {name: real}}"
    main = {
        "real": {
            "Aliases": ["box", "web"],
            "IPAMConfig": {
                "IPv4Address": "10.0.0.9",
                "IPv6Address": "fd00::9",
                "LinkLocalIPs": ["169.254.1.1"],
            },
        }
    }
    found = body(compose, keys, top)
    assert found["HostConfig"]["NetworkMode"] == "real"
    assert found["NetworkingConfig"]["EndpointsConfig"] == main
    assert additional_networks(compose.service(keys, top=top), "box") == {
        "shop_one": {"Aliases": ["box", "web", "x"], "DriverOpts": {"o": "p"}}
    }


def test_a_network_mode_has_no_endpoints(compose: Compose) -> None:
    assert body(compose, "network_mode: host")["NetworkingConfig"] == {"EndpointsConfig": {}}
    assert additional_networks(compose.service("network_mode: host"), "box") == {}


def test_bodies_are_json(compose: Compose) -> None:
    found = body(compose, "volumes: ['./a:/a']\nhealthcheck: {test: x}\nports: ['80']")
    assert json.loads(json.dumps(found)) == found


# Labels, networks, volumes.


def test_the_labels_that_docker_compose_looks_for(compose: Compose) -> None:
    compose.write("compose.override.yml", "services: {web: {user: a}}")
    project = compose.load(
        """
        services:
          web: {image: a, depends_on: {db: {condition: service_healthy, restart: true}}}
          db: {image: b}
        """
    )
    root = compose.root
    assert compose_labels(project, project.managed_services[0], config_hash="h", image_id="sha256:1") == {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": "h",
        "com.docker.compose.image": "sha256:1",
        "com.docker.compose.depends_on": "db:service_healthy:true",
        "com.docker.compose.project.working_dir": str(root),
        "com.docker.compose.project.config_files": f"{root}/compose.yaml,{root}/compose.override.yml",
        "com.docker.compose.version": "2.0.0",
    }


def test_networks_and_volumes_carry_composes_labels_too(compose: Compose) -> None:
    project = compose.load(
        """
        services: {web: {image: a, networks: [plain, full], volumes: ["vv:/v", "ww:/w"]}}
        networks:
          plain:
          full:
            driver: macvlan
            driver_opts: {parent: eth0}
            internal: true
            attachable: true
            enable_ipv4: true
            enable_ipv6: false
            labels: {a: b}
            ipam:
              options: {o: p}
              config: [{subnet: 10.0.0.0/8, aux_addresses: {h: 10.0.0.1}}, {gateway: 10.9.9.9}]
        volumes: {vv: , ww: {driver: d, driver_opts: {o: 1}, labels: [c=d]}}
        """
    )
    common = {"com.docker.compose.project": "shop", "com.docker.compose.version": "2.0.0"}
    assert network_config("shop", project.networks["plain"]) == {
        "Name": "shop_plain",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Options": {},
        "Internal": False,
        "Attachable": False,
        "Labels": {"com.docker.compose.network": "plain", **common},
    }
    assert network_config("shop", project.networks["full"]) == {
        "Name": "shop_full",
        "CheckDuplicate": True,
        "Driver": "macvlan",
        "Options": {"parent": "eth0"},
        "Internal": True,
        "Attachable": True,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Labels": {"a": "b", "com.docker.compose.network": "full", **common},
        "IPAM": {
            "Driver": "default",
            "Options": {"o": "p"},
            "Config": [
                {"Subnet": "10.0.0.0/8", "AuxiliaryAddresses": {"h": "10.0.0.1"}},
                {"Gateway": "10.9.9.9"},
            ],
        },
    }
    assert volume_config("shop", project.volumes["vv"]) == {
        "Name": "shop_vv",
        "Driver": "local",
        "DriverOpts": {},
        "Labels": {"com.docker.compose.volume": "vv", **common},
    }
    assert volume_config("shop", project.volumes["ww"]) == {
        "Name": "shop_ww",
        "Driver": "d",
        "DriverOpts": {"o": "1"},
        "Labels": {"c": "d", "com.docker.compose.volume": "ww", **common},
    }


# The digest.


@pytest.mark.parametrize(
    "keys",
    [
        "user: a",
        "environment: {A: 1}",
        "environment: {A: }",
        "ports: ['80:80']",
        "volumes: ['/a:/b']",
        "command: []",
        "healthcheck: {test: x}",
        "mem_limit: 1m",
        "image: other",
        "networks: {default: {aliases: [a]}}",
    ],
)
def test_whatever_decides_how_it_runs_changes_the_digest(compose: Compose, keys: str) -> None:
    assert config_digest(compose.service(keys)) != config_digest(compose.service("image: busybox"))


@pytest.mark.parametrize(
    "keys", ["build: .\nimage: busybox", "pull_policy: always", "x-a: b", "profiles: [a]"]
)
def test_what_decides_something_else_does_not(compose: Compose, keys: str) -> None:
    assert config_digest(compose.service(keys)) == config_digest(compose.service("image: busybox"))


def test_the_digest_does_not_depend_on_order_or_on_how_a_thing_is_written(compose: Compose) -> None:
    one = compose.service("environment: {A: 1, B: 2}\nports: [{target: 80, published: 81}]\nuser: a")
    two = compose.service("user: a\nports: ['81:80']\nenvironment: [B=2, A=1]")
    assert config_digest(one) == config_digest(two)
    assert len(config_digest(one)) == 64
