"""The container engine: the interface `Engine`, its implementation `DockerEngine`, and registry logins."""

from watcher.engine.archive import (
    ByteReader,
    Unreadable,
    classic_size,
    iterate_entries,
    open_archive,
    open_layer,
)
from watcher.engine.docker_engine import DockerEngine
from watcher.engine.interface import Engine
from watcher.engine.logins import Login, find_login
from watcher.engine.values import (
    CacheRecord,
    Container,
    ContainerCommand,
    EngineError,
    EngineEvent,
    Image,
    Network,
    NewFile,
    Printed,
    PullProgress,
    Removal,
    SystemInfo,
    Usage,
    Volume,
)

__all__ = [
    "ByteReader",
    "CacheRecord",
    "Container",
    "ContainerCommand",
    "DockerEngine",
    "Engine",
    "EngineError",
    "EngineEvent",
    "Image",
    "Login",
    "Network",
    "NewFile",
    "Printed",
    "PullProgress",
    "Removal",
    "SystemInfo",
    "Unreadable",
    "Usage",
    "Volume",
    "classic_size",
    "find_login",
    "iterate_entries",
    "open_archive",
    "open_layer",
]
