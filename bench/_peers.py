"""Share code between benchmarks with other tools: copies of the example, and these tools on one engine.

Tools are searched on PATH, among the docker CLI's plugins, and in the folder of `deploy/peers/engine`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.buildkit import Client

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "go-server"
DEFAULT_ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
GOAL_MISSED = 3  # exit status of a measurement that went through, and missed a goal
LONG = 900.0  # seconds: the article's Dockerfile compiles everything
_PEER_SOCKETS = Path("/run/watcher-peers")
_PLUGIN_DIRS = (
    Path.home() / ".docker/cli-plugins",
    Path("/usr/local/libexec/docker/cli-plugins"),
    Path("/usr/local/lib/docker/cli-plugins"),
    Path("/usr/libexec/docker/cli-plugins"),
    Path("/usr/lib/docker/cli-plugins"),
    Path(os.environ.get("XDG_CACHE_HOME", "/var/cache"))
    / "watcher-peers/debian/usr/libexec/docker/cli-plugins",
)

# A Dockerfile by a BuildKit expert. The ids of the caches contain the run, so they can be removed.
TUNED = """\
FROM golang:alpine AS builder
LABEL stage=builder
WORKDIR /workspace
COPY go.mod go.sum ./
RUN --mount=type=cache,id={id}-mod,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,id={id}-mod,target=/go/pkg/mod \\
    --mount=type=cache,id={id}-build,target=/root/.cache/go-build \\
    CGO_ENABLED=0 GOOS=linux go build -o mygoexecutable .

FROM alpine AS final
ARG ENV
COPY --from=builder /workspace/mygoexecutable .
COPY --from=builder /workspace/_envs/env_$ENV.yaml ./_envs/
CMD ["./mygoexecutable"]
"""

_WATCH = """\
    develop:
      watch:
        - action: rebuild
          path: .
"""


def new_id() -> str:
    """Return a name that is unique on the machine."""
    return f"bench-{uuid.uuid4().hex[:8]}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass(frozen=True)
class Project:
    """A copy of the example with its own name and port."""

    folder: Path
    name: str
    port: int

    @classmethod
    def make(cls, parent: Path, run: str, suffix: str, *, tuned: bool = False) -> Project:
        """Copy the example; `tuned` replaces the article's Dockerfile by one with cache mounts."""
        name, port = f"{run}-{suffix}", free_port()
        folder = parent / name
        shutil.copytree(EXAMPLE, folder)
        compose = folder / "docker-compose-dev.yml"
        text = compose.read_text().replace("version: '3.5'\n\n", "")
        text = text.replace("go-server-box-dev", f"{name}-box").replace("go-server-dev", name)
        compose.write_text(text.replace("9000:9000", f"127.0.0.1:{port}:9000") + _WATCH)
        if tuned:
            (folder / "Dockerfile").write_text(TUNED.format(id=run))
        return cls(folder, name, port)

    @property
    def compose_file(self) -> Path:
        return self.folder / "docker-compose-dev.yml"

    def edit(self) -> str:
        """Save a new version number, like an editor; return the number."""
        version = uuid.uuid4().hex[:12]
        path = self.folder / "internal" / "version" / "version.go"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("var Number")]
        path.write_text("\n".join([*lines, f'var Number = "{version}"', ""]))
        return version


def go_environment() -> dict[str, str]:
    """Return the environment of the article's Dockerfile for go."""
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
    }


def find_plugin(name: str) -> Path | None:
    """Return the path of a docker CLI plugin, such as docker-buildx."""
    if found := os.environ.get(name.removeprefix("docker-").upper()) or shutil.which(name):
        return Path(found)
    places = (folder / name for folder in _PLUGIN_DIRS)
    return next((place for place in places if os.access(place, os.X_OK)), None)


class Docker:
    """The docker CLI and its plugins on one engine, with a separate configuration."""

    def __init__(self, endpoint: str, config: Path) -> None:
        """`config` is a folder for the CLI's configuration; several engines can share it."""
        self.endpoint = endpoint
        folder = config / "cli-plugins"
        folder.mkdir(parents=True, exist_ok=True)
        self.plugins = {}
        for name in ("buildx", "compose"):
            if found := find_plugin(f"docker-{name}"):
                self.plugins[name] = found
                link = folder / f"docker-{name}"
                link.unlink(missing_ok=True)
                link.symlink_to(found)
        self.environment = {**os.environ, "DOCKER_HOST": endpoint, "DOCKER_CONFIG": str(config)}

    def run(
        self, *arguments: str | Path, folder: Path | None = None, check: bool = True, both: bool = False
    ) -> str:
        """Run a command and return its output, with `both` including stderr.

        Raises SystemExit with the last lines if it fails and `check` is set.
        """
        command = ["docker", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        if check and done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise SystemExit(f"{' '.join(command)} failed on {self.endpoint}:\n{last}")
        return (done.stdout + (done.stderr if both else "")).strip()

    def describe(self) -> str:
        """Return version and image store as text."""
        version = self.run("version", "--format", "{{.Server.Version}}")
        driver = self.run("info", "--format", "{{.Driver}} {{.DriverStatus}}")
        store = "containerd image store" if "io.containerd.snapshotter" in driver else driver.split()[0]
        return f"Docker Engine {version}, {store}"

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """Return a sentence for each plugin that is not installed."""
        return [
            f"docker {name} is not on this machine and is left out; `deploy/peers/engine plugins` brings it"
            for name in wanted
            if name not in self.plugins
        ]

    def remove(self, run: str) -> None:
        """Remove the containers, networks and images whose names start with `run`."""
        for container in self.run("ps", "-aq", "--filter", f"name={run}").split():
            self.run("rm", "-f", container, check=False)
        for network in self.run("network", "ls", "-q", "--filter", f"name={run}").split():
            self.run("network", "rm", network, check=False)
        names = self.run("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        for name in names:
            if name.startswith(run):
                self.run("rmi", "-f", name, check=False)


async def forget_caches(endpoint: str, run: str) -> None:
    """Remove the cache mounts whose ids start with `run`."""
    async with await Client.connect(endpoint) as client:
        for record in await client.disk_usage():
            if run in record.description and not record.in_use:
                await client.prune([f"id=={record.id}"])


def engines_here() -> list[str]:
    """Return the addresses of responding engines: the default one, and those of `deploy/peers/engine`."""
    peers = [f"unix://{path}" for path in sorted(_PEER_SOCKETS.glob("*.sock"))]
    return list(dict.fromkeys([DEFAULT_ENGINE, *filter(_engine_answers, peers)]))


def _engine_answers(endpoint: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(endpoint.removeprefix("unix://")) == 0


def how_busy() -> str:
    """Return a warning if other processes use the machine, otherwise an empty string."""
    load = os.getloadavg()[0]
    return (
        f"NOTE: the load average is {load:.1f}: if other processes cause it, figures are too high"
        if load > 0.5
        else ""
    )


def format_table(head: Sequence[str], rows: Mapping[str, Sequence[str]], width: int) -> str:
    """Return right-aligned columns after a first column of that width."""
    columns = [
        max(len(title), *(len(row[number]) for row in rows.values()), 0) for number, title in enumerate(head)
    ]
    lines = [" " * width + "".join(f"  {title:>{columns[number]}}" for number, title in enumerate(head))]
    for name, row in rows.items():
        lines.append(
            f"{name:{width}}" + "".join(f"  {text:>{columns[number]}}" for number, text in enumerate(row))
        )
    return "\n".join(lines)
