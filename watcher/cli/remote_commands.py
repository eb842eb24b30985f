"""The commands for a running daemon. Each returns the exit status of the process."""

from __future__ import annotations

import json
import sys
import time
from http.client import SERVICE_UNAVAILABLE
from typing import Any

from watcher.cli import status_text
from watcher.cli.log_printer import LogPrinter
from watcher.cli.remote import (
    POLL,
    STOPPED,
    Api,
    JsonObject,
    ProjectSelection,
    connect,
    is_being_replaced,
    is_running,
    parse_document,
    read_body,
)
from watcher.errors import (
    EXIT_FAILED,
    EXIT_PAUSED,
    EXIT_TIMEOUT,
    EXIT_UNKNOWN,
    ConfigError,
    NotRunning,
    WatcherError,
)
from watcher.observers import humanize
from watcher.observers.outcomes import WORST_FIRST

UPGRADE_SECONDS = 60.0  # within which a successor must answer
LONGEST_WAIT = 3600.0  # seconds of one request; a longer wait sends several


class OtherVersion(WatcherError):
    """The running watcher is too old, or too new, for this command."""

    def __init__(self) -> None:
        super().__init__(
            "the running watcher is of another version, and its status cannot be shown: "
            "`watcher down`, then `watcher up` replaces it; `watcher status --json` prints what it says"
        )


def _service_param(place: ProjectSelection) -> dict[str, str]:
    return {"service": place.service} if place.service else {}


def _check_service(document: JsonObject, service: str | None) -> None:
    names = [found["name"] for found in document["services"]]
    if service is not None and service not in names:
        known = ", ".join(names) or "none yet"
        raise ConfigError("service", service, f"the watcher manages no such service (known: {known})")


def _render_status(text: str | bytes, service: str | None) -> list[str]:
    """Return the status document as lines for people."""
    document = parse_document(text)
    _check_service(document, service)
    try:
        return status_text.render_lines(document, time.time(), service)
    except AttributeError:  # of another version of the watcher; the model fills in what is missing
        from watcher.observers.status_schema import Status  # noqa: PLC0415 - takes longer than the answer

        try:
            return status_text.render_lines(Status.model_validate_json(text), time.time(), service)
        except ValueError as error:
            raise OtherVersion from error


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def status(place: ProjectSelection, *, watch: bool, as_json: bool) -> int:
    """Print the status document, or follow it until Ctrl-C; return the exit status. Raises NotRunning."""
    api = connect(place)
    if watch:
        _follow_status(api, place.service, as_json=as_json)
        raise NotRunning(STOPPED)
    text = api.get("/api/status")
    if as_json:
        _check_service(parse_document(text), place.service)
        _print_json(json.loads(text))
        return 0
    for line in _render_status(text, place.service):
        print(line)
    return 0


def _follow_status(api: Api, service: str | None, *, as_json: bool) -> None:
    """Show each change of the status: in place on a terminal, as more lines elsewhere."""
    messages = api.stream_messages("status")
    if as_json:
        for text in messages:
            print(text, flush=True)
        return
    from watcher.observers.live_text import show_live  # noqa: PLC0415 - only to follow the status

    show_live("\n".join(_render_status(text, service)) for text in messages)


def logs(place: ProjectSelection, *, follow: bool, tail: int, source: str | None, as_json: bool) -> int:
    """Print the newest `tail` lines, and with `follow` new ones until Ctrl-C; return the exit status."""

    api = connect(place)
    status = parse_document(api.get("/api/status"))
    boot = status["daemon"]["boot"]
    names = [found["name"] for found in status["services"]]
    printer = LogPrinter([] if place.service else names, with_place=source is None)

    def print_line(line: JsonObject) -> None:
        if as_json:
            print(json.dumps(line, separators=(",", ":"), ensure_ascii=False), flush=follow)
        else:
            printer.print_line(line, flush=follow)

    params = {"tail": str(tail), **_service_param(place), **({"source": source} if source else {})}
    lines = parse_document(api.get("/api/logs", params))["lines"]
    for line in lines:
        print_line(line)
    if not follow:
        return 0
    last = lines[-1]["seq"] if lines else 0
    for news in map(parse_document, api.stream_messages("lines", f"{boot}.{last}")):
        if news["dropped"]:
            print("… some lines are missing here", file=sys.stderr)
        for line in news["lines"]:
            if place.service in (None, line["service"]) and source in (None, line["source"]):
                print_line(line)
    raise NotRunning(STOPPED)


_WAIT_STATUS = {"live": 0, "paused": EXIT_PAUSED, "unknown": EXIT_UNKNOWN, "timeout": EXIT_TIMEOUT}
_WORDS = {
    "paused": "paused: nothing is built until `watcher resume`",
    "timeout": "the tree was not live in time",
}


def wait(place: ProjectSelection, *, timeout: float | None, start_timeout: float, as_json: bool) -> int:
    """Wait until the tree is live or has failed; print the outcome and return its exit status.

    `timeout` and `start_timeout` are seconds; None waits for ever. Raises NotRunning.
    """
    end = _deadline(timeout)
    first = start_timeout if timeout is None else min(start_timeout, timeout)
    while True:
        try:
            api = connect(place, timeout=LONGEST_WAIT + 30.0, start_timeout=first)
            return _print_outcome(_wait_until_settled(api, place.service, end), as_json=as_json)
        except NotRunning:
            if time.monotonic() >= end or not is_being_replaced(place):
                raise
            first = min(UPGRADE_SECONDS, end - time.monotonic())
            time.sleep(POLL)


def _deadline(timeout: float | None) -> float:
    """Return when the wait ends, in seconds of the monotonic clock."""
    return float("inf") if timeout is None else time.monotonic() + timeout


def _wait_until_settled(
    api: Api, service: str | None, end: float, after_build: int | None = None
) -> JsonObject:
    """Wait for the outcome; raises NotRunning if the daemon stops."""
    while True:
        left = max(0.0, end - time.monotonic())
        params = {"timeout": str(min(LONGEST_WAIT, left)), **({"service": service} if service else {})}
        if after_build is not None:
            params["after_build"] = str(after_build)
        answer = api.post("/api/wait", params)
        if answer.status == SERVICE_UNAVAILABLE:
            raise NotRunning(STOPPED)
        settled: JsonObject = parse_document(read_body(answer))
        if settled["outcome"] != "timeout" or left <= LONGEST_WAIT:
            return settled


def _print_outcome(settled: JsonObject, *, as_json: bool) -> int:
    """Print the outcome and return its exit status."""
    if as_json:
        _print_json(settled)
    elif several := settled.get("services"):
        for one in several:
            _print_one(one, f"{one['service']}: ")
        if not settled["service"]:  # what concerns none of them
            _print_one(settled)
    else:
        _print_one(settled)
    return _WAIT_STATUS.get(settled["outcome"], EXIT_FAILED)


def _print_one(settled: JsonObject, prefix: str = "") -> None:
    """Print the outcome of one service."""
    outcome, revision = settled["outcome"], settled["revision"]
    if outcome == "live":
        where = f" at {' '.join(settled.get('urls', ()))}" if settled.get("urls") else ""
        old = humanize.old_connections(settled.get("old_connections", 0))
        print(f"{prefix}live {humanize.short(revision)}{where}{old}")
    else:
        shown = f" {humanize.short(revision)}" if revision else ""
        failure = settled.get("failure")
        why = failure["summary"] if failure else _WORDS.get(outcome, outcome)
        if waiting := settled.get("waiting"):
            why += f": {waiting}"
        print(f"{prefix}{outcome}{shown}: {why}", file=sys.stderr)
        for line in failure["lines"] if failure else ():
            print(line, file=sys.stderr)


def rebuild(place: ProjectSelection, *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """Have the tree built again; with `wait` return the exit status of its outcome (`timeout` in seconds)."""
    end = _deadline(timeout)
    api = connect(place, timeout=LONGEST_WAIT + 30.0)
    accepted = parse_document(read_body(api.post("/api/rebuild", _service_param(place))))
    if wait and (several := accepted.get("services")):
        each = [_wait_until_settled(api, one["service"], end, one["last_build"]) for one in several]
        worst = min(each, key=lambda settled: WORST_FIRST.index(settled["outcome"]))
        return _print_outcome(JsonObject(worst, services=each), as_json=as_json)
    if wait:
        return _print_outcome(
            _wait_until_settled(api, accepted["service"], end, accepted["last_build"]), as_json=as_json
        )
    return _print_accepted(accepted, as_json=as_json)


def request_action(place: ProjectSelection, action: str, *, as_json: bool) -> int:
    """Post `action` (cancel, pause or resume) to the daemon and print its answer; return the exit status."""
    text = read_body(connect(place).post(f"/api/{action}", _service_param(place)))
    return _print_accepted(parse_document(text), as_json=as_json)


def _print_accepted(accepted: JsonObject, *, as_json: bool) -> int:
    if as_json:
        _print_json(accepted)
    return 0


def upgrade(place: ProjectSelection) -> int:
    """Have the daemon replace itself, and wait until the new one answers; return the exit status."""
    api = connect(place)
    before = parse_document(api.get("/api/status"))["daemon"]
    read_body(api.post("/api/upgrade", timeout=2 * UPGRADE_SECONDS))  # the daemon tests the new program first
    until = time.monotonic() + UPGRADE_SECONDS
    while time.monotonic() < until:
        try:
            after = parse_document(connect(place).get("/api/status"))["daemon"]
        except NotRunning:
            if not is_running(place):
                raise
        else:
            if after["boot"] != before["boot"] and after["url"]:  # empty until it has started
                print(f"watcher {before['version']} → {after['version']}, {after['url']}")
                return 0
        time.sleep(POLL)
    raise NotRunning(f"the new program has not answered within {UPGRADE_SECONDS:g} s")
