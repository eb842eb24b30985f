"""What a tool's output means to the person who saved the file."""

from __future__ import annotations

import pytest

from tests.facts import missing
from watcher.diagnosis.diagnose import (
    MOST_LINES,
    build_failure,
    container_failure,
    engine_trouble,
    interruption,
    trouble_hint,
)
from watcher.diagnosis.positions import of_compiler

STEP = "[builder 5/5] RUN go build ."
COMPILER = (
    "# go-server/internal/version",
    "internal/version/version.go:5:15: syntax error: unexpected newline",
    "./main.go:12: undefined: run",
    "go.mod:3: invalid go version 'x'",
    "vet: internal/a.go:1:1: expected 'package'",
    "\x1b[31mcolour.go:2:3: red\x1b[0m",
    "2026/11/25 10:00:00 not a place: 5",
)


def test_places_are_found_once_and_in_order() -> None:
    assert [(one.file, one.line, one.column, one.message) for one in of_compiler((*COMPILER, *COMPILER))] == [
        ("internal/version/version.go", 5, 15, "syntax error: unexpected newline"),
        ("main.go", 12, 0, "undefined: run"),
        ("go.mod", 3, 0, "invalid go version 'x'"),
        ("internal/a.go", 1, 1, "expected 'package'"),
        ("colour.go", 2, 3, "red"),
    ]


def test_a_compile_error_is_its_first_place_and_a_count() -> None:
    failure = build_failure(STEP, "exit code: 1", COMPILER)
    assert failure.kind == "compile"
    assert failure.summary.startswith("internal/version/version.go:5: syntax error")
    assert failure.summary.endswith("(and 4 more)")


def test_a_wrong_line_of_the_dockerfile_is_named() -> None:
    failure = build_failure("", "dockerfile parse error on line 3: unknown instruction: RUNN", ())
    assert failure.kind == "build"
    assert failure.diagnostics[0].line == 3


def test_a_step_that_fails_otherwise_is_named_with_its_last_line() -> None:
    failure = build_failure(
        "[builder 2/5] RUN apk add x", "exit code: 1", ("fetching", "x: no such package", "")
    )
    assert missing(failure.summary, "[builder 2/5]", "RUN apk add x", "x: no such package") == []


@pytest.mark.parametrize(
    ("reason", "log", "hint"),
    [
        ("failed to solve: pull access denied for x", (), "docker login"),
        ("failed to compute cache key: /nosuch: not found", (), ".dockerignore"),
        ("exit code: 1", ("m: missing go.sum entry for module",), "go mod tidy"),
        ("exit code: 1", ("dial tcp: i/o timeout",), "network"),
        ("write /x: no space left on device", (), "watcher prune"),
        ("exit code: 128", ("fatal: not a git repository (or any parent)",), "!**/.git"),
    ],
)
def test_usual_causes_have_a_hint(reason: str, log: tuple[str, ...], hint: str) -> None:
    assert hint in build_failure(STEP, reason, log).hint


def test_a_long_log_is_cut_at_its_beginning() -> None:
    failure = build_failure(STEP, "exit code: 1", [str(number) for number in range(1000)])
    assert len(failure.lines) == MOST_LINES
    assert failure.lines[-1] == "999"


@pytest.mark.parametrize(
    ("reason", "log", "trouble"),
    [
        ("failed to copy files: write /src/a: no space left on device", (), "no space left on device"),
        ("exit code: 1", ("# shop", "link: write out: No space left on device"), "no space left on device"),
        ("mkdir /var/lib/docker/x: disk quota exceeded", (), "disk quota exceeded"),
        ("mount overlay: read-only file system", (), "read-only file system"),
        (
            "executor failed running [/bin/sh -c go build]: failed to create endpoint x on network bridge",
            (),
            "failed to create endpoint",
        ),
        (
            "failed to create endpoint wizt1q on network bridge: adding interface veth3 to bridge docker0 "
            "failed: could not find bridge docker0: route ip+net: no such network interface",
            (),
            "failed to create endpoint (could not find bridge docker0: route ip+net: no such network "
            "interface)",
        ),
        (
            "failed to create endpoint web-1 on network shop_default: network 4f2a does not exist\nx",
            (),
            "failed to create endpoint (network 4f2a does not exist)",
        ),
        ("executor failed running [/bin/sh -c echo no space left on device; false]: exit code: 1", (), ""),
        (
            "process \"/bin/sh -c grep 'read-only file system' x\" did not complete successfully: exit 1",
            (),
            "",
        ),
        ("exit code: 1", ("touch: /src/x: Read-only file system",), ""),
        ("exit code: 1", ("no space left on device", *["a line"] * 5), ""),
        ("exit code: 2", ("main.go:1:1: undefined: x",), ""),
    ],
)
def test_what_the_engines_machine_lacks_is_not_blamed_on_the_tree(
    reason: str, log: tuple[str, ...], trouble: str
) -> None:
    assert engine_trouble(reason, log) == trouble


@pytest.mark.parametrize(
    ("reason", "interrupted"),
    [
        ("failed to get edge: inconsistent graph state", True),
        (
            "failed to solve: failed to get edge: inconsistent graph state in edge [a 2/3] RUN x sha256:1 0",
            True,
        ),
        ("failed to compute cache key: failed to get state for index 0 on [2/3] COPY . .", True),
        ("inactive parent sha256:1", True),
        ("failed to solve: rpc error: code = Canceled desc = context canceled", True),
        ('process "/bin/sh -c go build" did not complete successfully: context canceled', True),
        ('process "/bin/sh -c echo context canceled" did not complete successfully: exit code: 1', False),
        ("executor failed running [/bin/sh -c grep 'inconsistent graph state' x]: exit code: 1", False),
        ("context canceled by the user's own script: exit code: 1", False),
        ("exit code: 2", False),
    ],
)
def test_a_build_that_the_engine_gave_up_is_no_failed_build(reason: str, interrupted: bool) -> None:
    assert bool(interruption(reason)) is interrupted


BIND = (
    "failed to set up container networking: driver failed programming external connectivity on endpoint box"
)


@pytest.mark.parametrize(
    ("address", "chosen_by_engine"),
    [("127.0.0.1::10.0.0.2:80", True), ("[::1]::[fd00::2]:80", True), ("127.0.0.1:9000:10.0.0.2:80", False)],
)
def test_a_port_that_the_engine_chose_is_no_fault_of_the_program(
    address: str, chosen_by_engine: bool
) -> None:
    error = f"{BIND} (1a2b): failed to bind host port for {address}/tcp: address already in use"
    assert bool(trouble := engine_trouble(error)) is chosen_by_engine
    assert not trouble or "ports" in trouble_hint(trouble)
    failure = container_failure("it cannot be started", (), exit_code=1, oom=False, error=error)
    assert "twice" not in failure.hint
    assert "another program" in failure.hint


@pytest.mark.parametrize(
    ("log", "exit_code", "oom", "error", "summary"),
    [
        (("start", "\x1b[31mno table users\x1b[0m  ", " "), 1, False, "", "it ended: no table users"),
        (("panic: no table", "", "goroutine 1 [running]:"), 2, False, "", "it ended: panic: no table"),
        (("GET / 200",), 137, False, "", "it ended"),  # a signal ended it, not what it said last
        (("GET / 200",), 1, True, "", "it ended"),
        (("stopped",), 0, False, "", "it ended"),
        (("stopped",), 127, False, "no such file", "it ended: no such file"),
        ((), 1, False, "", "it ended"),
        (("x" * 5000,), 1, False, "", "it ended"),
    ],
)
def test_a_container_that_fails_says_why_in_its_last_line(
    log: tuple[str, ...], exit_code: int, oom: bool, error: str, summary: str
) -> None:
    found = container_failure("it ended", log, exit_code=exit_code, oom=oom, error=error)
    assert found.summary == summary


def test_a_program_that_finds_its_port_taken_listens_twice() -> None:
    log = ("listen tcp :9000: bind: address already in use",)
    assert "twice" in container_failure("it ended", log, exit_code=1, oom=False).hint
