"""Read `post_start` and `pre_stop`: commands that run inside the container."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.compose.field import Field, Section
from watcher.compose.service_fields import read_command
from watcher.compose.specparts import Hook


def read_hooks(field: Field, env: Mapping[str, str]) -> tuple[Hook, ...]:
    """Return the commands in order; a variable without a value takes it from `env`. Raises ConfigError."""
    return tuple(_read_hook(item, env) for item in field.items())


def _read_hook(item: Field, env: Mapping[str, str]) -> Hook:
    section = Section(item)
    command = read_command(section.need("command", "the command to run"))
    if not command:
        raise item.error("must have a command that is not empty")
    given = section.read("environment", Field.pairs, {})
    values = {name: env.get(name) if value is None else value for name, value in given.items()}
    hook = Hook(
        command=command,
        user=section.read("user", Field.text, ""),
        privileged=section.read("privileged", Field.boolean, False),
        working_dir=section.read("working_dir", Field.text, ""),
        environment=tuple(f"{name}={value}" for name, value in values.items() if value is not None),
    )
    section.end("a hook")
    return hook
