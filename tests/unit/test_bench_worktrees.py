"""The benchmark of worktrees: what counts as compiled, and its goals."""

from __future__ import annotations

from bench.worktrees import count_packages, judge_goal

OUTPUT = """\
internal/goarch
net/http
github.com/gin-gonic/gin/internal/bytesconv
golang.org/x/net/http2
go: downloading example.com/x v1
go-server/internal/version
go-server
"""


def test_packages_are_counted_by_whose_they_are() -> None:
    assert count_packages(OUTPUT.splitlines(), "go-server") == (2, 2, 2)
    assert count_packages([], "go-server") == (0, 0, 0)


def test_both_goals_are_judged() -> None:
    seconds = {"warm": [3.0, 2.0, 4.0], "worktree": [3.9]}
    first, second = judge_goal(seconds, (0, 0, 1))
    assert first.endswith("takes 1.30 times a warm one: goal 1.3 met")
    assert second.endswith("goal 0 met")
    first, second = judge_goal({**seconds, "worktree": [4.0]}, (1, 2, 1))
    assert first.endswith("NOT met")
    assert "compiles 3 packages" in second
