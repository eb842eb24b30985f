"""What pruning looks at, what it may do, and what it decided: values only."""

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

LOW_SHARE = 0.10  # of the file system: less free space than this is little …
LOW_BYTES = 5 * 1024**3  # … unless it is this much


class ObjectKind(StrEnum):
    """What an object is to us."""

    FINAL = "final"
    BUILDER = "builder"
    CONTAINER = "container"
    STEP = "step"  # a record of the build cache that a step of ours made
    TAG = "tag"  # one of several tags of ours on an image that stays
    NETWORK = "network"
    GO_CACHE = "go-cache"  # a cache mount of go's, of a project that is gone
    OTHER = "other"  # somebody else's image


class Cause(StrEnum):
    """Why an object goes or stays, in one word, for programs and metrics."""

    # It goes.
    SUPERSEDED = "superseded"  # a final image that newer ones have pushed out
    UNTAGGED = "untagged"  # a compile stage's image that has lost its name
    LEFT_BEHIND = "left-behind"  # a stopped container of a daemon that was killed
    SURPLUS = "surplus"  # one tag too many of an image that stays
    PROJECT_GONE = "project-gone"  # the folder of its project was deleted
    # It stays.
    LIVE = "live"
    NEEDED = "needed"  # by a build, a deploy or a roll-back
    IN_USE = "in-use"
    YOUNG = "young"
    NEWEST = "newest"
    LAST_GOOD = "last-good"
    FOREIGN = "foreign"
    UNPROVEN = "unproven"  # a watcher made it, and nothing shows for which project
    GONE = "gone"  # it was to go, and was gone already
    REFUSED = "refused"  # it was to go, and the engine would not have it


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason: for programs, and for people."""

    cause: Cause
    text: str


@dataclass(frozen=True, slots=True)
class ServiceScope:
    """Whose objects are ours: one service of one project, under these names."""

    project: str
    service: str
    image: str  # the compose file's own reference, written out
    builder: str  # the tag of the newest exported compile stage, written out
    container: str  # the name of the live container

    @classmethod
    def of(cls, recipe: Recipe, *, container: str) -> ServiceScope:
        """The scope of the service that `recipe` builds and whose live container has that name."""
        return cls(
            recipe.project,
            recipe.service,
            full_reference(recipe.image),
            full_reference(recipe.builder_tag),
            container,
        )

    def revision(self, tag: str) -> str | None:
        """The revision (12 hex digits) whose image has this tag; None for any other tag."""
        match = _REVISION_TAG.fullmatch(full_reference(tag).rpartition(":")[2])
        return match[1] if match and self.holds_reference(tag) else None

    def moving_tag(self, tag: str) -> str | None:
        """What it says of an image that it has one of the two tags that go from build to build."""
        written = full_reference(tag)
        if written == self.image:
            return f"{tag} is what compose starts"
        return "the newest builder image" if written == self.builder else None

    def is_builder_name(self, tag: str, image: str) -> bool:
        """Whether this is the name of its own that an exported compile stage with this id has."""
        return full_reference(tag) == f"{self.builder}-{short(image)}"

    def owns_tag(self, tag: str, image: str) -> bool:
        """Whether the daemon itself gives this tag to the image with this id."""
        return self.moving_tag(tag) is not None or self.proves_tag(tag, image)

    def proves_tag(self, tag: str, image: str) -> bool:
        """Whether only the daemon gives the image with this id this tag: names are not inherited, labels are.

        The compose file's own tag proves nothing: `docker compose build` and others set it too.
        """
        return (
            self.revision(tag) is not None
            or full_reference(tag) == self.builder
            or self.is_builder_name(tag, image)
        )

    def holds_reference(self, reference: str) -> bool:
        """Whether a reference, without digest, is of this service's repository."""
        return full_reference(reference).rpartition(":")[0] == self.image.rpartition(":")[0]

    def matches_labels(self, found: Mapping[str, str]) -> bool:
        """Whether these are labels of an object of this service."""
        return found.get(labels.PROJECT) == self.project and found.get(labels.SERVICE) == self.service


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the engine's data root, bytes."""

    free: int
    total: int

    def is_low(self, least: int | None = None) -> bool:
        """Whether less than `least` bytes are free, by default so little that pruning should be eager."""
        return self.free < (min(LOW_SHARE * self.total, LOW_BYTES) if least is None else least)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """The engine's disk cannot be measured from here, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What may go. `keep` counts final images, the live one among them; `grace` is seconds."""

    keep: int = 3
    grace: float = 60.0
    builder_label: str = "stage=builder"
    all_projects: bool = False  # the article's rule: every untagged image with the label, whoever made it
    eager: bool = False
    builder_image: bool = True  # the newest exported compile stage stays; else they all go
    knows_needed: bool = False  # `Needed` is complete, so that own images need no grace period
    min_free: int | None = None  # bytes; None for what `Disk.low` takes by itself

    @classmethod
    def of(cls, settings: PruneSettings, *, builder_image: bool, all_projects: bool = False) -> PrunePolicy:
        """The policy that the settings ask for."""
        return cls(
            settings.keep,
            settings.grace,
            settings.builder_label,
            all_projects,
            builder_image=builder_image,
            min_free=settings.min_free,
        )

    def short(self, disk: Disk | NotMeasured) -> bool:
        """Whether that is known to be too little space."""
        return isinstance(disk, Disk) and disk.is_low(self.min_free)

    def with_disk(self, disk: Disk | NotMeasured) -> PrunePolicy:
        """The policy for that much space; unchanged when it is not known or enough."""
        return replace(self, eager=True) if self.short(disk) else self

    @property
    def kept_finals(self) -> int:
        """Final images that stay: one when space is short."""
        return 1 if self.eager else self.keep

    @property
    def image_grace(self) -> float:
        """Seconds our own images must be old; containers and others' images always get `grace`."""
        return 0.0 if self.eager or self.knows_needed else self.grace

    def has_builder_label(self, found: Mapping[str, str]) -> bool:
        """Whether these labels mark a compile stage."""
        name, _, value = self.builder_label.partition("=")
        return found.get(name) == value


@dataclass(frozen=True, slots=True)
class Needed:
    """What a daemon in this process still needs. Ids are the engine's, revisions have 64 or 12 hex digits."""

    live: str | None = None  # id of the image that serves
    ids: frozenset[str] = frozenset()  # images and containers of a build, a deploy or a roll-back
    revisions: frozenset[str] = frozenset()  # wanted, live, being built
    failed: frozenset[str] = frozenset()  # images that never got ready: not among the last good ones

    def names(self, revision: str) -> bool:
        """Whether `revision` (12 hex digits) is one of `revisions`."""
        return any(known.startswith(revision) for known in self.revisions)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is there. Images of this service carry `tagged`; sizes are those of `Engine.images`.

    `own` are the ids of the containers that are proven to be the watcher's, and `known` of the images that
    were, at some time in this process.
    """

    scope: ServiceScope
    images: tuple[Image, ...]
    containers: tuple[Container, ...]
    needed: Needed = Needed()
    own: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one object. For an image, `tags` are those of ours that are taken off to remove it."""

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
        """The same object, kept after all."""
        return replace(self, remove=False, why=Reason(cause, text))

    @property
    def reason(self) -> str:
        """The reason for people."""
        return self.why.text

    @property
    def item(self) -> PrunedItem:
        """As events tell it, once it has been carried out."""
        return PrunedItem(
            self.kind.value, self.id, self.name, self.size, self.remove, self.reason, self.why.cause.value
        )


@dataclass(frozen=True, slots=True)
class Cache:
    """The build cache in bytes, without what images hold too. Whose a record is, none of them says."""

    size: int = 0
    mounts: int = 0  # of `size`: cache mounts, such as Go's

    @classmethod
    def of(cls, records: Iterable[CacheRecord]) -> Cache:
        """Summed over the engine's records."""
        private = tuple(record for record in records if not record.shared)
        return cls(
            sum(record.size for record in private),
            sum(record.size for record in private if record.kind == "exec.cachemount"),
        )
