"""What people and programs are shown of a prune."""

from __future__ import annotations

import json

from watcher.prune import Cache, Cause, Disk, Kind, Report, Row, Unseen, Verdict, Why, as_json, rows, summary

STAYS = Verdict(
    Kind.FINAL, "sha256:" + "a" * 64, "web:latest", 24_000_000, False, Why(Cause.LIVE, "it is live")
)
GOES = Verdict(
    Kind.BUILDER,
    "sha256:" + "b" * 64,
    "bbbbbbbbbbbb",
    602_000_000,
    True,
    Why(Cause.UNTAGGED, "an old builder image"),
)
TAG = Verdict(
    Kind.TAG,
    "sha256:" + "a" * 64,
    "web:rev-1",
    0,
    True,
    Why(Cause.SURPLUS, "one of 4 tags of the same image"),
)
BOX = Verdict(Kind.CONTAINER, "c" * 64, "web.1", 0, False, Why(Cause.IN_USE, "it is running"))


def test_rows_show_what_goes_first_and_sizes_of_images_only() -> None:
    assert rows(Report(verdicts=(STAYS, BOX, TAG, GOES))) == (
        Row("removed", "builder", "bbbbbbbbbbbb", "bbbbbbbbbbbb", "602 MB", "an old builder image"),
        Row("removed", "tag", "web:rev-1", "aaaaaaaaaaaa", "", "one of 4 tags of the same image"),
        Row("keep", "final", "web:latest", "aaaaaaaaaaaa", "24.0 MB", "it is live"),
        Row("keep", "container", "web.1", "cccccccccccc", "", "it is running"),
    )


def test_a_dry_run_says_that_it_would_remove() -> None:
    report = Report(verdicts=(GOES,), dry_run=True)
    assert rows(report)[0].verdict == "would remove"
    assert summary(report) == ("1 object would be removed, 602 MB at most: images share layers",)


def test_the_summary_answers_what_fills_the_disk() -> None:
    report = Report(
        verdicts=(GOES, TAG),
        freed=393_000_000,
        cached=209_000_000,
        cache=Cache(size=10_900_000_000, reclaimable=10_600_000_000, mounts=364_000_000),
        disk=Disk(free=67_800_000_000, total=271_000_000_000),
        others=5,
        others_size=265_000_000,
    )
    assert summary(report) == (
        "2 objects removed, 393 MB given back; 209 MB more are held by the build cache alone now",
        "5 images of others, 265 MB with what they share, never touched",
        "the build cache of all projects holds 10.9 GB, of which cache mounts 364 MB; 10.6 GB could be given "
        "back (`docker builder prune`), never done here: no record says whose it is",
        "the engine's disk has 67.8 GB of 271 GB free",
    )


def test_a_summary_of_nothing_stale_says_so() -> None:
    assert summary(Report(verdicts=(STAYS,))) == ("nothing is stale",)


def test_the_json_is_plain_and_complete() -> None:
    report = Report(
        verdicts=(GOES, STAYS),
        freed=1,
        cached=2,
        cache=Cache(3, 2, 1),
        disk=Disk(1, 100),
        low=True,
        others=4,
        others_size=5,
        seconds=0.5,
    )
    assert json.loads(json.dumps(as_json(report))) == {
        "dry_run": False,
        "freed": 1,
        "cached": 2,
        "seconds": 0.5,
        "objects": [
            {
                "verdict": "remove",
                "kind": "builder",
                "id": GOES.id,
                "name": GOES.name,
                "size": GOES.size,
                "cause": "untagged",
                "reason": GOES.reason,
            },
            {
                "verdict": "keep",
                "kind": "final",
                "id": STAYS.id,
                "name": STAYS.name,
                "size": STAYS.size,
                "cause": "live",
                "reason": STAYS.reason,
            },
        ],
        "others": {"images": 4, "size": 5},
        "build_cache": {"size": 3, "reclaimable": 2, "mounts": 1},
        "disk": {"free": 1, "total": 100, "low": True},
    }


def test_a_disk_that_is_nearly_full_or_out_of_sight_is_said_to_be_so() -> None:
    short = Report(verdicts=(), disk=Disk(free=1_000_000_000, total=100_000_000_000), low=True)
    room = "the engine's disk has 1.00 GB of 100 GB free, which is little: only one final image is kept"
    assert summary(short)[-1] == room
    far = Report(verdicts=(), disk=Unseen("it is reached at tcp://10.0.0.7:2376"))
    assert summary(far)[-1] == (
        "how full the engine's disk is cannot be measured from here: it is reached at tcp://10.0.0.7:2376"
    )
    assert as_json(far)["disk"] == {"unseen": "it is reached at tcp://10.0.0.7:2376"}


def test_the_json_says_null_for_what_was_not_measured() -> None:
    plain = as_json(Report(verdicts=()))
    assert plain["freed"] is plain["build_cache"] is plain["disk"] is None
