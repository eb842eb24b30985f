"""Decide what `watcher init` writes for a project: its settings, and Docker files where there are none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watcher import regex
from watcher.cli.settings_schema import SCHEMA_LINE, SCHEMA_NAME, render_schema
from watcher.compose.find import FILE_NAMES
from watcher.errors import ConfigError
from watcher.settings_sources import TOML_NAME

_MODULE = regex.compile(r"(?m)^module\s+(\S+)")
_MAIN = regex.compile(r"(?m)^package main\b")
_PORTS = (
    regex.compile(r'(?:ListenAndServe|Listen|Run)\((?:"tcp", *)?"[^"]*:([0-9]{2,5})"'),
    regex.compile(r'Addr: *"[^"]*:([0-9]{2,5})"'),
)
_SKIPPED = frozenset({"vendor", "testdata", "node_modules"})
_MOST_FILES = 5000
_MOST_BYTES = 262_144  # of a source file that is read
_YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})  # no strings in YAML
PORT = 9000

_TOML = f"""\
{SCHEMA_LINE}

# Settings of the watcher for this project: only what differs from the defaults.
# `watcher init --all --force` writes every setting with its default and its meaning.
"""
_DOCKERFILE = """\
FROM golang:alpine AS builder
LABEL stage=builder
WORKDIR /workspace
COPY go.mod go.sum* ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=linux go build -o mygoexecutable {main}

FROM alpine AS final
ARG ENV
ENV ENV=$ENV
COPY --from=builder /workspace/mygoexecutable .
COPY --from=builder /workspace/_envs/env_$ENV.yaml ./_envs/
CMD ["./mygoexecutable"]
"""
_COMPOSE = """\
services:
  {name}:
    build:
      context: .
      args:
        ENV: {env}
    image: {image}
    ports:
      - "{host}:{port}"
"""
_PROGRAM = """\
// A service to begin with, written by `watcher init`: change it and save.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	settings, err := os.ReadFile("_envs/env_" + os.Getenv("ENV") + ".yaml")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "Hello from the container. Its settings:\\n%s", settings)
	})
	log.Fatal(http.ListenAndServe(":9000", nil))
}
"""


@dataclass(slots=True)
class InitPlan:
    """Files to write by name, and what the user should know."""

    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def plan_project(root: Path, *, main: str | None = None, settings_only: bool = False) -> InitPlan:
    """Look at the project and return what to write; raise ConfigError if `main` has to be chosen.

    A file that exists is never part of the plan, except the settings and their schema.
    """
    plan = InitPlan({TOML_NAME: _TOML, SCHEMA_NAME: render_schema()})
    if (used := next((name for name in FILE_NAMES if (root / name).exists()), None)) is not None:
        plan.notes.append(f"{used} is used as it is")
    elif other := _find_compose(root):
        plan.files[TOML_NAME] += f'\ncompose_file = "{other}"\n'
        plan.notes.append(f"{other} is used as it is")
    elif settings_only:
        plan.notes.append("there is no compose file: without --settings-only one is written")
    elif (module := read_module(root)) is None:
        plan.notes.append("there is no go.mod: `go mod init NAME`, then `watcher init --force`")
    else:
        _plan_docker(plan, root, module, main)
    return plan


def _plan_docker(plan: InitPlan, root: Path, module: str, main: str | None) -> None:
    """Add the files of the article: two stages, a file of settings per environment, dev and prod."""
    packages = find_main_packages(root)
    if main is None and len(packages) > 1 and "." not in packages:
        rule = f"has several main packages: choose one with --main ({', '.join(packages)})"
        raise ConfigError("project", str(root), rule)
    chosen = main or ("." if "." in packages or not packages else packages[0])
    if main is not None and main not in packages:
        known = f"one of {', '.join(packages)}" if packages else "left out: there is no main package"
        raise ConfigError("main", main, f"must be {known}")
    port = find_port(root) or PORT
    name = _service_name(module)
    files = {} if packages else {"main.go": _PROGRAM}
    files |= {
        "Dockerfile": _DOCKERFILE.format(main=shlex.quote(chosen)),
        ".dockerignore": f".git\n{TOML_NAME}\n{SCHEMA_NAME}\n",
        "_envs/env_dev.yaml": "environment: dev\n",
        "_envs/env_prod.yaml": "environment: prod\n",
        "docker-compose-dev.yml": _COMPOSE.format(
            name=name, env="dev", image=f"{name}-dev", host=PORT, port=port
        ),
        "docker-compose.yml": _COMPOSE.format(name=name, env="prod", image=name, host=4445, port=port),
    }
    for path, text in files.items():
        if (root / path).exists():
            plan.notes.append(f"{path} is there already and stays as it is")
        else:
            plan.files[path] = text
    plan.notes.append(f"`watcher up` builds {chosen} and serves it at http://localhost:{PORT}")


def read_module(root: Path) -> str | None:
    """Return the module's path from go.mod; None without one."""
    found = _MODULE.search(_read(root / "go.mod"))
    return found[1] if found else None


def find_main_packages(root: Path) -> list[str]:
    """Return the folders of main packages as Go names them: `.`, `./cmd/api`."""
    found = {
        path.parent.relative_to(root).as_posix() for path in _list_sources(root) if _MAIN.search(_read(path))
    }
    return sorted("." if folder == "." else f"./{folder}" for folder in found)


def find_port(root: Path) -> int | None:
    """Return the port on which the program listens, if its sources name exactly one."""
    found = {
        int(port)
        for path in _list_sources(root)
        for text in (_read(path),)
        for pattern in _PORTS
        for port in pattern.findall(text)
    }
    return found.pop() if len(found) == 1 and 0 < min(found) < 65_536 else None


def _find_compose(root: Path) -> str | None:
    """Return the only compose file with another name than the usual ones."""
    names = [path.name for pattern in ("*compose*.yml", "*compose*.yaml") for path in root.glob(pattern)]
    usable = [name for name in names if "override" not in name]
    return usable[0] if len(usable) == 1 else None


def _service_name(module: str) -> str:
    """Return a name for service and image: the last element of the module, without a major version."""
    parts = [part for part in module.strip('"').split("/") if part]
    last = parts[-2] if len(parts) > 1 and parts[-1][:1] == "v" and parts[-1][1:].isdecimal() else parts[-1]
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in last.lower()).strip("-")
    if not name or name[0].isdecimal() or name in _YAML_WORDS:
        return f"app-{name}".strip("-")
    return name


def _list_sources(root: Path) -> Iterator[Path]:
    """Yield Go files that are no tests; hidden folders and those of others are left out."""
    count, folders = 0, [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink() or entry.name.startswith((".", "_")):
                continue
            if entry.is_dir() and entry.name not in _SKIPPED and not (entry / "go.mod").exists():
                folders.append(entry)
            elif entry.name.endswith(".go") and not entry.name.endswith("_test.go"):
                count += 1
                if count > _MOST_FILES:
                    return
                yield entry


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
