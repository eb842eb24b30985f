"""What services left that are no longer in the compose file goes; what others run or need, or made, stays."""

from __future__ import annotations

from dataclasses import replace

from tests.facts import missing
from tests.unit.prune.worlds import CLONE, SCOPE, box, builder, final, rev
from watcher import labels
from watcher.engine import Container, Image
from watcher.prune import Needed
from watcher.prune.left_services import select_left_services
from watcher.prune.model import Cause, Verdict
from watcher.prune.select_gone import Holdings

PROJECT = SCOPE.project


def verdicts(
    *images: Image,
    containers: tuple[Container, ...] = (),
    present: tuple[str, ...] = ("api",),
    needed: tuple[Needed, ...] = (),
) -> tuple[Verdict, ...]:
    return select_left_services(Holdings(containers, images), PROJECT, present, needed)


def removed(found: tuple[Verdict, ...]) -> list[str]:
    return [verdict.name for verdict in found if verdict.remove]


def test_images_and_containers_of_a_service_that_left_go_containers_first() -> None:
    live = final(2, tags=(rev(2), "web-dev:latest"))
    made = builder(3, tags=("web-dev:builder",))
    container = box(1, live, state="running", name="web-box")
    found = verdicts(final(1), live, made, containers=(container,))
    assert removed(found) == ["web-box", rev(1), rev(2), "web-dev:builder"]
    assert {verdict.why.cause for verdict in found} == {Cause.SERVICE_GONE}
    (text,) = {verdict.why.text for verdict in found}
    assert missing(text, "service web", "compose file") == []


def test_nothing_of_a_present_service_or_of_another_project_goes() -> None:
    elsewhere = replace(final(2), labels=labels.image_labels(CLONE.project, "web", labels.FINAL))
    assert verdicts(final(1), present=("web",)) == ()
    assert verdicts(elsewhere) == ()
    inherited = replace(final(3), tags=("mine:1",))
    assert removed(verdicts(inherited)) == []


def test_an_image_that_another_service_runs_or_needs_stays() -> None:
    """The owner of a shared image left; the other service runs it, or can roll back to it."""
    api = replace(box(7, final(1), state="running", name="api-box"), labels={})
    found = verdicts(
        final(1),
        final(2),
        final(3),
        final(4),
        containers=(api,),
        needed=(
            Needed(revisions=frozenset({f"{2:012x}" + "0" * 52})),
            Needed(ids=frozenset({final(3).id})),
        ),
    )
    assert removed(found) == [rev(4)]
    assert [verdict.why.cause for verdict in found] == [
        Cause.IN_USE,
        Cause.NEEDED,
        Cause.NEEDED,
        Cause.SERVICE_GONE,
    ]


def test_a_name_that_somebody_else_gave_stays_with_its_image() -> None:
    found = verdicts(final(1, tags=(rev(1), "registry.example/web:1")))
    assert [(verdict.name, verdict.remove) for verdict in found][-1] == (rev(1), True)
    assert not found[0].remove
