"""What an engine says, by version, as values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from watcher.engine import convert
from watcher.engine.values import CacheRecord, Container, Image, Network, SystemInfo, Volume

NAMED = "a" * 64  # as the engine names an anonymous volume
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()


def test_versions_are_ordered_by_number() -> None:
    assert sorted(["1.45", "1.9", "1.24"], key=convert.version_key) == ["1.9", "1.24", "1.45"]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (1_700_000_000, 1_700_000_000.0),
        (1.5, 1.5),
        ("2026-03-04T05:06:07Z", AT),
        ("2026-03-04T05:06:07.500000000Z", AT + 0.5),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_a_time_is_a_number_or_rfc_3339_and_zero_when_it_is_missing(said: object, seconds: float) -> None:
    assert convert.parse_time(said) == seconds


def test_an_image_in_detail() -> None:
    raw = {
        "Id": "sha256:1",
        "RepoTags": ["a:1", "<none>:<none>"],
        "RepoDigests": ["a@sha256:2", "<none>@<none>"],
        "Created": "2026-03-04T05:06:07Z",
        "Os": "windows",
        "Parent": "sha256:0",
        "Size": 7,
        "Metadata": {"LastTagTime": "2026-03-04T05:06:08Z"},
        "Config": {
            "Env": ["A=1", "B=x=y", "C"],
            "User": "app",
            "OnBuild": ["RUN x"],
            "Healthcheck": {"Test": ["CMD", "true"]},
            "WorkingDir": "/w",
            "Entrypoint": ["/e"],
            "Cmd": ["c"],
            "Labels": {"of": "config"},
        },
    }
    assert convert.parse_image(raw) == Image(
        id="sha256:1",
        tags=("a:1",),
        labels={"of": "config"},
        created=AT,
        env={"A": "1", "B": "x=y", "C": ""},
        user="app",
        onbuild=("RUN x",),
        healthcheck=("CMD", "true"),
        workdir="/w",
        command=("/e", "c"),
        entrypoint=("/e",),
        os="windows",
        parent="sha256:0",
        digests=("a@sha256:2",),
        tagged=AT + 1,
        size=7,
    )


def test_an_image_of_a_list_has_its_own_labels_and_what_is_null_is_empty() -> None:
    raw = {"Id": "sha256:1", "Labels": {"of": "list"}, "Created": 5, "ParentId": "sha256:9", "Size": 3}
    assert convert.parse_image(raw) == Image(
        "sha256:1", labels={"of": "list"}, created=5.0, parent="sha256:9", size=3
    )
    nothing = dict.fromkeys(["RepoTags", "RepoDigests", "Labels", "Config", "Os", "Parent", "Metadata"])
    assert convert.parse_image({"Id": "sha256:1", **nothing}) == Image("sha256:1")
    parts = ["Env", "User", "OnBuild", "Healthcheck", "WorkingDir", "Entrypoint", "Cmd", "Labels"]
    bare = dict.fromkeys(parts)
    assert convert.parse_image({"Id": "sha256:1", "Config": bare}) == Image("sha256:1")


def test_a_container_of_a_list() -> None:
    raw = {
        "Id": "1",
        "Names": ["/web", "/other/web"],
        "ImageID": "sha256:1",
        "Labels": {"a": "b"},
        "State": "running",
        "Created": 12,
        "HostConfig": {"NetworkMode": "front"},
        "NetworkSettings": {"Networks": {"front": {"NetworkID": "n1"}, "back": None}},
        "Ports": [
            {"PrivatePort": 80, "Type": "tcp"},
            {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "0.0.0.0"},
            {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "::"},
            {"PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
        ],
    }
    assert convert.parse_listed_container(raw) == Container(
        id="1",
        name="web",
        image="sha256:1",
        labels={"a": "b"},
        state="running",
        changed=12.0,
        networks=frozenset({"front", "back", "n1"}),
        ports={"80/tcp": (("0.0.0.0", 8080), ("::", 8080)), "53/udp": (("", 53),)},
    )


@pytest.mark.parametrize("nothing", [{}, dict.fromkeys(["Names", "Labels", "Ports", "NetworkSettings"])])
def test_a_container_that_is_being_removed_is_listed_with_little(nothing: dict[str, Any]) -> None:
    raw = {"Id": "1", "ImageID": "", "State": "removing", **nothing}
    assert convert.parse_listed_container(raw) == Container("1", "", "", {}, "removing")


def detailed(**more: Any) -> dict[str, Any]:
    state = {"Status": "running", "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"}
    return {"Id": "1", "Name": "/web", "Image": "sha256:1", "Config": {}, "State": state, **more}


def test_a_container_in_detail() -> None:
    raw = detailed(
        Created="2026-03-04T05:06:07Z",
        State={
            "Status": "exited",
            "Health": {"Status": "unhealthy"},
            "ExitCode": 137,
            "OOMKilled": True,
            "Error": "no such file",
            "StartedAt": "2026-03-04T05:06:08Z",
            "FinishedAt": "2026-03-04T05:06:09Z",
        },
        Config={
            "Labels": {"a": "b"},
            "Healthcheck": {"Test": ["NONE"]},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "81/tcp": {}},
        },
        NetworkSettings={
            "Ports": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": ""}],
                "81/tcp": None,
            },
            "Networks": {"n": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}, "m": {"IPAddress": ""}},
        },
        HostConfig={"NetworkMode": "n"},
    )
    assert convert.parse_container(raw) == Container(
        id="1",
        name="web",
        image="sha256:1",
        labels={"a": "b"},
        state="exited",
        health="unhealthy",
        exit_code=137,
        oom_killed=True,
        error="no such file",
        ports={"80/tcp": (("127.0.0.1", 8080),)},
        addresses={"n": "10.0.0.2"},
        healthcheck=("NONE",),
        exposed=(80, 81),
        created=AT,
        changed=AT + 2,
        networks=frozenset({"n", "m", "n1"}),
    )


def test_a_container_with_the_least_that_an_engine_says() -> None:
    found = convert.parse_container(detailed())
    assert found == Container("1", "web", "sha256:1", {}, "running")
    assert (found.exit_code, found.oom_killed, found.changed, found.running, found.paused) == (
        0,
        False,
        0.0,
        True,
        False,
    )
    frozen = convert.parse_container(detailed(State={"Status": "paused", "Health": {"Status": "none"}}))
    assert (frozen.running, frozen.paused, frozen.health) == (False, True, "")


@pytest.mark.parametrize(("mode", "owner"), [("container:abc", "abc"), ("network:abc", ""), ("host", "")])
def test_the_network_of_another_container_is_joined(mode: str, owner: str) -> None:
    assert convert.parse_container(detailed(HostConfig={"NetworkMode": mode})).joined == owner


MOUNTS = [
    {"Type": "volume", "Name": NAMED, "Destination": "/data"},
    {"Type": "volume", "Name": "chosen", "Destination": "/named"},
    {"Type": "bind", "Name": NAMED, "Destination": "/host"},
    {"Type": "tmpfs", "Destination": "/tmp"},
]


@pytest.mark.parametrize(
    ("host", "anonymous"),
    [
        ({}, (NAMED,)),
        ({"Binds": None, "Mounts": None}, (NAMED,)),
        ({"Binds": [f"{NAMED}:/data"]}, ()),
        ({"Mounts": [{"Source": NAMED}]}, ()),
        ({"Mounts": [{"Source": None}]}, (NAMED,)),
        ({"VolumesFrom": ["other"]}, ()),
    ],
)
def test_only_volumes_that_the_engine_named_for_this_container_are_its_own(
    host: dict[str, Any], anonymous: tuple[str, ...]
) -> None:
    found = convert.parse_container(detailed(HostConfig=host, Mounts=MOUNTS))
    assert found.volumes == anonymous
    assert found.generated_volumes == {"/data": NAMED}


def test_a_network() -> None:
    raw = {"Id": "1", "Name": "n", "Labels": None, "Created": "2026-03-04T05:06:07Z"}
    assert convert.parse_network(raw) == Network("1", "n", {}, AT)
    assert convert.parse_network({"Id": "1", "Name": "n", "Labels": {"a": "b"}}).labels == {"a": "b"}


def test_the_use_of_the_disk() -> None:
    found = convert.parse_usage(
        {
            "LayersSize": 100,
            "BuildCache": [
                {"ID": "1", "Type": "regular", "Description": "d", "Size": 5, "InUse": True, "Shared": True},
                {"ID": "2"},
            ],
            "Images": [
                {"Id": "a", "Size": 10, "SharedSize": 4},
                {"Id": "b", "Size": 10, "SharedSize": 10},
                {"Id": "c", "Size": 3, "SharedSize": 4},
                {"Id": "all", "Size": 3, "SharedSize": 0},
                {"Id": "unknown", "Size": 3, "SharedSize": -1},
                {"Id": "silent", "Size": 3},
            ],
            "Containers": [{"Id": "c", "SizeRw": 8}, {"Id": "d"}],
            "Volumes": [
                {"Name": "v", "Labels": {"a": "b"}, "UsageData": {"Size": 9, "RefCount": 2}},
                {"Name": "unmeasured", "UsageData": {"Size": -1, "RefCount": 0}},
                {"Name": "w", "UsageData": None},
            ],
        }
    )
    assert found.layers == 100
    assert found.cache == (
        CacheRecord("1", "regular", "d", 5, in_use=True, shared=True),
        CacheRecord("2", "", "", 0, in_use=False, shared=False),
    )
    assert found.alone == {"a": 6, "b": 0, "c": 0, "all": 3}
    assert found.written == {"c": 8, "d": 0}
    assert found.volumes == (
        Volume("v", {"a": "b"}, 9, used=True),
        Volume("unmeasured", {}, 0, used=False),
        Volume("w", {}, 0, used=False),
    )


def test_an_engine_without_anything_uses_nothing() -> None:
    found = convert.parse_usage(
        dict.fromkeys(["LayersSize", "BuildCache", "Images", "Containers", "Volumes"])
    )
    assert (found.layers, found.cache, found.alone, found.written, found.volumes) == (0, (), {}, {}, ())


def test_a_log_is_lines_with_times_however_it_is_cut() -> None:
    said = b"2026-03-04T05:06:07Z one two\r\n2026-03-04T05:06:08Z \nno time here\nlast"
    whole = [(AT, "one two"), (AT + 1, ""), (0.0, "no time here"), (0.0, "last")]
    for cut in range(len(said)):
        assert [(line.at, line.text) for line in convert.parse_log([said[:cut], said[cut:]])] == whole


def test_a_line_without_an_end_is_cut_at_its_bound() -> None:
    half = b"x" * (convert.LONGEST_LINE // 2)
    assert [len(line.text) for line in convert.parse_log([half, half, b"y\n"])] == [2 * len(half), 1]
    assert [len(line.text) for line in convert.parse_log([half, half[:-1], b"y\n"])] == [2 * len(half)]


@pytest.mark.parametrize(
    ("architecture", "platform"),
    [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("s390x", "linux/s390x")],
)
def test_an_engine_is_known_by_its_id_and_has_a_platform(architecture: str, platform: str) -> None:
    info = SystemInfo("20.10", "1.41", "overlay2", "unix:///x.sock", architecture)
    assert info.identity == "unix:///x.sock"
    assert info.platform == platform
    assert SystemInfo("20.10", "1.41", "overlay2", "unix:///x.sock", "", id="ABCD").identity == "ABCD"


@pytest.mark.parametrize(("mode", "owner"), [("container:cafe", "cafe"), ("host", ""), ("", "")])
def test_the_owner_of_a_containers_pid_namespace_is_known(mode: str, owner: str) -> None:
    assert convert.parse_container(detailed(HostConfig={"PidMode": mode})).pid_owner == owner
