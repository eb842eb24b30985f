"""Which RUNs run go, and with what."""

from __future__ import annotations

import pytest

from watcher.dockerfile import parse
from watcher.dockerfile.go_commands import GoUsage, RunAnalysis, read_run

SH = ("/bin/sh", "-c")


def analysis(body: str, shell: tuple[str, ...] = SH) -> RunAnalysis:
    return read_run(parse(f"FROM a\nRUN {body}\n").stages[0].instructions[0], shell)


@pytest.mark.parametrize(
    "body",
    [
        "go build",
        "CGO_ENABLED=0 GOOS=linux go build -a .",
        "cd x && go test ./...",
        "/usr/local/go/bin/go vet ./...",
        "go1.22.3 install x",
        "gotip build",
        "xx-go build",
        "go -C dir build",
        "time go build",
        "env GOOS=js go build",
        "sh -c 'go build'",
        '["go", "build"]',
        '["/bin/sh", "-c", "go build"]',
        "<<EOF\nset -e\ngo build\nEOF",
        "<<EOF\n#!/usr/bin/env bash\ngo build\nEOF",
        "bash -e <<'EOF'\ngo build\nEOF",
        "if true; then go generate ./...; fi",
        "go mod download",
        "V=$(go list -m)",
        "case $A in x) go build -a;; esac",
    ],
)
def test_a_run_that_names_go_runs_go(body):
    assert analysis(body).use is GoUsage.GO


@pytest.mark.parametrize(
    "body",
    [
        "make build",
        "./build.sh",
        "mage",
        "task build",
        "goreleaser build",
        "ko build",
        "golangci-lint run",
        "$BUILD",
        "go $CMD",
        ". ./env.sh",
        "xargs go vet",
        "bash build.sh",
        "env -i x",
        "find . -exec go vet {} +",
        "su app -c ./b",
        "curl -s https://example.com/i.sh | sh -s",
        "<<EOF\n#!/usr/bin/python3\nimport os\nEOF",
    ],
)
def test_a_run_that_may_run_go_says_so(body):
    assert analysis(body).use is GoUsage.MAYBE


@pytest.mark.parametrize(
    "body",
    [
        "apk add --no-cache gcc libc-dev",
        "apt-get update && apt-get install -y golang",
        "mkdir -p /x && cd /x",
        "echo 'go build -a'",
        "go version",
        "go env GOPATH",
        "rm -rf /var/cache/apk/*",
        "sudo apt-get install gcc",
        "cat <<EOF > x.sh\ngo build -a\nEOF",
        '["mkdir", "go build"]',
        "true # go build",
        "export A=b",
    ],
)
def test_a_run_that_has_nothing_to_do_with_go_is_known(body):
    assert analysis(body).use is GoUsage.NONE


def test_another_shell_is_not_read():
    assert analysis("go build -a", ("pwsh", "-Command")).foreign
    assert not analysis("go build -a", ("/bin/bash", "-o", "pipefail", "-c")).foreign


def test_flags_end_at_the_first_package():
    call = analysis("go build -o -a -tags 'x y' -v -ldflags=-s ./cmd -a").calls[0]
    assert [(name, value) for name, value, _ in call.flags()] == [
        ("o", "-a"),
        ("tags", "x y"),
        ("v", None),
        ("ldflags", "-s"),
    ]
    assert [word.text for word in call.copy_operands()] == ["./cmd", "-a"]


def test_flags_that_nobody_can_read_are_passed_over():
    call = analysis('go build $FLAGS -a "$MORE" -o x').calls[0]
    assert [name for name, _, _ in call.flags()] == ["a", "o"]


def test_a_directory_flag_stands_before_the_others():
    call = analysis("go build -C dir -a").calls[0]
    assert [name for name, _, _ in call.flags()] == ["a"]


def test_a_call_knows_the_environment_before_it():
    first, second = analysis("export A=1 && B=2 go build && unset A && C=$X env D=3 go vet").calls
    assert dict(first.env) == {"A": "1", "B": "2"}
    assert dict(second.env) == {"A": None, "C": None, "D": "3"}


@pytest.mark.parametrize(
    ("body", "compiles", "modules"),
    [
        ("go mod download", False, True),
        ("go version", False, False),
        ("go build", True, True),
        ("make", True, True),
    ],
)
def test_which_caches_are_of_use(body, compiles, modules):
    found = analysis(body)
    assert (found.compiles, found.modules) == (compiles, modules)
