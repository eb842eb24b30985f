"""What is advised after a failed build."""

from __future__ import annotations

import pytest

from watcher.diagnosis.diagnose import build_failure
from watcher.diagnosis.failure_hints import build_hint, image_hint, is_registry_trouble

NO_HOST = "dial tcp: lookup registry.example on 10.0.0.2:53: no such host"


@pytest.mark.parametrize(
    ("step", "reason", "lines", "says", "never"),
    [
        (
            "COPY --from=builder /nope /x",
            "failed to compute cache key: /nope: not found",
            (),
            "does not contain this",
            "context",
        ),
        (
            "COPY --chown=1 --from=lib /a /",
            "lstat /a: no such file: cache key: not found",
            (),
            "lib does not contain",
            "context",
        ),
        ("COPY nope /x", "failed to compute cache key: /nope: not found", (), "build context", "--from"),
        ("resolve image config for docker.io/docker/dockerfile:1", NO_HOST, (), "# syntax", "GOPROXY"),
        (
            "https://example.com/x.tgz",
            NO_HOST,
            (),
            "https://example.com/x.tgz could not be",
            "GOPROXY",
        ),
        ("ADD https://example.com/x.tgz /", NO_HOST, (), "check the address", "GOPROXY"),
        ("RUN go mod download", "exit code: 1", (f"go: x: {NO_HOST}",), "GOPROXY", "docker login"),
        (
            "RUN apk add git",
            "exit code: 1",
            ("could not resolve host: dl-cdn.example",),
            "network",
            "GOPROXY",
        ),
        (
            "RUN go build",
            "exit code: 1",
            ("error obtaining VCS status: exit status 128",),
            "safe.directory",
            "!**/.git",
        ),
        ("RUN make", "exit code: 127", ("/bin/sh: git: not found",), "has no git", "context"),
        (
            "RUN make",
            "exit code: 2",
            ("fatal: not a git repository (or any parent)",),
            "!**/.git",
            "safe.directory",
        ),
        ("RUN x", "no space left on device", (), "watcher rebuild", "network"),
    ],
)
def test_the_advice_is_of_what_failed(
    step: str, reason: str, lines: tuple[str, ...], says: str, never: str
) -> None:
    hint = build_hint(step, reason, lines)
    assert says in hint
    assert never not in hint


@pytest.mark.parametrize(
    ("why", "says", "never"),
    [
        (NO_HOST, "network", "docker login"),
        ("no answer within 10 s: i/o timeout", "network", "docker login"),
        (
            "pull access denied, repository does not exist or may require authorization",
            "docker login",
            "network",
        ),
        ("401 Unauthorized", "docker login", "network"),
        ("manifest unknown", "the tag", "docker login"),
    ],
)
def test_a_login_is_advised_only_where_the_registry_refused(why: str, says: str, never: str) -> None:
    assert says in image_hint(why)
    assert never not in image_hint(why)


def test_where_trying_again_may_help_the_way_is_named() -> None:
    assert "watcher rebuild" in build_hint("RUN apk add x", NO_HOST)
    assert "watcher rebuild" in image_hint("401 Unauthorized")
    assert "watcher rebuild" not in image_hint(NO_HOST)  # the watcher tries that again by itself


METADATA = "[internal] load metadata for docker.io/library/golang:alpine"
SYNTAX = "resolve image config for docker-image://docker.io/docker/dockerfile:1"
LAYERS = "[builder 1/4] FROM docker.io/library/golang:alpine@sha256:abc"


@pytest.mark.parametrize(
    ("step", "why", "trouble"),
    [
        (METADATA, NO_HOST, True),
        (METADATA, "toomanyrequests: You have reached your pull rate limit", True),
        (METADATA, "golang:nosuch: not found", False),
        (METADATA, "no match for platform in manifest", False),
        (METADATA, "401 Unauthorized", False),
        (SYNTAX, NO_HOST, True),
        (SYNTAX, "manifest unknown", False),
        (LAYERS, "failed to copy: read tcp: unexpected EOF", True),
        ("", f"failed to resolve source metadata for docker.io/library/golang:alpine: {NO_HOST}", True),
        ("", "parse error on line 3: unknown instruction: FORM", False),
        ("[builder 2/4] RUN apk add git", NO_HOST, False),
        ("[builder 3/4] COPY --from=tools /x /x", '"/x": not found', False),
    ],
)
def test_only_a_registry_that_may_answer_later_is_no_mistake_of_the_tree(
    step: str, why: str, trouble: bool
) -> None:
    assert is_registry_trouble(step, why) is trouble


def test_downloads_do_not_stand_before_the_error() -> None:
    log = (*(f"go: downloading example.com/m{number} v1.0.0" for number in range(35)), "x: it failed")
    assert build_failure("RUN go generate", "exit code: 1", log).lines == ("x: it failed",)
    assert build_failure("RUN go mod download", "exit code: 1", log[:2]).lines == log[:2]
