"""Everything that decides an image besides the tree, and the references of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from watcher.buildkit import CacheImport
from watcher.dockerfile import Level, Runs
from watcher.observers.events import short

NOT_IN_REVISION: Mapping[str, str] = {
    "service": "a revision is one service's; two are never compared",
    "owner": "it is in the image's labels only; a service that takes over an image need not build it again",
    "project": "it names caches and labels, and is the same for the project's life",
    "cache_scope": "it names caches, and what they hold decides no image",
    "folder": "it is only shown",
    "cache_from": "results may come from there; they are the same results",
    "runs": "the container's digest, which every revision contains, covers all of it",
    "keep_programs": "a program that is found is the one that would be linked",
    "builder_label": "it finds builder images for a prune; the Dockerfile sets the label itself",
}
"""Fields of `Recipe` that are no part of a revision, and why. Every other field is, also a new one."""

_ENTRIES = {
    "build_args": "arg",
    "image_labels": "label",
    "frontend_attrs": "attr",
    "contexts": "context",
    "images": "image",
    "secrets": "secret",
}
"""What an entry of a mapping is called in `Recipe.inputs`, where that is not the field's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the image besides the tree. `image` is the compose file's reference, tagged."""

    service: str
    project: str  # project id: scopes caches, labels and the engine's copy of the context
    image: str
    cache_scope: str = ""  # `shared_cache_scope`: Go caches of several projects; "": the project's own only
    owner: str = ""  # the service in whose name the image is labelled, where several use the same image
    folder: str = ""  # the context, relative to the project's folder: only for messages
    dockerfile: str = "Dockerfile"  # relative to the context
    inline: str | None = None  # the text of a Dockerfile in the compose file, instead of `dockerfile`
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    level: Level = Level.EXACT
    platform: str = ""
    image_labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes | Path] = field(default_factory=dict)
    ssh: Mapping[str, Path] = field(default_factory=dict)  # sockets of SSH agents by id
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)  # see `SolveRequest`
    network: str = ""
    contexts: Mapping[str, Path] = field(default_factory=dict)  # folders that are read by their names
    images: Mapping[str, str] = field(default_factory=dict)  # images that have other names in the Dockerfile
    tags: tuple[str, ...] = ()  # further references for each image
    cache_from: tuple[CacheImport, ...] = ()
    entitlements: tuple[str, ...] = ()
    no_cache: bool = False
    runs: Runs = field(default_factory=Runs)  # what the compose file has the container run
    keep_programs: bool = True  # False: link even if the same program was saved, to measure the time
    builder_label: str = "stage=builder"  # how the Dockerfile marks its compile stage

    @property
    def labelled_service(self) -> str:
        """Return the service in whose name the image is labelled."""
        return self.owner or self.service

    @property
    def markers(self) -> dict[str, str]:
        """For each folder, the path in the main context under which the built Dockerfile reads from it."""
        return {name: f"/.additional-context-{number}" for number, name in enumerate(self.contexts)}

    @property
    def repository(self) -> str:
        """Return the image reference without its tag."""
        head, colon, tag = self.image.rpartition(":")
        return head if colon and "/" not in tag else self.image

    def tag(self, revision: str) -> str:
        """Return the reference of the image of `revision`."""
        return f"{self.repository}:rev-{short(revision)}"

    @property
    def builder_tag(self) -> str:
        """Return the reference of the newest exported builder-stage image."""
        return f"{self.repository}:builder"

    @property
    def moving(self) -> tuple[str, ...]:
        """Return the references of the image in the compose file: they name the live image."""
        return tuple(dict.fromkeys((self.image, *self.tags)))

    def builder_name(self, image: str) -> str:
        """Return the reference of an exported builder-stage image when a newer one gets `builder_tag`."""
        return f"{self.builder_tag}-{short(image)}"

    def inputs(self) -> dict[str, str]:
        """Return the part of a revision that is not the tree: every field but those of `NOT_IN_REVISION`.

        A build that failed is tried again when its revision changes. So what only decides whether a build
        succeeds belongs here too: a secret, an SSH agent, an entitlement.
        """
        found: dict[str, str] = {}
        for each in fields(self):
            if each.name not in NOT_IN_REVISION:
                found |= _entries(each.name, getattr(self, each.name))
        return found


def _entries(name: str, value: Any) -> dict[str, str]:
    """Return the entries of a field; an empty mapping and False have none."""
    match value:
        case None:
            return {name: ""}
        case bool():
            return {name: "yes"} if value else {}
        case str():
            return {name: str(value)}
        case tuple():
            return {name: " ".join(value)}
        case Mapping() if name == "ssh":  # its sockets get new paths with every login
            return {f"{name} {key}": "" for key in value}
        case Mapping():
            return {f"{_ENTRIES.get(name, name)} {key}": _text_of(item) for key, item in value.items()}
    raise TypeError(f"Recipe.{name} has no form in a revision: {value!r}")


def _text_of(value: str | Path | bytes) -> str:
    return sha256(value).hexdigest() if isinstance(value, bytes) else str(value)


def full_reference(ref: str) -> str:
    """Return the reference with registry and tag written out, as BuildKit's exporters need it."""
    head, colon, tag = ref.rpartition(":")
    name, tag = (head, tag) if colon and "/" not in tag else (ref, "latest")
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}:{tag}"
    if first == "localhost" or set(first) & {".", ":"}:
        return f"{name}:{tag}"
    return f"docker.io/{name}:{tag}"
