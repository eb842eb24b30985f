"""The container engine: `Engine` is the port, `DockerEngine` the real one."""

from watcher.engine.docker_engine import DockerEngine
from watcher.engine.port import (
    CacheRecord,
    Container,
    Engine,
    EngineError,
    EngineEvent,
    EngineInfo,
    Image,
    Printed,
    Removal,
    Usage,
)

__all__ = [
    "CacheRecord",
    "Container",
    "DockerEngine",
    "Engine",
    "EngineError",
    "EngineEvent",
    "EngineInfo",
    "Image",
    "Printed",
    "Removal",
    "Usage",
]
