"""The container engine: `Engine` is the port, `DockerEngine` the real one. `find_login` asks for logins."""

from watcher.engine.docker_engine import DockerEngine
from watcher.engine.interface import (
    CacheRecord,
    Command,
    Container,
    Engine,
    EngineError,
    EngineEvent,
    EngineInfo,
    Image,
    Network,
    NewFile,
    Printed,
    Removal,
    Usage,
    Volume,
)
from watcher.engine.logins import Login, find_login

__all__ = [
    "CacheRecord",
    "Command",
    "Container",
    "DockerEngine",
    "Engine",
    "EngineError",
    "EngineEvent",
    "EngineInfo",
    "Image",
    "Login",
    "Network",
    "NewFile",
    "Printed",
    "Removal",
    "Usage",
    "Volume",
    "find_login",
]
