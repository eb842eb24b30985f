"""Removes what a verdict says, never with force; what came in between keeps the object, and is said."""

from __future__ import annotations

from watcher.engine import Engine, Removal
from watcher.prune.model import Cause, ObjectKind, Verdict


def apply_result(verdict: Verdict, result: Removal) -> Verdict:
    """The verdict after the engine's answer to the request to remove the object."""
    if result is Removal.REMOVED:
        return verdict
    if result is Removal.GONE:
        return verdict.as_kept(Cause.GONE, "it was gone already")
    return verdict.as_kept(Cause.IN_USE, "the engine says that it is in use")


async def remove_image(engine: Engine, verdict: Verdict) -> Verdict:
    """Take off the tags of ours, or remove an untagged image by id, after one more look at its names.

    By id an image goes together with a last tag that is not ours; by tag only what the tag is.
    """
    found = await engine.image(verdict.id)
    if found is None:
        return verdict.as_kept(Cause.GONE, "it was gone already")
    # Under a tag of ours the containerd store lists a name by digest too; an untagged image has none.
    names = found.tags if verdict.tags else (*found.tags, *found.digests)
    others = set(names) - set(verdict.tags)
    if verdict.kind is ObjectKind.TAG and not others:
        return verdict.as_kept(Cause.IN_USE, "it is the image's only tag by now")
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
