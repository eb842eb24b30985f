"""The commands of `watcher` with their options, one class each. All accept every setting.

A command imports what it needs when it runs: importing all would take longer than most of them.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import AliasChoices, Field
from pydantic_settings import CliPositionalArg

from watcher.cli import remote
from watcher.errors import UsageError
from watcher.settings import Seconds, Settings

ALL_GONE = "all"  # value of `--gone` without names; no project's id looks like that


root_parser: ContextVar[ArgumentParser] = ContextVar("root_parser")
given_arguments: ContextVar[tuple[str, ...]] = ContextVar("given_arguments", default=())


def _exit(status: int) -> NoReturn:
    sys.exit(status)


class ManagingCommand(Settings):
    """A command that manages services, which may be named without an option."""

    services: CliPositionalArg[tuple[str, ...]] = ()


class RunCommand(ManagingCommand):
    """Watch, build, deploy and prune until Ctrl-C.

    The first Ctrl-C (or SIGTERM) stops in order: container, networks, log. The second exits immediately.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import run

        _exit(run.run(self))


class OnceCommand(ManagingCommand):
    """Build and deploy the tree as it is now, then exit.

    The container publishes its port itself. Exit status: 0 live, 1 failed, 78 wrong setting.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import run

        _exit(run.once(self))


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
        _exit(background.up(self, arguments, detach=self.detach, timeout=self.timeout, as_json=self.as_json))


class RemoteCommand(Settings):
    """A command for a running watcher. It also works in a subfolder of the project."""

    @classmethod
    def default_project(cls) -> Path:
        """Return the closest folder, from here upwards, with a running watcher; else the current folder."""
        return remote.find_project_folder(super().default_project())


class StatusCommand(RemoteCommand):
    """Show the desired, building, live and failed revisions."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the status document as JSON."""
    follow: bool = Field(default=False, validation_alias=AliasChoices("f", "follow"))
    """Show each change until Ctrl-C; --watch is the same."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        _exit(remote_commands.status(self, watch=self.follow, as_json=self.as_json))


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

        _exit(
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

        _exit(
            remote_commands.wait(
                self, timeout=self.timeout, start_timeout=self.start_timeout, as_json=self.as_json
            )
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

        _exit(commands.down(self, images=self.images, caches=self.caches, as_json=self.as_json))


class ListCommand(Settings):
    """List all running watchers of this user.

    Shows project, branch, services, state, status page and since when each runs.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the list as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli.list_daemons import list_daemons

        _exit(list_daemons(as_json=self.as_json))


class PruneCommand(Settings):
    """Remove stale images and build steps, with a reason for each.

    Also shows what uses the engine's disk.
    """

    dry_run: bool = False
    """Show what would be removed; remove nothing."""
    cache: bool = False
    """Also empty the Go caches that only this project uses; the next build compiles everything."""
    all_projects: bool = False
    """Also remove untagged builder images, and build steps of earlier versions, of all projects."""
    gone: str | None = None
    """Instead, remove what projects with a deleted folder left; with ID,…, only of these projects."""
    yes: bool = False
    """With --gone: remove without asking."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands

        if self.gone is not None:
            if self.cache or self.all_projects:
                raise UsageError("--gone can be combined with --dry-run, --yes and --json only")
            named = tuple(name for name in self.gone.split(",") if name and name != ALL_GONE)
            _exit(
                commands.prune_gone(
                    self, named=named, dry_run=self.dry_run, yes=self.yes, as_json=self.as_json
                )
            )
        if self.yes:
            raise UsageError("--yes needs --gone: a prune of this project never asks")
        _exit(
            commands.prune(
                self,
                dry_run=self.dry_run,
                all_projects=self.all_projects,
                caches=self.cache,
                as_json=self.as_json,
            )
        )


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

        _exit(remote_commands.rebuild(self, wait=self.wait, timeout=self.timeout, as_json=self.as_json))


class CancelCommand(RemoteCommand):
    """Cancel the running build or deploy.

    The next save or `watcher rebuild` starts another.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        _exit(remote_commands.request_action(self, "cancel", as_json=self.as_json))


class PauseCommand(RemoteCommand):
    """Pause builds; the live container keeps serving.

    A running build is cancelled. `watcher resume` continues.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        _exit(remote_commands.request_action(self, "pause", as_json=self.as_json))


class ResumeCommand(RemoteCommand):
    """Resume builds after `watcher pause`."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        _exit(remote_commands.request_action(self, "resume", as_json=self.as_json))


class UpgradeCommand(RemoteCommand):
    """Replace the running watcher with the installed version.

    The process id and listening sockets stay, the container keeps serving, and new requests wait a moment;
    none is refused.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import remote_commands

        _exit(remote_commands.upgrade(self))


class DoctorCommand(Settings):
    """Check what the watcher depends on, and advise.

    Builds nothing, unless --measure, --fix or --patch ask for it: then each change to the image that
    could save bytes is built, run and compared. Saves of a running watcher go first. Exit status: 0
    the watcher can work, 1 it cannot.
    """

    measure: bool = False
    """Measure what makes the image smaller; takes minutes."""
    fix: bool = False
    """Measure; write Dockerfile.watcher-suggested, .dockerignore."""
    patch: bool = False
    """Measure; print a patch, and findings on standard error."""
    quick: bool = False
    """Leave out disk usage and deleted projects."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the findings as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands
        from watcher.cli.doctor.options import DoctorOptions

        if self.fix and self.patch:
            raise UsageError("--fix writes files and --patch writes none: choose one")
        measure = self.measure or self.fix or self.patch
        if self.quick and measure:
            raise UsageError("--quick builds nothing; --measure, --fix and --patch build")
        asked = DoctorOptions(quick=self.quick, measure=measure, write=self.fix, patch=self.patch)
        _exit(commands.doctor(self, asked, as_json=self.as_json))


class DockerfileCommand(Settings):
    """Show how the Dockerfile is changed for builds, and why.

    Prints a diff with a reason for each change. Builds nothing.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the changes as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands

        _exit(commands.dockerfile(self, as_json=self.as_json))


class ImageCommand(Settings):
    """Explain an image: layers, hidden files, Go modules and packages.

    Without IMAGE, that of the project's newest build. Exit status: 1 if there is none.
    """

    images: CliPositionalArg[tuple[str, ...]] = ()
    diff: bool = False
    """Compare two images: revisions as `watcher status` shows them, or names."""
    markdown: bool = False
    """Print Markdown, for a comment on a pull request."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the report as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands

        if self.markdown and self.as_json:
            raise UsageError("--markdown and --json exclude each other")
        _exit(commands.image(self, self.images, diff=self.diff, markdown=self.markdown, as_json=self.as_json))


class InitCommand(Settings):
    """Write watcher.toml, and Docker files where there are none.

    A Go module without a compose file gets a Dockerfile with two stages, settings for dev and prod, and a
    compose file for each. A file that exists stays.
    """

    every: bool = Field(default=False, validation_alias="all")
    """Write every setting with its default instead, and no Docker files."""
    main: str | None = None
    """The main package to build, like ./cmd/api, if there are several."""
    settings_only: bool = False
    """Write no Docker files."""
    schema_only: bool = Field(default=False, validation_alias="schema")
    """Write only watcher.schema.json, for editors, again."""
    force: bool = False
    """Replace an existing watcher.toml."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands

        _exit(
            commands.init(
                self,
                force=self.force,
                every=self.every,
                main=self.main,
                settings_only=self.settings_only,
                schema_only=self.schema_only,
            )
        )


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
            _exit(manager.install(passed))
        _exit(manager.uninstall() if self.action == "uninstall" else manager.show())


class CompletionCommand(Settings):
    """Print the completion script of a shell: bash, zsh or fish.

    Its last line says where to put it.
    """

    shell: CliPositionalArg[Literal["bash", "zsh", "fish"]]

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli.completion import render_completion

        print(render_completion(root_parser.get(), self.shell), end="")
        _exit(0)


class MonitoringCommand(Settings):
    """Write the Prometheus and Grafana files into a folder."""

    output: Path = Path("monitoring")
    """Folder to write to, relative to the project."""
    force: bool = False
    """Replace existing files."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli.monitoring import write_monitoring

        _exit(write_monitoring(self, self.output, force=self.force))
