"""What a change of the configuration files means for what runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watcher.compose import ComposeProject


def describe_reload(names: str, before: ComposeProject, after: ComposeProject) -> str:
    """Return the line to show once the changed files `names` are in force.

    Dependencies say themselves when they are replaced.
    """
    text = f"{names} changed: what it says is in force"
    kept = [
        *_changed("network", before.networks, after.networks),
        *_changed("volume", before.volumes, after.volumes),
    ]
    return text + "".join(f"; the {each} stays as it was made" for each in kept)


def _changed(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    return (f"{what} {key}" for key, spec in after.items() if key in before and before[key] != spec)
