"""Select the objects of a deleted project to remove, each with the reason: a pure function.

The proof of ownership is that of a running project (`labels`, `ownership`): a container carries the id of the
image that it was created from, an image has a name that only the watcher gives, a network carries its own
name. Labels alone prove nothing. Volumes are not touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from watcher import labels, regex
from watcher.builder import full_reference
from watcher.engine import Container, Image, Network
from watcher.engine.ownership import proven_containers
from watcher.observers.events import short
from watcher.prune.model import Cause, ObjectKind, Reason, ServiceScope, Verdict

_REVISION_TAG = regex.compile(r"rev-[0-9a-f]{12}")
_IMAGE_KINDS = {labels.FINAL: ObjectKind.FINAL, labels.BUILDER: ObjectKind.BUILDER}
_ORDER = (
    labels.APP,
    labels.ADDRESS,
    labels.PAUSE,
)  # containers before the pause container whose network they use
_GONE = Reason(Cause.PROJECT_GONE, "its project is gone")
_STOPPED = Reason(Cause.PROJECT_GONE, "its project is gone; it is stopped first")


@dataclass(frozen=True, slots=True)
class Holdings:
    """The objects on an engine, of all owners. `alone` are bytes of layers in no other image, by image id."""

    containers: Sequence[Container] = ()
    images: Sequence[Image] = ()
    networks: Sequence[Network] = ()
    alone: Mapping[str, int] = field(default_factory=dict)

    def project_ids(self) -> set[str]:
        """Return the ids of all projects in the labels of these objects."""
        found: Iterable[Container | Image | Network] = (*self.containers, *self.images, *self.networks)
        return {item.labels[labels.PROJECT] for item in found if item.labels.get(labels.PROJECT)}

    def folder_of(self, project: str) -> str:
        """Return the folder in the labels of a project's containers; empty if there is none."""
        key = "com.docker.compose.project.working_dir"
        named = (item.labels.get(key) for item in self.containers if _has_project_label(item.labels, project))
        return next(filter(None, named), "")


def _has_project_label(found: Mapping[str, str], project: str) -> bool:
    return found.get(labels.PROJECT) == project


def guess_scopes(holdings: Holdings, project: str) -> tuple[ServiceScope, ...]:
    """Return the names of an unregistered project's images, from the tags of their revisions."""
    found = {
        (image.labels.get(labels.SERVICE, ""), full_reference(tag).rpartition(":")[0])
        for image in holdings.images
        if _has_project_label(image.labels, project)
        for tag in image.tags
        if _REVISION_TAG.fullmatch(full_reference(tag).rpartition(":")[2])
    }
    # No tag ends in ":", so none counts as the tag of the compose file.
    return tuple(
        ServiceScope(project, service, f"{name}:", f"{name}:builder", "") for service, name in sorted(found)
    )


def select_gone(holdings: Holdings, project: str, scopes: Collection[ServiceScope]) -> tuple[Verdict, ...]:
    """Return verdicts for all objects with the id of the project, in the order of execution."""
    containers = list(_judge_containers(holdings, project))
    leaving = {verdict.id for verdict in containers if verdict.remove}
    staying = [item for item in holdings.containers if item.id not in leaving]
    users: dict[str, str] = {}
    for item in staying:
        users |= dict.fromkeys((item.image, *item.networks), item.name)
    # The watcher creates containers only from its own images, so these images are ours under any name.
    known = {
        item.image
        for item in holdings.containers
        if item.id in leaving and labels.DEPENDENCY not in item.labels
    }
    networks = (
        _judge_network(network, users)
        for network in holdings.networks
        if _has_project_label(network.labels, project)
    )
    images = (
        verdict
        for image in holdings.images
        if _has_project_label(image.labels, project)
        for verdict in _judge_image(image, scopes, users, known, holdings.alone.get(image.id, 0))
    )
    return (*containers, *networks, *images)


def _judge_containers(holdings: Holdings, project: str) -> Iterator[Verdict]:
    own = {item.id for item in proven_containers(holdings.containers)}
    claims = [
        item
        for item in holdings.containers
        if project in (item.labels.get(labels.PROJECT), item.labels.get(labels.DEPENDENCY))
    ]
    ours = {item.id for item in claims if item.id in own}
    joined = {
        name: item.name for item in holdings.containers if item.id not in ours for name in item.networks
    }
    for item in sorted(claims, key=lambda item: item.labels.get(labels.KIND) == labels.PAUSE):
        stopped = item.state in ("created", "exited", "dead")
        why = _GONE if stopped else _STOPPED
        verdict = Verdict(ObjectKind.CONTAINER, item.id, item.name, 0, remove=True, why=why)
        known = item.labels.get(labels.KIND) in _ORDER or item.labels.get(labels.DEPENDENCY) == project
        if not known or item.id not in own:
            text = "not created by the watcher: it has the labels from its image, or is a copy"
            yield verdict.as_kept(Cause.FOREIGN, text)
        elif item.state == "removing":
            yield verdict.as_kept(Cause.IN_USE, "it is being removed")
        elif user := joined.get(f"container:{item.id}"):
            yield verdict.as_kept(Cause.IN_USE, f"container {user} uses its network")
        else:
            yield verdict


def _judge_network(network: Network, users: Mapping[str, str]) -> Verdict:
    verdict = Verdict(ObjectKind.NETWORK, network.id, network.name, 0, remove=True, why=_GONE)
    if not labels.is_own_network(network.labels, network.name):
        return verdict.as_kept(Cause.FOREIGN, "not created by the watcher: its labels are a copy")
    if user := users.get(network.id) or users.get(network.name):
        return verdict.as_kept(Cause.IN_USE, f"in use by container {user}")
    return verdict


def _judge_image(
    image: Image,
    scopes: Collection[ServiceScope],
    users: Mapping[str, str],
    known: Collection[str],
    size: int,
) -> Iterator[Verdict]:
    """Yield the verdict on an image; if it has foreign names too, on the names of the watcher."""
    found = image.labels
    kind = _IMAGE_KINDS.get(found.get(labels.KIND, ""), ObjectKind.OTHER)
    name = next(iter((*image.tags, *image.digests)), short(image.id))
    verdict = Verdict(kind, image.id, name, size, remove=True, why=_GONE, tags=image.tags)
    if kind is ObjectKind.OTHER or labels.REVISION in found or image.parent:
        text = "made from an image or a container of this project, not by the watcher"
        yield verdict.as_kept(Cause.FOREIGN, text)
        return
    own = [scope for scope in scopes if scope.matches_labels(found)]
    proofs = tuple(tag for tag in image.tags if any(scope.proves_tag(tag, image.id) for scope in own))
    if not proofs and image.id not in known:
        text = "no name shows that the watcher built it: its labels can come from its base image"
        yield verdict.as_kept(Cause.FOREIGN, f"{text}; `docker rmi {name}` removes it")
        return
    if user := users.get(image.id):
        yield verdict.as_kept(Cause.IN_USE, f"in use by container {user}")
        return
    others = [tag for tag in image.tags if not any(scope.owns_tag(tag, image.id) for scope in own)]
    others += _foreign_digests(image, own)
    if not others:
        yield verdict
        return
    yield verdict.as_kept(
        Cause.FOREIGN, f"{others[0]} is another name of it; `docker rmi {others[0]}` removes that"
    )
    for tag in proofs:
        yield Verdict(ObjectKind.TAG, image.id, tag, 0, remove=True, why=_GONE, tags=(tag,))


def _foreign_digests(image: Image, own: Sequence[ServiceScope]) -> list[str]:
    """Return foreign digest references; the containerd store adds one in the repository of a tag."""
    return [
        name
        for name in image.digests
        if not (image.tags and any(scope.holds_reference(name.partition("@")[0]) for scope in own))
    ]
