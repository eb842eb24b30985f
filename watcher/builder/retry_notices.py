"""What the user reads about variants of a Dockerfile that failed: a level and a text, or None."""

from __future__ import annotations

from watcher.builder.strategies import BuildStrategy, FailedBuild, StrategyHistory

LeveledText = tuple[str, str]


def retry_notice(dockerfile: str, following: BuildStrategy, failed: FailedBuild) -> LeveledText:
    """Return the notice before the build is tried again with the strategy `following`."""
    summary = failed.failure.summary
    match following:
        case BuildStrategy.OWN_MODULES:
            text = "a module is missing: built again without a module cache over the image's own modules"
            return "info", f"{text} ({summary})"
        case BuildStrategy.ACCELERATED:
            return "info", f"built again with a network ({summary})"
    text = f"the build failed when accelerated: {dockerfile} is built as it is, once"
    return "warning", f"{text} ({summary})"


def recovery_notice(
    dockerfile: str, text: str, strategy: BuildStrategy, failed: FailedBuild, history: StrategyHistory
) -> LeveledText | None:
    """Return the notice after `strategy` built the Dockerfile `text`, and another one had failed before."""
    summary = failed.failure.summary
    if strategy is BuildStrategy.OWN_MODULES and history.skips_module_cache(text):
        return "info", (
            f"{dockerfile} needs the modules in the image's own folder: from now on no module cache is "
            f"mounted over it ({summary})"
        )
    if strategy is BuildStrategy.PLAIN:
        left = "left alone from now on" if history.builds_original(text) else "tried again next time"
        return "warning", f"{dockerfile} failed when accelerated and built as it is; it is {left} ({summary})"
    return None
