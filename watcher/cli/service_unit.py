"""Render the service of one project: a systemd user unit, or a launchd agent on macOS. Pure."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from watcher.errors import ConfigError

# Variables that decide which engine is used and where programs are; those of the shell that installs it.
KEPT_VARIABLES = (
    "PATH",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "COMPOSE_PROFILES",
    "XDG_STATE_HOME",
)
_UNIT = """\
# Written by `watcher service install`; `watcher service uninstall` removes it.
[Unit]
Description=watcher for {shown}
Documentation=man:systemd.service(5)
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
WorkingDirectory={folder}
ExecStart={run}
ExecReload={upgrade}
{environment}
# An engine that is not up yet is tried again; a wrong setting (78) or wrong usage (2) waits for you.
Restart=on-failure
RestartSec=1s
RestartPreventExitStatus=2 78
# The watcher ends itself after 30 s in which its event loop is stuck; this is for what that does not see.
WatchdogSec=90s
WatchdogSignal=SIGQUIT
TimeoutStartSec=120s
TimeoutStopSec=120s
# Only the watcher itself is asked to stop: it ends its helpers.
KillMode=mixed
SyslogIdentifier=watcher
# Who may talk to the engine may do anything on this machine, so this is no sandbox: it takes away what the
# watcher never needs.
NoNewPrivileges=true
LockPersonality=true
RestrictRealtime=true
RestrictSUIDSGID=true
RestrictNamespaces=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=default.target
"""


def check_text(text: str) -> None:
    """Raise ConfigError for a word that the file of a service cannot have."""
    if any(ord(char) < ord(" ") or char == "\x7f" for char in text):
        rule = "a service cannot have a path or argument with a line break or another control character"
        raise ConfigError("service", text, rule)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        rule = "a service cannot have a path or argument that is not UTF-8"
        raise ConfigError("service", text, rule) from error


def quote_unit(text: str) -> str:
    """Return one word of a unit file: quoted, without specifiers and variables (systemd.syntax(7))."""
    check_text(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def quote_command(words: Sequence[str]) -> str:
    """Return a command line of a unit file."""
    return " ".join(quote_unit(word).replace("$", "$$") for word in words)


def render_unit(
    root: Path, program: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str]
) -> str:
    """Return the systemd user unit. `program` starts the watcher, `arguments` are those of `watcher run`."""
    kept = {name: environ[name] for name in KEPT_VARIABLES if environ.get(name)}
    project = ("--project", str(root))
    return _UNIT.format(
        shown=quote_unit(str(root)).strip('"'),
        folder=str(root).replace("%", "%%"),
        run=quote_command([*program, "run", "--plain", *arguments, *project]),
        upgrade=quote_command([*program, "upgrade", *project]),
        environment="\n".join(f"Environment={quote_unit(f'{name}={kept[name]}')}" for name in kept),
    )


def render_agent(
    root: Path,
    program: Sequence[str],
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    label: str,
    log: Path,
) -> bytes:
    """Return the launchd agent, a property list. launchd cannot tell exit status 78 from others."""
    kept = {name: environ[name] for name in KEPT_VARIABLES if environ.get(name)}
    for text in (*program, *arguments, str(root), *kept.values(), str(log)):
        check_text(text)
    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": [*program, "run", "--plain", *arguments, "--project", str(root)],
            "WorkingDirectory": str(root),
            "EnvironmentVariables": kept,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": 60,
            "ProcessType": "Interactive",
            "StandardOutPath": str(log),
            "StandardErrorPath": str(log),
        }
    )
