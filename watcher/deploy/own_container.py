"""The watcher in a container of its own: what publishes a port on loopback is out of its reach there.

It joins the service's network instead, and its own container publishes the port that clients use. With the
host's network, or in a container of another engine, nothing of this holds: loopback works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from watcher import regex
from watcher.engine import Container, Engine, EngineError
from watcher.errors import EngineUnavailable

Published = Mapping[int, Sequence[tuple[str, int]]]  # container port -> addresses on the host; port 0 = any

MARKS = (".dockerenv", "run/.containerenv")  # files that Docker and Podman put into a container
ANYWHERE = {"", "0.0.0.0", "::"}

# The engine mounts three files of the container's folder, which is named by its id (proc_pid_mountinfo(5):
# the fourth field is the path within the file system, the fifth the mount point).
_MOUNTED = regex.compile(r"(?m)^\d+ \d+ \S+ \S*/([0-9a-f]{64})/\S* /etc/(?:hostname|hosts|resolv\.conf) ")
_GROUPED = regex.compile(r"(?m)^\d+:[^:]*:\S*?([0-9a-f]{64})(?:\.scope)?$")  # cgroups(7)
_SHORT = regex.compile(r"[0-9a-f]{12,64}")


def list_candidates(mountinfo: str, cgroup: str, hostname: str) -> tuple[str, ...]:
    """Return possible ids, or prefixes of ids, of this container; the likeliest first."""
    named = [hostname] if _SHORT.fullmatch(hostname) else []
    found = dict.fromkeys([*_MOUNTED.findall(mountinfo), *_GROUPED.findall(cgroup), *named])
    return tuple(found)


class OwnContainer:
    """The container that the watcher runs in, which is on a network of the engine that it drives."""

    def __init__(self, engine: Engine, found: Container) -> None:
        self.id = found.joined or found.id  # the owner of its network
        self._engine, self._ports = engine, found.ports
        self._joined: dict[str, None] = {}

    @property
    def ports(self) -> frozenset[int]:
        """Return the ports of this container that clients outside reach."""
        return frozenset(
            int(key.removesuffix("/tcp"))
            for key, bound in self._ports.items()
            if bound and key.endswith("/tcp")
        )

    async def join(self, network: str) -> None:
        """Be on `network` until `leave`; raises EngineError when that cannot be."""
        found = await self._engine.container(self.id)
        if found and network not in found.addresses:
            await self._engine.connect(self.id, network, {})
            self._joined[network] = None

    async def leave(self) -> None:
        """Leave the networks that it would not be on without `join`."""
        joined, self._joined = self._joined, {}
        with contextlib.suppress(EngineUnavailable):  # the engine is away
            for network in joined:
                await self._engine.disconnect(self.id, network)

    def holds(self, published: Published) -> bool:
        """Return whether this container occupies a port that the compose file publishes."""
        own = {number for bound in self._ports.values() for _, number in bound}
        return any(number in own for bound in published.values() for _, number in bound)

    def notices(self, published: Published) -> Iterator[str]:
        """What a person should know of the ports that a front listens on in here."""
        for number in sorted({number for bound in published.values() for _, number in bound if number}):
            if f"{number}/tcp" not in self._ports:
                yield (
                    f"the watcher runs in a container that does not publish port {number}: nobody outside "
                    f"reaches it; run it with `-p {number}:{number}` or `--network host`"
                )
        for host, number in sorted({address for bound in published.values() for address in bound}):
            if host not in ANYWHERE:
                shown = f"[{host}]" if ":" in host else host
                yield (
                    f"the watcher runs in a container, where nobody outside reaches {host}: it listens on "
                    f"port {number} of all addresses in there; what limits it is to run it with "
                    f"`-p {shown}:{number}:{number}`"
                )


async def find_own_container(engine: Engine, root: Path = Path("/")) -> OwnContainer | None:
    """Return the container that this process runs in; None outside of one, and where loopback works.

    `root` is the file system to read. Raises EngineUnavailable.
    """
    if not any((root / mark).exists() for mark in MARKS):
        return None
    read = (_read_text(root / name) for name in ("proc/self/mountinfo", "proc/self/cgroup", "etc/hostname"))
    for candidate in list_candidates(*read):
        try:
            found = await engine.container(candidate)
        except EngineError:
            continue
        if found and found.id.startswith(candidate):  # a name can look like an id
            return OwnContainer(engine, found) if found.running and found.addresses else None
    return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
