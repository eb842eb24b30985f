"""Values of the front's interface: addresses, backends, limits, reports, errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from watcher.errors import WatcherError


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on. An empty `host` means every address, IPv4 and (when there) IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A container that can take the traffic: where it listens, and the revision that it runs."""

    host: str
    port: int
    revision: str

    def __str__(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return str(Listen(self.host, self.port))


@dataclass(frozen=True, slots=True)
class FrontTimes:
    """Seconds that no setting changes."""

    silence: float = 0.2  # of a client that may let the app speak first; browsers connect early too
    undecided: float = 1.0  # after these the beginning of a first line is taken for what it looks like
    not_answering: float = 1.0  # docker-proxy closes a connection within these when no app listens
    reuse_idle: float = 1.0  # after these a request that must not be repeated gets a fresh connection
    app_closed: float = 1.0  # after these an idle client learns that the app has closed
    quiet: float = 5.0  # without a byte; after these a TLS connection is taken to be idle
    old_check: float = 0.25  # between two checks while there are old connections
    last_word: float = 1.0  # after the end of a drain, in which a due answer is still sent
    stalled: float = 5.0  # without a byte; after these a transfer no longer counts as moving
    idle_kept: float = 1.0  # of idleness, after which a used connection can be closed
    idle_fresh: float = 5.0  # the same for a connection that has not sent a whole request yet


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """Limits of the front. Sizes are bytes, times seconds."""

    connections: int = 10_000  # open client connections; above that idle ones are closed, see `room`
    held: int = 2048  # requests (or raw connections) that wait for a container
    held_bytes: int = 64 * 1024 * 1024  # what those have sent so far, together
    hold_seconds: float = 30.0  # the longest wait of one request
    head_bytes: int = 64 * 1024  # a request head; longer is answered 431
    answer_head_bytes: int = 1024 * 1024  # the head of an app's answer; longer is answered 502
    head_seconds: float = 60.0  # from a head's first byte to its end; slower is answered 408
    replay_bytes: int = 64 * 1024  # a request up to this size can be repeated on a fresh connection
    read_ahead: int = 64 * 1024  # bytes taken from a client leftover the request in progress
    connect_seconds: float = 5.0  # one attempt to connect to a container
    linger_seconds: float = 2.0  # how long the rest of a refused request is read and thrown away
    times: FrontTimes = FrontTimes()


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The text for a client while nothing can answer.

    With `wait` a request is held and gets this text when its time is up. Without it nothing under way could
    end the wait (the build failed), and the request is refused immediately. What is `private` is shown to
    clients on this machine only.
    """

    title: str = "The service is starting"
    text: str = "No container can answer yet."
    lines: tuple[str, ...] = ()  # a compiler's own lines
    retry_after: int = 2
    wait: bool = True
    private: bool = False

    def public(self) -> Unavailable:
        """Return the same without text and lines, for clients elsewhere."""
        text = "Why is shown on the watcher's status page, and here to clients on the watcher's own machine."
        return replace(self, text=text, lines=(), private=False)


# Not whether it restarts: the front does not know that.
CLOSED = Unavailable(
    "The watcher has closed this port", "It stops or restarts, or no longer manages the service.", wait=False
)


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How a drain ended: `finished` exchanges and tunnels came to their own end, `cut` were closed.

    `left` are still open: tunnels that only the app can end well when it stops.
    """

    seconds: float
    finished: int
    cut: int
    left: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """What the front is doing at this moment, and what it has done (counts since the start)."""

    connections: int
    held: int
    held_bytes: int
    active: Mapping[Backend, int] = field(default_factory=dict)  # exchanges and tunnels in progress
    idle: Mapping[Backend, int] = field(default_factory=dict)  # kept connections without an exchange
    exchanges: int = 0
    retried: int = 0
    refused: int = 0


class CannotListen(WatcherError):
    """The front cannot listen on an address; the message names it, the cause and the remedy."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot listen on {Listen(host or '*', port)}: {why}")
        self.host = host
        self.port = port


class PortInUse(CannotListen):
    """Another process listens on the address already."""

    def __init__(self, host: str, port: int, holder: str = "", user: str = "") -> None:
        """`holder` describes what has the port, `user` what would have it, where that is known."""
        self.holder = holder
        for_user = f" for {user}" if user else ""
        why = f"{holder or 'another process'} has the port{for_user}; stop it or publish a different port"
        super().__init__(host, port, why)
