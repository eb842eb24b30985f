"""Dockerfiles that somebody else wrote: read, made fast, explained. Pure: text goes in, values come out.

- `parse` the text; `base_images` that a target needs; the `builder_stage`, whose image is worth measuring.
- `accelerate` gives the text to build from, with a reason per changed line, and `diff` shows it.
- `lint` gives advice for the file itself.
"""

from watcher.dockerfile.accelerate import Accelerated, Level, LineChange, LineNote, accelerate
from watcher.dockerfile.builder import builder_stage
from watcher.dockerfile.caches import c_files
from watcher.dockerfile.parse import Dockerfile, DockerfileError, Instruction, Stage, parse
from watcher.dockerfile.stages import base_images
from watcher.dockerfile.state import ImageConfig

__all__ = [
    "Accelerated",
    "Dockerfile",
    "DockerfileError",
    "ImageConfig",
    "Instruction",
    "Level",
    "LineChange",
    "LineNote",
    "Stage",
    "accelerate",
    "base_images",
    "builder_stage",
    "c_files",
    "parse",
]
