"""What holds of every inventory and every policy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.prune.worlds import CLONE, NOW, POLICIES, SCOPE, box, executed, inventories, references
from watcher import labels
from watcher.engine import Image
from watcher.prune import Cause, Inventory, ObjectKind, PrunePolicy, Verdict, select_stale

# How long an example takes says something of the machine only.
whenever = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_IMAGES = (ObjectKind.FINAL, ObjectKind.BUILDER, ObjectKind.OTHER)


def removed_images(verdicts: tuple[Verdict, ...], inventory: Inventory) -> list[Image]:
    gone = {verdict.id for verdict in verdicts if verdict.remove and verdict.kind in _IMAGES}
    return [image for image in inventory.images if image.id in gone]


def is_own(image: Image) -> bool:
    wanted = {(labels.PROJECT, SCOPE.project), (labels.SERVICE, SCOPE.service)}
    return wanted <= set(image.labels.items())


@whenever
@given(inventories(), POLICIES)
def test_every_object_gets_one_verdict_with_a_reason(inventory: Inventory, policy: PrunePolicy) -> None:
    verdicts = select_stale(inventory, policy, NOW)
    assert all(verdict.reason and verdict.name for verdict in verdicts)
    judged = [verdict.id for verdict in verdicts if verdict.kind in _IMAGES]
    assert judged == [image.id for image in inventory.images]
    boxes = [verdict.id for verdict in verdicts if verdict.kind is ObjectKind.CONTAINER]
    assert len(boxes) == len(set(boxes))
    assert set(boxes) <= {item.id for item in inventory.containers}


@whenever
@given(inventories(), POLICIES)
def test_nothing_foreign_goes(inventory: Inventory, policy: PrunePolicy) -> None:
    for image in removed_images(select_stale(inventory, policy, NOW), inventory):
        if is_own(image):
            assert all(tag.startswith("web-dev:rev-") for tag in image.tags)
            assert image.tags or image.id in inventory.known or policy.all_projects, "only its labels say so"
            assert not image.parent
            assert labels.REVISION not in image.labels
        else:
            assert policy.all_projects
            assert not image.tags
            assert image.labels["stage"] == "builder"
        assert image.tags or not image.digests
        assert not any(name.startswith("bob/") for name in image.digests)


@whenever
@given(inventories(), POLICIES)
def test_nothing_in_use_live_or_needed_goes(inventory: Inventory, policy: PrunePolicy) -> None:
    verdicts = select_stale(inventory, policy, NOW)
    gone = {verdict.id for verdict in verdicts if verdict.remove and verdict.kind is not ObjectKind.TAG}
    users = [item for item in inventory.containers if item.id not in gone]
    assert gone.isdisjoint({item.image for item in users} | inventory.needed.ids | {inventory.needed.live})
    off = {tag for verdict in verdicts if verdict.remove for tag in verdict.tags}
    wanted = {f"web-dev:rev-{revision[:12]}" for revision in inventory.needed.revisions}
    assert off.isdisjoint(wanted)


@whenever
@given(inventories(), POLICIES)
def test_only_stopped_old_proven_containers_of_the_service_go(
    inventory: Inventory, policy: PrunePolicy
) -> None:
    verdicts = select_stale(inventory, policy, NOW)
    gone = {verdict.id for verdict in verdicts if verdict.remove and verdict.kind is ObjectKind.CONTAINER}
    for item in inventory.containers:
        if item.id in gone:
            assert item.state in ("created", "exited", "dead")
            assert item.name.startswith("web-box.")
            assert item.labels[labels.KIND] == labels.APP
            assert item.labels[labels.IMAGE] == item.image, "it inherited its labels"
            assert NOW - item.changed >= policy.grace


@whenever
@given(inventories(), POLICIES)
def test_nothing_young_goes_unless_it_is_ours_and_space_is_short(
    inventory: Inventory, policy: PrunePolicy
) -> None:
    for image in removed_images(select_stale(inventory, policy, NOW), inventory):
        if not (policy.eager and is_own(image)):
            assert NOW - max(image.created, image.tagged) >= policy.grace


@whenever
@given(inventories(), POLICIES)
def test_the_last_n_finals_and_the_newest_builder_stay(inventory: Inventory, policy: PrunePolicy) -> None:
    gone = removed_images(select_stale(inventory, policy, NOW), inventory)
    left = [image for image in inventory.images if image not in gone]

    def newness(image: Image) -> float:
        return max(image.created, image.tagged)

    for image in gone:
        kind = image.labels.get(labels.KIND)
        if not is_own(image):
            continue
        if kind == labels.BUILDER:
            assert any(
                newness(other) >= newness(image)
                for other in left
                if is_own(other) and other.labels.get(labels.KIND) == kind
            )
        elif image.tags and image.id not in inventory.needed.failed:
            better = [
                other
                for other in left
                if is_own(other)
                and other.labels.get(labels.KIND) == kind
                and (newness(other) >= newness(image) or other.id == inventory.needed.live)
            ]
            assert len(better) >= (1 if policy.eager else policy.keep)


@whenever
@given(inventories(), POLICIES)
def test_removing_what_is_stale_leaves_nothing_stale(inventory: Inventory, policy: PrunePolicy) -> None:
    after = executed(inventory, select_stale(inventory, policy, NOW))
    assert not [verdict for verdict in select_stale(after, policy, NOW) if verdict.remove]


@whenever
@given(inventories(), POLICIES, st.integers(1, 3))
def test_keeping_more_removes_no_more(inventory: Inventory, policy: PrunePolicy, more: int) -> None:
    less = executed(inventory, select_stale(inventory, policy, NOW))
    patient = replace(policy, keep=policy.keep + more)
    assert references(less) <= references(executed(inventory, select_stale(inventory, patient, NOW)))


@whenever
@given(inventories(), POLICIES, st.floats(0, 1000))
def test_more_grace_removes_no_more(inventory: Inventory, policy: PrunePolicy, more: float) -> None:
    less = executed(inventory, select_stale(inventory, policy, NOW))
    patient = replace(policy, grace=policy.grace + more)
    assert references(less) <= references(executed(inventory, select_stale(inventory, patient, NOW)))


@whenever
@given(inventories(), POLICIES, st.floats(0, 10_000))
def test_waiting_removes_no_less(inventory: Inventory, policy: PrunePolicy, wait: float) -> None:
    now = executed(inventory, select_stale(inventory, policy, NOW))
    later = executed(inventory, select_stale(inventory, policy, NOW + wait))
    assert references(later) <= references(now)


@whenever
@given(inventories(), POLICIES)
def test_short_space_removes_no_less_and_nothing_of_others(inventory: Inventory, policy: PrunePolicy) -> None:
    patient, eager = replace(policy, eager=False), replace(policy, eager=True)
    verdicts = select_stale(inventory, eager, NOW)
    more = executed(inventory, verdicts)
    assert references(more) <= references(executed(inventory, select_stale(inventory, patient, NOW)))
    others = {image.id for image in removed_images(verdicts, inventory) if not is_own(image)}
    calm = removed_images(select_stale(inventory, patient, NOW), inventory)
    assert others == {image.id for image in calm if not is_own(image)}


@whenever
@given(inventories(), POLICIES)
def test_all_projects_takes_untagged_images_with_the_label_besides_and_nothing_else(
    inventory: Inventory, policy: PrunePolicy
) -> None:
    alone = select_stale(inventory, replace(policy, all_projects=False), NOW)
    everybody = select_stale(inventory, replace(policy, all_projects=True), NOW)
    before, gone = removed_images(alone, inventory), removed_images(everybody, inventory)
    assert {image.id for image in before} <= {image.id for image in gone}
    for image in gone:
        if image not in before:
            assert not is_own(image) or image.id not in inventory.known
            assert not image.tags
            assert image.labels["stage"] == "builder"


@whenever
@given(inventories(), POLICIES, st.data())
def test_one_more_user_or_name_keeps_an_image_and_costs_no_other(
    inventory: Inventory, policy: PrunePolicy, data: st.DataObject
) -> None:
    gone = removed_images(select_stale(inventory, policy, NOW), inventory)
    if not gone:
        return
    image = data.draw(st.sampled_from(gone))
    user = box(99, image, state=data.draw(st.sampled_from(("created", "running", "exited"))), own=False)
    used = replace(inventory, containers=(*inventory.containers, user))
    named = replace(image, tags=(*image.tags, "bob/app:2"))
    others = tuple(named if other is image else other for other in inventory.images)
    for changed in (used, replace(inventory, images=others)):
        left = {found.id for found in removed_images(select_stale(changed, policy, NOW), changed)}
        assert image.id not in left
        if changed is used:
            assert left <= {found.id for found in gone}


@whenever
@given(inventories(), POLICIES)
def test_two_copies_of_a_project_do_not_touch_each_others_images(
    inventory: Inventory, policy: PrunePolicy
) -> None:
    policy = replace(policy, all_projects=False)
    theirs = replace(inventory, scope=CLONE)
    mine = select_stale(inventory, policy, NOW)
    other = select_stale(theirs, policy, NOW)
    gone = {image.id for image in removed_images(mine, inventory)}
    assert gone.isdisjoint(image.id for image in removed_images(other, theirs))
    after = replace(executed(inventory, mine), scope=CLONE)
    left = {image.id for image in removed_images(select_stale(after, policy, NOW), after)}
    # A container of the one may have used an image of the other, and be gone: nothing else may change.
    assert {image.id for image in removed_images(other, theirs)} <= left


@whenever
@given(inventories(), POLICIES)
def test_the_cause_says_whether_it_goes(inventory: Inventory, policy: PrunePolicy) -> None:
    leaving = {Cause.SUPERSEDED, Cause.UNTAGGED, Cause.LEFT_BEHIND, Cause.SURPLUS}
    for verdict in select_stale(inventory, policy, NOW):
        assert verdict.remove == (verdict.why.cause in leaving)


@whenever
@given(inventories(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_the_inventory_does_not_matter(
    inventory: Inventory, policy: PrunePolicy, dice: object
) -> None:
    images, containers = list(inventory.images), list(inventory.containers)
    dice.shuffle(images)  # type: ignore[attr-defined]
    dice.shuffle(containers)  # type: ignore[attr-defined]
    shuffled = replace(inventory, images=tuple(images), containers=tuple(containers))

    def outcome(found: Inventory) -> set[tuple[str, str, str, bool]]:
        verdicts = select_stale(found, policy, NOW)
        return {(verdict.kind, verdict.id, verdict.name, verdict.remove) for verdict in verdicts}

    assert outcome(inventory) == outcome(shuffled)
