"""Decide what `watcher init` writes for a project: its settings, and Docker files where there are none."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from watcher.cli.init_sources import (
    find_exposed_port,
    find_main_packages,
    find_port,
    find_port_variables,
    is_library,
    needs_cgo,
    read_module,
    read_text,
)
from watcher.cli.settings_schema import SCHEMA_LINE, SCHEMA_NAME, render_schema
from watcher.compose.find import FILE_NAMES
from watcher.errors import ConfigError
from watcher.settings_sources import TOML_NAME

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
{prepare}COPY . .
RUN CGO_ENABLED={cgo} GOOS=linux go build -o mygoexecutable {main}

FROM alpine AS final
ARG ENV
ENV ENV=$ENV
COPY --from=builder /workspace/mygoexecutable .
COPY --from=builder /workspace/_envs/env_$ENV.yaml ./_envs/
CMD ["./mygoexecutable"]
"""
_COMPILER = "RUN apk add --no-cache gcc libc-dev\n"
_MODULES = "COPY go.mod go.sum* ./\nRUN go mod download\n"
_COMPOSE = """\
services:
  {name}:
    build:
      context: .
{args}    image: {image}
{variables}    ports:
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
    elif others := _find_compose(root):
        if len(others) == 1:
            plan.files[TOML_NAME] += f"\ncompose_file = {json.dumps(others[0])}\n"
            plan.notes.append(f"{others[0]} is used as it is")
        else:
            plan.notes.append(f"choose a compose file with compose_file in {TOML_NAME}: {', '.join(others)}")
    elif settings_only:
        plan.notes.append("there is no compose file: without --settings-only one is written")
    elif (module := read_module(root) or _workspace_name(root)) is None:
        plan.notes.append("there is no go.mod: `go mod init NAME`, then `watcher init --force`")
    else:
        _plan_docker(plan, root, module, main)
    return plan


def _workspace_name(root: Path) -> str | None:
    return (root.resolve().name or "app") if (root / "go.work").exists() else None


def _choose_main(root: Path, main: str | None) -> str | None:
    """Return the main package to build; None if there is none. Raises ConfigError if it has to be chosen."""
    packages = find_main_packages(root)
    if main is None and len(packages) > 1 and "." not in packages:
        rule = f"has several main packages: choose one with --main ({', '.join(packages)})"
        raise ConfigError("project", str(root), rule)
    if main is not None and main not in packages:
        known = f"one of {', '.join(packages)}" if packages else "left out: there is no main package"
        raise ConfigError("main", main, f"must be {known}")
    return main or ("." if "." in packages else next(iter(packages), None))


def _plan_docker(plan: InitPlan, root: Path, module: str, main: str | None) -> None:
    """Add the files of the article: two stages, a file of settings per environment, dev and prod."""
    name, chosen = _service_name(module), _choose_main(root, main)
    files: dict[str, str] = {}
    if chosen is None:
        chosen = f"./cmd/{name}" if is_library(root) else "."
        files[f"{chosen}/main.go".removeprefix("./")] = _PROGRAM
    own = (root / "Dockerfile").exists()  # then it decides what is built, and what it needs
    text = read_text(root / "Dockerfile")
    port = (find_exposed_port(root / "Dockerfile") if own else None) or find_port(root) or PORT
    values = {each: value.format(port=port) for each, value in find_port_variables(root).items()}
    variables = "".join(f'      {each}: "{value}"\n' for each, value in values.items())
    if not own:
        files |= {
            "Dockerfile": _render_dockerfile(root, chosen),
            "_envs/env_dev.yaml": "environment: dev\n",
            "_envs/env_prod.yaml": "environment: prod\n",
        }
    files[".dockerignore"] = f".git\n{TOML_NAME}\n{SCHEMA_NAME}\n"
    for path, env, image, host in (
        ("docker-compose-dev.yml", "dev", f"{name}-dev", PORT),
        ("docker-compose.yml", "prod", name, 4445),
    ):
        files[path] = _COMPOSE.format(
            name=name,
            args=f"      args:\n        ENV: {env}\n" if not own or "ARG ENV" in text else "",
            variables=f"    environment:\n{variables}" if variables else "",
            image=image,
            host=host,
            port=port,
        )
    for path, content in files.items():
        if (root / path).exists():
            plan.notes.append(f"{path} is there already and stays as it is")
        else:
            plan.files[path] = content
    if own:
        plan.notes.append("Dockerfile is there already and stays as it is")
    built = "your Dockerfile" if own else chosen
    plan.notes.append(f"`watcher up` builds {built} and serves port {port} of it at http://localhost:{PORT}")


def _render_dockerfile(root: Path, main: str) -> str:
    """Return the two stages; in a workspace or with vendored modules nothing is downloaded first."""
    cgo = needs_cgo(root)
    alone = not (root / "go.work").exists() and not (root / "vendor/modules.txt").exists()
    prepare = (_COMPILER if cgo else "") + (_MODULES if alone else "")
    return _DOCKERFILE.format(main=shlex.quote(main), prepare=prepare, cgo=int(cgo))


def _find_compose(root: Path) -> list[str]:
    """Return compose files with other names than the usual ones; without any, those one folder below."""
    for folder in ("", "*/"):
        patterns = (f"{folder}*compose*.yml", f"{folder}*compose*.yaml")
        names = [
            path.relative_to(root).as_posix()
            for pattern in patterns
            for path in root.glob(pattern)
            if "override" not in path.name and path.is_file() and not path.parent.name.startswith((".", "_"))
        ]
        if names:
            return sorted(names)
    return []


def _service_name(module: str) -> str:
    """Return a name for service and image: the last element of the module, without a major version."""
    parts = [part for part in module.strip('"').split("/") if part]
    last = parts[-2] if len(parts) > 1 and parts[-1][:1] == "v" and parts[-1][1:].isdecimal() else parts[-1]
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in last.lower()).strip("-")
    if not name or name[0].isdecimal() or name in _YAML_WORDS:
        return f"app-{name}".strip("-")
    return name
