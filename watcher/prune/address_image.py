"""Remove the image of address containers from an engine, once no project has such a container there.

All projects of an engine share it. It has a name that only the watcher gives, and no file; a watcher that
needs it again loads it.
"""

from __future__ import annotations

from watcher import labels
from watcher.engine import Engine, EngineError
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.prune.removal import remove_image


async def remove_address_image(engine: Engine) -> tuple[Verdict, ...]:
    """Remove it unless a container of any project uses it; return what was removed.

    Raises EngineUnavailable.
    """
    found = await engine.image(labels.ADDRESS_IMAGE)
    if found is None or any(item.image == found.id for item in await engine.containers()):
        return ()
    why = Reason(Cause.SUPERSEDED, "no project has an address container")
    tags = (labels.ADDRESS_IMAGE,)
    verdict = Verdict(
        ObjectKind.FINAL, found.id, labels.ADDRESS_IMAGE, found.size, remove=True, why=why, tags=tags
    )
    try:
        done = await remove_image(engine, verdict)
    except EngineError:
        return ()  # it is removed with the next project
    return (done,) if done.remove else ()
