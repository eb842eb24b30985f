"""What the address container forwards, and what it is made of."""

from __future__ import annotations

import io
import json
import tarfile

from watcher.deploy.forwarding import (
    IMAGE,
    OPTIONAL,
    address_body,
    drain_command,
    empty_image,
    endpoints_digest,
    forward_rules,
    with_system,
)

ENDPOINTS = {"p_front": {"Aliases": ["api", "p-api-1"]}, "p_back": {"Aliases": ["api"]}}


def rules(text: str, table: str) -> list[str]:
    lines = text.splitlines()
    begin = lines.index(f"*{table}")
    return [line for line in lines[begin : lines.index("COMMIT", begin)] if line.startswith("-A")]


def test_each_network_forwards_to_the_address_in_it() -> None:
    text = forward_rules(
        {"a": "10.0.0.2", "b": "10.1.0.2"}, {"b": "10.1.0.9", "a": "10.0.0.9"}, starting=False
    )
    assert rules(text, "nat") == [
        "-A WATCHER -d 10.0.0.2 -j DNAT --to-destination 10.0.0.9",
        "-A WATCHER -d 10.1.0.2 -j DNAT --to-destination 10.1.0.9",
    ]
    assert rules(text, "filter") == []


def test_nothing_is_forwarded_without_a_live_container_or_where_it_is_not() -> None:
    assert rules(forward_rules({"a": "10.0.0.2"}, {}, starting=True), "nat") == []
    text = forward_rules({"a": "10.0.0.2", "b": "10.1.0.2"}, {"b": "10.1.0.9"}, starting=False)
    assert rules(text, "nat") == ["-A WATCHER -d 10.1.0.2 -j DNAT --to-destination 10.1.0.9"]


def test_each_set_of_rules_replaces_the_one_before() -> None:
    text = forward_rules({}, {}, starting=False)
    assert text.splitlines() == [
        *("*nat", ":WATCHER - [0:0]", "COMMIT"),
        *("*filter", ":WATCHER - [0:0]", ":WATCHER-IN - [0:0]", "COMMIT"),
    ]


def test_ports_of_a_front_are_served_and_all_others_forwarded() -> None:
    text = forward_rules({"a": "10.0.0.2"}, {"a": "10.0.0.9"}, starting=False, served={9001, 9000})
    assert rules(text, "nat") == [
        "-A WATCHER -p tcp --dport 9000 -j RETURN",
        "-A WATCHER -p tcp --dport 9001 -j RETURN",
        "-A WATCHER -d 10.0.0.2 -j DNAT --to-destination 10.0.0.9",
    ]
    assert rules(text, "filter") == [
        "-A WATCHER-IN -p tcp --dport 9000 -j ACCEPT",
        "-A WATCHER-IN -p tcp --dport 9001 -j ACCEPT",
    ]


def test_what_a_starting_container_refuses_is_tried_again() -> None:
    text = forward_rules({"a": "10.0.0.2"}, {"a": "10.0.0.9"}, starting=True)
    assert rules(text, "filter") == ["-A WATCHER -s 10.0.0.9 -p tcp --tcp-flags RST RST -j DROP"]


def test_the_container_may_change_its_own_network_and_nothing_else() -> None:
    body = address_body(ENDPOINTS, {"k": "v"})
    host = body["HostConfig"]
    assert body["NetworkingConfig"]["EndpointsConfig"] == {"p_front": {"Aliases": ["api", "p-api-1"]}}
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] == ["NET_ADMIN", "NET_RAW"]
    assert host["ReadonlyRootfs"]
    mounts = with_system(body, optional=True)["HostConfig"]["Mounts"]
    assert all(each["ReadOnly"] and each["Source"] == each["Target"] for each in mounts)
    fewer = with_system(body, optional=False)["HostConfig"]["Mounts"]
    assert {each["Source"] for each in mounts} - {each["Source"] for each in fewer} == OPTIONAL


def test_the_digest_covers_names_and_networks() -> None:
    digests = {
        endpoints_digest(each)
        for each in (ENDPOINTS, {}, {"p_front": ENDPOINTS["p_front"]}, {**ENDPOINTS, "p_back": {}})
    }
    assert len(digests) == 4


def test_draining_looks_for_connections_that_the_container_answers() -> None:
    words = drain_command(["10.0.0.9", "10.1.0.9"], 7.5).words
    assert words[-2:] == ("src=10.0.0.9|src=10.1.0.9", "7")


def test_the_image_has_no_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(empty_image("linux/arm64/v8"))) as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }
    (index,) = json.loads(files["manifest.json"])
    assert index["RepoTags"] == [IMAGE]
    config = json.loads(files[index["Config"]])
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    with tarfile.open(fileobj=io.BytesIO(files[index["Layers"][0]])) as layer:
        assert layer.getnames() == []
