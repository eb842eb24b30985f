"""Define the values of pruning: the objects, the policy and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from watcher import labels, regex
from watcher.builder import Recipe, full_reference
from watcher.engine import CacheRecord, Container, Image
from watcher.observers.events import PrunedItem, short
from watcher.settings import PruneSettings

_REVISION_TAG = regex.compile(r"rev-([0-9a-f]{12})")

LOW_SHARE = 0.10  # a file system with less than this part free is nearly full …
LOW_BYTES = 5 * 1024**3  # … unless so many bytes are free


class ObjectKind(StrEnum):
    """The role of an object."""

    FINAL = "final"
    BUILDER = "builder"
    CONTAINER = "container"
    STEP = "step"  # a build cache record of one of our steps
    TAG = "tag"  # one of several of our tags on an image that stays
    NETWORK = "network"
    GO_CACHE = "go-cache"  # a Go cache mount of a deleted project
    OTHER = "other"  # an image of another owner


class Cause(StrEnum):
    """The reason for a verdict as one word, for programs and metrics."""

    # Causes to remove.
    SUPERSEDED = "superseded"  # a final image that is older than those that are kept
    UNTAGGED = "untagged"  # a builder image without a tag
    LEFT_BEHIND = "left-behind"  # a stopped container of a daemon that was killed
    SURPLUS = "surplus"  # a surplus tag of an image that stays
    PROJECT_GONE = "project-gone"  # the folder of its project was deleted
    SERVICE_GONE = "service-gone"  # its service is no longer in the compose file
    # Causes to keep.
    LIVE = "live"
    NEEDED = "needed"  # by a build, a deploy or a roll-back
    IN_USE = "in-use"
    YOUNG = "young"
    NEWEST = "newest"
    LAST_GOOD = "last-good"
    FOREIGN = "foreign"
    UNPROVEN = "unproven"  # made by a watcher for an unknown project
    GONE = "gone"  # already removed when its turn came
    REFUSED = "refused"  # the engine refused to remove it


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason for a verdict: `cause` for programs, `text` for people."""

    cause: Cause
    text: str


@dataclass(frozen=True, slots=True)
class ServiceScope:
    """One service of one project, and the names of its objects."""

    project: str
    service: str
    image: str  # full reference of the image in the compose file
    builder: str  # full tag of the newest exported builder stage
    container: str  # the name of the live container

    @classmethod
    def of(cls, recipe: Recipe, *, container: str) -> ServiceScope:
        """Return the scope of the service of `recipe`; `container` is the name of its live container."""
        return cls(
            recipe.project,
            recipe.service,
            full_reference(recipe.image),
            full_reference(recipe.builder_tag),
            container,
        )

    def revision_of(self, tag: str) -> str | None:
        """Return the revision (12 hex digits) in a tag of this service; None for any other tag."""
        match = _REVISION_TAG.fullmatch(full_reference(tag).rpartition(":")[2])
        return match[1] if match and self.holds_reference(tag) else None

    def moving_tag(self, tag: str) -> str | None:
        """Return the reason to keep an image with one of the two tags that move from build to build."""
        written = full_reference(tag)
        if written == self.image:
            return f"{tag} is the image of the compose file"
        return "the newest builder image" if written == self.builder else None

    def is_builder_name(self, tag: str, image: str) -> bool:
        """Return whether this is the unique name of the exported builder stage with this id."""
        return full_reference(tag) == f"{self.builder}-{short(image)}"

    def owns_tag(self, tag: str, image: str) -> bool:
        """Return whether the daemon gives this tag to the image with this id."""
        return self.moving_tag(tag) is not None or self.proves_tag(tag, image)

    def proves_tag(self, tag: str, image: str) -> bool:
        """Return whether only the daemon gives this tag to this image: images inherit labels, but not names.

        The tag of the compose file proves nothing: `docker compose build` sets it too.
        """
        return (
            self.revision_of(tag) is not None
            or full_reference(tag) == self.builder
            or self.is_builder_name(tag, image)
        )

    def holds_reference(self, reference: str) -> bool:
        """Return whether a reference without digest is in the repository of this service."""
        return full_reference(reference).rpartition(":")[0] == self.image.rpartition(":")[0]

    def matches_labels(self, found: Mapping[str, str]) -> bool:
        """Return whether these are labels of an object of this service."""
        return found.get(labels.PROJECT) == self.project and found.get(labels.SERVICE) == self.service


@dataclass(frozen=True, slots=True)
class Disk:
    """Free and total bytes of the file system of the engine's data root."""

    free: int
    total: int

    def is_low(self, least: int | None = None) -> bool:
        """Return whether less than `least` bytes are free; by default less than 10 % and less than 5 GiB."""
        return self.free < (min(LOW_SHARE * self.total, LOW_BYTES) if least is None else least)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """The reason why a value cannot be measured here."""

    why: str


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What can be removed. `keep` counts final images including the live one; `grace` is in seconds."""

    keep: int = 3
    grace: float = 60.0
    builder_label: str = "stage=builder"
    all_projects: bool = False  # also remove untagged images with the label of other projects
    eager: bool = False
    builder_image: bool = True  # keep the newest exported builder stage
    knows_needed: bool = False  # `Needed` is complete, so own images need no grace period
    min_free: int | None = None  # bytes; None for the default of `Disk.is_low`

    @classmethod
    def of(cls, settings: PruneSettings, *, builder_image: bool, all_projects: bool = False) -> PrunePolicy:
        """Return the policy of the settings."""
        return cls(
            settings.keep,
            settings.grace,
            settings.builder_label,
            all_projects,
            builder_image=builder_image,
            min_free=settings.min_free,
        )

    def is_short_of_space(self, disk: Disk | NotMeasured) -> bool:
        """Return whether the disk is known to be nearly full."""
        return isinstance(disk, Disk) and disk.is_low(self.min_free)

    def with_disk(self, disk: Disk | NotMeasured) -> PrunePolicy:
        """Return the policy for this disk; unchanged unless it is nearly full."""
        return replace(self, eager=True) if self.is_short_of_space(disk) else self

    @property
    def kept_finals(self) -> int:
        """Return the number of final images to keep: one if the disk is nearly full."""
        return 1 if self.eager else self.keep

    @property
    def image_grace(self) -> float:
        """Return the grace period of our images in seconds; other objects always have `grace`."""
        return 0.0 if self.eager or self.knows_needed else self.grace

    def has_builder_label(self, found: Mapping[str, str]) -> bool:
        """Return whether these labels mark a builder stage."""
        name, _, value = self.builder_label.partition("=")
        return found.get(name) == value


@dataclass(frozen=True, slots=True)
class Needed:
    """What a daemon in this process needs. Ids are the engine's, revisions have 64 or 12 hex digits."""

    live: str | None = None  # id of the live image
    ids: frozenset[str] = frozenset()  # images and containers of a build, deploy or roll-back
    revisions: frozenset[str] = frozenset()  # desired, live and building
    failed: frozenset[str] = frozenset()  # images that did not become ready; they do not count as good

    def has_revision(self, revision: str) -> bool:
        """Return whether `revision` (12 hex digits) is one of `revisions`."""
        return any(known.startswith(revision) for known in self.revisions)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects of the engine. Images of this service have `tagged`; sizes are those of `Engine.images`.

    `own` are ids of containers that are proven to be the watcher's; `known` are ids of images that were
    proven at any time in this process.
    """

    scope: ServiceScope
    images: tuple[Image, ...]
    containers: tuple[Container, ...]
    needed: Needed = Needed()
    own: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one object is removed, and why. For an image, `tags` are our tags, removed one by one."""

    kind: ObjectKind
    id: str  # for a TAG, the id of its image
    name: str
    size: int
    remove: bool
    why: Reason
    tags: tuple[str, ...] = ()
    created: float = (
        0.0  # Unix seconds by the engine's clock: made, tagged last or stopped; 0 where not known
    )

    def as_kept(self, cause: Cause, text: str) -> Verdict:
        """Return a verdict that keeps the object."""
        return replace(self, remove=False, why=Reason(cause, text))

    @property
    def reason(self) -> str:
        """Return the reason for people."""
        return self.why.text

    @property
    def item(self) -> PrunedItem:
        """Return the object as in the event `Pruned`."""
        return PrunedItem(
            self.kind.value, self.id, self.name, self.size, self.remove, self.reason, self.why.cause.value
        )


@dataclass(frozen=True, slots=True)
class Cache:
    """The build cache in bytes, without records that an image shares. The engine does not know the owners."""

    size: int = 0
    mounts: int = 0  # bytes of cache mounts; included in `size`

    @classmethod
    def of(cls, records: Iterable[CacheRecord]) -> Cache:
        """Return the sums over the records of the engine."""
        private = tuple(record for record in records if not record.shared)
        return cls(
            sum(record.size for record in private),
            sum(record.size for record in private if record.kind == "exec.cachemount"),
        )
