"""The program that takes this one's place: the same command, as it is installed now."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from watcher.errors import WatcherError

CHECK_SECONDS = 60.0
MOST_LINES = 5


class Unfit(WatcherError):
    """The program as it is installed now does not start; nothing was changed."""


async def find_command(seconds: float = CHECK_SECONDS) -> list[str]:
    """Return the command line of the successor after trying that it starts; raises Unfit."""
    line = [sys.executable, *sys.orig_argv[1:]]
    try:
        process = await asyncio.create_subprocess_exec(
            *line, "--help", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise Unfit(f"{line[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            _, printed = await process.communicate()
    except TimeoutError as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise Unfit(f"the program as it is installed now does not start within {seconds:g} s") from error
    if process.returncode:
        last = "\n".join(printed.decode(errors="replace").splitlines()[-MOST_LINES:])
        raise Unfit(f"the program as it is installed now does not start:\n{last}")
    return line
