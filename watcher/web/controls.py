"""What the API asks of the daemon."""

from __future__ import annotations

from typing import Protocol


class Controls(Protocol):
    """The daemon's functions that the API calls. `service` is always a known name."""

    def rebuild(self, service: str) -> None:
        """Build the tree again, even if it is live or failed."""
        ...

    def cancel(self, service: str) -> bool:
        """Cancel the running build or deploy; return False if there is none."""
        ...

    def pause(self, service: str) -> None:
        """Cancel the running build and start no more."""
        ...

    def resume(self, service: str) -> None:
        """Start builds again after a pause."""
        ...

    async def upgrade(self) -> None:
        """Prepare to be replaced by the installed version. Raises WatcherError if that does not start."""
        ...

    async def rescan(self, service: str) -> str:
        """Scan the whole tree now and return its revision. Can raise WatcherError."""
        ...
