"""The sums behind `./dev bench disk`."""

from __future__ import annotations

import pytest

from bench._disk import find_family, fit_slope
from watcher.buildkit import UsageInfo


def record(name: str, description: str, *parents: str) -> UsageInfo:
    return UsageInfo(name, "regular", description, 1, 0.0, 0.0, 1, False, False, False, parents)


def test_the_slope_of_a_line_is_found_without_an_error() -> None:
    assert fit_slope([(x, 3.0 + 2.0 * x) for x in range(10)]) == pytest.approx((2.0, 0.0))


def test_noise_makes_the_error_of_a_flat_course() -> None:
    rise, error = fit_slope([(x, 100.0 + (-1) ** x) for x in range(200)])
    assert abs(rise) < 2 * error
    assert 0 < error < 0.01


def test_too_few_points_say_nothing() -> None:
    assert fit_slope([(1, 1.0), (2, 2.0)]) == (0.0, float("inf"))


def test_a_family_is_what_carries_the_marker_with_what_it_stands_on_and_what_stands_on_it() -> None:
    records = [
        record("base", "pulled from docker.io"),
        record("workdir", "fileop target", "base"),
        record("run", "mount / from exec /bin/sh -c echo mark", "workdir"),
        record("copy", "fileop target", "run"),
        record("other", "fileop target", "base"),
    ]
    assert find_family(records, "mark") == {"workdir", "run", "copy"}
