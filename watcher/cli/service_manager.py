"""`watcher service`: install, remove and show the service that runs the watcher of a project at login."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from watcher import labels
from watcher.cli.service_files import log_file, service_file, service_name
from watcher.cli.service_unit import render_agent, render_unit
from watcher.errors import EXIT_FAILED, EXIT_NOT_RUNNING, ConfigError, UsageError, WatcherError
from watcher.observers.humanize import short_path
from watcher.system import lock

_SECONDS = 180.0  # until the service manager must have answered; a start waits until the watcher is ready
_PROPERTIES = ("ActiveState", "SubState", "StatusText", "MainPID", "UnitFileState", "NRestarts", "Result")

Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


def run_program(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the service manager; one that is not there has exit status 127."""
    try:
        return subprocess.run(  # noqa: S603 - the service manager of this machine
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} was not found")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {_SECONDS:g} s")


class ServiceManager:
    """The service of one project. `install` and `uninstall` can be repeated."""

    def __init__(
        self,
        root: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        run: Run = run_program,
        platform: str = sys.platform,
    ) -> None:
        self._root, self._environ, self._run_command = root, environ, run
        self._id = labels.project_id(root)
        self._platform, self._is_mac = platform, platform == "darwin"
        self._program = (sys.executable, "-P", "-m", "watcher")

    @property
    def name(self) -> str:
        """Return the name of the unit or agent."""
        return service_name(self._root, platform=self._platform)

    @property
    def path(self) -> Path:
        """Return the file of the unit or agent."""
        return service_file(self._root, self._environ, platform=self._platform)

    def install(self, arguments: Sequence[str]) -> int:
        """Write the service, enable and start it; return the exit status."""
        if not self._root.is_dir():
            raise ConfigError("project", str(self._root), "there is no such folder")
        running = lock.find_running(self._id)
        if running and not self._is_active():
            raise UsageError(
                f"a watcher runs already for {self._root} (process {running.pid}): "
                "end it first, for example with `watcher down`"
            )
        self._write(arguments)
        print(f"wrote {short_path(self.path)}")
        if ignored := sorted(name for name in self._environ if name.startswith("WATCHER_")):
            print(f"not taken over from the environment: {', '.join(ignored)}; set them in watcher.toml")
        if self._is_mac:
            domain = f"gui/{os.getuid()}"
            self._try(["launchctl", "bootout", f"{domain}/{self.name}"])
            self._do(["launchctl", "bootstrap", domain, str(self.path)])
            print(f"started; log: {short_path(log_file(self._id))}")
            return 0
        for command in (["daemon-reload"], ["enable", self.name], ["restart", self.name]):
            self._do(["systemctl", "--user", *command])
        print(f"started, and from now on at login; log: journalctl --user -u {self.name} -f")
        print("`loginctl enable-linger` starts it at boot and keeps it running after you log out")
        return 0

    def start(self) -> str:
        """Start the installed service; return the command that shows its log. Raises ServiceFailed."""
        if self._is_mac:
            domain = f"gui/{os.getuid()}"
            self._run_command(["launchctl", "bootstrap", domain, str(self.path)])  # fails if it is loaded
            self._do(["launchctl", "kickstart", f"{domain}/{self.name}"])
            return f"tail -f {short_path(log_file(self._id))}"
        self._do(["systemctl", "--user", "start", self.name])
        return f"journalctl --user -u {self.name} -f"

    def uninstall(self) -> int:
        """Stop and disable the service, and remove its file; return the exit status."""
        existed = self.path.exists()
        if self._is_mac:
            self._try(["launchctl", "bootout", f"gui/{os.getuid()}/{self.name}"])
        elif existed or self._is_active():
            self._try(["systemctl", "--user", "disable", "--now", self.name])
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if not self._is_mac and existed:
            self._try(["systemctl", "--user", "daemon-reload"])
        print(f"removed {short_path(self.path)}" if existed else f"no service is installed for {self._root}")
        if running := lock.find_running(self._id):
            print(f"a watcher still runs for it (process {running.pid}): `watcher down` ends it")
        return 0

    def show(self) -> int:
        """Print whether the service is installed and how it is; exit status 3 if it does not run."""
        if not self.path.exists():
            print(f"no service is installed for {self._root}: `watcher service install`")
            return EXIT_NOT_RUNNING
        if self._is_mac:
            done = self._run_command(["launchctl", "print", f"gui/{os.getuid()}/{self.name}"])
            print(f"{self.name} ({short_path(self.path)})\n{done.stdout or done.stderr}".rstrip())
            return EXIT_NOT_RUNNING if done.returncode else 0
        found = self._read_properties()
        print(f"{self.name} ({short_path(self.path)}), {found.get('UnitFileState') or 'not loaded'}")
        state = f"{found.get('ActiveState', 'unknown')} ({found.get('SubState', '')})"
        if found.get("Result", "success") != "success":
            state += f", {found['Result']}"
        pid = found.get("MainPID", "0")
        print(state if pid == "0" else f"{state}, process {pid}, restarted {found.get('NRestarts')} times")
        # systemd keeps the last line of a service that has ended.
        if (text := found.get("StatusText")) and found.get("ActiveState") not in ("inactive", "failed"):
            print(text)
        return 0 if found.get("ActiveState") == "active" else EXIT_NOT_RUNNING

    def _write(self, arguments: Sequence[str]) -> None:
        if self._is_mac:
            log = log_file(self._id)
            content = render_agent(
                self._root, self._program, arguments, self._environ, label=self.name, log=log
            )
            log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            content = render_unit(self._root, self._program, arguments, self._environ).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            new.write_bytes(content)
            new.chmod(0o600)
            new.replace(self.path)
        except OSError as error:
            raise ConfigError("service", str(self.path), f"cannot be written: {error.strerror}") from error

    def _is_active(self) -> bool:
        if self._is_mac:
            target = f"gui/{os.getuid()}/{self.name}"
            return self._run_command(["launchctl", "print", target]).returncode == 0
        return self._read_properties().get("ActiveState") in ("active", "activating", "reloading")

    def _read_properties(self) -> dict[str, str]:
        names = ",".join(_PROPERTIES)
        done = self._run_command(["systemctl", "--user", "show", self.name, f"--property={names}"])
        pairs = (line.partition("=") for line in done.stdout.splitlines())
        return {name: value for name, _, value in pairs}

    def _do(self, command: Sequence[str]) -> None:
        """Run a command; raise WatcherError with its words if it fails."""
        done = self._run_command(command)
        if done.returncode:
            raise ServiceFailed(" ".join(command), done.stderr.strip() or f"exit status {done.returncode}")

    def _try(self, command: Sequence[str]) -> None:
        """Run a command; print its words if it fails."""
        done = self._run_command(command)
        if done.returncode and not self._is_mac:
            print(f"`{' '.join(command)}` failed: {done.stderr.strip()}", file=sys.stderr)


class ServiceFailed(WatcherError):
    """A command of the service manager failed."""

    exit_status = EXIT_FAILED

    def __init__(self, command: str, why: str) -> None:
        first, *rest = why.split("\n")
        super().__init__(f"`{command}` failed: {first}")
        self.details = tuple(rest)
