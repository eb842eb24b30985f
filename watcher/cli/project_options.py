"""The commands that prepare, explain or clean up a project, one class each with its own options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg

from watcher.cli.options import ExaminingCommand, root_parser
from watcher.errors import UsageError
from watcher.settings import Settings

ALL_GONE = "all"  # value of `--gone` without names; no project's id looks like that


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
    """Instead, remove what projects with a deleted folder left; with ID…, only of these projects."""
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
            sys.exit(
                commands.prune_gone(
                    self, named=named, dry_run=self.dry_run, yes=self.yes, as_json=self.as_json
                )
            )
        if self.yes:
            raise UsageError("--yes needs --gone: a prune of this project never asks")
        sys.exit(
            commands.prune(
                self,
                dry_run=self.dry_run,
                all_projects=self.all_projects,
                caches=self.cache,
                as_json=self.as_json,
            )
        )


class DoctorCommand(ExaminingCommand):
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
        sys.exit(commands.doctor(self, asked, as_json=self.as_json))


class DockerfileCommand(ExaminingCommand):
    """Show how the Dockerfile is changed for builds, and why.

    Prints a diff with a reason for each change. Builds nothing.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the changes as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli import commands

        sys.exit(commands.dockerfile(self, as_json=self.as_json))


class ImageCommand(ExaminingCommand):
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
        from watcher.cli.image import print_images  # without what builds and deploys

        if self.markdown and self.as_json:
            raise UsageError("--markdown and --json exclude each other")
        print_images(self, self.images, diff=self.diff, markdown=self.markdown, as_json=self.as_json)
        sys.exit(0)


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

        sys.exit(
            commands.init(
                self,
                force=self.force,
                every=self.every,
                main=self.main,
                settings_only=self.settings_only,
                schema_only=self.schema_only,
            )
        )


class CompletionCommand(Settings):
    """Print the completion script of a shell: bash, zsh or fish.

    Its last line says where to put it.
    """

    shell: CliPositionalArg[Literal["bash", "zsh", "fish"]]

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli.completion import render_completion

        print(render_completion(root_parser.get(), self.shell), end="")
        sys.exit(0)


class MonitoringCommand(Settings):
    """Write the Prometheus and Grafana files into a folder."""

    output: Path = Path("monitoring")
    """Folder to write to, relative to the project."""
    force: bool = False
    """Replace existing files."""

    def cli_cmd(self) -> None:
        """Run the command."""
        from watcher.cli.monitoring import write_monitoring

        sys.exit(write_monitoring(self, self.output, force=self.force))
