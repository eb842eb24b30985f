"""Which revision is wanted, live and failed: the smallest view of a service, for the page and the metrics."""

from __future__ import annotations

from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    ConfigurationRefused,
    ContainerLost,
    DeployFinished,
    DeployOutcome,
    Event,
    SourceGone,
    Wanted,
)
from watcher.observers.status_schema import LiveInfo

GOOD_DEPLOYS = frozenset({DeployOutcome.LIVE, DeployOutcome.UNCHANGED, DeployOutcome.ADOPTED})


class RevisionState:
    """Which revision is wanted, which is live, which is known to fail, and since when the two differ."""

    def __init__(self) -> None:
        self.wanted: str | None = None
        self.failed: str | None = None
        self.live: LiveInfo | None = None
        self.refused = ""  # why the configuration files are not in force
        self.gone = ""  # why the tree's revision is not known now
        self.stale_since: float | None = None
        self._before: LiveInfo | None = None  # the previous version, in case of a roll-back

    @property
    def stale(self) -> bool | None:
        """Whether what serves differs from what is on disk; None while the tree is not known.

        The configuration files count too: they must be in force.
        """
        if self.wanted is None or self.gone:
            return None
        if self.refused:
            return True
        return self.live is None or self.live.revision != self.wanted

    def apply_event(self, event: Event) -> None:
        """Take `event` into account."""
        since = event.at
        match event:
            case Wanted():
                self.wanted, since = event.revision, event.saved_at
                if self.failed != event.revision:
                    self.failed = None
            case BuildStarted() if event.revision == self.failed:
                self.failed = None
            case BuildFinished(outcome=BuildOutcome.FAILED) if event.revision == self.wanted:
                self.failed = event.revision
            case BuildFinished(outcome=BuildOutcome.CANCELLED) if event.failure:  # by hand
                self.failed = event.revision if event.revision == self.wanted else self.failed
            case DeployFinished():
                self._finish_deploy(event)
            case ContainerLost():
                self.live = None
            case ConfigurationRefused():
                self.refused = event.reason
            case SourceGone():
                self.gone = event.reason
            case _:
                return
        if self.stale is False:
            self.stale_since = None
        elif self.stale and self.stale_since is None:
            self.stale_since = since

    def _finish_deploy(self, event: DeployFinished) -> None:
        if event.outcome in GOOD_DEPLOYS:
            self.failed = None if self.failed == event.revision else self.failed
            if (
                event.outcome is DeployOutcome.UNCHANGED and self.live
            ):  # the same container, known by a new name
                self.live = self.live.model_copy(update={"revision": event.revision, "image": event.image})
                return
            self._before, self.live = (
                self.live,
                LiveInfo(
                    revision=event.revision, image=event.image, container=event.container, since=event.at
                ),
            )
        elif event.outcome is DeployOutcome.CANCELLED:
            if event.failure and event.revision == self.wanted:  # by hand
                self.failed = event.revision
        elif event.outcome in (DeployOutcome.FAILED, DeployOutcome.ROLLED_BACK):
            if event.revision == self.wanted:
                self.failed = event.revision
            if event.outcome is DeployOutcome.ROLLED_BACK:
                self.live, self._before = self._before, None
