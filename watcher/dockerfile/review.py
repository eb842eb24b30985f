"""Review a Dockerfile: everything that the families of checks find, in the order of the file."""

from __future__ import annotations

from watcher.dockerfile.advice import Advice, ReviewedFile, ReviewInput
from watcher.dockerfile.check_args import check_args
from watcher.dockerfile.check_bases import check_bases
from watcher.dockerfile.check_build_flags import check_build_flags
from watcher.dockerfile.check_copies import check_copies
from watcher.dockerfile.check_final_stage import check_final_stage
from watcher.dockerfile.context_copies import ContextCopy, find_copies
from watcher.dockerfile.parse import parse
from watcher.dockerfile.stages import Graph


def review(text: str, given: ReviewInput) -> tuple[Advice, ...]:
    """Return the advice for a Dockerfile. Raises DockerfileError where `text` is none."""
    file = _read_file(text, given)
    checks = (check_args, check_bases, check_build_flags, check_copies, check_final_stage)
    found = [advice for check in checks for advice in check(file)]
    return tuple(sorted(found, key=lambda each: each.line))


def find_context_copies(text: str, given: ReviewInput) -> tuple[ContextCopy, ...]:
    """Return what the build of the target copies from its context. Raises DockerfileError."""
    return find_copies(_read_file(text, given))


def _read_file(text: str, given: ReviewInput) -> ReviewedFile:
    return ReviewedFile.of(Graph(parse(text), given.build_args, given.platforms), given)
