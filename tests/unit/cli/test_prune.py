"""`watcher prune` removes what services left that are no longer in the compose file."""

from __future__ import annotations

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from watcher import labels
from watcher.cli.commands import select_asked
from watcher.cli.prune import prune_left_services
from watcher.prune import Choice, LeftProject, Needed, report_rows, summarize_report

PROJECT = "shop-0123456789"


async def add_service(engine: FakeEngine, service: str, number: int) -> str:
    """Add a service's image and its running container; return the image."""
    own = labels.image_labels(PROJECT, service, labels.FINAL)
    image = engine.add_image(tags=(f"{service}:rev-{number:012x}",), labels=own)
    of_app = labels.app_labels(PROJECT, service, f"{number:012x}") | labels.proof_labels(image)
    await engine.start(await engine.create(f"shop-{service}-1", {"Image": image, "Labels": of_app}))
    return image


async def names(engine: FakeEngine) -> tuple[set[str], set[str]]:
    images = {tag for image in await engine.images() for tag in image.tags}
    return {item.name for item in await engine.containers()}, images


@pytest.mark.parametrize("dry_run", [True, False])
async def test_services_that_left_have_a_report_each(dry_run: bool) -> None:
    engine = FakeEngine()
    for number, service in enumerate(("api", "old", "older"), 1):
        await add_service(engine, service, number)
    before = await names(engine)
    reports = await prune_left_services(engine, PROJECT, ("api",), Needed(), dry_run=dry_run)
    assert {
        name: [each.name for each in report.verdicts if each.remove] for name, report in reports.items()
    } == {
        "old": ["shop-old-1", "old:rev-000000000002"],
        "older": ["shop-older-1", "older:rev-000000000003"],
    }
    after = ({"shop-api-1"}, {"api:rev-000000000001"})
    assert await names(engine) == (before if dry_run else after)


async def test_what_the_daemon_needs_and_other_projects_stay() -> None:
    engine = FakeEngine()
    image = await add_service(engine, "old", 2)
    needed = Needed(ids=frozenset({image}))
    await prune_left_services(engine, PROJECT, ("api",), needed, dry_run=False)
    assert await engine.image(image)
    assert await prune_left_services(engine, "blog-0123456789", (), Needed(), dry_run=False) == {}


async def test_the_report_of_a_service_that_left_says_why() -> None:
    engine = FakeEngine()
    await add_service(engine, "old", 2)
    (report,) = (await prune_left_services(engine, PROJECT, ("api",), Needed(), dry_run=False)).values()
    rows = report_rows(report)
    (reason,) = {row.reason for row in rows}
    assert missing(reason, "service old", "compose file") == []
    assert "removed" in " ".join(summarize_report(report))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ((), ["a-0123456789", "b-0123456789", "c-0123456789"]),
        (("b-0123456789",), ["b-0123456789"]),
        (("c-0123456789", "a-0123456789"), ["a-0123456789", "c-0123456789"]),
    ],
)
def test_the_table_of_deleted_projects_shows_those_that_were_named(
    named: tuple[str, ...], expected: list[str]
) -> None:
    found = [
        LeftProject(f"{name}-0123456789", f"/src/{name}", Choice.BY_NAME, "deleted", record=None)
        for name in "abc"
    ]
    assert [left.id for left in select_asked(found, named)] == expected
