"""Which places a tool's output names."""

from __future__ import annotations

from tests.facts import missing
from watcher.diagnosis.diagnose import build_failure, container_failure, from_panic
from watcher.diagnosis.positions import find_nothing, of_compiler, of_panic, of_tests

PANIC = """\
listening on :8080
panic: runtime error: index out of range [3] with length 2 [recovered]
\tpanic: again

goroutine 1 [running]:
main.(*server).start(...)
\t/workspace/server.go:31
main.main()
\t/workspace/main.go:19 +0x1d
runtime.main()
\t/usr/local/go/src/runtime/proc.go:283 +0x28b

goroutine 7 [select]:
main.other()
\t/workspace/other.go:5 +0x1
""".splitlines()
FILES = {"/workspace/server.go": "backend/server.go", "/workspace/main.go": "backend/main.go"}


def where(path: str, package: str, entered: object) -> str | None:
    return FILES.get(path)


def test_a_panic_is_where_the_users_code_was() -> None:
    found = of_panic(PANIC, where)
    assert [(one.file, one.line, one.known, one.said) for one in found] == [
        ("backend/server.go", 31, True, "/workspace/server.go"),
        ("backend/main.go", 19, True, "/workspace/main.go"),
    ]
    assert found[0].message.startswith("panic: runtime error: index out of range")


def test_a_panic_in_files_that_nobody_knows_is_its_first_place_as_it_was_said() -> None:
    (found,) = of_panic(PANIC, find_nothing)
    assert (found.file, found.line, found.known) == ("/workspace/server.go", 31, False)


def test_the_last_panic_counts_and_no_panic_is_none() -> None:
    later = [line.replace("server.go:31", "main.go:7") for line in PANIC]
    assert of_panic([*PANIC, *later], where)[0].line == 7
    assert of_panic(["fatal error: all goroutines are asleep - deadlock!", *PANIC[3:]], where)[0].line == 31
    assert of_panic(["it panics: /workspace/main.go:3"], where) == ()
    assert of_panic(["panic: without a trace"], where) == ()


def test_a_container_that_panics_says_where() -> None:
    failure = container_failure("it ended", PANIC, exit_code=2, oom=False, where=where)
    assert failure.summary.startswith("it ended: backend/server.go:31: panic: ")
    assert failure.diagnostics[0].file == "backend/server.go"


def test_the_lines_shown_begin_at_the_panic_however_long_its_trace() -> None:
    many = [*(f"request {number}" for number in range(500)), *PANIC, *["goroutine", "\t/x.go:1"] * 400]
    shown = from_panic(many)
    assert len(shown) == 60
    assert PANIC[1] in shown
    assert from_panic([str(number) for number in range(100)])[0] == "40"


def test_a_compilers_places_are_led_back_with_what_was_said_above_them() -> None:
    asked = []

    def ask(path: str, package: str, entered: object) -> str | None:
        asked.append((path, package, entered))
        return None

    lines = (
        "make[1]: Entering directory '/src/app'",
        "# example.com/a/x [example.com/a/x.test]",
        "./x.go:3:1: no",
    )
    (found,) = of_compiler(lines, ask)
    assert asked == [("x.go", "example.com/a/x", ("/src/app",))]
    assert (found.file, found.known) == ("x.go", False)


def test_a_failed_test_is_a_place_of_its_package() -> None:
    log = (
        "ok  \texample.com/a/fine\t0.1s",
        "--- FAIL: TestIt (0.00s)",
        "    it_test.go:20: the chart does not name the port",
        "FAIL",
        "FAIL\texample.com/a/svc\t0.002s",
    )
    (found,) = of_tests(log, lambda path, package, _: f"{package.removeprefix('example.com/a/')}/{path}")
    assert (found.file, found.line) == ("svc/it_test.go", 20)
    failure = build_failure("RUN go test ./...", "exit code: 1", log)
    assert failure.kind == "build"
    assert (
        missing(failure.summary, "RUN go test ./...", "it_test.go:20", "the chart does not name the port")
        == []
    )
    assert of_tests(("    it_test.go:20: only logged", "ok  \texample.com/a\t0.1s")) == ()


def test_a_failed_line_of_a_dockerfile_is_a_place() -> None:
    failure = build_failure(
        "RUN apk add x", "exit code: 1", ("no x",), dockerfile="backend/Dockerfile", line=3
    )
    (place,) = failure.diagnostics
    assert (place.file, place.line, place.message) == ("backend/Dockerfile", 3, "no x")
    parse = build_failure(
        "", "dockerfile parse error on line 9: unknown", (), dockerfile="backend/Dockerfile"
    )
    assert parse.summary == "backend/Dockerfile:9: unknown"
