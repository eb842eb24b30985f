"""The commands of `post_start` and `pre_stop`, run inside of a container."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from watcher.compose import Hook
from watcher.engine import ContainerCommand, Engine, EngineError
from watcher.errors import Failure

PATIENCE = 50.0  # seconds that a command has


async def run_hooks(engine: Engine, container: str, hooks: Sequence[Hook], key: str) -> Failure | None:
    """Run the commands in order; return the failure of the first one that fails."""
    for hook in hooks:
        command = ContainerCommand(
            hook.command, hook.user, hook.working_dir, hook.environment, hook.privileged
        )
        shown = f"{key} `{' '.join(hook.command)}`"
        try:
            async with asyncio.timeout(PATIENCE):
                status, lines = await engine.execute(container, command)
        except TimeoutError:
            return Failure("container", f"{shown} took longer than {PATIENCE:g} s")
        except EngineError as error:
            return Failure("container", f"{shown} cannot be run: {error}")
        if status:
            return Failure("container", f"{shown} failed with status {status}", lines)
    return None
