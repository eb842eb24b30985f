"""The front: owns the published port for the daemon's life and passes its traffic to the live container.

HTTP/1.1 is parsed (by llhttp) only to find the end of each exchange: the next request of a kept connection
can then go to a new container; every byte is passed on unchanged. Requests that arrive while no
container answers wait. Anything other than HTTP/1.1 uses a tunnel.

    front = Front([Listen("127.0.0.1", 9000)], observer=fanout, service="go-server")
    await front.start()                       # PortInUse when another process has the port
    front.switch(Backend("127.0.0.1", 32768, revision))
    ...
    front.switch(new)                         # from here on `new` gets every request
    report = await front.drain(old, timeout=10)
    await front.close()
"""

from watcher.front.extra_headers import ExtraHeaders
from watcher.front.model import (
    Backend,
    CannotListen,
    DrainReport,
    FrontLimits,
    FrontTimes,
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
    "FrontTimes",
    "Listen",
    "PortInUse",
    "Stats",
    "Unavailable",
    "check_free",
    "room_for",
]
