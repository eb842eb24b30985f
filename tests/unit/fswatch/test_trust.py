"""Evidence for and against believing in events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from watcher.fswatch.mounts import type_at
from watcher.fswatch.schedule import scan_interval
from watcher.fswatch.trust import GRACE, Trust


def test_a_change_that_no_event_announced_is_the_end_of_trust() -> None:
    trust = Trust("")
    trust.record_found(["pkg/a.go"], since=0.0, now=10.0)
    assert (trust.settle_doubts(10.0 + GRACE / 2), trust.doubt) == (False, "")
    assert trust.settle_doubts(10.0 + GRACE)
    assert trust.doubt == "pkg/a.go changed and no event reported it"
    assert not trust.settle_doubts(20.0)


@pytest.mark.parametrize("directory", ["pkg", ""])
def test_a_change_that_was_announced_since_the_look_before_is_none(directory: str) -> None:
    trust = Trust("")
    trust.record_events([directory], 5.0)
    trust.record_found(["pkg/a.go"], since=4.0, now=10.0)
    assert not trust.settle_doubts(100.0)
    assert not trust.doubt


def test_an_announcement_from_before_the_look_before_does_not_count() -> None:
    trust = Trust("")
    trust.record_events(["pkg"], 3.0)
    trust.record_found(["pkg/a.go"], since=4.0, now=10.0)
    assert trust.settle_doubts(10.0 + GRACE)


def test_an_event_may_come_a_little_later_than_the_look() -> None:
    trust = Trust("")
    trust.record_found(["pkg/a.go"], since=0.0, now=10.0)
    trust.record_events(["pkg"], 10.0 + GRACE / 2)
    assert not trust.settle_doubts(10.0 + GRACE)
    assert not trust.doubt


def test_files_that_another_machine_may_write_start_without_trust_and_can_earn_it() -> None:
    trust = Trust("nfs4")
    assert missing(trust.doubt, "nfs4", "another machine") == []
    for _ in range(3):
        assert trust.doubt
        trust.record_confirmed()
    assert not trust.doubt


def test_trust_is_harder_to_earn_after_each_relapse() -> None:
    trust = Trust("")
    proofs = []
    for round_ in range(6):
        trust.record_found(["a.go"], since=round_ * 100.0, now=round_ * 100.0 + 1)
        assert trust.settle_doubts(round_ * 100.0 + 10)
        count = 0
        while trust.doubt:
            trust.record_confirmed()
            count += 1
        proofs.append(count)
    assert proofs == [6, 12, 24, 48, 64, 64]


@given(seconds=st.floats(0, 60), full_scan=st.floats(0, 600), foreign=st.booleans())
def test_looking_by_the_clock_never_takes_much_of_a_core(
    seconds: float, full_scan: float, foreign: bool
) -> None:
    polling = scan_interval(polling=True, seconds=seconds, full_scan=full_scan, foreign=foreign)
    assert polling is not None
    assert 0.5 <= polling <= 10.0
    if seconds <= 0.5:
        assert seconds / polling <= 0.051
    calm = scan_interval(polling=False, seconds=seconds, full_scan=full_scan, foreign=False)
    if full_scan == 0:
        assert calm is None
    else:
        assert calm is not None
        assert calm >= full_scan
        assert seconds / calm <= 0.0021


MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /home/me/with\040space rw - nfs4 server:/export rw
31 22 0:26 / /home/me rw shared:2 - btrfs /dev/vdb rw
32 31 0:27 / /home/me/project rw - virtiofs tag rw
33 32 0:28 / /home/me/project rw - tmpfs none rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/mean", "ext4"),
        ("/home/me", "btrfs"),
        ("/home/me/with space/x", "nfs4"),
        ("/home/me/project/x", "tmpfs"),
        ("/home/me/project2", "btrfs"),
    ],
)
def test_the_file_system_of_a_path_is_the_innermost_and_latest_mount(path: str, kind: str) -> None:
    assert type_at(path, MOUNTS) == kind
