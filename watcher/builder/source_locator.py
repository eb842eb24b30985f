"""Find the user's file that a path in the output of a build or container means."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from watcher import dockerfile as dockerfiles
from watcher.builder.dockerfile_variants import original_dockerfile
from watcher.builder.recipe import Recipe
from watcher.buildkit import ContextChanged
from watcher.diagnosis.positions import Where
from watcher.dockerfile import DockerfileError, Places, Platforms
from watcher.tree import Snapshot

_LARGEST = 1 << 20  # bytes of a go.mod


class SourceLocator:
    """Finds the files of one scanned tree; parses the Dockerfile only when it is needed."""

    def __init__(self, recipe: Recipe, snapshot: Snapshot) -> None:
        self._recipe, self._snapshot = recipe, snapshot
        self._found: Places | None = None
        self._parsed = False

    @property
    def dockerfile(self) -> str:
        """Return the path of the Dockerfile as the user knows it."""
        if self._recipe.inline is not None:
            return "dockerfile_inline"
        return self._in_project(self._recipe.dockerfile)

    def locate_in_build(self, line: int) -> Where:
        """Return a locator for the output of the step at `line` of the Dockerfile (0: not known)."""

        def where(path: str, package: str, entered: Sequence[str]) -> str | None:
            return self._find(
                lambda places: (
                    (package and places.in_package(package, path)) or places.at_step(line, path, entered)
                )
            )

        return where

    def locate_in_container(self, path: str, _package: str = "", _entered: Sequence[str] = ()) -> str | None:
        """Find the file for a path in the output of a running program; a `Where`."""
        return self._find(lambda places: places.in_image(path))

    def _find(self, ask: Callable[[Places], str | None]) -> str | None:
        if not self._parsed:
            self._parsed, self._found = True, self._parse_places()
        file = ask(self._found) if self._found else None
        return None if file is None else self._in_project(file)

    def _parse_places(self) -> Places | None:
        text = original_dockerfile(self._recipe, self._snapshot)
        if text is None:
            return None
        try:
            return Places(
                dockerfiles.parse(text),
                (path for path, entry in self._snapshot.files.items() if not entry.is_dir),
                self._read_file,
                build_args=self._recipe.build_args,
                target=self._recipe.target,
                platforms=Platforms.of_this_machine(self._recipe.platform),
                bases={},  # they would add a first WORKDIR, which is not needed to identify files
            )
        except DockerfileError:
            return None  # an engine that understands it is newer than this program

    def _read_file(self, path: str) -> str:
        if self._snapshot.files[path].size > _LARGEST:
            return ""
        try:
            with self._snapshot.open(path) as file:
                return file.read().decode("utf-8", "replace")
        except (OSError, ContextChanged):
            return ""

    def _in_project(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._recipe.folder, path))
