"""Select the stale objects, each with the reason: a pure function of the inventory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from watcher import dockerfile, labels
from watcher.engine import Container, Image
from watcher.observers import humanize
from watcher.observers.events import short
from watcher.prune.model import Cause, Inventory, ObjectKind, PrunePolicy, Reason, Verdict

# A container in any other state runs, starts or is being removed.
_STOPPED = frozenset({"created", "exited", "dead"})
_IMAGE_KINDS = {labels.FINAL: ObjectKind.FINAL, labels.BUILDER: ObjectKind.BUILDER}


def select_stale(inventory: Inventory, policy: PrunePolicy, now: float) -> tuple[Verdict, ...]:
    """Return verdicts for all images and for the containers of this service, in the order of execution.

    `now` is Unix seconds by the engine's clock. Can remove: containers of this service that a killed daemon
    left; images of this service that are not needed; surplus `rev-…` tags; and with `policy.all_projects`
    untagged images with the builder label.
    """
    containers = [
        _judge_container(item, inventory, policy, now)
        for item in inventory.containers
        if labels.is_app(item.labels, inventory.scope.project, inventory.scope.service)
    ]
    leaving = {verdict.id for verdict in containers if verdict.remove}
    users: dict[str, list[Container]] = defaultdict(list)
    for item in inventory.containers:
        if item.id not in leaving:
            users[item.image].append(item)
    judge = _Judge(inventory, policy, now, users)
    images = [judge.judge_image(item) for item in inventory.images]
    staying = {verdict.id for verdict in images if not verdict.remove}
    tags = [tag for item in inventory.images if item.id in staying for tag in judge.surplus_tags(item)]
    return (*containers, *images, *tags)


def _last_touched(image: Image) -> float:
    """Return when the image was made or last tagged: a cached build tags an old image again."""
    return max(image.created, image.tagged)


def _too_young(age: float, grace: float) -> Reason | None:
    if age >= grace:
        return None
    text = (
        f"{humanize.seconds(max(0.0, age))} old: younger than the grace period of {humanize.seconds(grace)}"
    )
    return Reason(Cause.YOUNG, text)


def _judge_container(item: Container, inventory: Inventory, policy: PrunePolicy, now: float) -> Verdict:
    """Judge a container of this service: it is removed if it is stopped, old and named by the daemon."""
    scope = inventory.scope
    stale = Verdict(
        ObjectKind.CONTAINER,
        item.id,
        item.name,
        0,
        remove=True,
        why=Reason(Cause.LEFT_BEHIND, "stopped and left behind"),
        created=item.changed,
    )
    if item.id in inventory.needed.ids:
        return stale.as_kept(Cause.NEEDED, "the daemon needs it")
    if item.id not in inventory.own:
        text = "not created by the watcher: it has the labels from its image, or is a copy"
        return stale.as_kept(Cause.FOREIGN, text)
    if item.state not in _STOPPED:
        return stale.as_kept(Cause.IN_USE, f"it is {item.state}")
    if item.name == scope.container:
        return stale.as_kept(Cause.NEEDED, "it has the service's own name")
    if not item.name.startswith(f"{scope.container}."):
        return stale.as_kept(Cause.FOREIGN, f"its name is not a name of the daemon for {scope.container}")
    if young := _too_young(now - item.changed, policy.grace):
        return replace(stale, remove=False, why=young)
    return stale


class _Judge:
    """Judges single images with knowledge of all of them."""

    def __init__(
        self, inventory: Inventory, policy: PrunePolicy, now: float, users: Mapping[str, Sequence[Container]]
    ) -> None:
        self._scope, self._needed, self._known = inventory.scope, inventory.needed, inventory.known
        self._policy, self._now, self._users = policy, now, users
        own = [image for image in inventory.images if self._is_own(image) and not self._why_foreign(image)]
        own.sort(key=lambda image: (_last_touched(image), image.id), reverse=True)
        builders = (image.id for image in own if self._kind_of(image) is ObjectKind.BUILDER)
        self._newest_builder = next(builders, None) if policy.builder_image else None
        good = [
            image.id for image in own if self._kind_of(image) is ObjectKind.FINAL and self._is_good(image)
        ]
        good.sort(key=lambda image: image != self._needed.live)
        self._last_good = frozenset(good[: policy.kept_finals])

    def judge_image(self, image: Image) -> Verdict:
        """Return the verdict on one image."""
        kind = self._kind_of(image)
        name = next(iter((*image.tags, *image.digests)), short(image.id))
        stale = Reason(Cause.UNTAGGED, "an untagged builder image")
        if kind is ObjectKind.BUILDER and image.tags:
            stale = Reason(Cause.SUPERSEDED, "an exported builder image, and build.builder_image is off")
        if kind is ObjectKind.FINAL:
            stale = Reason(Cause.SUPERSEDED, "a superseded build")
        why = (
            self._foreign_reason(image)
            or self._use_reason(image)
            or self._age_reason(image)
            or self._rank_reason(image)
        )
        return Verdict(
            kind,
            image.id,
            name,
            image.size,
            remove=why is None,
            why=why or stale,
            tags=image.tags,
            created=_last_touched(image),
        )

    def surplus_tags(self, image: Image) -> list[Verdict]:
        """Return verdicts for surplus tags of an image that stays: revisions with equal images share one."""
        if (
            self._kind_of(image) is not ObjectKind.FINAL
            or self._why_foreign(image)
            or self._age_reason(image)
        ):
            return []
        marked = [(tag, revision) for tag in image.tags if (revision := self._scope.revision_of(tag))]
        free = sorted(tag for tag, revision in marked if not self._needed.has_revision(revision))
        kept = max(0, self._policy.kept_finals - (len(marked) - len(free)))
        why = Reason(Cause.SURPLUS, f"one of {len(marked)} tags of the same image")
        at = _last_touched(image)
        return [
            Verdict(ObjectKind.TAG, image.id, tag, 0, remove=True, why=why, tags=(tag,), created=at)
            for tag in free[kept:]
        ]

    def _is_own(self, image: Image) -> bool:
        return self._scope.matches_labels(image.labels)

    def _kind_of(self, image: Image) -> ObjectKind:
        if self._is_own(image):
            return _IMAGE_KINDS.get(image.labels.get(labels.KIND, ""), ObjectKind.OTHER)
        return ObjectKind.BUILDER if self._dangling_builder(image) else ObjectKind.OTHER

    def _dangling_builder(self, image: Image) -> bool:
        """Return whether `docker image prune --filter label=…` would remove it."""
        return not image.tags and not image.digests and self._policy.has_builder_label(image.labels)

    def _is_good(self, image: Image) -> bool:
        """Return whether a roll-back to it is possible: it did not fail, and a tag of its revision exists."""
        return image.id == self._needed.live or bool(image.tags and image.id not in self._needed.failed)

    # Reasons to keep an image; None without one.

    def _foreign_reason(self, image: Image) -> Reason | None:
        stranger = self._why_foreign(image)
        return Reason(Cause.FOREIGN, stranger) if stranger else None

    def _why_foreign(self, image: Image) -> str | None:
        """Return why the image belongs to another owner; None if it is ours."""
        scope, found = self._scope, image.labels
        if not self._is_own(image):
            return self._why_not_own(image)
        if found.get(labels.KIND) not in _IMAGE_KINDS or labels.REVISION in found or image.parent:
            return "made from an image or a container of this service, not by the watcher"
        if not image.tags and image.id not in self._known and not self._ends_with_own_step(image):
            if self._dangling_builder(image) and self._policy.all_projects:
                return None
            return (
                "untagged, and its labels may come from the image it was built from: nothing shows that the "
                "watcher built it; `docker image prune` removes it"
            )
        if foreign := next((tag for tag in image.tags if not scope.owns_tag(tag, image.id)), None):
            return f"tagged {foreign}, not by the watcher"
        # The containerd store gives every tagged image a digest reference in the repository of its tag. A
        # digest reference in another repository was pushed or pulled; that image is not dangling.
        named = (
            name
            for name in image.digests
            if not (image.tags and scope.holds_reference(name.partition("@")[0]))
        )
        if digest := next(named, None):
            return f"named {digest}, not by the watcher"
        return None

    def _ends_with_own_step(self, image: Image) -> bool:
        """Return whether the last step of the builder image is one that a watcher wrote.

        An image that was built or committed from it inherits the labels, but has another last step.
        """
        if self._kind_of(image) is not ObjectKind.BUILDER:
            return False
        step = image.last_step
        return dockerfile.is_own_command(step, self._scope.project) or dockerfile.is_unclaimed_command(step)

    def _why_not_own(self, image: Image) -> str | None:
        """Return why the image is not of this service; None if the policy removes it anyway."""
        found = image.labels
        if self._dangling_builder(image) and self._policy.all_projects:
            return None
        if project := found.get(labels.PROJECT):
            service = found.get(labels.SERVICE)
            return f"it belongs to service {service} of project {project}"
        if self._dangling_builder(image):
            return (
                f"untagged and labelled {self._policy.builder_label}, but nothing shows that it is of this "
                "project; `watcher prune --all-projects` removes it"
            )
        return "of another owner"

    def _use_reason(self, image: Image) -> Reason | None:
        """Return the reason if a container or the daemon uses the image."""
        if image.id == self._needed.live:
            return Reason(Cause.LIVE, "it is live")
        if users := self._users.get(image.id):
            return Reason(Cause.IN_USE, f"in use by container {users[0].name} ({users[0].state})")
        revisions = (revision for tag in image.tags if (revision := self._scope.revision_of(tag)))
        if image.id in self._needed.ids or any(map(self._needed.has_revision, revisions)):
            return Reason(Cause.NEEDED, "the daemon needs it")
        return None

    def _age_reason(self, image: Image) -> Reason | None:
        """Return the reason if the image is younger than the grace period: its build can still be running."""
        grace = self._policy.image_grace if self._is_own(image) else self._policy.grace
        return _too_young(self._now - _last_touched(image), grace)

    def _rank_reason(self, image: Image) -> Reason | None:
        """Return the reason if it is one of the newest images of its kind."""
        moving = next(filter(None, map(self._scope.moving_tag, image.tags)), None)
        if moving and (self._policy.builder_image or self._kind_of(image) is not ObjectKind.BUILDER):
            return Reason(Cause.NEWEST, moving)
        if image.id == self._newest_builder:
            return Reason(Cause.NEWEST, "the newest builder image")
        if image.id in self._last_good:
            kept = humanize.count(self._policy.kept_finals, "final image")
            return Reason(Cause.LAST_GOOD, f"one of the last {kept}")
        return None
