"""`volumes`, `tmpfs`, `secrets` and `configs` of a service: what is mounted into the container."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace

from watcher.compose.field import Field, Section
from watcher.compose.spec import MountSpec

PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_SELINUX = ("z", "Z")


@dataclass(frozen=True, slots=True)
class ShortVolume:
    """The three parts of `source:target:options`."""

    source: str
    target: str
    options: tuple[str, ...] = ()

    @property
    def is_bind(self) -> bool:
        """Whether the source is a path of the host and not the name of a volume."""
        return self.source[:1] in (".", "/", "~")

    def __str__(self) -> str:
        """The short syntax again."""
        parts = [self.source] if self.source else []
        return ":".join([*parts, self.target, *([",".join(self.options)] if self.options else [])])


def split_short(item: Field) -> ShortVolume:
    """The parts of a volume in short syntax; raises ConfigError."""
    text = item.word()
    parts = text.split(":")
    if (len(text) > 2 and (len(parts[0]) == 1 and parts[0].isalpha() and len(parts) > 1)) or text.startswith(
        "\\\\"
    ):
        raise item.error("paths of Windows are not supported")
    if len(parts) > 3 or not all(parts):
        raise item.error("must be [source:]target[:options]")
    if len(parts) == 1:
        return ShortVolume("", parts[0])
    return ShortVolume(parts[0], parts[1], tuple(parts[2].split(",")) if len(parts) == 3 else ())


def read_volumes(field: Field, volume_name: Callable[[Field, str], str]) -> tuple[MountSpec, ...]:
    """The volumes of a service; of two for one target the later one counts, as with docker compose.

    Paths must be absolute by now. `volume_name` gives a volume's name at the engine, from its key.
    """
    found: dict[str, MountSpec] = {}
    for item in field.items():
        mount = _long(item) if isinstance(item.value, dict) else _short(item)
        if not mount.target.startswith("/"):
            raise item.error("the target must be an absolute path in the container")
        if mount.type == "volume" and mount.source:
            mount = replace(mount, source=volume_name(item, mount.source))
        found[mount.target] = mount
    return tuple(found.values())


def read_tmpfs(field: Field) -> dict[str, str]:
    """Target → options of `tmpfs`."""
    found = {}
    for text in field.word_or_words():
        target, _, options = text.partition(":")
        if not target.startswith("/"):
            raise field.error(f"{target!r} must be an absolute path in the container")
        found[target] = options
    return found


def _short(item: Field) -> MountSpec:
    short = split_short(item)
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


def _long(item: Field) -> MountSpec:
    section = Section(item)
    kind = section.take("type")
    if kind is None:
        raise item.error("must have a type: bind, volume or tmpfs")
    type_ = kind.text()
    target, source = section.take("target"), section.take("source")
    if target is None:
        raise item.error("must have a target, the path in the container")
    read_only = section.take("read_only")
    section.take("consistency")  # Docker Desktop for Mac; no effect elsewhere
    mount = MountSpec(
        type="bind",
        target=posixpath.normpath(target.word()),
        source=source.text() if source else "",
        read_only=read_only.boolean() if read_only else False,
    )
    options = section.take(type_)
    section.end(f"a {type_} mount")
    match type_:
        case "bind":
            if not mount.source:
                raise item.error("a bind mount must have a source, the path on the host")
            return _bind(mount, options)
        case "volume":
            return _volume(replace(mount, type="volume"), options)
        case "tmpfs":
            if mount.source:
                raise item.error("a tmpfs mount has no source")
            return _tmpfs(replace(mount, type="tmpfs"), options)
    raise kind.error("must be bind, volume or tmpfs; other mounts are not supported")


def _bind(mount: MountSpec, options: Field | None) -> MountSpec:
    if options is None:
        return mount
    section = Section(options)
    propagation = section.take("propagation")
    create = section.take("create_host_path")
    recursive = section.take("recursive")
    selinux = section.take("selinux")
    section.end("a bind mount")
    return replace(
        mount,
        propagation=propagation.choice(*PROPAGATIONS) if propagation else "",
        create_host_path=create.boolean() if create else True,
        recursive=recursive.choice("enabled", "disabled", "writable", "readonly") if recursive else "",
        selinux=selinux.choice(*_SELINUX) if selinux else "",
    )


def _volume(mount: MountSpec, options: Field | None) -> MountSpec:
    if options is None:
        return mount
    section = Section(options)
    no_copy, subpath, labels = section.take("nocopy"), section.take("subpath"), section.take("labels")
    section.end("a volume mount")
    return replace(
        mount,
        no_copy=no_copy.boolean() if no_copy else False,
        subpath=subpath.word() if subpath else "",
        labels=labels.labels() if labels else {},
    )


def _tmpfs(mount: MountSpec, options: Field | None) -> MountSpec:
    if options is None:
        return mount
    section = Section(options)
    size, mode = section.take("size"), section.take("mode")
    section.end("a tmpfs mount")
    return replace(
        mount,
        tmpfs_size=size.size() if size else 0,
        tmpfs_mode=file_mode(mode) if mode else 0,
    )


def file_mode(field: Field) -> int:
    """Permissions: a number as YAML gives it, or octal digits in a word."""
    if isinstance(field.value, str):
        digits = field.value.removeprefix("0o")
        if not digits or set(digits) - set("01234567"):
            raise field.error("must be octal permissions such as 0755")
        return int(digits, 8)
    return field.integer(0, 0o7777)


def read_files(field: Field, where: str, source_file: Callable[[Field, str], str]) -> tuple[MountSpec, ...]:
    """`secrets` (`where` = /run/secrets) or `configs` (`where` = /): files mounted read-only.

    `source_file` gives the path on the host of a declared secret or config.
    """
    found: dict[str, MountSpec] = {}
    for item in field.items():
        target_text = ""
        source, source_field = "", item
        if isinstance(item.value, dict):
            section = Section(item)
            name, target = section.take("source"), section.take("target")
            for refused, reason in section.drop(dict.fromkeys(("uid", "gid", "mode"), "")):
                raise refused.error(f"cannot be had for a file that is mounted{reason}")
            section.end("a secret or config")
            if name is None:
                raise item.error("must have a source")
            source, source_field = name.word(), name
            target_text = target.word() if target else ""
        else:
            source = item.word()
        path = source_file(source_field, source)
        target_path = posixpath.join(where, target_text or source)
        found[target_path] = MountSpec(
            type="bind", source=path, target=target_path, read_only=True, create_host_path=False
        )
    return tuple(found.values())
