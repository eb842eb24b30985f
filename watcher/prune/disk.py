"""Measure the free space on the disk of the engine."""

from __future__ import annotations

import shutil
import socket

from watcher.engine import SystemInfo
from watcher.prune.model import Disk, NotMeasured


def free_space(info: SystemInfo) -> Disk | NotMeasured:
    """Return the free space on the file system of the engine's data root, or why it cannot be measured.

    A path of the same name in this container, or outside of the engine's virtual machine, is another disk:
    the host name of the engine, which the kernel reports on both sides, shows this.
    """
    if not info.endpoint.startswith("unix://"):
        return NotMeasured(f"the engine is remote, at {info.endpoint}")
    if info.host != socket.gethostname():
        return NotMeasured(
            f"the engine runs on {info.host or 'an unnamed machine'}, this process on {socket.gethostname()}"
        )
    if not info.data_root:
        return NotMeasured("the engine does not report its data folder")
    try:
        usage = shutil.disk_usage(info.data_root)
    except OSError as error:
        return NotMeasured(f"{info.data_root} cannot be read: {error.strerror}")
    return Disk(usage.free, usage.total)
