"""Revision → image: one service's builds, through BuildKit's Control API.

- `Recipe` says what decides the image beside the tree; `ImageBuilder` builds it; `BuildkitLink` leads there.
- `attempts` decides which text of the Dockerfile is built, and which one next when that failed. Pure.
- `texts` makes these texts; `bases` bounds the wait for a registry that does not answer.
- `steps` tells of a build's steps in the words of the user's file.
"""

from watcher.build.builder import ImageBuilder
from watcher.build.link import BuildkitLink, certificates
from watcher.build.recipe import Recipe, full_reference
from watcher.build.texts import STAND_IN_LABEL, accelerated, config_of, written

__all__ = [
    "STAND_IN_LABEL",
    "BuildkitLink",
    "ImageBuilder",
    "Recipe",
    "accelerated",
    "certificates",
    "config_of",
    "full_reference",
    "written",
]
