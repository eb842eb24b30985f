"""Which text is built after which failure: never more often than it can help, never less."""

import pytest

from watcher.builder.strategies import BuildStrategy, FailedBuild, StrategyHistory
from watcher.diagnosis.diagnose import build_failure
from watcher.errors import Failure

TEXT, MODULES = "FROM golang", "m1"
COMPILER = build_failure("", "", ("# example.test/a", "./main.go:3:1: undefined: x"))
LIMIT = Failure("build", "RUN go build failed: signal: killed", ("go build: signal: killed",))
NO_PROXY = "main.go:5:2: example.test/x@v1.0.0: Get …: dial tcp: lookup proxy.example.test: no such host"


def failed(
    failure: Failure,
    *,
    step: str = "[b 3/3] RUN go build",
    reason: str = "exit code: 1",
    modules: bool = False,
) -> FailedBuild:
    return FailedBuild(failure, step, reason, touched=True, modules_mounted=modules)


def knowing() -> StrategyHistory:
    """A memory of a good build of TEXT with MODULES."""
    history = StrategyHistory()
    history.record_success(BuildStrategy.ACCELERATED, TEXT, MODULES, after=None)
    return history


def test_without_a_network_only_when_the_modules_were_downloaded() -> None:
    assert StrategyHistory().first_strategy(TEXT, MODULES) is BuildStrategy.ACCELERATED
    assert knowing().first_strategy(TEXT, MODULES) is BuildStrategy.OFFLINE
    assert knowing().first_strategy(TEXT, "m2") is BuildStrategy.ACCELERATED


@pytest.mark.parametrize("line", [NO_PROXY, "go: download go1.99: toolchain not available"])
def test_a_missing_network_is_given_every_time(line: str) -> None:
    history, kind = knowing(), "compile" if line is NO_PROXY else "build"
    for _ in range(3):
        assert (
            history.next_strategy(BuildStrategy.OFFLINE, TEXT, failed(Failure(kind, "x", (line,))))
            is BuildStrategy.ACCELERATED
        )


def test_a_network_that_is_always_needed_is_not_taken_away_a_third_time() -> None:
    history = knowing()
    for _ in range(2):
        assert history.first_strategy(TEXT, MODULES) is BuildStrategy.OFFLINE
        history.record_success(BuildStrategy.ACCELERATED, TEXT, MODULES, after=BuildStrategy.OFFLINE)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.ACCELERATED
    assert history.first_strategy("FROM golang:1", MODULES) is BuildStrategy.OFFLINE


def test_a_network_that_was_missed_now_and_then_is_still_taken_away() -> None:
    history = knowing()
    for _ in range(3):
        history.record_success(BuildStrategy.ACCELERATED, TEXT, MODULES, after=BuildStrategy.OFFLINE)
        history.record_success(BuildStrategy.OFFLINE, TEXT, MODULES, after=None)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.OFFLINE


@pytest.mark.parametrize("strategy", list(BuildStrategy))
def test_what_the_compiler_says_is_the_users(strategy: BuildStrategy) -> None:
    assert knowing().next_strategy(strategy, TEXT, failed(COMPILER)) is None


def test_a_failure_that_may_be_ours_is_tried_with_less_and_less_but_once() -> None:
    history = knowing()
    assert history.next_strategy(BuildStrategy.OFFLINE, TEXT, failed(LIMIT)) is BuildStrategy.ACCELERATED
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(LIMIT)) is BuildStrategy.PLAIN
    assert history.next_strategy(BuildStrategy.PLAIN, TEXT, failed(LIMIT)) is None
    # The next save, with the same mistake: nothing is built twice.
    assert history.next_strategy(BuildStrategy.OFFLINE, TEXT, failed(LIMIT)) is None
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(LIMIT)) is None


def test_numbers_do_not_make_another_failure() -> None:
    history = StrategyHistory()
    one, two = (Failure("build", f"/tmp/go-build{number}/b001: no space") for number in (17, 4711))
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(one)) is BuildStrategy.PLAIN
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(two)) is None
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(LIMIT)) is BuildStrategy.PLAIN
    assert history.next_strategy(BuildStrategy.ACCELERATED, "FROM other", failed(one)) is BuildStrategy.PLAIN


def test_a_step_before_all_that_was_changed_is_not_ours() -> None:
    untouched = FailedBuild(
        Failure("build", "apk: no such package"),
        "[b 2/3] RUN apk add x",
        "1",
        touched=False,
        modules_mounted=True,
    )
    assert StrategyHistory().next_strategy(BuildStrategy.ACCELERATED, TEXT, untouched) is None


def test_a_text_that_the_frontend_does_not_understand_is_given_as_it_is() -> None:
    misread = FailedBuild(
        Failure("build", "Dockerfile:4: Unknown flag: network"),
        "",
        "failed to create LLB definition: dockerfile parse error line 4: Unknown flag: network",
        touched=False,
        modules_mounted=True,
    )
    assert StrategyHistory().next_strategy(BuildStrategy.OFFLINE, TEXT, misread) is BuildStrategy.ACCELERATED
    assert StrategyHistory().next_strategy(BuildStrategy.ACCELERATED, TEXT, misread) is BuildStrategy.PLAIN
    assert StrategyHistory().next_strategy(BuildStrategy.PLAIN, TEXT, misread) is None


def test_a_file_that_only_builds_as_it_is_is_left_alone_after_the_second_time() -> None:
    history = StrategyHistory()
    history.record_success(BuildStrategy.PLAIN, TEXT, MODULES, after=BuildStrategy.ACCELERATED)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.ACCELERATED
    assert not history.builds_original(TEXT)
    history.record_success(BuildStrategy.PLAIN, TEXT, MODULES, after=BuildStrategy.ACCELERATED)
    assert history.builds_original(TEXT)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.PLAIN
    assert history.first_strategy("FROM golang:1", MODULES) is BuildStrategy.ACCELERATED


def test_a_file_that_builds_accelerated_in_between_is_not_left_alone() -> None:
    history = StrategyHistory()
    for _ in range(3):
        history.record_success(BuildStrategy.PLAIN, TEXT, MODULES, after=BuildStrategy.ACCELERATED)
        history.record_success(BuildStrategy.ACCELERATED, TEXT, MODULES, after=None)
    assert not history.builds_original(TEXT)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.OFFLINE


def test_a_file_with_nothing_to_change_collects_no_strikes() -> None:
    history = StrategyHistory()
    for _ in range(3):
        history.record_success(BuildStrategy.PLAIN, TEXT, MODULES, after=None)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.ACCELERATED


# What go 1.26 says of a module that is not in its cache, with the lines above it.
MISSING = {
    "no proxy": ("main.go:3:8: example.test/x@v1.0.0: Get …: dial tcp: lookup proxy.test: no such host",),
    "not at the proxy": (
        "go: downloading example.test/x v1.0.0",
        "main.go:3:8: example.test/x@v1.0.0: reading https://proxy.test/x/@v/v1.0.0.zip: 404 Not Found",
    ),
    "GOPROXY=off": ("main.go:3:8: module lookup disabled by GOPROXY=off",),
    "-mod=mod": (
        "main.go:3:8: cannot find module providing package example.test/x: "
        "module lookup disabled by GOPROXY=off",
    ),
    "a private repository": (
        "go: example.test/x@v1.0.0: git ls-remote -q origin: exit status 128:",
        "\tfatal: could not read Username for 'https://example.test': terminal prompts disabled",
    ),
    "no sum": ("main.go:3:8: missing go.sum entry for module providing package example.test/x",),
    "another sum": ("verifying example.test/x@v1.0.0: checksum mismatch", "SECURITY ERROR"),
    "a file of it": ("cat: can't open '/go/pkg/mod/example.test/x@v1.0.0/schema.sql': No such file",),
    "vendored beside": (
        "go: inconsistent vendoring in /src:",
        "\texample.test/x@v1.0.0: is explicitly required",
    ),
}


@pytest.mark.parametrize("lines", MISSING.values(), ids=MISSING)
def test_a_module_that_a_mount_of_ours_may_hide_is_looked_for_where_the_image_has_it(
    lines: tuple[str, ...],
) -> None:
    history, failure = StrategyHistory(), build_failure("[b 3/3] RUN go build", "exit code: 1", lines)
    missed = failed(failure, modules=True)
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, missed) is BuildStrategy.OWN_MODULES
    assert history.next_strategy(BuildStrategy.OWN_MODULES, TEXT, missed) is BuildStrategy.PLAIN
    assert history.next_strategy(BuildStrategy.PLAIN, TEXT, missed) is None
    assert history.next_strategy(BuildStrategy.ACCELERATED, TEXT, missed) is None  # in vain, once
    # Without a module cache of ours it cannot be hidden by one.
    assert (
        StrategyHistory().next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(failure))
        is BuildStrategy.PLAIN
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("# example.test/a", "./main.go:3:1: undefined: x"),
        ("# example.test/a", "# [example.test/a]", "vet: ./main.go:3:1: undefined: module"),
        (
            "main.go:4:2: no required module provides package example.test/y; to add it:",
            "\tgo get example.test/y",
        ),
        ("main.go:4:2: package foo/bar is not in std (/usr/local/go/src/foo/bar)",),
        ("main.go:1:1: expected 'package', found 'x'",),
        ("main.go:4:2: use of internal package example.test/x/internal/y not allowed",),
        ("package a", "\timports b", "main.go:3:8: import cycle not allowed"),
    ],
)
def test_what_is_wrong_in_the_tree_is_told_at_once(lines: tuple[str, ...]) -> None:
    failure = build_failure("[b 3/3] RUN go build", "exit code: 1", lines)
    assert (
        StrategyHistory().next_strategy(BuildStrategy.ACCELERATED, TEXT, failed(failure, modules=True))
        is None
    )


def test_a_file_whose_modules_are_the_images_gets_no_module_cache_the_third_time() -> None:
    history = StrategyHistory()
    for _ in range(2):
        assert history.first_strategy(TEXT, MODULES) is BuildStrategy.ACCELERATED
        history.record_success(BuildStrategy.OWN_MODULES, TEXT, MODULES, after=BuildStrategy.ACCELERATED)
    assert history.skips_module_cache(TEXT)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.OWN_MODULES
    history.record_success(BuildStrategy.OWN_MODULES, TEXT, MODULES, after=None)
    assert history.first_strategy(TEXT, MODULES) is BuildStrategy.OWN_MODULES
