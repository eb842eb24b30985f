"""How much room there is where the engine keeps its data."""

from __future__ import annotations

import shutil
import socket

from watcher.engine import SystemInfo
from watcher.prune.model import Disk, NotMeasured


def free_space(info: SystemInfo) -> Disk | NotMeasured:
    """Room on the file system of the engine's data root, or why it cannot be measured from here.

    A folder of the same name in this container, or beside an engine in a virtual machine, is another one:
    the engine's host name, which the kernel gives to both, tells that.
    """
    if not info.endpoint.startswith("unix://"):
        return NotMeasured(f"it is reached at {info.endpoint}")
    if info.host != socket.gethostname():
        return NotMeasured(
            f"it runs on {info.host or 'a machine without a name'}, and this is {socket.gethostname()}"
        )
    if not info.data_root:
        return NotMeasured("it does not say where it keeps its data")
    try:
        usage = shutil.disk_usage(info.data_root)
    except OSError as error:
        return NotMeasured(f"{info.data_root} cannot be looked at: {error.strerror}")
    return Disk(usage.free, usage.total)
