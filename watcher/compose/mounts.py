"""Read the mounts of a service: `volumes`, `tmpfs`, `secrets` and `configs`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace

from watcher.compose.field import Field, Section
from watcher.compose.project_protocol import Project
from watcher.compose.spec import MountSpec
from watcher.compose.specparts import ContainerFile

PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_SELINUX = ("z", "Z")
_OTHER_KINDS = ("image", "npipe", "cluster")
_READABLE = 0o444  # the default mode of compose
_RECURSIVE = ("enabled", "disabled", "writable", "readonly")


@dataclass(frozen=True, slots=True)
class ShortVolume:
    """The three parts of `source:target:options`."""

    source: str
    target: str
    options: tuple[str, ...] = ()

    @property
    def is_bind(self) -> bool:
        """Return whether the source is a path of the host, not the name of a volume."""
        return self.source[:1] in (".", "/", "~")


def _split_short(item: Field) -> ShortVolume:
    """Return the parts of a volume in short syntax; raise ConfigError."""
    text = item.word()
    parts = text.split(":")
    if len(parts) > 1 and len(parts[0]) == 1 and parts[0].isalpha():
        raise item.unsupported(
            "compose reads a single letter before ':' as a Windows drive: give the volume a longer name"
        )
    if text.startswith("\\\\"):
        raise item.unsupported("Windows paths are not supported")
    if len(parts) > 3 or not all(parts):
        raise item.error("must be [source:]target[:options]")
    if len(parts) == 1:
        return ShortVolume("", parts[0])
    return ShortVolume(parts[0], parts[1], tuple(parts[2].split(",")) if len(parts) == 3 else ())


def read_volumes(field: Field, volume_name: Callable[[Field, str], str]) -> tuple[MountSpec, ...]:
    """Return the volumes of a service; the later of two with one target wins, as with docker compose.

    Paths must be absolute. `volume_name` returns the engine's name of a volume for its key.
    """
    found: dict[str, MountSpec] = {}
    for item in field.items():
        mount = _read_long(item) if isinstance(item.value, dict) else _read_short(item)
        if not mount.target.startswith("/"):
            raise item.error("the target must be an absolute path in the container")
        if mount.type == "volume" and mount.source:
            mount = replace(mount, source=volume_name(item, mount.source))
        found[mount.target] = mount
    return tuple(found.values())


def read_tmpfs(field: Field) -> dict[str, str]:
    """Return `tmpfs` as target → options."""
    found = {}
    for text in field.word_or_words():
        target, _, options = text.partition(":")
        if not target.startswith("/"):
            raise field.error(f"{target!r} must be an absolute path in the container")
        found[target] = options
    return found


def _read_short(item: Field) -> MountSpec:
    short = _split_short(item)
    read_only = no_copy = False
    propagation = selinux = ""
    for option in short.options:
        if option in ("ro", "rw"):
            read_only = option == "ro"
        elif option == "nocopy" and not short.is_bind:
            no_copy = True
        elif option in PROPAGATIONS and short.is_bind:
            propagation = option
        elif option in _SELINUX:
            selinux = option
        elif option not in (
            "cached",
            "delegated",
            "consistent",
        ):  # Docker Desktop for Mac; no effect elsewhere
            raise item.error(f"the option {option!r} is not supported")
    return MountSpec(
        type="bind" if short.is_bind else "volume",
        source=short.source,
        target=posixpath.normpath(short.target),
        read_only=read_only,
        propagation=propagation,
        selinux=selinux,
        no_copy=no_copy,
    )


def _read_long(item: Field) -> MountSpec:
    section = Section(item)
    kind = section.need("type", "one of bind, volume, tmpfs")
    mount = MountSpec(
        type="bind",
        target=posixpath.normpath(section.need("target", "the path in the container").word()),
        source=section.read("source", Field.text, ""),
        read_only=section.read("read_only", Field.boolean, False),
    )
    section.ignore(("consistency",))  # Docker Desktop for Mac; no effect elsewhere
    reader = _KINDS.get(kind.text())
    if kind.text() in _OTHER_KINDS:
        raise kind.unsupported("is not supported: only bind, volume and tmpfs mounts are")
    if reader is None:
        raise kind.error("must be bind, volume or tmpfs")
    mount = reader(item, mount, Section(section.take(kind.text()) or Field(item.path, {})))
    section.end(f"a {kind.text()} mount")
    return mount


def _read_bind(item: Field, mount: MountSpec, options: Section) -> MountSpec:
    if not mount.source:
        raise item.error("must have a source, the path on the host")
    if not mount.source.startswith("/"):
        raise item.unsupported("Windows paths are not supported")
    mount = replace(
        mount,
        propagation=options.read("propagation", lambda given: given.choice(*PROPAGATIONS), ""),
        create_host_path=options.read("create_host_path", Field.boolean, True),
        recursive=options.read("recursive", lambda given: given.choice(*_RECURSIVE), ""),
        selinux=options.read("selinux", lambda given: given.choice(*_SELINUX), ""),
    )
    options.end("a bind mount")
    return mount


def _read_volume(_: Field, mount: MountSpec, options: Section) -> MountSpec:
    mount = replace(
        mount,
        type="volume",
        no_copy=options.read("nocopy", Field.boolean, False),
        subpath=options.read("subpath", Field.word, ""),
        labels=options.read("labels", Field.labels, {}),
    )
    options.end("a volume mount")
    return mount


def _read_tmpfs_mount(item: Field, mount: MountSpec, options: Section) -> MountSpec:
    if mount.source:
        raise item.error("a tmpfs mount has no source")
    mount = replace(
        mount,
        type="tmpfs",
        tmpfs_size=options.read("size", Field.size, 0),
        tmpfs_mode=options.read("mode", _read_file_mode, 0),
    )
    options.end("a tmpfs mount")
    return mount


_KINDS: dict[str, Callable[[Field, MountSpec, Section], MountSpec]] = {
    "bind": _read_bind,
    "volume": _read_volume,
    "tmpfs": _read_tmpfs_mount,
}


def _read_file_mode(field: Field) -> int:
    """Return permissions from a YAML number or a string of octal digits."""
    if isinstance(field.value, str):
        digits = field.value.removeprefix("0o")
        if not digits or set(digits) - set("01234567"):
            raise field.error("must be octal permissions such as 0755")
        return int(digits, 8)
    return field.integer(0, 0o7777)


def read_files(
    field: Field, where: str, project: Project, *, secret: bool
) -> tuple[tuple[MountSpec, ...], tuple[ContainerFile, ...]]:
    """Return the mounts and files of `secrets` (`where` = /run/secrets) or `configs` (`where` = /).

    A file of the host is mounted read-only. Other content is written into the container before it starts.
    """
    mounts: dict[str, MountSpec] = {}
    files: dict[str, ContainerFile] = {}
    for item in field.items():
        name = target = item
        rights: dict[str, Field] = {}
        if isinstance(item.value, dict):
            section = Section(item)
            rights = {key: given for key in ("uid", "gid", "mode") if (given := section.take(key))}
            name = section.need("source", "a name at the top of the file")
            target = section.take("target") or name
            section.end("a secret or config")
        source = (
            project.secret_source(name, name.word()) if secret else project.config_source(name, name.word())
        )
        path = posixpath.normpath(posixpath.join(where, target.word()))
        mounts.pop(path, None)
        files.pop(path, None)
        if isinstance(source, str):
            if rights:
                rule = "are ignored for a file of the host: it keeps its owner and mode"
                project.warn(f"{item.path}: {', '.join(rights)} {rule}")
            mounts[path] = MountSpec(
                type="bind", source=source, target=path, read_only=True, create_host_path=False
            )
        else:
            files[path] = ContainerFile(
                target=path,
                content=source,
                uid=_read_id(rights.get("uid")),
                gid=_read_id(rights.get("gid")),
                mode=_read_file_mode(rights["mode"]) if "mode" in rights else _READABLE,
                secret=secret,
            )
    return tuple(mounts.values()), tuple(files.values())


def _read_id(field: Field | None) -> int:
    return field.integer(0, 2**31 - 1) if field else 0
