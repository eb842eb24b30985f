"""What people and programs are shown of a prune."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.facts import missing
from watcher.prune import (
    CacheMount,
    Cause,
    Disk,
    NotMeasured,
    ObjectKind,
    PruneReport,
    Reason,
    Row,
    UsageRow,
    UsageText,
    Verdict,
    engine_as_json,
    format_usage,
    free_space_text,
    report_as_json,
    report_rows,
    summarize_estimate,
    summarize_go_cache,
    summarize_report,
    summarize_trim,
)

STAYS = Verdict(
    ObjectKind.FINAL, "sha256:" + "a" * 64, "web:latest", 24_000_000, False, Reason(Cause.LIVE, "it is live")
)
GOES = Verdict(
    ObjectKind.BUILDER,
    "sha256:" + "b" * 64,
    "bbbbbbbbbbbb",
    602_000_000,
    True,
    Reason(Cause.UNTAGGED, "an old builder image"),
    created=1000.0,
)
STEP = Verdict(
    ObjectKind.STEP,
    "abcdefghijkl",
    "RUN go build",
    22_000_000,
    True,
    Reason(Cause.SUPERSEDED, "used only by superseded builds"),
    created=900.0,
)
TAG = Verdict(
    ObjectKind.TAG,
    "sha256:" + "a" * 64,
    "web:rev-1",
    0,
    True,
    Reason(Cause.SURPLUS, "one of 4 tags of the same image"),
)
BOX = Verdict(ObjectKind.CONTAINER, "c" * 64, "web.1", 0, False, Reason(Cause.IN_USE, "it is running"))


def test_rows_show_what_goes_first_with_age_and_size() -> None:
    assert report_rows(PruneReport(verdicts=(STAYS, BOX, STEP, TAG, GOES), at=1090.0)) == (
        Row(
            "removed",
            "builder",
            "bbbbbbbbbbbb",
            "bbbbbbbbbbbb",
            "1 min 30 s",
            "602 MB",
            GOES.reason,
        ),
        Row("removed", "step", "RUN go build", "abcdefghijkl", "3 min 10 s", "22.0 MB", STEP.reason),
        Row("removed", "tag", "web:rev-1", "aaaaaaaaaaaa", "", "", TAG.reason),
        Row("keep", "final", "web:latest", "aaaaaaaaaaaa", "", "24.0 MB", STAYS.reason),
        Row("keep", "container", "web.1", "cccccccccccc", "", "", BOX.reason),
    )


def test_a_dry_run_says_that_it_would_remove() -> None:
    report = PruneReport(verdicts=(GOES,), dry_run=True)
    assert report_rows(report)[0].verdict == "would remove"
    (line,) = summarize_report(report)
    assert missing(line, "1 object", "would be removed", "602 MB", "layers") == []


def test_a_dry_run_says_what_goes_after_the_images() -> None:
    """A step that an image has is kept as long as the image is there, so the table shows it as kept."""
    kept = replace(STEP, remove=False, why=Reason(Cause.IN_USE, "an image has it"))
    text = "build steps of these images would be removed after them"
    assert text in summarize_report(PruneReport(verdicts=(GOES, kept), dry_run=True))
    assert text not in summarize_report(PruneReport(verdicts=(GOES, STEP), dry_run=True))
    assert text not in summarize_report(PruneReport(verdicts=(TAG, kept), dry_run=True))


def test_the_summary_says_what_was_given_back() -> None:
    report = PruneReport(verdicts=(GOES, TAG), freed=393_000_000, cached=209_000_000)
    (line,) = summarize_report(report)
    assert missing(line, "2 objects", "removed", "393 MB freed", "209 MB", "build cache") == []
    unknown = "2 objects removed; the freed bytes could not be measured"
    assert summarize_report(PruneReport(verdicts=(GOES, TAG))) == (unknown,)


def test_a_summary_of_nothing_stale_says_so() -> None:
    assert summarize_report(PruneReport(verdicts=(STAYS,))) == ("nothing is stale",)
    short = ("the disk is nearly full: only one final image is kept", "nothing is stale")
    assert summarize_report(PruneReport(verdicts=(STAYS,), low=True)) == short


def test_how_much_room_there_is_or_why_that_is_not_known() -> None:
    disk = Disk(free=67_800_000_000, total=271_000_000_000)
    assert missing(free_space_text(disk), "67.8 GB", "271 GB", "free") == []
    remote = "the engine is remote, at tcp://10.0.0.7:2376"
    assert missing(free_space_text(NotMeasured(remote)), "free space", "cannot be measured", remote) == []


def test_the_json_is_plain_and_complete() -> None:
    report = PruneReport(verdicts=(GOES, STAYS), freed=1, cached=2, low=True, seconds=0.5)
    assert json.loads(json.dumps(report_as_json(report))) == {
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
    share = UsageRow("cache mounts", 7, None, "not known")
    assert json.loads(json.dumps(engine_as_json((share,), NotMeasured("far away")))) == {
        "usage": [{"what": "cache mounts", "size": 7, "ours": None, "note": "not known"}],
        "disk": {"not_measured": "far away"},
    }
    assert engine_as_json((), Disk(1, 100))["disk"] == {"free": 1, "total": 100}


def test_rows_of_what_fills_the_disk() -> None:
    shares = (UsageRow("images", 737_000_000, 22_000_000, "x"), UsageRow("cache mounts", 7, None, "y"))
    assert format_usage(shares) == (
        UsageText("images", "737 MB", "22.0 MB", "x"),
        UsageText("cache mounts", "7 B", "unknown", "y"),
    )


def test_what_goes_of_the_build_cache_is_told_or_why_nothing_does() -> None:
    assert summarize_trim(0, 0) == "the build cache is within its limit"
    assert missing(summarize_trim(2, 3_000_000), "2 records", "removed", "3.00 MB") == []
    limit = "prune.cache_keep_storage"
    some = summarize_estimate(5_000_000, 2_000_000, 3_000_000)
    assert missing(some, "3.00 MB", "would be removed", "5.00 MB", limit, "2.00 MB") == []
    used = summarize_estimate(5_000_000, 2_000_000, 0)
    assert (
        missing(used, "nothing", "would be removed", "5.00 MB", limit, "2.00 MB", "in use", "recently") == []
    )
    within = summarize_estimate(1_000_000, 2_000_000, 0)
    assert missing(within, "nothing", "would be removed", "1.00 MB", limit, "2.00 MB") == []
    assert "in use" not in within


def test_what_would_go_of_the_go_cache_is_said_with_its_bound() -> None:
    mounts = (CacheMount("/c", 200, "now"), CacheMount("/m", 900, "modules", modules=True))
    limit = "prune.go_cache_max"
    within = summarize_go_cache(mounts, 1000, 0, dry_run=True)
    assert missing(within, "nothing", "would be removed", "200 B", limit, "1.00 kB") == []
    over = summarize_go_cache(mounts, 100, 0, dry_run=True)
    assert missing(over, "110 B", "would be removed", "least recently used", "200 B", limit, "100 B") == []
    assert summarize_go_cache(mounts, 0, 0, dry_run=True).endswith("prune.go_cache_max sets no limit")
    done = summarize_go_cache(mounts, 300, 7, dry_run=False)
    assert missing(done, "7 B", "removed", "200 B", limit, "300 B") == []
    assert "would" not in done
