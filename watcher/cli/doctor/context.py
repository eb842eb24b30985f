"""Judge what a plain docker build sends to the engine: bytes, `.git`, files with secrets.

The watcher leaves `.git` and more out by itself; other builds of the same Dockerfile do not. No content of a
file is ever part of a finding.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from watcher import regex
from watcher.cli.doctor.findings import Figures, Finding, Grade, Measured
from watcher.dockerfile import ContextCopy
from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.patterns import PatternMatcher, parse_dockerignore
from watcher.observers import humanize

TOPIC = "build context"
_MOST_FILES, _MOST_SECONDS = 200_000, 5.0  # of a walk
_READ = 1 << 16  # bytes of a file that may hold a secret
LARGE = 1_000_000  # bytes that no build of a Go program reads, from which an ignore file is advised
_NAMED = 5  # places, or files
# Folders that no build of a Go program reads.
_UNREAD = frozenset({".git", ".idea", ".vscode", ".github", "node_modules", ".terraform", ".venv", ".cache"})
_FOR_TESTS = frozenset(
    {"testdata", "test", "tests", "fixtures", "examples", "example", "vendor", "node_modules"}
)
_MODELS = (".example", ".sample", ".template", ".dist", ".tmpl", ".defaults")

_PRIVATE_KEY = regex.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_ASSIGNS_SECRET = regex.compile(
    r"(?im)^\s*(?:export\s+)?[A-Z0-9_.]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)"
    r"[A-Z0-9_]*\s*=\s*[\"']?[^\s\"'#$<]"
)
_LOGIN = regex.compile(r"(?i)\bpassword\s+\S|://[^/\s:@]+:[^/\s@]+@")
_NPM_TOKEN = regex.compile(r"(?m)_(?:authToken|auth|password)\s*=\s*[^\s$]")
_CLOUD_KEY = regex.compile(
    r"(?i)aws_secret_access_key\s*=\s*\S|\"(?:private_key|client_secret|refresh_token)\"\s*:\s*\"\S"
)
_REGISTRY_LOGIN = regex.compile(r"\"auth\"\s*:\s*\"\S")
_KEY_FILES = frozenset({"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"})


@dataclass(slots=True)
class SentFiles:
    """What an ignore file lets through. `cut` says that the walk ended early: figures are lower bounds.

    `unread` are the bytes below `folders`, which no build of a Go program reads.
    """

    files: int = 0
    size: int = 0
    places: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    folders: set[str] = field(default_factory=set)  # those folders
    git: int | None = None  # bytes below .git; None if it is not sent
    secrets: dict[str, str] = field(default_factory=dict)  # path -> what it holds
    cut: bool = False


def read_context(folder: str, ignore: str | None) -> SentFiles:
    """Walk a folder as a plain docker build does with an ignore file of this text. Blocks.

    A file that cannot be read is skipped; the build itself reports it.
    """
    try:
        matcher = PatternMatcher(parse_dockerignore(ignore or ""))
    except IgnorePatternError:
        matcher = PatternMatcher(())  # another check reports the bad pattern
    found, deadline = SentFiles(), time.monotonic() + _MOST_SECONDS
    for path, entry in _walk(folder, matcher):
        if found.files >= _MOST_FILES or time.monotonic() > deadline:
            found.cut = True
            break
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        _count(found, shown, status.st_size if stat.S_ISREG(status.st_mode) else 0)
        if (
            stat.S_ISREG(status.st_mode)
            and (check := choose_check(path))
            and (kind := check(_read_head(entry.path)))
        ):
            found.secrets[shown] = kind
    return found


def _count(found: SentFiles, path: str, size: int) -> None:
    parts = path.split("/")
    found.files += 1
    found.size += size
    found.places[f"{parts[0]}/" if len(parts) > 1 else path] += size
    if depth := next((at for at, part in enumerate(parts[:-1], 1) if part in _UNREAD), 0):
        found.unread += size
        found.folders.add(posixpath.join(*parts[:depth]))
    if parts[0] == ".git":
        found.git = (found.git or 0) + size


def _walk(folder: str, matcher: PatternMatcher) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield each sent file with its path in the context."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(posixpath.join(folder, below)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in found:
            path = posixpath.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if not (matcher.excluded(path) and matcher.can_prune(path)):
                    waiting.append(path)
            elif not matcher.excluded(path):
                yield path, entry


def _read_head(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(file, _READ).decode("utf-8", "replace")
        finally:
            os.close(file)
    except OSError:
        return ""


def choose_check(path: str) -> Callable[[str], str] | None:
    """Return what decides, by its text, whether a file of this name holds a secret; None for most names."""
    *above, name = path.lower().split("/")
    if _FOR_TESTS & set(above) or name.endswith(_MODELS) or ".example." in name or ".sample." in name:
        return None
    _, ends = posixpath.splitext(name)
    if name in _KEY_FILES or ends in (".pem", ".key", ".ppk"):
        return lambda text: (
            "a private key" if _PRIVATE_KEY.found(text) or "PuTTY-User-Key-File" in text else ""
        )
    if ends in (".p12", ".pfx", ".jks", ".kdbx"):
        return lambda text: "a store of keys" if text else ""
    if name == ".env" or name.startswith(".env.") or ends == ".env":
        return lambda text: "passwords or tokens" if _ASSIGNS_SECRET.found(text) else ""
    if name in (".netrc", "_netrc", ".git-credentials", ".pgpass"):
        return lambda text: "a login" if _LOGIN.found(text) or (name == ".pgpass" and text.strip()) else ""
    if name in (".npmrc", ".pypirc"):
        return lambda text: "a token" if _NPM_TOKEN.found(text) or "password" in text.lower() else ""
    if name in (".dockercfg", ".dockerconfigjson") or path.lower().endswith(".docker/config.json"):
        return lambda text: "a registry login" if _REGISTRY_LOGIN.found(text) else ""
    if name == "kubeconfig" or path.lower().endswith(".kube/config"):
        return lambda text: "a cluster login" if "client-key-data" in text or "token:" in text else ""
    if name.startswith(("credentials", "service-account", "service_account", "client_secret")):
        return lambda text: "cloud credentials" if _CLOUD_KEY.found(text) else ""
    return None


def judge_context(context: SentFiles, copies: Sequence[ContextCopy], ignore: str | None) -> list[Finding]:
    """Judge what the copies of a Dockerfile have a plain docker build send; `ignore` is the ignore file."""
    found = list(_judge_secrets(context, copies))
    whole = next((copy for copy in copies if copy.is_whole), None)
    if whole is None or (context.git is None and context.unread < LARGE):
        return found
    least = "at least " if context.cut else ""
    told = f"line {whole.line}: a plain docker build sends {least}{humanize.count(context.files, 'file')}"
    told += f" of {humanize.size(context.size)}"
    if context.git is not None:
        told += f", .git among them ({humanize.size(context.git)}), which each commit changes"
    told += ": there is no .dockerignore" if ignore is None else ": .dockerignore lets them through"
    largest = [f"{place} {humanize.size(size)}" for place, size in context.places.most_common(_NAMED) if size]
    told += f"; largest: {', '.join(largest)}" if largest else ""
    advice = (
        f"put {', '.join(sorted(context.folders))} into .dockerignore; the watcher leaves .git out by itself"
    )
    gain = Measured(Figures(context.size), Figures(context.size - context.unread))
    found.append(Finding(TOPIC, Grade.ADVICE, told, advice, measured=gain))
    return found


def _judge_secrets(context: SentFiles, copies: Sequence[ContextCopy]) -> Iterator[Finding]:
    in_image, in_stage = dict[int, list[str]](), dict[int, list[str]]()
    for path, kind in context.secrets.items():
        bringing = [copy for copy in copies if copy.brings(path)]
        if bringing:
            copy = max(bringing, key=lambda each: each.in_image)
            lines = in_image if copy.in_image else in_stage
            lines.setdefault(copy.line, []).append(f"{path} ({kind})")
    for line, named in in_image.items():
        told = f"line {line} copies {_name_some(named)} into the image"
        advice = "leave it out in .dockerignore; give it to the container at run time (secrets, env_file)"
        yield Finding(TOPIC, Grade.ERROR, told, advice)
    for line, named in in_stage.items():
        told = f"line {line} copies {_name_some(named)} into a build stage, and so into build caches"
        advice = "leave it out in .dockerignore; a step that needs it takes it by RUN --mount=type=secret"
        yield Finding(TOPIC, Grade.ADVICE, told, advice)


def _name_some(found: list[str]) -> str:
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {more} more" if more > 0 else "")
