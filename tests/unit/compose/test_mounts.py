"""`volumes`, `tmpfs`, `secrets` and `configs`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.compose.conftest import Compose
from watcher.compose import MountSpec
from watcher.errors import ConfigError

DRIVE = "compose reads a single letter before ':' as a Windows drive: give the volume a longer name"

TOP = """
volumes:
  data:
  named: {name: real}
  there: {external: true}
secrets:
  key: {file: ./key.txt}
  variable: {environment: KEY}
configs:
  conf: {file: conf.ini}
"""


def mounts(compose: Compose, entry: str) -> list[MountSpec]:
    return list(compose.service(f"volumes:\n  - {entry}", top=TOP, env={"HOME": "/home/ann"}).mounts)


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        ("./a:/x", "shop/a"),
        (".:/x", "shop"),
        ("../a:/x", "a"),
        ("./a/../b/:/x", "shop/b"),
    ],
)
def test_a_relative_source_lies_beside_the_compose_file(compose: Compose, entry: str, source: str) -> None:
    assert mounts(compose, entry) == [
        MountSpec(type="bind", source=str(compose.root.parent / source), target="/x")
    ]


@pytest.mark.parametrize(
    ("entry", "mount"),
    [
        ("/a:/x", MountSpec(type="bind", source="/a", target="/x")),
        ("~/a:/x", MountSpec(type="bind", source="/home/ann/a", target="/x")),
        ("~:/x", MountSpec(type="bind", source="/home/ann", target="/x")),
        ("/a:/x:ro", MountSpec(type="bind", source="/a", target="/x", read_only=True)),
        ("/a:/x:rw,z", MountSpec(type="bind", source="/a", target="/x", selinux="z")),
        ("/a:/x:rslave", MountSpec(type="bind", source="/a", target="/x", propagation="rslave")),
        ("/a:/x:cached", MountSpec(type="bind", source="/a", target="/x")),
        ("/x/../y/", MountSpec(type="volume", target="/y")),
        ("data:/x", MountSpec(type="volume", source="shop_data", target="/x")),
        ("named:/x", MountSpec(type="volume", source="real", target="/x")),
        ("there:/x", MountSpec(type="volume", source="there", target="/x")),
        (
            "data:/x:ro,nocopy",
            MountSpec(type="volume", source="shop_data", target="/x", read_only=True, no_copy=True),
        ),
        (
            "{type: bind, source: /a, target: /x, consistency: cached}",
            MountSpec(type="bind", source="/a", target="/x"),
        ),
        (
            "{type: bind, source: ~/a, target: /x, read_only: 'true', bind: {create_host_path: false, "
            "propagation: shared, selinux: Z, recursive: disabled}}",
            MountSpec(
                type="bind",
                source="/home/ann/a",
                target="/x",
                read_only=True,
                create_host_path=False,
                propagation="shared",
                selinux="Z",
                recursive="disabled",
            ),
        ),
        (
            "{type: volume, source: data, target: /x, volume: {nocopy: true, subpath: s, labels: {a: b}}}",
            MountSpec(
                type="volume", source="shop_data", target="/x", no_copy=True, subpath="s", labels={"a": "b"}
            ),
        ),
        ("{type: volume, target: /x}", MountSpec(type="volume", target="/x")),
        (
            "{type: tmpfs, target: /x, tmpfs: {size: 10m, mode: 0700}}",
            MountSpec(type="tmpfs", target="/x", tmpfs_size=10 << 20, tmpfs_mode=0o700),
        ),
        (
            "{type: tmpfs, target: /x, tmpfs: {mode: '0700'}}",
            MountSpec(type="tmpfs", target="/x", tmpfs_mode=0o700),
        ),
    ],
)
def test_each_form_of_a_volume(compose: Compose, entry: str, mount: MountSpec) -> None:
    assert mounts(compose, entry) == [mount]


def test_of_two_volumes_for_one_target_the_later_counts(compose: Compose) -> None:
    spec = compose.service('volumes: ["/a:/x", "/b:/y", "/c:/x"]')
    assert [(mount.source, mount.target) for mount in spec.mounts] == [("/c", "/x"), ("/b", "/y")]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("'c:\\a:/x'", f"[0] = 'c:\\\\a:/x': {DRIVE}"),
        ("a:b:c:d:e", f"[0] = 'a:b:c:d:e': {DRIVE}"),
        ("v:/x", f"[0] = 'v:/x': {DRIVE}"),
        ("'\\\\srv\\a:/x'", "[0] = '\\\\\\\\srv\\\\a:/x': Windows paths are not supported"),
        ("aa:b:c:d", "[0] = 'aa:b:c:d': must be [source:]target[:options]"),
        ("':/x'", "[0] = ':/x': must be [source:]target[:options]"),
        ("/a:x", "[0] = '/a:x': the target must be an absolute path in the container"),
        ("/a:/x:fast", "[0] = '/a:/x:fast': the option 'fast' is not supported"),
        ("/a:/x:nocopy", "[0] = '/a:/x:nocopy': the option 'nocopy' is not supported"),
        ("none:/x", "[0] = 'none:/x': none is not declared under volumes at the top of the file"),
        ("{target: /x}", "[0]: must have a type, one of bind, volume, tmpfs"),
        ("{type: bind, source: /a}", "[0]: must have a target, the path in the container"),
        ("{type: bind, target: /x}", "[0]: must have a source, the path on the host"),
        ("{type: tmpfs, source: a, target: /x}", "[0]: a tmpfs mount has no source"),
        (
            "{type: npipe, target: /x}",
            "[0].type = 'npipe': is not supported: only bind, volume and tmpfs mounts are",
        ),
        ("{type: volume, target: /x, bind: {}}", "[0].bind: is not a known key of a volume mount"),
        (
            "{type: bind, source: /a, target: /x, bind: {a: 1}}",
            "[0].bind.a: is not a known key of a bind mount",
        ),
        (
            "{type: tmpfs, target: /x, tmpfs: {mode: '9'}}",
            "[0].tmpfs.mode = '9': must be octal permissions such as 0755",
        ),
        (
            "{type: tmpfs, target: /x, tmpfs: {size: x}}",
            "[0].tmpfs.size = 'x': must be a size such as 64m or 1g",
        ),
    ],
)
def test_a_volume_that_is_wrong_is_refused(compose: Compose, entry: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mounts(compose, entry)
    assert str(caught.value) == f"services.web.volumes{sentence}"


def test_tmpfs_is_targets_with_options(compose: Compose) -> None:
    assert compose.service("tmpfs: /run").tmpfs == {"/run": ""}
    assert compose.service("tmpfs: ['/run', '/tmp:size=1m,mode=700']").tmpfs == {
        "/run": "",
        "/tmp": "size=1m,mode=700",
    }
    with pytest.raises(ConfigError, match="tmpfs = 'run': 'run' must be an absolute path in the container"):
        compose.service("tmpfs: run")
    with pytest.raises(ConfigError, match=r"tmpfs = '/x': /x is already mounted by volumes"):
        compose.service("tmpfs: /x\nvolumes: ['/a:/x']")


def test_secrets_and_configs_are_files_mounted_read_only(compose: Compose) -> None:
    spec = compose.service(
        """
        secrets: [key]
        configs: [conf, {source: conf, target: /etc/app.ini}]
        """,
        top=TOP,
    )
    file: dict[str, Any] = {"read_only": True, "create_host_path": False}
    assert list(spec.mounts) == [
        MountSpec(type="bind", source=f"{compose.root}/key.txt", target="/run/secrets/key", **file),
        MountSpec(type="bind", source=f"{compose.root}/conf.ini", target="/conf", **file),
        MountSpec(type="bind", source=f"{compose.root}/conf.ini", target="/etc/app.ini", **file),
    ]


def test_a_volume_takes_the_place_of_a_secret(compose: Compose) -> None:
    spec = compose.service("secrets: [key]\nvolumes: ['/a:/run/secrets/key']", top=TOP)
    assert [mount.source for mount in spec.mounts] == ["/a"]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("secrets: [none]", "secrets[0] = 'none': none is not declared under secrets at the top of the file"),
        (
            "secrets: [variable]",
            "secrets[0] = 'variable': variable needs the variable KEY, which is not set",
        ),
        ("configs: [{target: x}]", "configs[0]: must have a source, a name at the top of the file"),
    ],
)
def test_a_secret_that_cannot_be_mounted_is_refused(compose: Compose, keys: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.service(keys, top=TOP)
    assert str(caught.value) == f"services.web.{sentence}"
