"""The container engine: `Engine` is the port, `DockerEngine` the real one. `find_login` asks for logins."""

from watcher.engine.docker_engine import DockerEngine
from watcher.engine.interface import (
    CacheRecord,
    Container,
    ContainerCommand,
    Engine,
    EngineError,
    EngineEvent,
    Image,
    Network,
    NewFile,
    Printed,
    Removal,
    SystemInfo,
    Usage,
    Volume,
)
from watcher.engine.logins import Login, find_login

__all__ = [
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
    "Removal",
    "SystemInfo",
    "Usage",
    "Volume",
    "find_login",
]
