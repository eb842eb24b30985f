"""Dependencies in the status document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class DependencyInfo(BaseModel):
    """A service of the compose file that the watcher starts and does not build."""

    model_config = ConfigDict(use_attribute_docstrings=True, from_attributes=True)

    name: str
    state: str
    """absent | starting | running | checking | healthy | unhealthy | completed | failed | broken | stopped |
    unused. checking: its health check has not passed yet; broken: it cannot be started; stopped: on purpose;
    unused: the file asks for no container."""
    since: float
    """When it came into this state."""
    reason: str = ""
    """Exit status, health, or how much of its image has arrived."""
    image: str = ""
    containers: list[str] = []
    """Names."""
    waits_for: list[str] = []
    """Dependencies whose conditions do not hold yet."""
    needed_by: list[str] = []
    """Services that wait for this one now."""
    restarts: int = 0
    """How often it ended by itself and was started again."""
