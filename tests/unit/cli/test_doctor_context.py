"""What a plain docker build sends: bytes, .git, files with secrets, and near misses of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.facts import missing
from watcher.cli.doctor import Grade
from watcher.cli.doctor.context import LARGE, SentFiles, judge_context, read_context
from watcher.dockerfile import ContextCopy

WHOLE = ContextCopy(3, (".",), (), in_image=False)
KEY = "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n"


def write(root: Path, path: str, text: str = "x") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_what_an_ignore_file_leaves_out_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path, ".git/objects/aa", "x" * 2_000_000)
    write(tmp_path, "web/node_modules/a.js", "x" * 1000)
    write(tmp_path, "main.go", "package main\n")
    found = read_context(str(tmp_path), None)
    assert (found.files, found.size, found.git) == (3, 2_001_013, 2_000_000)
    (finding,) = judge_context(found, [WHOLE], None)
    assert finding.grade is Grade.ADVICE
    assert missing(finding.text, "3 files", "2.00 MB", ".git", "2.00 MB") == []
    assert missing(finding.text, ".git/ 2.00 MB", "web/ 1.00 kB") == []
    assert ".git, web/node_modules" in finding.advice
    assert finding.measured is not None
    assert finding.measured.gain == 2_001_000
    text = ".git\n**/node_modules\n"
    found = read_context(str(tmp_path), text)
    assert (found.files, found.git, found.unread) == (1, None, 0)
    assert judge_context(found, [WHOLE], text) == []


def test_an_ignore_file_that_takes_git_back_in_is_named(tmp_path: Path) -> None:
    write(tmp_path, ".git/HEAD")
    (finding,) = judge_context(read_context(str(tmp_path), "*\n!.git\n"), [WHOLE], "*\n!.git\n")
    assert ".dockerignore lets them through" in finding.text


@pytest.mark.parametrize(
    "ignore", [".git*\n", ".*\n", ".git/\n", "/.git\n", "**/.git\n", "*\n!*.go\n", ".git/**\n"]
)
def test_an_ignore_file_that_leaves_git_out_is_good(tmp_path: Path, ignore: str) -> None:
    write(tmp_path, ".git/HEAD")
    assert read_context(str(tmp_path), ignore).git is None


def test_a_small_context_without_git_needs_no_ignore_file(tmp_path: Path) -> None:
    write(tmp_path, "main.go")
    assert judge_context(read_context(str(tmp_path), None), [WHOLE], None) == []


def test_a_build_that_copies_single_files_sends_no_folders(tmp_path: Path) -> None:
    write(tmp_path, ".git/HEAD", "x" * (LARGE + 1))
    write(tmp_path, ".env", "TOKEN=abc\n")
    copies = [ContextCopy(3, ("main.go", "internal"), (), in_image=True)]
    assert judge_context(read_context(str(tmp_path), None), copies, None) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".env", "DB_PASSWORD=hunter2\n"),
        ("deploy/.env.production", "export API_KEY='abc'\n"),
        ("certs/server.pem", KEY),
        ("server.key", KEY),
        (".ssh/id_rsa", KEY.replace("RSA", "OPENSSH")),
        (".netrc", "machine example.com login me password abc\n"),
        (".git-credentials", "https://me:abc@example.com\n"),
        (".npmrc", "//registry/:_authToken=abc\n"),
        (".aws/credentials", "[default]\naws_secret_access_key = abc\n"),
        ("service-account.json", json.dumps({"private_key": KEY})),
        (".docker/config.json", '{"auths": {"x": {"auth": "abc"}}}'),
        ("store.p12", "binary"),
    ],
)
def test_a_file_with_a_secret_is_named_and_never_its_content(tmp_path: Path, path: str, text: str) -> None:
    write(tmp_path, path, text)
    context = read_context(str(tmp_path), None)
    assert list(context.secrets) == [path]
    (finding,) = judge_context(context, [WHOLE], None)
    assert finding.grade is Grade.ADVICE
    assert path in finding.text
    shown = finding.text + finding.advice
    assert not any(secret in shown for secret in ("hunter2", "abc", "c2VjcmV0"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".env", "PORT=9000\nDB_PASSWORD=\n# TOKEN=abc\nAPI_KEY=$API_KEY\n"),
        (".env.example", "DB_PASSWORD=change-me\n"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"),
        ("public.key", "-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----\n"),
        ("internal/testdata/server.pem", KEY),
        (".npmrc", "registry=https://example.com\n//registry/:_authToken=${NPM_TOKEN}\n"),
        ("credentials.go", "package credentials // private_key\n"),
        ("keys.go", KEY),
        ("environment.env.go", "TOKEN=abc\n"),
        ("id_rsa.pub", "ssh-rsa AAAA me\n"),
    ],
)
def test_a_file_that_only_looks_like_one_is_not(tmp_path: Path, path: str, text: str) -> None:
    write(tmp_path, path, text)
    assert read_context(str(tmp_path), None).secrets == {}


def test_a_secret_in_the_image_is_an_error_and_one_that_is_left_out_is_none(tmp_path: Path) -> None:
    write(tmp_path, "conf/.env", "TOKEN=abc\n")
    context = read_context(str(tmp_path), None)
    (finding,) = judge_context(context, [WHOLE, ContextCopy(9, ("conf",), (), in_image=True)], None)
    assert finding.grade is Grade.ERROR
    assert missing(finding.text, "line 9", "conf/.env", "passwords or tokens", "image") == []
    assert read_context(str(tmp_path), "**/.env\n").secrets == {}
    assert judge_context(context, [ContextCopy(9, ("conf",), ("**/.env",), in_image=True)], None) == []


def test_a_walk_that_ends_early_says_at_least(tmp_path: Path) -> None:
    context = SentFiles(files=200_000, size=5_000_000, unread=2_000_000, folders={"node_modules"}, cut=True)
    (finding,) = judge_context(context, [WHOLE], "")
    assert "at least 200" in finding.text


def test_links_pipes_and_names_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "real", KEY)
    (tmp_path / "link.pem").symlink_to("real")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.pem").mkdir()
    import os

    os.mkfifo(tmp_path / "pipe.pem")
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.pem"), "w") as file:
        file.write(KEY)
    assert list(read_context(str(tmp_path), None).secrets) == ["�.pem"]
