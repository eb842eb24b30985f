"""What people and programs are shown of a prune."""

from __future__ import annotations

import json
from dataclasses import replace

from watcher.prune import (
    CacheMount,
    Cause,
    Disk,
    ObjectKind,
    Report,
    Row,
    Share,
    ShareRow,
    Unseen,
    Verdict,
    Why,
    as_json,
    describe_go_cache,
    engine_as_json,
    excess,
    room,
    rows,
    share_rows,
    summary,
    trimmed,
)

STAYS = Verdict(
    ObjectKind.FINAL, "sha256:" + "a" * 64, "web:latest", 24_000_000, False, Why(Cause.LIVE, "it is live")
)
GOES = Verdict(
    ObjectKind.BUILDER,
    "sha256:" + "b" * 64,
    "bbbbbbbbbbbb",
    602_000_000,
    True,
    Why(Cause.UNTAGGED, "an old builder image"),
    created=1000.0,
)
STEP = Verdict(
    ObjectKind.STEP,
    "abcdefghijkl",
    "RUN go build",
    22_000_000,
    True,
    Why(Cause.SUPERSEDED, "only superseded builds have used it"),
    created=900.0,
)
TAG = Verdict(
    ObjectKind.TAG,
    "sha256:" + "a" * 64,
    "web:rev-1",
    0,
    True,
    Why(Cause.SURPLUS, "one of 4 tags of the same image"),
)
BOX = Verdict(ObjectKind.CONTAINER, "c" * 64, "web.1", 0, False, Why(Cause.IN_USE, "it is running"))


def test_rows_show_what_goes_first_with_age_and_size() -> None:
    used = "only superseded builds have used it"
    assert rows(Report(verdicts=(STAYS, BOX, STEP, TAG, GOES), at=1090.0)) == (
        Row(
            "removed",
            "builder",
            "bbbbbbbbbbbb",
            "bbbbbbbbbbbb",
            "1 min 30 s",
            "602 MB",
            "an old builder image",
        ),
        Row("removed", "step", "RUN go build", "abcdefghijkl", "3 min 10 s", "22.0 MB", used),
        Row("removed", "tag", "web:rev-1", "aaaaaaaaaaaa", "", "", "one of 4 tags of the same image"),
        Row("keep", "final", "web:latest", "aaaaaaaaaaaa", "", "24.0 MB", "it is live"),
        Row("keep", "container", "web.1", "cccccccccccc", "", "", "it is running"),
    )


def test_a_dry_run_says_that_it_would_remove() -> None:
    report = Report(verdicts=(GOES,), dry_run=True)
    assert rows(report)[0].verdict == "would remove"
    assert summary(report) == ("1 object would be removed, 602 MB at most: images share layers",)


def test_a_dry_run_says_what_goes_after_the_images() -> None:
    """A step that an image has is kept as long as the image is there, so the table shows it as kept."""
    kept = replace(STEP, remove=False, why=Why(Cause.IN_USE, "an image has it"))
    text = "build steps that only these images have would be removed after them"
    assert text in summary(Report(verdicts=(GOES, kept), dry_run=True))
    assert text not in summary(Report(verdicts=(GOES, STEP), dry_run=True))
    assert text not in summary(Report(verdicts=(TAG, kept), dry_run=True))


def test_the_summary_says_what_was_given_back() -> None:
    report = Report(verdicts=(GOES, TAG), freed=393_000_000, cached=209_000_000)
    assert summary(report) == (
        "2 objects removed, 393 MB given back; 209 MB more are held by the build cache alone now",
    )
    unknown = "2 objects removed; what that gave back could not be measured"
    assert summary(Report(verdicts=(GOES, TAG))) == (unknown,)


def test_a_summary_of_nothing_stale_says_so() -> None:
    assert summary(Report(verdicts=(STAYS,))) == ("nothing is stale",)
    short = ("room is short: only one final image is kept", "nothing is stale")
    assert summary(Report(verdicts=(STAYS,), low=True)) == short


def test_how_much_room_there_is_or_why_that_is_not_known() -> None:
    disk = Disk(free=67_800_000_000, total=271_000_000_000)
    assert room(disk) == "the engine's disk has 67.8 GB of 271 GB free"
    assert room(Unseen("it is reached at tcp://10.0.0.7:2376")) == (
        "how full the engine's disk is cannot be measured from here: it is reached at tcp://10.0.0.7:2376"
    )


def test_the_json_is_plain_and_complete() -> None:
    report = Report(verdicts=(GOES, STAYS), freed=1, cached=2, low=True, seconds=0.5)
    assert json.loads(json.dumps(as_json(report))) == {
        "dry_run": False,
        "freed": 1,
        "cached": 2,
        "low": True,
        "seconds": 0.5,
        "objects": [
            {
                "verdict": "remove",
                "kind": "builder",
                "id": GOES.id,
                "name": GOES.name,
                "size": GOES.size,
                "created": 1000.0,
                "cause": "untagged",
                "reason": GOES.reason,
            },
            {
                "verdict": "keep",
                "kind": "final",
                "id": STAYS.id,
                "name": STAYS.name,
                "size": STAYS.size,
                "created": None,
                "cause": "live",
                "reason": STAYS.reason,
            },
        ],
    }


def test_the_engines_part_of_the_json_has_null_where_nobody_can_tell() -> None:
    share = Share("cache mounts", 7, None, "not known")
    assert json.loads(json.dumps(engine_as_json((share,), Unseen("far away")))) == {
        "filling": [{"what": "cache mounts", "size": 7, "ours": None, "note": "not known"}],
        "disk": {"unseen": "far away"},
    }
    assert engine_as_json((), Disk(1, 100))["disk"] == {"free": 1, "total": 100}


def test_rows_of_what_fills_the_disk() -> None:
    shares = (Share("images", 737_000_000, 22_000_000, "x"), Share("cache mounts", 7, None, "y"))
    assert share_rows(shares) == (
        ShareRow("images", "737 MB", "22.0 MB", "x"),
        ShareRow("cache mounts", "7 B", "not told", "y"),
    )


def test_what_goes_of_the_build_cache_is_told_or_why_nothing_does() -> None:
    assert trimmed(0, 0) == "nothing of the build cache had to go"
    assert trimmed(2, 3_000_000) == "2 records of the build cache removed, 3.00 MB given back"
    sizes = "it holds 5.00 MB, and prune.cache_keep_storage is 2.00 MB"
    assert excess(5_000_000, 2_000_000, 3_000_000) == (
        f"about 3.00 MB of the build cache would be removed: {sizes}"
    )
    nothing = "nothing of the build cache would be removed: it holds"
    assert excess(5_000_000, 2_000_000, 0) == (
        f"{nothing} 5.00 MB, and prune.cache_keep_storage is 2.00 MB, "
        "but all that may go is in use or was lately"
    )
    assert excess(1_000_000, 2_000_000, 0) == f"{nothing} 1.00 MB, and prune.cache_keep_storage is 2.00 MB"


def test_what_would_go_of_the_go_cache_is_said_with_its_bound() -> None:
    mounts = (CacheMount("/c", 200, "now"), CacheMount("/m", 900, "modules", modules=True))
    assert describe_go_cache(mounts, 1000, 0, dry_run=True) == (
        "nothing of Go's build cache would be removed: it holds 200 B, and prune.go_cache_max is 1.00 kB"
    )
    assert describe_go_cache(mounts, 100, 0, dry_run=True) == (
        "up to 110 B of Go's build cache would be removed, what was unused for longest first: "
        "it holds 200 B, and prune.go_cache_max is 100 B"
    )
    assert describe_go_cache(mounts, 0, 0, dry_run=True).endswith("prune.go_cache_max sets no bound")
    assert describe_go_cache(mounts, 300, 7, dry_run=False) == (
        "7 B of Go's build cache removed: it holds 200 B, and prune.go_cache_max is 300 B"
    )
