"""Revision → image: one service's builds, through BuildKit's Control API.

- `Recipe` says what decides the image beside the tree; `ImageBuilder` builds it; `BuildkitLink` leads there.
- `attempts` decides which text of the Dockerfile is built, and which one next when that failed. Pure.
- `texts` makes these texts; `bases` looks base images up, and bounds the wait for a registry.
- `repository` knows where a build misses `.git`; `located` which of the user's files output speaks of.
- `journal` remembers which steps of ours ran when, so that what they left can be told from everybody else's.
- `steps` tells of a build's steps in the words of the user's file.
"""

from watcher.builder.base_images import BaseImage, Bases, config_of, credentials_of, platforms_of
from watcher.builder.builder import ImageBuilder
from watcher.builder.connection import BuildkitLink, certificates
from watcher.builder.dockerfile_variants import accelerated, pinned, written
from watcher.builder.journal import BuildJournal, build_cache_of, open_journal, state_folder
from watcher.builder.journal_entries import BuildEntry, StepRun
from watcher.builder.recipe import Recipe, full_reference
from watcher.builder.repository import missing_repository

__all__ = [
    "BaseImage",
    "Bases",
    "BuildEntry",
    "BuildJournal",
    "BuildkitLink",
    "ImageBuilder",
    "Recipe",
    "StepRun",
    "accelerated",
    "build_cache_of",
    "certificates",
    "config_of",
    "credentials_of",
    "full_reference",
    "missing_repository",
    "open_journal",
    "pinned",
    "platforms_of",
    "state_folder",
    "written",
]
