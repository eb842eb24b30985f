"""Each byte is counted once, whatever the claims are."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from watcher.image.spread import Claim, Claims, spread

OFFSETS = st.integers(0, 60)
CLAIMS = st.lists(st.builds(Claim, OFFSETS, OFFSETS, st.sampled_from("abc")), max_size=12)


@given(st.lists(CLAIMS, max_size=3), OFFSETS, OFFSETS)
def test_the_parts_add_up_and_the_first_level_has_its_bytes(
    levels: list[list[Claim[str]]], start: int, end: int
) -> None:
    totals: Counter[str] = Counter()
    spread(totals, start, end, [Claims(each) for each in levels], "rest")
    assert totals.total() == max(0, end - start)
    expected: Counter[str] = Counter()
    for byte in range(start, end):
        claimed = any(claim.start <= byte < claim.end for level in levels for claim in level)
        expected["rest"] += not claimed
    assert totals["rest"] == expected["rest"]


def test_a_claim_of_a_lower_level_has_what_is_left() -> None:
    totals: Counter[str] = Counter()
    levels = [Claims([Claim(10, 20, "file")]), Claims([Claim(0, 15, "strings"), Claim(18, 25, "more")])]
    spread(totals, 0, 30, levels, "rest")
    assert totals == {"file": 10, "strings": 10, "more": 5, "rest": 5}
