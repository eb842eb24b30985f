"""Which Go caches shrink."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watcher.prune import CacheMount
from watcher.prune.go_cache_select import UNUSED, plan_trim

NOW = 1_000_000.0


def mount(name: str, size: int, *, last_named: float | None = None, modules: bool = False) -> CacheMount:
    return CacheMount("/cache", size, name, modules=modules, last_named=last_named)


mounts = st.lists(
    st.builds(
        CacheMount,
        target=st.just("/cache"),
        size=st.integers(0, 1000),
        id=st.uuids().map(str),
        modules=st.booleans(),
        last_named=st.none() | st.floats(0, NOW),
    ),
    max_size=8,
)


def test_what_fits_stays() -> None:
    plan = plan_trim([mount("a", 100), mount("b", 50, last_named=NOW)], 150, NOW)
    assert (plan.empty, plan.excess, plan.left) == ((), 0, 150)


def test_former_mounts_go_first_and_the_oldest_of_them_before_the_others() -> None:
    found = [mount("now", 100), mount("new", 60, last_named=NOW - 5), mount("old", 60, last_named=NOW - 9)]
    assert plan_trim(found, 170, NOW).empty == ("old",)
    assert plan_trim(found, 150, NOW).empty == ("old", "new")


def test_a_former_mount_goes_after_days_also_where_there_is_room() -> None:
    plan = plan_trim([mount("old", 10, last_named=NOW - UNUSED - 1)], 1000, NOW)
    assert (plan.empty, plan.excess) == (("old",), 0)


def test_a_former_module_cache_goes_after_days_only() -> None:
    found = [
        mount("now", 10),
        mount("old", 500, last_named=NOW - UNUSED - 1, modules=True),
        mount("new", 500, last_named=NOW - UNUSED + 1, modules=True),
    ]
    plan = plan_trim(found, 10, NOW)
    assert (plan.empty, plan.excess, plan.left) == (("old",), 0, 10)


def test_the_current_mount_is_trimmed_with_room_for_the_next_build() -> None:
    plan = plan_trim([mount("now", 200), mount("modules", 900, modules=True)], 100, NOW)
    assert (plan.empty, plan.excess, plan.left) == ((), 110, 90)


@given(mounts, st.integers(0, 3000))
def test_the_bound_holds_and_no_more_goes_than_it_asks_for(found: list[CacheMount], most: int) -> None:
    plan = plan_trim(found, most, NOW)
    by_id = {each.id: each for each in found}
    emptied = [by_id[name] for name in plan.empty]
    assert all(each.last_named is not None for each in emptied)
    assert all(not each.modules or NOW - (each.last_named or 0) > UNUSED for each in emptied)
    emptied = [each for each in emptied if not each.modules]
    total = sum(each.size for each in found if not each.modules)
    assert plan.left == total - sum(each.size for each in emptied) - plan.excess
    if not most:
        assert not plan.empty
        assert not plan.excess
        return
    assert plan.left <= most
    if plan.excess:  # nothing else was left to empty
        assert not any(
            each.last_named is not None and not each.modules for each in found if each not in emptied
        )
    young = [each for each in emptied if each.last_named is not None and NOW - each.last_named <= UNUSED]
    if young and not plan.excess:  # without the last one of them it would have been too much
        assert plan.left + young[-1].size > most
