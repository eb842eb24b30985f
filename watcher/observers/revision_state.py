"""The desired, live and failed revisions of a service, as the reconciler emits them."""

from __future__ import annotations

from watcher.observers.events import (
    ConfigurationRefused,
    DeployFinished,
    DeployOutcome,
    Event,
    RevisionStateChanged,
    SourceGone,
)
from watcher.observers.status_schema import LiveInfo

GOOD_DEPLOYS = frozenset({DeployOutcome.LIVE, DeployOutcome.UNCHANGED, DeployOutcome.ADOPTED})
_REMEMBERED = 8  # deploys to which the traffic can return


class RevisionState:
    """The revisions of a service, and since when the live one differs from the desired one."""

    def __init__(self) -> None:
        self.desired: str | None = None
        self.failed: str | None = None
        self.live: LiveInfo | None = None
        self.last_good: str | None = None
        self.refused = ""  # why the configuration files are not in force
        self.gone = ""  # why the tree's revision is not known now
        self.stale_since: float | None = None
        self._deployed: dict[str, LiveInfo] = {}  # by revision, the newest last

    @property
    def stale(self) -> bool | None:
        """Return whether what serves differs from what is on disk; None while the tree is not known.

        The configuration files count too: they must be in force.
        """
        if self.desired is None or self.gone:
            return None
        if self.refused:
            return True
        return self.live is None or self.live.revision != self.desired

    def apply_event(self, event: Event) -> None:
        """Take `event` into account."""
        since = event.at
        match event:
            case RevisionStateChanged():
                if event.desired != self.desired:
                    since = event.saved_at
                self.desired, self.failed = event.desired, event.failed
                self.last_good = event.last_good
                self.live = self._container_of(event.live, event.at)
            case DeployFinished(outcome=outcome) if outcome in GOOD_DEPLOYS:
                self._remember(event)
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

    def _remember(self, event: DeployFinished) -> None:
        revision = event.revision
        info = LiveInfo(revision=revision, image=event.image, container=event.container, since=event.at)
        if event.outcome is DeployOutcome.UNCHANGED:  # the same container under a new revision
            same = [known for known in self._deployed.values() if known.container == event.container]
            info = info.model_copy(update={"since": same[-1].since}) if same else info
        self._deployed.pop(revision, None)
        self._deployed[revision] = info
        if len(self._deployed) > _REMEMBERED:
            del self._deployed[next(iter(self._deployed))]
        if self.live and self.live.revision == revision:
            self.live = info

    def _container_of(self, revision: str | None, at: float) -> LiveInfo | None:
        if revision is None:
            return None
        return self._deployed.get(revision) or LiveInfo(revision=revision, image="", container="", since=at)
