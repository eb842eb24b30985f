"""Summarize an image in a process of its own, in idle priority: the event loop of a daemon keeps its time.

The program: `python -m watcher.image.process IMAGE [ENGINE]` prints an `ImageSummary` as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path

import watcher
from watcher.errors import WatcherError
from watcher.image.summary import ImageSummary

_SECONDS = 300.0  # for one image
_GONE = 4  # exit status: there is no such image


async def summarize_apart(image: str, engine: str | None) -> ImageSummary | None:
    """Return the summary of an image; None if there is none. A cancelled call ends the process.

    Raises WatcherError with the reason.
    """
    source = str(Path(watcher.__file__).parents[1])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # nothing of the project's folder is imported
        "-m",
        __name__,
        image,
        *([engine] if engine else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            printed, error = await process.communicate()
    except TimeoutError as late:
        raise WatcherError(f"it took more than {_SECONDS:g} s") from late
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == _GONE:
        return None
    if process.returncode:
        last = error.decode(errors="replace").strip().splitlines()[-1:]
        raise WatcherError("".join(last) or f"exit status {process.returncode}")
    try:
        return ImageSummary.from_json(printed)
    except ValueError as problem:
        raise WatcherError(f"the answer cannot be read: {problem}") from problem


async def _summarize(image: str, address: str | None) -> ImageSummary | None:
    from watcher.engine import DockerEngine, EngineError, Unreadable  # noqa: PLC0415 - not in the daemon
    from watcher.image.read import ImageReader  # noqa: PLC0415

    engine = await DockerEngine.open(address)
    try:
        content = await ImageReader(engine).read(image)
    except (EngineError, Unreadable) as error:
        raise WatcherError(str(error)) from error
    finally:
        await engine.close()
    return ImageSummary.of(content) if content else None


def _main(arguments: list[str]) -> int:
    os.nice(19)
    gc.set_threshold(200_000)  # a binary is read into that many objects, and none of them is garbage
    image, address = arguments[0], arguments[1] if len(arguments) > 1 else None
    try:
        summary = asyncio.run(_summarize(image, address))
    except WatcherError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if summary is None:
        return _GONE
    sys.stdout.write(summary.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
