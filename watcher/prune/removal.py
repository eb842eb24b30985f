"""Remove one object without force; an object that is in use by now stays."""

from __future__ import annotations

from watcher.engine import Engine, Removal
from watcher.prune.model import Cause, ObjectKind, Verdict


def apply_result(verdict: Verdict, result: Removal) -> Verdict:
    """Return the verdict after the engine's response to the removal."""
    if result is Removal.REMOVED:
        return verdict
    if result is Removal.GONE:
        return verdict.as_kept(Cause.GONE, "already removed")
    return verdict.as_kept(Cause.IN_USE, "in use, according to the engine")


async def remove_image(engine: Engine, verdict: Verdict) -> Verdict:
    """Remove our tags, or an untagged image by id, after checking its names again.

    Removing by id would also remove a last tag that is not ours; removing by tag does not.
    """
    found = await engine.image(verdict.id)
    if found is None:
        return verdict.as_kept(Cause.GONE, "already removed")
    # With a tag of ours, the containerd store also lists a digest reference; an untagged image has none.
    names = found.tags if verdict.tags else (*found.tags, *found.digests)
    others = set(names) - set(verdict.tags)
    if verdict.kind is ObjectKind.TAG and not others:
        return verdict.as_kept(Cause.IN_USE, "it is now the only tag of the image")
    if verdict.kind is not ObjectKind.TAG and others:
        return verdict.as_kept(Cause.FOREIGN, f"named {min(others)} in the meantime")
    result = Removal.GONE
    for ref in verdict.tags or (verdict.id,):
        if verdict.tags and ref not in found.tags:
            continue
        result = await engine.remove_image(ref)
        if result is Removal.IN_USE:
            break
    return apply_result(verdict, result)
