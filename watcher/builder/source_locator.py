"""Which of the user's files a build or a container speaks of."""

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
    """Leads what is said about one look at the tree back to the user's files; reads what it needs late."""

    def __init__(self, recipe: Recipe, snapshot: Snapshot) -> None:
        self._recipe, self._snapshot = recipe, snapshot
        self._found: Places | None = None
        self._looked = False

    @property
    def dockerfile(self) -> str:
        """The Dockerfile as the user knows it."""
        if self._recipe.inline is not None:
            return "dockerfile_inline"
        return self._in_project(self._recipe.dockerfile)

    def locate_in_build(self, line: int) -> Where:
        """For the output of the step that begins at `line` of the Dockerfile; 0: not known which."""

        def where(path: str, package: str, entered: Sequence[str]) -> str | None:
            return self._asked(
                lambda places: (
                    (package and places.in_package(package, path)) or places.at_step(line, path, entered)
                )
            )

        return where

    def locate_in_container(self, path: str, _package: str = "", _entered: Sequence[str] = ()) -> str | None:
        """For what a running program says; a `Where`."""
        return self._asked(lambda places: places.in_image(path))

    def _asked(self, ask: Callable[[Places], str | None]) -> str | None:
        if not self._looked:
            self._looked, self._found = True, self._places()
        file = ask(self._found) if self._found else None
        return None if file is None else self._in_project(file)

    def _places(self) -> Places | None:
        text = original_dockerfile(self._recipe, self._snapshot)
        if text is None:
            return None
        try:
            return Places(
                dockerfiles.parse(text),
                (path for path, entry in self._snapshot.files.items() if not entry.is_dir),
                self._read,
                build_args=self._recipe.build_args,
                target=self._recipe.target,
                platforms=Platforms.of_this_machine(self._recipe.platform),
                bases={},  # what they would add, a first WORKDIR, is not needed to tell files apart
            )
        except DockerfileError:
            return None  # the engine may understand more of it; then nobody can say

    def _read(self, path: str) -> str:
        if self._snapshot.files[path].size > _LARGEST:
            return ""
        try:
            with self._snapshot.open(path) as file:
                return file.read().decode("utf-8", "replace")
        except (OSError, ContextChanged):
            return ""

    def _in_project(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._recipe.folder, path))
