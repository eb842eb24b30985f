"""One piece of advice for a Dockerfile: where, how serious, what shows it, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watcher.dockerfile.model import Stage
from watcher.dockerfile.platforms import Platforms
from watcher.dockerfile.running import Runs
from watcher.dockerfile.stages import Graph
from watcher.dockerfile.state import ImageConfig, StageStep, walk_steps


class Severity(StrEnum):
    """How serious it is. The words are those of the doctor's grades."""

    TASTE = "taste"
    ADVICE = "advice"
    ERROR = "error"  # the build fails, or its container cannot start


@dataclass(frozen=True, slots=True)
class Advice:
    """What is wrong at a line (from 1; 0 for none of the Dockerfile's), and the remedy."""

    line: int
    severity: Severity
    evidence: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewInput:
    """What decides the advice besides the text.

    `bases` are the configurations of base images, `given_images` names that the compose file gives a meaning
    (`additional_contexts`). `files` are the paths of the context. `runs`, `user` and `health` are what the
    compose file has the container run, run as, and be checked with (None: nothing is said there).
    `has_ports`: it is a server. `needs_zones` and `needs_certificates` name a Go file that loads time zones,
    or opens TLS connections.
    """

    build_args: Mapping[str, str]
    target: str | None
    platforms: Platforms
    bases: Mapping[str, ImageConfig | None] = field(default_factory=dict)
    given_images: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    runs: Runs = field(default_factory=Runs)
    user: str = ""
    health: tuple[str, ...] | None = None
    has_ports: bool = True
    waiting: tuple[str, ...] = ()  # services that start once this one is healthy
    needs_zones: str = ""
    needs_certificates: str = ""


@dataclass(frozen=True, slots=True)
class ReviewedFile:
    """A Dockerfile with the states of the steps that the target needs."""

    graph: Graph
    stages: tuple[Stage, ...]
    steps: Mapping[int, list[StageStep]]
    given: ReviewInput

    @classmethod
    def of(cls, graph: Graph, given: ReviewInput) -> ReviewedFile:
        """Return the file with its states. Raises DockerfileError."""
        stages = graph.reachable_stages(given.target)
        return cls(graph, tuple(stages), walk_steps(graph, given.build_args, given.bases, stages), given)

    @property
    def target(self) -> Stage:
        """Return the stage that becomes the image."""
        return self.graph.find_target(self.given.target)

    def chain_steps(self, stage: Stage) -> list[StageStep]:
        """Return the steps of a stage and of those below it, in the order in which they run."""
        return [step for each in self.graph.stage_chain(stage) for step in self.steps[each.index]]
