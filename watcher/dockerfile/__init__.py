"""Parse, accelerate and explain Dockerfiles. Pure: functions of text.

- `parse` the text; `base_images` that a target needs; the `builder_stage`, and the image it is `base_of`.
- `accelerate` gives the text to build from, with a reason per changed line, and `diff` shows it. Building the
  stage `SAVE_STAGE` of `save_binaries` keeps linked programs for the next build;
  `fill_cache` compiles again what an emptied cache lacks. `pin` names bases by digest;
  `with_images` and `with_folders` resolve other names.
- `SHRINK_RULES` propose changes that make the image smaller, each for what is known of the image.
- `lint` gives advice about speed, `review` about the rest; `explain_rerun` explains why a step ran again.
  `Platforms` holds the build and the target platform.
"""

from watcher.dockerfile.accelerate import Accelerated, Level, accelerate
from watcher.dockerfile.advice import Advice, ReviewInput, Severity
from watcher.dockerfile.annotations import LineChange, LineNote
from watcher.dockerfile.binary_cache import EMPTY_CACHE, SAVE_STAGE, Program, fill_cache, save_binaries
from watcher.dockerfile.builder import base_of, builder_stage
from watcher.dockerfile.cache_mounts import OwnCache, cache_names, is_shared_cache, own_caches
from watcher.dockerfile.caches import ROOT, Owner
from watcher.dockerfile.command_marks import is_own_command, is_unclaimed_command
from watcher.dockerfile.context_copies import ContextCopy
from watcher.dockerfile.contexts import with_folders, with_images
from watcher.dockerfile.diff import diff
from watcher.dockerfile.gituse import git_use
from watcher.dockerfile.inputs import TreeInputs
from watcher.dockerfile.leave_base import BaseNeeds
from watcher.dockerfile.lint import lint
from watcher.dockerfile.main_packages import main_packages
from watcher.dockerfile.model import Dockerfile, DockerfileError, Instruction, Stage
from watcher.dockerfile.parse import parse
from watcher.dockerfile.pins import pin
from watcher.dockerfile.places import Places
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.reruns import LayerInstruction, Rerun, explain_rerun, find_layer, shown_instruction
from watcher.dockerfile.review import find_context_copies, review
from watcher.dockerfile.running import Runs
from watcher.dockerfile.shrink import SHRINK_RULES, ImageFacts, Shrink, ShrinkInput, ShrinkRule
from watcher.dockerfile.stages import Graph, base_images
from watcher.dockerfile.state import ImageConfig

__all__ = [
    "EMPTY_CACHE",
    "ROOT",
    "SAVE_STAGE",
    "SHRINK_RULES",
    "Accelerated",
    "Advice",
    "BaseNeeds",
    "ContextCopy",
    "Dockerfile",
    "DockerfileError",
    "Graph",
    "ImageConfig",
    "ImageFacts",
    "Instruction",
    "LayerInstruction",
    "Level",
    "LineChange",
    "LineNote",
    "OwnCache",
    "Owner",
    "Places",
    "Platforms",
    "Program",
    "Rerun",
    "ReviewInput",
    "Runs",
    "Severity",
    "Shrink",
    "ShrinkInput",
    "ShrinkRule",
    "Stage",
    "TreeInputs",
    "accelerate",
    "base_images",
    "base_of",
    "builder_stage",
    "cache_names",
    "diff",
    "explain_rerun",
    "fill_cache",
    "find_context_copies",
    "find_layer",
    "git_use",
    "is_own_command",
    "is_shared_cache",
    "is_unclaimed_command",
    "lint",
    "main_packages",
    "own_caches",
    "parse",
    "pin",
    "review",
    "save_binaries",
    "shown_instruction",
    "with_folders",
    "with_images",
]
