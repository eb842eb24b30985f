"""Say what is waited for when a container does not end on the signal that asks it to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

SLOW_STOP = 2.0  # seconds after which a line says what is waited for


@contextlib.contextmanager
def announce_wait(
    show: Callable[[str], None], describe: Callable[[], str], after: float | None = None
) -> Iterator[None]:
    """Show one line if this context takes longer than `after` seconds; nothing if its text is empty then."""

    def announce() -> None:
        if text := describe():
            show(text)

    timer = asyncio.get_running_loop().call_later(SLOW_STOP if after is None else after, announce)
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def announce_slow_stop(
    show: Callable[[str], None], name: str, grace: float, after: float | None = None
) -> Iterator[None]:
    """Show one line if the stop of container `name`, in this context, takes longer than `after` seconds.

    `grace` is the time after which the engine kills the container; one shorter than `after` needs no line.
    """
    after = SLOW_STOP if after is None else after
    text = (
        f"{name} still runs {after:g} s after it was asked to stop; it is killed after {grace:g} s"
        " (stop_grace_period)"
    )
    with announce_wait(show, lambda: text if grace > after else "", after):
        yield
