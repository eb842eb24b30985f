"""Where a service's definition comes from: files, `include`, `extends`. The result is one plain mapping.

A `Layer` is one document in its `Scope`: the directory for its relative paths and the environment for its
variables. A name may be defined in several layers; a later one is laid over the earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watcher.compose.document import read_documents
from watcher.compose.envfile import read_env_file
from watcher.compose.field import Field, Section
from watcher.compose.interpolate import Missing, TemplateError, interpolate
from watcher.compose.keys import TOP_IGNORED, TOP_KNOWN
from watcher.compose.merge import merge_resource, merge_service
from watcher.compose.paths import Base
from watcher.errors import ConfigError

_REMOTE = ("http://", "https://", "git://", "ssh://", "oci://", "git@", "github.com/")
MOST_EXTENDED = 50

Trail = tuple[tuple[Path, str], ...]  # the services that extend each other, to notice a circle


@dataclass(frozen=True, slots=True)
class Scope:
    """What relative paths and variables of a file mean. `prefix` stands before its paths in errors."""

    directory: Path
    env: Mapping[str, str]
    prefix: str = ""
    trail: tuple[Path, ...] = ()  # the files that include each other, to notice a circle

    @property
    def base(self) -> Base:
        """The directory for relative paths."""
        return Base(self.directory, self.env)


@dataclass(frozen=True, slots=True)
class Layer:
    """One document of a compose file."""

    file: Path
    scope: Scope
    sections: Mapping[str, Mapping[str, object]]


@dataclass(slots=True)
class Files:
    """Reads compose and environment files, and remembers which."""

    seen: dict[Path, None] = field(default_factory=dict)
    _parsed: dict[Path, list[object]] = field(default_factory=dict)

    def documents(self, path: Path) -> list[Field]:
        """The documents of a compose file, each a mapping; raises ConfigError."""
        self.seen[path] = None
        if path not in self._parsed:
            self._parsed[path] = read_documents(path)
        found = [Field(path.name, each) for each in self._parsed[path] if each is not None]
        if not found:
            raise ConfigError(str(path), None, "is empty: a compose file must have services")
        return found

    def env(
        self,
        path: Path,
        into: dict[str, str],
        outside: Mapping[str, str],
        missing: Missing,
        *,
        raw: bool = False,
    ) -> None:
        """Add the variables of an environment file to `into`; raises ConfigError."""
        self.seen[path] = None
        read_env_file(path, into, outside, missing, raw=raw)

    def dot_env(self, directory: Path, outside: Mapping[str, str], missing: Missing) -> dict[str, str]:
        """`outside` over the variables of the directory's `.env`, if there is one."""
        path = directory / ".env"
        found: dict[str, str] = {}
        self.seen[path] = None
        if path.is_file():
            self.env(path, found, outside, missing)
        return {**found, **outside}


class Definitions:
    """All layers of a project, and the definitions of services and resources in them."""

    def __init__(self, files: Files, missing: Missing) -> None:
        self._files, self._missing = files, missing
        self.layers: list[Layer] = []

    def add_file(self, path: Path, scope: Scope) -> None:
        """Lay a compose file over what is there, with all that it includes; raises ConfigError."""
        scope = Scope(scope.directory, scope.env, scope.prefix, (*scope.trail, path))
        for document in self._files.documents(path):
            content = document.mapping()
            if include := content.get("include"):
                self._include_all(Field(f"{scope.prefix}include", include.value), scope)
            self.layers.append(_layer(path, scope, content))

    def _include_all(self, field: Field, scope: Scope) -> None:
        if field.value is None:
            return
        for item in replace_variables(field, scope.env, self._missing).items():
            if not isinstance(item.value, dict):
                self._include(item, (item.word(),), None, None, scope)
                continue
            section = Section(item)
            paths = section.need("path", "a compose file").word_or_words()
            directory = section.read(
                "project_directory", lambda given: Path(scope.base.path(given.word())), None
            )
            env_files = section.read("env_file", Field.word_or_words, None)
            section.end("an include")
            self._include(item, paths, directory, env_files, scope)

    def _include(
        self,
        item: Field,
        paths: Sequence[str],
        directory: Path | None,
        env_files: Sequence[str] | None,
        scope: Scope,
    ) -> None:
        files = [_local_file(item, text, scope) for text in paths]
        if not files:
            raise item.error("must have a path, a compose file")
        directory = directory or files[0].parent
        if env_files is None:
            env = self._files.dot_env(directory, scope.env, self._missing)
        else:
            own: dict[str, str] = {}
            for text in env_files:
                if text != "/dev/null":
                    self._files.env(Path(scope.base.path(text)), own, scope.env, self._missing)
            env = {**own, **scope.env}
        for file in files:
            if file in scope.trail:
                raise item.error(f"{file.name} includes itself")
            self.add_file(file, Scope(directory, env, f"{file.name}: ", scope.trail))

    # Definitions.

    def names(self, section: str) -> dict[str, None]:
        """The names in a top-level section, in order."""
        return {name: None for layer in self.layers for name in layer.sections[section]}

    def resource(self, section: str, name: str, missing: Missing) -> tuple[Field, Base]:
        """A network, volume, secret or config that is declared, and what its relative paths mean."""
        path = f"{section}.{name}"
        merged: object = None
        base = self.layers[-1].scope.base
        for layer in self.layers:
            if name in layer.sections[section]:
                given = Field(f"{layer.scope.prefix}{path}", layer.sections[section][name])
                merged = merge_resource(merged, replace_variables(given, layer.scope.env, missing).value)
                base = layer.scope.base
        return Field(path, merged), base

    def service(self, name: str, missing: Missing) -> Field:
        """A service with everything in place: merged, extended, its variables replaced, its paths absolute.

        Raises ConfigError when there is none, or it cannot be put together.
        """
        merged = _merged(self._files, name, self.layers, missing, ())
        build = merged.get("build")
        if isinstance(build, dict) and build.get("context") is None:
            merged["build"] = {**build, "context": str(self._build_directory(name))}
        return Field(f"services.{name}", merged)

    def _build_directory(self, name: str) -> Path:
        """The context of a build that names none: the project of the first file that speaks of it."""
        defining = [layer for layer in self.layers if name in layer.sections["services"]]
        for layer in defining:
            service = layer.sections["services"][name]
            if isinstance(service, dict) and "build" in service:
                return layer.scope.directory
        return defining[0].scope.directory


def _layer(path: Path, scope: Scope, content: Mapping[str, Field]) -> Layer:
    for key, entry in content.items():
        if key not in TOP_KNOWN and key not in TOP_IGNORED and not key.startswith("x-"):
            rule = "is not a known section of a compose file"
            raise ConfigError(f"{scope.prefix}{entry.path.rpartition('.')[2]}", None, rule)
    sections: dict[str, Mapping[str, object]] = {}
    for key in TOP_KNOWN:
        given = Field(f"{scope.prefix}{key}", content[key].value if key in content else None)
        entries = given.mapping() if given.value is not None else {}
        sections[key] = {name: entry.value for name, entry in entries.items()}
    return Layer(path, scope, sections)


def _merged(
    files: Files, name: str, layers: Sequence[Layer], missing: Missing, trail: Trail
) -> dict[str, object]:
    """The service of that name in these layers, the later ones laid over the earlier ones."""
    merged: dict[str, object] | None = None
    for index, layer in enumerate(layers):
        if name in layer.sections["services"]:
            own = _extended(files, name, layers[: index + 1], missing, trail)
            merged = own if merged is None else merge_service(merged, own, f"services.{name}")
    if merged is None:
        file = layers[-1].file.name
        raise ConfigError(f"services.{name}", None, f"there is no such service in {file}")
    return merged


def _extended(
    files: Files, name: str, layers: Sequence[Layer], missing: Missing, trail: Trail
) -> dict[str, object]:
    """The service as the last of `layers` defines it, laid over the one that it extends."""
    layer = layers[-1]
    scope = layer.scope
    field = Field(f"{scope.prefix}services.{name}", layer.sections["services"][name])
    own = replace_variables(field, scope.env, missing).mapping()
    service = scope.base.service({key: entry.value for key, entry in own.items()})
    given = service.pop("extends", None)
    if given is None:
        return service
    extends = Field(f"{field.path}.extends", given)
    other, file = extends, None
    if isinstance(given, dict):
        section = Section(extends)
        other, file = section.need("service", "what is extended"), section.take("file")
        section.end("extends")
    here = (layer.file, name)
    if here in trail or (file is None and other.word() == name) or len(trail) > MOST_EXTENDED:
        raise extends.error("extends itself in a circle")
    if file is not None:
        layers = _other_file(files, _local_file(file, file.word(), scope), scope)
    below = _merged(files, other.word(), layers, missing, (*trail, here))
    return merge_service(below, service, field.path)


def _other_file(files: Files, path: Path, scope: Scope) -> list[Layer]:
    """The layers of a file that a service is extended from; what it includes does not count."""
    inner = Scope(path.parent, scope.env, f"{path.name}: ")
    return [_layer(path, inner, document.mapping()) for document in files.documents(path)]


def _local_file(field: Field, text: str, scope: Scope) -> Path:
    if text.startswith(_REMOTE):
        raise field.error("must be a file: what lies elsewhere is not fetched")
    return Path(scope.base.path(text))


def replace_variables(field: Field, env: Mapping[str, str], missing: Missing) -> Field:
    """The value with every variable in its words replaced; raises ConfigError with the word's path."""
    return Field(field.path, _replaced(field, env, missing))


def _replaced(field: Field, env: Mapping[str, str], missing: Missing) -> object:
    match field.value:
        case str() as text if "$" in text:
            try:
                return interpolate(text, env, missing)
            except TemplateError as error:
                raise field.error(str(error)) from None
        case dict():
            return {key: _replaced(each, env, missing) for key, each in field.mapping().items()}
        case list():
            return [_replaced(each, env, missing) for each in field.items()]
    return field.value
