"""Names, objects and whole random inventories for the tests of pruning."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from watcher import labels
from watcher.engine import Container, Image
from watcher.engine.ownership import proven_containers
from watcher.prune import Inventory, Needed, ObjectKind, PrunePolicy, ServiceScope, Verdict

SCOPE = ServiceScope(
    project="shop-0123456789",
    service="web",
    image="docker.io/library/web-dev:latest",
    builder="docker.io/library/web-dev:builder",
    container="web-box",
)
CLONE = replace(SCOPE, project="blog-9876543210")  # another copy of it: the same names
NOW = 10_000.0
OLD = NOW - 5_000.0
NOTHING = Needed()
STAGE = {"stage": "builder"}
FINAL = labels.image_labels(SCOPE.project, SCOPE.service, labels.FINAL)
BUILDER = labels.image_labels(SCOPE.project, SCOPE.service, labels.BUILDER) | STAGE
APP = labels.app_labels(SCOPE.project, SCOPE.service, "f" * 64)  # as inherited: without a proof


def rev(number: int) -> str:
    """The tag of revision `number`."""
    return f"web-dev:rev-{number:012x}"


def final(number: int, *, created: float = OLD, tagged: float = 0.0, tags: tuple[str, ...] = ()) -> Image:
    """A final image of ours, tagged with its revision unless `tags` says otherwise."""
    return Image(
        f"sha256:f{number:063x}", tags or (rev(number),), FINAL, created, tagged=tagged, size=20_000_000
    )


def builder(number: int, *, created: float = OLD, tags: tuple[str, ...] = ()) -> Image:
    """An exported builder image of ours, dangling unless it has `tags`."""
    return Image(f"sha256:b{number:063x}", tags, BUILDER, created, size=600_000_000)


def box(
    number: int, image: Image, *, state: str = "exited", name: str | None = None, own: bool = True
) -> Container:
    """A container of `image`; of ours with a candidate's name unless told otherwise."""
    given = name or (f"web-box.{number:012x}" if own else f"other-{number}")
    found = proven(image.id) if own else {}
    return Container(f"{number:064x}", given, image.id, found, state, changed=OLD)


def proven(image: str) -> dict[str, str]:
    """Labels of a container of ours that was created from the image with this id."""
    return APP | labels.proof_labels(image)


def world(
    *images: Image,
    containers: tuple[Container, ...] = (),
    needed: Needed = NOTHING,
    known: frozenset[str] | None = None,
) -> Inventory:
    """An inventory of these; all images have been seen under names of ours, unless `known` are given."""
    own = frozenset(item.id for item in proven_containers(containers))
    seen = frozenset(image.id for image in images) if known is None else known
    return Inventory(SCOPE, images, containers, needed, own, seen)


def executed(inventory: Inventory, verdicts: tuple[Verdict, ...]) -> Inventory:
    """The inventory after the removals of `verdicts` were carried out."""
    gone = {verdict.id for verdict in verdicts if verdict.remove and verdict.kind is not ObjectKind.TAG}
    off = {
        (verdict.id, verdict.name)
        for verdict in verdicts
        if verdict.remove and verdict.kind is ObjectKind.TAG
    }
    images = (
        replace(image, tags=tuple(tag for tag in image.tags if (image.id, tag) not in off))
        for image in inventory.images
        if image.id not in gone
    )
    containers = tuple(item for item in inventory.containers if item.id not in gone)
    return replace(inventory, images=tuple(images), containers=containers)


def references(inventory: Inventory) -> set[str]:
    """Every id and every tag of an inventory."""
    found = {image.id for image in inventory.images} | {item.id for item in inventory.containers}
    return found | {tag for image in inventory.images for tag in image.tags}


# Random inventories. The pools are small, so that names, ages and users meet often.

_OWN_TAGS = (rev(0xA), rev(0xB), rev(0xC), rev(0xD), rev(0xE), "web-dev:latest", "web-dev:builder")
_FOREIGN_TAGS = ("web-dev:mine", "web-prod:rev-00000000000a", "bob/app:1", "localhost:5000/web-dev:latest")
_LABELS: tuple[dict[str, str], ...] = (
    FINAL,
    FINAL | STAGE,
    BUILDER,
    APP,  # as `docker commit` of our container leaves them
    STAGE,
    {},
    labels.image_labels(SCOPE.project, "worker", labels.FINAL) | STAGE,
    labels.image_labels(CLONE.project, SCOPE.service, labels.BUILDER) | STAGE,
    labels.image_labels(CLONE.project, SCOPE.service, labels.FINAL),
    {labels.PROJECT: SCOPE.project},
)
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_TIMES = st.sampled_from((0.0, OLD, OLD + 1, OLD + 2, NOW - 60.0, NOW - 59.9, NOW - 1, NOW, NOW + 100))
POLICIES = st.builds(
    PrunePolicy,
    keep=st.integers(1, 4),
    grace=st.sampled_from((0.0, 60.0)),
    all_projects=st.booleans(),
    eager=st.booleans(),
)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Up to ten images of everybody's, and containers of some in all states; a tag is on one image only."""
    count = draw(st.integers(0, 10))
    owner = {
        tag: draw(st.integers(0, count))  # the number after the last one: on none
        for tag in (*_OWN_TAGS, *_FOREIGN_TAGS)
    }
    images = tuple(
        Image(
            f"sha256:{number:064x}",
            tuple(tag for tag, holder in owner.items() if holder == number),
            draw(st.sampled_from(_LABELS)),
            draw(_TIMES),
            tagged=draw(_TIMES),
            parent=draw(st.sampled_from(("", "", "", "sha256:parent"))),
            digests=draw(st.sampled_from(((), (), (), ("web-dev@sha256:1",), ("bob/app@sha256:1",)))),
            size=draw(st.integers(0, 100)),
        )
        for number in range(count)
    )
    ids = [image.id for image in images] or ["sha256:nowhere"]
    containers = tuple(
        Container(
            f"{number:064x}",
            draw(st.sampled_from(("web-box", "web-box.0a", "web-box.old-1", "renamed", "web-boxer"))),
            user := draw(st.sampled_from(ids)),
            draw(st.sampled_from((proven(user), proven(user), proven("sha256:committed"), APP, FINAL, {}))),
            draw(st.sampled_from(_STATES)),
            changed=draw(_TIMES),
        )
        for number in range(draw(st.integers(0, 5)))
    )
    some = st.frozensets(st.sampled_from(ids), max_size=2)
    needed = Needed(
        draw(st.none() | st.sampled_from(ids)),
        draw(some) | draw(st.frozensets(st.sampled_from([f"{n:064x}" for n in range(5)]), max_size=1)),
        draw(st.frozensets(st.sampled_from([f"{n:012x}".ljust(64, "0") for n in (0xA, 0xB)]))),
        draw(some),
    )
    known = draw(st.just(frozenset(ids)) | st.frozensets(st.sampled_from(ids)))
    return world(*images, containers=containers, needed=needed, known=known)
