"""Select what services left that are no longer in the compose file: pure, with a reason for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from watcher import labels
from watcher.engine import Container, Image
from watcher.prune.model import Cause, Needed, ObjectKind, Reason, ServiceScope, Verdict
from watcher.prune.select_gone import Holdings, guess_scopes, select_gone

_IMAGES = (ObjectKind.FINAL, ObjectKind.BUILDER, ObjectKind.TAG)


def find_left_services(holdings: Holdings, project: str, present: Collection[str]) -> set[str]:
    """Return the services in the labels of the project's objects that are not among the `present` ones."""
    found: Iterable[Container | Image] = (*holdings.containers, *holdings.images)
    return {
        service
        for item in found
        if item.labels.get(labels.PROJECT) == project and (service := item.labels.get(labels.SERVICE, ""))
    } - {*present}


def select_left_services(
    holdings: Holdings, project: str, present: Collection[str], needed: Collection[Needed]
) -> tuple[Verdict, ...]:
    """Return verdicts for the containers and images of services that left, in the order of execution.

    `needed` is what the present services need: one of them can run an image that was made for one that left.
    """
    left = find_left_services(holdings, project, present)

    def is_left(found: Mapping[str, str]) -> bool:
        return found.get(labels.PROJECT) == project and found.get(labels.SERVICE) in left

    own = Holdings(
        [item for item in holdings.containers if is_left(item.labels)],
        [item for item in holdings.images if is_left(item.labels)],
        alone=holdings.alone,
    )
    scopes = tuple(replace(scope, image=f"{scope.image}latest") for scope in guess_scopes(own, project))
    verdicts = select_gone(own, project, scopes)
    leaving = {verdict.id for verdict in verdicts if verdict.kind is ObjectKind.CONTAINER and verdict.remove}
    users = {item.image: item.name for item in holdings.containers if item.id not in leaving}
    objects: Iterable[Container | Image] = (*own.containers, *own.images)
    services = {item.id: item.labels[labels.SERVICE] for item in objects}
    return tuple(_finish(verdict, services, users, scopes, needed) for verdict in verdicts)


def _finish(
    verdict: Verdict,
    services: Mapping[str, str],
    users: Mapping[str, str],
    scopes: Collection[ServiceScope],
    needed: Collection[Needed],
) -> Verdict:
    """Return the verdict with its reason, kept if the image is used or needed by a present service."""
    if not verdict.remove:
        return verdict
    if verdict.kind in _IMAGES:
        if user := users.get(verdict.id):
            return verdict.as_kept(Cause.IN_USE, f"in use by container {user}")
        if any(_is_needed(verdict, scopes, each) for each in needed):
            return verdict.as_kept(Cause.NEEDED, "the daemon needs it")
    text = f"its service {services[verdict.id]} is no longer in the compose file"
    return replace(verdict, why=Reason(Cause.SERVICE_GONE, text))


def _is_needed(verdict: Verdict, scopes: Collection[ServiceScope], needed: Needed) -> bool:
    if verdict.id == needed.live or verdict.id in needed.ids:
        return True
    return any(needed.has_revision(revision) for revision in _revisions(verdict, scopes))


def _revisions(verdict: Verdict, scopes: Collection[ServiceScope]) -> Iterator[str]:
    for tag in verdict.tags:
        yield from (revision for scope in scopes if (revision := scope.revision_of(tag)))
