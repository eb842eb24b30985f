"""Revision → image: one service's builds, through BuildKit's Control API.

- `Recipe`: everything that decides the image besides the tree. `ImageBuilder` builds it.
- `strategies`: which variant of the Dockerfile to build, and which one after a failure. Pure.
- `dockerfile_variants`: makes the variants. `base_images`: looks base images up, with a time limit.
- `connection`: the connection to BuildKit; `engine_connection`: opens it with its engine.
- `steps`: emits a build's steps as the user's Dockerfile has them.
- `source_locator`: the user's file that a path in the output means. `repository`: builds without `.git`.
- `journal`: which of our steps ran when, to tell our cache records from those of others.
"""

from watcher.builder.base_images import BaseImage, BaseImages, config_of, credentials_of, platforms_of
from watcher.builder.builder import ImageBuilder
from watcher.builder.cache_scope import shared_cache_scope
from watcher.builder.compile_stage import CompileStage
from watcher.builder.connection import BuildkitConnection, certificates
from watcher.builder.dockerfile_variants import accelerate_dockerfile, original_dockerfile, pin_bases
from watcher.builder.engine_connection import EngineConnection, connect_buildkitd, connect_engine
from watcher.builder.journal import BuildJournal, build_cache_of, open_journal
from watcher.builder.journal_entries import BuildEntry, StepRun
from watcher.builder.recipe import Recipe, full_reference
from watcher.builder.repository import missing_repository

__all__ = [
    "BaseImage",
    "BaseImages",
    "BuildEntry",
    "BuildJournal",
    "BuildkitConnection",
    "CompileStage",
    "EngineConnection",
    "ImageBuilder",
    "Recipe",
    "StepRun",
    "accelerate_dockerfile",
    "build_cache_of",
    "certificates",
    "config_of",
    "connect_buildkitd",
    "connect_engine",
    "credentials_of",
    "full_reference",
    "missing_repository",
    "open_journal",
    "original_dockerfile",
    "pin_bases",
    "platforms_of",
    "shared_cache_scope",
]
