"""Which objects go and which stay, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.facts import missing
from tests.unit.prune.worlds import (
    APP,
    BUILDER,
    FINAL,
    NOW,
    OLD,
    SCOPE,
    STAGE,
    box,
    builder,
    final,
    rev,
    world,
)
from watcher import labels
from watcher.engine import Image
from watcher.prune import (
    Cause,
    Disk,
    Inventory,
    Needed,
    NotMeasured,
    ObjectKind,
    PrunePolicy,
    Reason,
    Verdict,
    select_stale,
)

POLICY = PrunePolicy()


def judged(inventory: Inventory, policy: PrunePolicy = POLICY) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in select_stale(inventory, policy, NOW)}


def reason(inventory: Inventory, image: Image, policy: PrunePolicy = POLICY) -> str:
    verdict = judged(inventory, policy)[image.id]
    assert not verdict.remove
    return verdict.reason


def removed(inventory: Inventory, policy: PrunePolicy = POLICY) -> set[str]:
    return {verdict.id for verdict in select_stale(inventory, policy, NOW) if verdict.remove}


def test_finals_beyond_the_last_n_go_oldest_first() -> None:
    images = [final(number, created=OLD + number) for number in range(6)]
    assert removed(world(*images)) == {image.id for image in images[:3]}


def test_the_live_image_is_one_of_the_n_however_old_it_is() -> None:
    images = [final(number, created=OLD + number) for number in range(5)]
    inventory = world(*images, needed=Needed(live=images[0].id))
    assert removed(inventory) == {images[1].id, images[2].id}
    assert reason(inventory, images[0]) == "it is live"


def test_an_old_image_that_got_its_tag_again_counts_as_new() -> None:
    again = final(0, created=OLD, tagged=NOW - 100)
    images = [again, *(final(number, created=OLD + number) for number in range(1, 5))]
    assert removed(world(*images)) == {images[1].id, images[2].id}


def test_images_that_never_got_ready_do_not_push_out_good_ones() -> None:
    good = [final(number, created=OLD + number) for number in range(3)]
    bad = [final(number, created=OLD + number) for number in range(10, 14)]
    inventory = world(*good, *bad, needed=Needed(failed=frozenset(image.id for image in bad)))
    assert removed(inventory) == {image.id for image in bad}


def test_a_final_without_any_tag_is_stale_because_no_revision_finds_it() -> None:
    lost = replace(final(1, created=OLD + 9), tags=())
    assert removed(world(lost, final(2))) == {lost.id}


def test_what_compose_starts_stays() -> None:
    images = [final(number, created=OLD + number) for number in range(5)]
    moving = replace(images[0], tags=("web-dev:latest", *images[0].tags))
    inventory = world(moving, *images[1:])
    assert missing(reason(inventory, moving), "web-dev:latest", "compose file") == []


def test_a_superseded_builder_goes_and_the_newest_stays_tagged_or_not() -> None:
    old, new = builder(1, created=OLD), builder(2, created=OLD + 1)
    assert removed(world(old, new)) == {old.id}
    tagged = replace(new, tags=("web-dev:builder",))
    assert removed(world(old, tagged)) == {old.id}
    assert reason(world(old, tagged), tagged) == "the newest builder image"


def test_a_builder_that_is_tagged_stays_even_beside_a_newer_one() -> None:
    tagged, newer = builder(1, tags=("web-dev:builder",)), builder(2, created=OLD + 1)
    assert removed(world(tagged, newer)) == set()


@pytest.mark.parametrize("state", ["created", "running", "paused", "restarting", "exited", "dead"])
def test_an_image_that_any_container_uses_stays(state: str) -> None:
    stale = builder(1)
    inventory = world(stale, builder(2, created=OLD + 1), containers=(box(1, stale, state=state, own=False),))
    assert missing(reason(inventory, stale), "in use", "other-1", state) == []


def test_an_image_used_only_by_a_container_that_goes_may_go_with_it() -> None:
    stale = builder(1)
    left = box(1, stale)
    assert removed(world(stale, builder(2, created=OLD + 1), containers=(left,))) == {left.id, stale.id}


def test_containers_come_before_the_images_they_use() -> None:
    stale = builder(1)
    verdicts = select_stale(
        world(stale, builder(2, created=OLD + 1), containers=(box(1, stale),)), POLICY, NOW
    )
    assert [verdict.kind for verdict in verdicts] == [
        ObjectKind.CONTAINER,
        ObjectKind.BUILDER,
        ObjectKind.BUILDER,
    ]


@pytest.mark.parametrize(
    "needed",
    [Needed(ids=frozenset({builder(1).id})), Needed(live=builder(1).id)],
    ids=["needed", "live"],
)
def test_what_the_daemon_needs_stays(needed: Needed) -> None:
    stale = builder(1)
    assert removed(world(stale, builder(2, created=OLD + 1), needed=needed)) == set()


def test_the_image_of_a_needed_revision_stays() -> None:
    images = [final(number, created=OLD + number) for number in range(5)]
    wanted = f"{0:012x}".ljust(64, "7")
    inventory = world(*images, needed=Needed(revisions=frozenset({wanted})))
    assert removed(inventory) == {images[1].id}
    assert reason(inventory, images[0]) == "the daemon needs it"


def test_a_young_image_stays_and_says_how_old_it_is() -> None:
    young = builder(1, created=NOW - 12)
    inventory = world(young, builder(2, created=NOW - 1))
    assert missing(reason(inventory, young), "12 s old", "grace period", "1 min 00 s") == []


def test_an_image_from_the_future_is_young() -> None:
    ahead = builder(1, created=NOW + 3600)
    assert removed(world(ahead, builder(2, created=NOW + 7200))) == set()


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        (("bob/app:1",), "tagged bob/app:1, not by the watcher"),
        ((rev(1), "web-dev:mine"), "tagged web-dev:mine, not by the watcher"),
        (("localhost:5000/web-dev:latest",), "tagged localhost:5000/web-dev:latest, not by the watcher"),
        (("web-prod:rev-000000000001",), "tagged web-prod:rev-000000000001, not by the watcher"),
        (("web-dev:rev-1",), "tagged web-dev:rev-1, not by the watcher"),
        (("web-dev:rev-00000000000G",), "tagged web-dev:rev-00000000000G, not by the watcher"),
    ],
)
def test_a_tag_that_is_not_ours_keeps_the_image(tags: tuple[str, ...], why: str) -> None:
    newer = [final(number, created=OLD + number) for number in range(10, 14)]
    image = final(1, tags=tags)
    assert reason(world(image, *newer), image) == why


def test_a_written_out_name_of_ours_is_ours() -> None:
    newer = [final(number, created=OLD + number) for number in range(10, 13)]
    image = final(1, tags=("docker.io/library/web-dev:rev-000000000001",))
    assert removed(world(image, *newer)) == {image.id}


def test_a_name_by_digest_keeps_an_untagged_image() -> None:
    pushed = replace(builder(1), digests=("web-dev@sha256:12",))
    inventory = world(pushed, builder(2, created=OLD + 1))
    assert reason(inventory, pushed) == "named web-dev@sha256:12, not by the watcher"


def test_the_name_by_digest_of_the_containerd_store_says_nothing_beside_a_tag() -> None:
    images = [
        replace(final(number, created=OLD + number), digests=(f"web-dev@sha256:{number}",))
        for number in range(4)
    ]
    assert removed(world(*images)) == {images[0].id}


def test_a_name_by_digest_in_another_repository_keeps_the_image() -> None:
    images = [final(number, created=OLD + number) for number in range(4)]
    pushed = replace(images[0], digests=("bob/app@sha256:1",))
    assert reason(world(pushed, *images[1:]), pushed) == "named bob/app@sha256:1, not by the watcher"


@pytest.mark.parametrize(
    "image",
    [
        replace(builder(1), labels=APP),
        replace(builder(1), labels=FINAL | {labels.REVISION: "f" * 64}),
        replace(builder(1), labels={labels.PROJECT: SCOPE.project, labels.SERVICE: SCOPE.service}),
        replace(builder(1), parent="sha256:our-image"),
    ],
    ids=["commit of our container", "revision", "no kind", "classic build from our image"],
)
def test_what_somebody_made_from_ours_is_theirs(image: Image) -> None:
    why = "made from an image or a container of this service, not by the watcher"
    assert reason(world(image, builder(2, created=OLD + 1)), image) == why


def test_an_untagged_builder_image_without_our_label_stays_and_says_how_to_remove_it() -> None:
    stranger = replace(builder(1), labels=STAGE)
    assert missing(reason(world(stranger), stranger), "watcher prune --all-projects") == []
    assert removed(world(stranger), PrunePolicy(all_projects=True)) == {stranger.id}


def test_all_projects_is_the_articles_rule_for_whoever_made_the_image() -> None:
    theirs = replace(builder(1), labels=labels.image_labels("blog", "web", labels.BUILDER) | STAGE)
    unmarked = replace(builder(2), labels=labels.image_labels("blog", "web", labels.BUILDER))
    tagged = replace(builder(3, tags=("blog:builder",)), labels=theirs.labels)
    inventory = world(theirs, unmarked, tagged)
    assert removed(inventory) == set()
    assert removed(inventory, PrunePolicy(all_projects=True)) == {theirs.id}
    assert missing(reason(inventory, theirs), "service web", "project blog") == []


def test_all_projects_spares_what_runs_is_young_or_has_a_name() -> None:
    used, young = replace(builder(1), labels=STAGE), replace(builder(2, created=NOW - 5), labels=STAGE)
    named = replace(builder(3), labels=STAGE, digests=("base@sha256:1",))
    inventory = world(used, young, named, containers=(box(1, used, own=False),))
    assert removed(inventory, PrunePolicy(all_projects=True, eager=True)) == set()


def test_the_label_rule_can_be_another_one() -> None:
    image = replace(builder(1), labels={"role": "compile"})
    policy = PrunePolicy(all_projects=True, builder_label="role=compile")
    assert removed(world(image), policy) == {image.id}
    assert removed(world(image), replace(policy, builder_label="role=other")) == set()


def test_another_service_of_the_same_project_is_left_alone() -> None:
    image = replace(builder(1), labels=labels.image_labels(SCOPE.project, "worker", labels.BUILDER))
    why = f"it belongs to service worker of project {SCOPE.project}"
    assert reason(world(image), image) == why


def test_short_space_leaves_one_final_and_waits_for_nothing() -> None:
    images = [final(number, created=NOW - 10 + number) for number in range(4)]
    policy = POLICY.with_disk(Disk(free=1_000_000_000, total=100_000_000_000))
    assert removed(world(*images), policy) == {image.id for image in images[:3]}
    assert removed(world(*images), POLICY.with_disk(Disk(50_000_000_000, 100_000_000_000))) == set()


def test_little_space_is_a_tenth_or_five_gibibytes_whichever_is_less() -> None:
    assert Disk(free=999, total=10_000).is_low()
    assert not Disk(free=1_000, total=10_000).is_low()
    assert not Disk(free=5 * 1024**3, total=10**13).is_low()
    assert Disk(free=5 * 1024**3 - 1, total=10**13).is_low()


def test_the_least_space_may_be_set_and_an_unseen_disk_is_never_short() -> None:
    policy = replace(POLICY, min_free=2_000)
    assert policy.is_short_of_space(Disk(free=1_999, total=10_000))
    assert not policy.is_short_of_space(Disk(free=2_000, total=10_000_000))
    assert not policy.is_short_of_space(NotMeasured("it is far away"))
    assert policy.with_disk(NotMeasured("it is far away")) is policy


@pytest.mark.parametrize("state", ["created", "exited", "dead"])
def test_a_stopped_container_with_a_name_of_the_daemons_goes(state: str) -> None:
    left = box(1, final(1), state=state)
    assert removed(world(final(1), containers=(left,))) == {left.id}


@pytest.mark.parametrize("state", ["running", "paused", "restarting", "removing"])
def test_a_container_that_may_run_stays(state: str) -> None:
    item = box(1, final(1), state=state)
    verdict = judged(world(final(1), containers=(item,)))[item.id]
    assert (verdict.remove, verdict.reason) == (False, f"it is {state}")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("web-box", "it has the service's own name"),
        ("web-boxer", "its name is not a name of the daemon for web-box"),
        ("prod-box.0123", "its name is not a name of the daemon for web-box"),
    ],
)
def test_a_container_with_another_name_stays(name: str, why: str) -> None:
    item = box(1, final(1), name=name)
    verdict = judged(world(final(1), containers=(item,)))[item.id]
    assert (verdict.remove, verdict.reason) == (False, why)


def test_a_container_that_just_ended_may_still_be_rolled_back_to_even_when_space_is_short() -> None:
    item = replace(box(1, final(1)), changed=NOW - 5)
    assert item.id not in removed(world(final(1), containers=(item,)), PrunePolicy(eager=True))


def test_containers_of_others_are_not_mentioned() -> None:
    image = final(1)
    verdicts = select_stale(world(image, containers=(box(1, image, own=False),)), POLICY, NOW)
    assert [verdict.kind for verdict in verdicts] == [ObjectKind.FINAL]


def test_surplus_tags_of_an_image_that_stays_go_but_those_of_needed_revisions_stay() -> None:
    tags = tuple(rev(number) for number in range(1, 8))
    image = final(1, tags=("web-dev:latest", *tags))
    needed = Needed(live=image.id, revisions=frozenset({f"{6:012x}".ljust(64, "0")}))
    verdicts = select_stale(world(image, needed=needed), POLICY, NOW)
    off = [verdict.name for verdict in verdicts if verdict.kind is ObjectKind.TAG and verdict.remove]
    assert off == [rev(3), rev(4), rev(5), rev(7)]


def test_surplus_tags_stay_while_the_image_is_young() -> None:
    image = final(1, created=OLD, tagged=NOW - 1, tags=tuple(rev(number) for number in range(1, 8)))
    assert removed(world(image)) == set()


def test_an_image_is_removed_by_all_its_tags() -> None:
    tags = (rev(1), rev(2))
    images = [final(1, tags=tags), *(final(number, created=OLD + number) for number in range(3, 6))]
    assert judged(world(*images))[images[0].id].tags == tags


def test_somebody_elses_image_is_called_so() -> None:
    stranger = Image("sha256:1", ("alpine:latest",), {}, OLD)
    assert judged(world(stranger))[stranger.id] == Verdict(
        ObjectKind.OTHER,
        "sha256:1",
        "alpine:latest",
        0,
        False,
        Reason(Cause.FOREIGN, "of another owner"),
        ("alpine:latest",),
        OLD,
    )


def test_kinds_are_those_of_the_labels() -> None:
    found = judged(world(final(1), builder(2), replace(builder(3), labels=STAGE), Image("sha256:4")))
    assert [verdict.kind for verdict in found.values()] == [
        ObjectKind.FINAL,
        ObjectKind.BUILDER,
        ObjectKind.BUILDER,
        ObjectKind.OTHER,
    ]
    assert BUILDER.items() >= STAGE.items()
