"""The container engine: `Engine` is the port, `DockerEngine` the real one."""

from watcher.engine.docker_engine import DockerEngine
from watcher.engine.port import (
    Container,
    Engine,
    EngineError,
    EngineEvent,
    EngineInfo,
    Image,
    Removal,
)

__all__ = [
    "Container",
    "DockerEngine",
    "Engine",
    "EngineError",
    "EngineEvent",
    "EngineInfo",
    "Image",
    "Removal",
]
