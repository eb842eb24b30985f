"""Explain why a service cannot start: the errors of its dependencies as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from watcher.diagnosis.diagnose import engine_trouble, trouble_hint
from watcher.engine import EngineError
from watcher.errors import (
    EngineTrouble,
    EngineUnavailable,
    Failure,
    RegistryTrouble,
    UserError,
    WatcherError,
)


async def describe_failure(
    service: str,
    causes: Sequence[str],
    errors: Mapping[str, WatcherError],
    *,
    describe_reason: Callable[[str], str],
    read_last_lines: Callable[[str], Awaitable[Sequence[str]]],
) -> WatcherError:
    """Return the error that explains why `service` cannot start: because of the dependencies in `causes`.

    `errors` holds what prevented some of them; `describe_reason` tells why another one does not run.
    """
    known = {name: errors[name] for name in causes if name in errors}
    for error in known.values():
        if isinstance(error, EngineUnavailable | EngineTrouble):
            return error
    for name, error in known.items():
        if isinstance(error, RegistryTrouble):
            return RegistryTrouble(f"{service} needs {name}: {error}", error.hint)
    texts, lines, hint = [], list[str](), ""
    for name in causes:
        if name in known:
            error = known[name]
            texts.append(f"{service} needs {name}: {error}")
            if isinstance(error, UserError):
                lines += error.failure.lines
                hint = hint or error.failure.hint
        else:
            texts.append(f"{name}, which {service} needs, {describe_reason(name)}")
            lines += await read_last_lines(name)
    return UserError(Failure("container", "; ".join(texts), tuple(lines), hint=hint))


def explain_refusal(error: EngineError, what: str) -> WatcherError:
    """Return the error for what an engine refused; `what` says what could not be done."""
    if trouble := engine_trouble(str(error)):
        return EngineTrouble(trouble, trouble_hint(trouble))
    return UserError(Failure("container", f"{what}: {error}"))
