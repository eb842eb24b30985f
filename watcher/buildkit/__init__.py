"""A BuildKit client in pure asyncio Python: builds with typed progress and an incremental context.

    async with await Client.connect("unix:///var/run/docker.sock") as client:
        request = SolveRequest(
            context=MemorySource({"main.go": b"package main"}),
            dockerfile=MemorySource({"Dockerfile": b"FROM scratch\\nCOPY . /\\n"}),
            shared_key="my-project",
            names=("docker.io/library/app:latest",),
        )
        result = await client.solve(request, print)
        print(result.image_id)

It speaks with the API socket of Docker Engine 20.10 and newer and with a standalone buildkitd, and imports
only `dockerignore/` and `system/regular_file.py` of the rest.
The parts, from the wire up: `bytestream`, `transport`, `http2` (`framejoin`, `http2stream`), `grpc`;
`messages`; `sources`, `selection`, `packets`, `filesync`;
`session`; `progress`, `llb`, `gateway`, `solve`, `imageconfig`, `client`.
"""

from watcher.buildkit.client import Client
from watcher.buildkit.errors import (
    BuildkitError,
    ConnectError,
    ContextChanged,
    ProtocolError,
    RpcError,
    SolveFailed,
)
from watcher.buildkit.imageconfig import ResolvedImage
from watcher.buildkit.progress import (
    Progress,
    Step,
    StepFinished,
    StepLog,
    StepStarted,
    StepStatus,
    StepWarning,
    parse_step,
)
from watcher.buildkit.records import UsageInfo, Worker
from watcher.buildkit.session import Credentials
from watcher.buildkit.solve import CacheImport, SolveRequest, SolveResult
from watcher.buildkit.sources import (
    ContextEntry,
    ContextSource,
    FileEntry,
    MemorySource,
    Prefiltered,
)
from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.patterns import PatternMatcher, parse_dockerignore

__all__ = [
    "BuildkitError",
    "CacheImport",
    "Client",
    "ConnectError",
    "ContextChanged",
    "ContextEntry",
    "ContextSource",
    "Credentials",
    "FileEntry",
    "IgnorePatternError",
    "MemorySource",
    "PatternMatcher",
    "Prefiltered",
    "Progress",
    "ProtocolError",
    "ResolvedImage",
    "RpcError",
    "SolveFailed",
    "SolveRequest",
    "SolveResult",
    "Step",
    "StepFinished",
    "StepLog",
    "StepStarted",
    "StepStatus",
    "StepWarning",
    "UsageInfo",
    "Worker",
    "parse_dockerignore",
    "parse_step",
]
