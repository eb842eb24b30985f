"""The front: owns the published port for the daemon's life and passes its traffic to the live container.

HTTP/1.1 is read (by llhttp) only to know where one exchange ends, so that the next request of a kept
connection can go to a new container; every byte is passed on unchanged. Requests that arrive while no
container answers wait. What is not HTTP/1.1 goes through a tunnel.

    front = Front([Listen("127.0.0.1", 9000)], observer=fanout, service="go-server")
    await front.start()                       # PortInUse when another process has the port
    front.switch(Backend("127.0.0.1", 32768, revision))
    ...
    front.switch(new)                         # from here on every request goes to `new`
    report = await front.drain(old, timeout=10)
    await front.close()
"""

from watcher.front.extra_headers import ExtraHeaders
from watcher.front.model import (
    Backend,
    CannotListen,
    DrainReport,
    FrontLimits,
    Listen,
    PortInUse,
    Stats,
    Unavailable,
)
from watcher.front.server import Front
from watcher.front.sockets import check_free, room_for

__all__ = [
    "Backend",
    "CannotListen",
    "DrainReport",
    "ExtraHeaders",
    "Front",
    "FrontLimits",
    "Listen",
    "PortInUse",
    "Stats",
    "Unavailable",
    "check_free",
    "room_for",
]
