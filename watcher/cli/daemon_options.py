"""The commands that run a watcher or ask a running one, one class each with its own options."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import AliasChoices, Field
from pydantic_settings import CliPositionalArg

from watcher.cli.options import ManagingCommand, RemoteCommand, given_arguments
from watcher.settings import Seconds, Settings


class RunCommand(ManagingCommand):
    """Watch, build, deploy and prune until Ctrl-C.

    The first Ctrl-C (or SIGTERM) stops in order: container, networks, log. The second exits immediately.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import run

        sys.exit(run.run(self))


class OnceCommand(ManagingCommand):
    """Build and deploy the tree as it is now, then exit.

    The container publishes its port itself. Exit status: 0 live, 1 failed, 78 wrong setting.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import run

        sys.exit(run.once(self))


class UpCommand(ManagingCommand):
    """Start the watcher in the background, and wait for the first result.

    Does nothing but wait if it runs already. Exit status: that of `watcher wait`.
    """

    detach: bool = False
    """Return as soon as the watcher answers."""
    timeout: Seconds | None = 600.0
    """Longest wait; the watcher goes on afterwards."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import background

        _, arguments = background.split_arguments(given_arguments.get()[1:])
        sys.exit(
            background.up(self, arguments, detach=self.detach, timeout=self.timeout, as_json=self.as_json)
        )


class DownCommand(RemoteCommand):
    """Stop the watcher, and remove its containers and networks.

    With --images and --caches, these too. Volumes and everything that is not the watcher's stay.
    """

    images: bool = False
    """Also remove the images that the watcher built."""
    caches: bool = False
    """Also remove build steps and Go caches of the project."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands

        sys.exit(commands.down(self, images=self.images, caches=self.caches, as_json=self.as_json))


class StatusCommand(RemoteCommand):
    """Show the desired, building, live and failed revisions."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the status document as JSON."""
    follow: bool = Field(default=False, validation_alias=AliasChoices("f", "follow"))
    """Show each change until Ctrl-C; --watch is the same."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(remote_commands.status(self, watch=self.follow, as_json=self.as_json))


class LogsCommand(RemoteCommand):
    """Show the output of builds and containers.

    With -f, continue until Ctrl-C, across replaced containers.
    """

    follow: bool = Field(default=False, validation_alias=AliasChoices("f", "follow"))
    """Continue with new output until Ctrl-C."""
    tail: Annotated[int, Field(ge=1, le=4000)] = 200
    """Start with this many of the newest lines."""
    source: Literal["build", "container"] | None = None
    """Show only builds, or only containers."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print one JSON object per line."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(
            remote_commands.logs(
                self, follow=self.follow, tail=self.tail, source=self.source, as_json=self.as_json
            )
        )


class WaitCommand(RemoteCommand):
    """Wait until the tree on disk is live.

    Exit status: 0 live, 1 failed (prints the error), 3 no watcher is running, 4 paused,
    5 the tree cannot be read, 124 timeout.
    """

    timeout: Seconds | None = None
    """Longest wait; default: no limit."""
    start_timeout: Seconds = 0.0
    """Longest wait for a watcher to start, if none is running."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(
            remote_commands.wait(
                self, timeout=self.timeout, start_timeout=self.start_timeout, as_json=self.as_json
            )
        )


class ListCommand(Settings):
    """List all running watchers of this user.

    Shows project, branch, services, state, status page and since when each runs.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the list as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli.list_daemons import list_daemons

        sys.exit(list_daemons(as_json=self.as_json))


class RebuildCommand(RemoteCommand):
    """Build the tree again, even if it is live or failed.

    With --wait, the exit status is that of `watcher wait`.
    """

    wait: bool = False
    """Wait until that build is live or has failed."""
    timeout: Seconds | None = None
    """Longest wait; default: no limit."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(remote_commands.rebuild(self, wait=self.wait, timeout=self.timeout, as_json=self.as_json))


class CancelCommand(RemoteCommand):
    """Cancel the running build or deploy.

    The next save or `watcher rebuild` starts another.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(remote_commands.request_action(self, "cancel", as_json=self.as_json))


class PauseCommand(RemoteCommand):
    """Pause builds; the live container keeps serving.

    A running build is cancelled. `watcher resume` continues.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(remote_commands.request_action(self, "pause", as_json=self.as_json))


class ResumeCommand(RemoteCommand):
    """Resume builds after `watcher pause`."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(remote_commands.request_action(self, "resume", as_json=self.as_json))


class UpgradeCommand(RemoteCommand):
    """Replace the running watcher with the installed version.

    The process id and listening sockets stay, the container keeps serving, and new requests wait a moment;
    none is refused.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        sys.exit(remote_commands.upgrade(self))


class ServiceCommand(RemoteCommand):
    """Run the watcher at login: install, uninstall or status.

    Writes a systemd user unit (on macOS a launchd agent) and starts it. Settings on the command line are
    those of its `watcher run`. Exit status of `status`: 0 it runs, 3 it does not.
    """

    action: CliPositionalArg[Literal["install", "uninstall", "status"]]

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import background
        from watcher.cli.service_manager import ServiceManager

        manager = ServiceManager(self.root)
        if self.action == "install":
            _, passed = background.split_arguments(given_arguments.get()[1:])
            passed.remove(self.action)
            sys.exit(manager.install(passed))
        sys.exit(manager.uninstall() if self.action == "uninstall" else manager.show())
