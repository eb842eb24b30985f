"""Find builds that need `.git`, which is no part of the tree unless the user includes it."""

from __future__ import annotations

from pathlib import Path

from watcher import dockerfile as dockerfiles
from watcher.buildkit import ContextChanged
from watcher.dockerfile import DockerfileError
from watcher.dockerignore.patterns import PatternMatcher
from watcher.tree import Snapshot

_LARGEST = 256 * 1024  # bytes of a Makefile or script


def missing_repository(text: str, snapshot: Snapshot) -> str:
    """Return a sentence if this Dockerfile's build runs git and only this program leaves `.git` out; else "".

    Reads files, so call it in a thread.
    """
    files = snapshot.files
    if ".git" in files or not (Path(snapshot.base) / ".git").exists():
        return ""
    if PatternMatcher(snapshot.excludes).excluded(".git/HEAD"):
        return ""  # other builders do not send it either

    def read(path: str) -> str:
        if files[path].size > _LARGEST:
            return ""
        try:
            with snapshot.open(path) as file:
                return file.read().decode("utf-8", "replace")
        except (OSError, ContextChanged):
            return ""

    regular = [path for path, entry in files.items() if not entry.is_dir and not entry.is_link]
    try:
        use = dockerfiles.git_use(dockerfiles.parse(text), regular, read)
    except DockerfileError:
        return ""
    if not use:
        return ""
    return f'{use}, and .git is left out of the build: watch.ignore = ["!**/.git"] takes it in'
