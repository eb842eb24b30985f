"""What the last words of a container mean: each of the usual causes, and none that is not there."""

from __future__ import annotations

import pytest

from tests.facts import missing
from watcher.diagnosis.diagnose import container_failure, not_ready

ENV = "environment file"
ARCHITECTURE = "another architecture"
LIBRARY = "CGO_ENABLED=0"
PROGRAM = "COPY --from"
NEEDS = "depends_on"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("go-server: open _envs/env_dev.yaml: no such file or directory", ENV),
        ("panic: cannot read ./_envs/env_stage.yml: EOF", ENV),
        ("yaml: line 3: could not find expected ':' in _envs/env_dev.yaml", ENV),
        ("exec /app/server: exec format error", ARCHITECTURE),
        ("standard_init_linux.go:228: exec user process caused: exec format error", ARCHITECTURE),
        ("exec ./mygoexecutable: no such file or directory", LIBRARY),
        ("standard_init_linux.go:228: exec user process caused: no such file or directory", LIBRARY),
        ("Error loading shared library libc.so.6: No such file or directory (needed by /app)", LIBRARY),
        ("/app: error while loading shared libraries: libz.so.1: cannot open shared object file", LIBRARY),
        ("Error relocating /app: __vfprintf_chk: symbol not found", LIBRARY),
        ('exec: "./mygoexecutable": stat ./mygoexecutable: no such file or directory: unknown', PROGRAM),
        ('exec: "server": executable file not found in $PATH: unknown', PROGRAM),
        ("listen tcp :80: bind: permission denied", "below 1024"),
        ("open /data/notes: permission denied", "USER"),
        ("crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied", "ulimits"),
        ("listen tcp :9000: bind: address already in use", "twice"),
        ("dial tcp 172.20.0.2:5432: connect: connection refused", NEEDS),
        ("dial tcp: lookup db on 127.0.0.11:53: no such host", NEEDS),
    ],
)
def test_a_usual_cause_is_named(line: str, hint: str) -> None:
    assert hint in container_failure("it ended", ["starting", line], exit_code=1, oom=False).hint
    assert hint in container_failure("it ended", (), exit_code=127, oom=False, error=line).hint


@pytest.mark.parametrize(
    "lines",
    [
        ["read _envs/env_dev.yaml", "panic: assignment to entry in nil map"],
        ["open /data/notes.db: no such file or directory"],
        ["template: index.html: no such file or directory"],
        ["environment env_dev loaded", "file not found: /tmp/x"],
    ],
)
def test_a_cause_that_is_not_there_is_not_named(lines: list[str]) -> None:
    assert container_failure("it ended", lines, exit_code=2, oom=False).hint == ""


def test_memory_comes_before_what_the_program_said() -> None:
    line = "open _envs/env_dev.yaml: no such file or directory"
    assert "memory" in container_failure("it ended", [line], exit_code=137, oom=True).hint


def test_a_server_that_ends_well_is_told_that_it_must_not() -> None:
    assert "must keep running" in container_failure("it ended", ["done"], exit_code=0, oom=False).hint


CLOSED = "the connection was closed without an answer"


@pytest.mark.parametrize(
    ("last", "line", "hint"),
    [
        (CLOSED, "", "nothing listens"),
        (CLOSED, "GET /x", "0.0.0.0:9000, not on 127.0.0.1"),
        (CLOSED, "level=INFO msg=listening address=127.0.0.1:9000", "as its log says"),
        (CLOSED, "[GIN-debug] Listening and serving HTTP on localhost:9000", "as its log says"),
        (CLOSED, "[GIN-debug] Listening and serving HTTP on :8080", "listens on port 8080"),
        (CLOSED, "server started at http://0.0.0.0:8080", "listens on port 8080"),
        (CLOSED, "level=INFO msg=listening address=[::]:9000", "must listen on 0.0.0.0:9000"),
        (
            CLOSED,
            "10:22:33 connecting to db at 10.0.0.3:5432",
            "0.0.0.0:9000, not on 127.0.0.1",
        ),
        ("GET /health was answered 503", "", "deploy.ready_path"),
        ("no answer to GET / within 2 s", "", "uses another protocol"),
    ],
)
def test_a_port_that_does_not_answer_is_explained_by_what_is_known(last: str, line: str, hint: str) -> None:
    failure = not_ready(30, 9000, last, [line])
    assert hint in failure.hint
    assert ("where it says" in failure.hint) == ("where it says" in hint)
    assert missing(failure.summary, last) == []
    assert "deploy.startup_timeout" in failure.hint or "listens on port 8080" in hint


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (
            "listening on 0.0.0.0:9001",
            ("0.0.0.0:9000", "again", "log", 9001),
        ),
        ("", ("again",)),
    ],
)
def test_a_port_that_is_only_exposed_is_named_with_its_rule_and_what_to_do(
    line: str, facts: tuple[object, ...]
) -> None:
    hint = not_ready(30, 9000, "ConnectionRefusedError", [line], replaces=True).hint
    assert missing(hint, "other services", "9000", "exposed") == []
    assert missing(hint, *facts) == []
    assert missing(hint, "expose", "compose file") == []
    told = not_ready(30, 9000, "GET /ready was answered with 503", [line], replaces=True).hint
    assert "deploy.ready_path" in told
