"""Find the definition of a service in files, `include` and `extends`, and merge it into one mapping.

A `ComposeDocument` has a `FileScope`: the directory for its relative paths and the environment for its
variables. Several documents may define one name; later ones are merged over earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watcher.compose.budget import Budget
from watcher.compose.envfile import read_env_file
from watcher.compose.field import Field, Section
from watcher.compose.interpolate import Missing, TemplateError, interpolate
from watcher.compose.key_policy import NOT_RUN, TOP_IGNORED, TOP_KNOWN
from watcher.compose.merge import NAMED, merge_resource, merge_service, remove_path
from watcher.compose.paths import BaseDirectory
from watcher.compose.yaml_reader import YamlDocument, read_documents
from watcher.errors import ConfigError

_REMOTE = ("http://", "https://", "git://", "ssh://", "oci://", "git@", "github.com/")
MOST_EXTENDED = 50

Keys = tuple[str, ...]
Trail = tuple[tuple[Path, str], ...]  # the chain of `extends`, to detect a cycle


@dataclass(frozen=True, slots=True)
class FileScope:
    """The directory and environment of a file. `prefix` starts the paths of its errors."""

    directory: Path
    env: Mapping[str, str]
    prefix: str = ""
    trail: tuple[Path, ...] = ()  # the chain of `include`, to detect a cycle

    @property
    def base(self) -> BaseDirectory:
        """Return the directory for relative paths."""
        return BaseDirectory(self.directory, self.env)


@dataclass(frozen=True, slots=True)
class ComposeDocument:
    """One document of a compose file."""

    file: Path
    scope: FileScope
    sections: Mapping[str, Mapping[str, object]]
    resets: tuple[Keys, ...] = ()  # paths whose values in earlier documents are dropped

    def resets_below(self, *path: str) -> list[Keys]:
        """Return the resets at, above and below a path, relative to it."""
        size = len(path)
        return [each[size:] for each in self.resets if each[:size] == path[: len(each)]]


@dataclass(slots=True)
class Files:
    """Reads compose and environment files, and records their paths."""

    seen: dict[Path, None] = field(default_factory=dict)
    missing: list[ConfigError] | None = None  # files that services name and that do not exist; None: raise
    budget: Budget = field(default_factory=Budget)
    _parsed: dict[Path, list[YamlDocument]] = field(default_factory=dict)

    def documents(self, path: Path) -> list[YamlDocument]:
        """Return the documents of a compose file, each a mapping; raise ConfigError."""
        self.seen[path] = None
        self.budget.count_file(path)
        if path not in self._parsed:
            self._parsed[path] = read_documents(path)
        found = [each for each in self._parsed[path] if each.value is not None]
        if not found:
            raise ConfigError(str(path), None, "is empty: a compose file must have services")
        for each in found:
            if not isinstance(each.value, dict):  # not quoted: it may be any file of the machine
                raise ConfigError(path.name, None, "is not a compose file: it must be a mapping")
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
        """Add the variables of an environment file to `into`; raise ConfigError."""
        self.seen[path] = None
        self.budget.count_file(path)
        read_env_file(path, into, outside, missing, raw=raw, budget=self.budget)

    def read_dot_env(self, directory: Path, outside: Mapping[str, str], missing: Missing) -> dict[str, str]:
        """Return `outside` merged over the variables of the directory's `.env`, if it exists."""
        path = directory / ".env"
        found: dict[str, str] = {}
        self.seen[path] = None
        if path.exists() and not path.is_dir():  # compose ignores a directory too
            self.env(path, found, outside, missing)
        return {**found, **outside}


class Definitions:
    """All documents of a project, and the services and resources that they define."""

    def __init__(self, files: Files, missing: Missing) -> None:
        self._files, self._missing = files, missing
        self.layers: list[ComposeDocument] = []
        self.not_run: dict[str, None] = {}  # sections of the files whose content the watcher does not run
        self._services: dict[str, tuple[Field, tuple[str, ...]]] = {}  # merged, with their unset variables

    def add_file(self, path: Path, scope: FileScope) -> None:
        """Add a compose file over the earlier ones, with everything that it includes; raise ConfigError."""
        self._services.clear()
        scope = FileScope(scope.directory, scope.env, scope.prefix, (*scope.trail, path))
        for document in self._files.documents(path):
            content = Field(path.name, document.value).mapping()
            if include := content.get("include"):
                self._include_all(Field(f"{scope.prefix}include", include.value), scope)
            self.layers.append(_make_layer(path, scope, content, document.resets))
            self.not_run |= dict.fromkeys(key for key in NOT_RUN if key in content and content[key].value)

    def _include_all(self, field: Field, scope: FileScope) -> None:
        if field.value is None:
            return
        for item in self._replace_in(field, scope).items():
            if not isinstance(item.value, dict):
                self._include_files(item, (item.word(),), None, None, scope)
                continue
            section = Section(item)
            paths = section.need("path", "a compose file").word_or_words()
            directory = section.read(
                "project_directory", lambda given: Path(scope.base.path(given.word())), None
            )
            env_files = section.read("env_file", Field.word_or_words, None)
            section.end("an include")
            self._include_files(item, paths, directory, env_files, scope)

    def _include_files(
        self,
        item: Field,
        paths: Sequence[str],
        directory: Path | None,
        env_files: Sequence[str] | None,
        scope: FileScope,
    ) -> None:
        files = [_local_file(item, text, scope) for text in paths]
        if not files:
            raise item.error("must have a path, a compose file")
        directory = directory or files[0].parent
        if env_files is None:
            env = self._files.read_dot_env(directory, scope.env, self._missing)
        else:
            own: dict[str, str] = {}
            for text in env_files:
                if text != "/dev/null":
                    self._files.env(Path(scope.base.path(text)), own, scope.env, self._missing)
            env = {**own, **scope.env}
        for file in files:
            if file in scope.trail:
                raise item.error(f"{file.name} includes itself")
            self.add_file(file, FileScope(directory, env, f"{file.name}: ", scope.trail))

    # Definitions.

    def _replace_in(self, field: Field, scope: FileScope) -> Field:
        return replace_variables(field, scope.env, self._missing, self._files.budget)

    def names(self, section: str) -> dict[str, None]:
        """Return the names in a top-level section, in order."""
        found: dict[str, None] = {}
        for layer in self.layers:
            for path in layer.resets_below(section):
                if len(path) < 2:
                    found = {name: None for name in found if path and name != path[0]}
            found |= dict.fromkeys(layer.sections[section])
        return found

    def resource(self, section: str, name: str, missing: Missing) -> tuple[Field, BaseDirectory]:
        """Return a declared network, volume, secret or config, and the directory for its relative paths."""
        path = f"{section}.{name}"
        merged: object = None
        base = self.layers[-1].scope.base
        for layer in self.layers:
            for reset in layer.resets_below(section, name):
                merged = remove_path(merged, reset)
            if name in layer.sections[section]:
                given = Field(f"{layer.scope.prefix}{path}", layer.sections[section][name])
                replaced = replace_variables(given, layer.scope.env, missing, self._files.budget)
                merged = merge_resource(merged, replaced.value, given.path)
                base = layer.scope.base
        return Field(path, merged), base

    def service(self, name: str, missing: Missing) -> Field:
        """Return a complete service: extended, merged, with interpolated values and absolute paths.

        Raises ConfigError if it is not defined or cannot be merged. Calls `missing` for each unset variable.
        """
        if name not in self._services:  # each service that depends on it asks too
            unset: dict[str, None] = {}
            merged = _merge_layers(
                self._files, name, self.layers, lambda each: unset.update({each: None}), ()
            )
            build = merged.get("build")
            if isinstance(build, dict) and build.get("context") is None:
                merged["build"] = {**build, "context": str(self._build_directory(name))}
            self._services[name] = Field(f"services.{name}", merged), tuple(unset)
        found, variables = self._services[name]
        for each in variables:
            missing(each)
        return found

    def _build_directory(self, name: str) -> Path:
        """Return the default build context: the directory of the first file that defines the build."""
        defining = [layer for layer in self.layers if name in layer.sections["services"]]
        for layer in defining:
            service = layer.sections["services"][name]
            if isinstance(service, dict) and "build" in service:
                return layer.scope.directory
        return defining[0].scope.directory


def _make_layer(
    path: Path, scope: FileScope, content: Mapping[str, Field], resets: tuple[Keys, ...]
) -> ComposeDocument:
    for key in content:
        if key not in TOP_KNOWN and key not in TOP_IGNORED and not key.startswith("x-"):
            shown = key if len(key) < 40 and key.isidentifier() else "one of its keys"
            raise ConfigError(f"{scope.prefix}{shown}", None, "is not a known section of a compose file")
    sections: dict[str, Mapping[str, object]] = {}
    for key in TOP_KNOWN:
        given = Field(f"{scope.prefix}{key}", content[key].value if key in content else None)
        entries = given.mapping() if given.value is not None else {}
        sections[key] = {name: entry.value for name, entry in entries.items()}
    return ComposeDocument(path, scope, sections, resets)


def _merge_layers(
    files: Files, name: str, layers: Sequence[ComposeDocument], missing: Missing, trail: Trail
) -> dict[str, object]:
    """Return the service of that name in these documents, later ones merged over earlier ones."""
    merged: dict[str, object] | None = None
    for index, layer in enumerate(layers):
        merged = _apply_resets(merged, layer, name, NAMED)
        if name in layer.sections["services"]:
            own = _extend_service(files, name, layers[: index + 1], missing, trail)
            merged = own if merged is None else merge_service(merged, own, f"services.{name}")
    if merged is None:
        file = layers[-1].file.name
        raise ConfigError(f"services.{name}", None, f"there is no such service in {file}")
    return merged


def _apply_resets(
    service: dict[str, object] | None, layer: ComposeDocument, name: str, named: frozenset[Keys]
) -> dict[str, object] | None:
    """Return the service without the values that a document resets; None if nothing is left."""
    left: object = service
    for path in layer.resets_below("services", name):
        left = remove_path(left, path, named=named)
    return left if isinstance(left, dict) else None


def _extend_service(
    files: Files, name: str, layers: Sequence[ComposeDocument], missing: Missing, trail: Trail
) -> dict[str, object]:
    """Return the service of the last document, merged over the one that it extends."""
    layer = layers[-1]
    scope = layer.scope
    files.budget.count_extends(name)
    field = Field(f"{scope.prefix}services.{name}", layer.sections["services"][name])
    own = replace_variables(field, scope.env, missing, files.budget).mapping()
    service = scope.base.service({key: entry.value for key, entry in own.items()})
    given = service.pop("extends", None)
    if given is None:
        return service
    extends = Field(f"{field.path}.extends", given)
    other, file = extends, None
    if isinstance(given, dict):
        section = Section(extends)
        other, file = section.need("service", "the service to extend"), section.take("file")
        section.end("extends")
    here = (layer.file, name)
    if here in trail or (file is None and other.word() == name):
        raise extends.error("extends itself")
    if len(trail) > MOST_EXTENDED:
        raise extends.error(
            f"is one of more than {MOST_EXTENDED} definitions that extend each other in a row"
        )
    if file is not None:
        layers = _other_file(files, _local_file(file, file.word(), scope), scope)
    below = _merge_layers(files, other.word(), layers, missing, (*trail, here))
    named = NAMED if file is not None else frozenset()  # lists of the same file are not mappings yet
    return merge_service(_apply_resets(below, layer, name, named) or {}, service, field.path)


def _other_file(files: Files, path: Path, scope: FileScope) -> list[ComposeDocument]:
    """Return the documents of a file that a service extends; its `include` is not applied."""
    inner = FileScope(path.parent, scope.env, f"{path.name}: ")
    return [
        _make_layer(path, inner, Field(path.name, document.value).mapping(), document.resets)
        for document in files.documents(path)
    ]


def _local_file(field: Field, text: str, scope: FileScope) -> Path:
    if text.startswith(_REMOTE):
        raise field.error("must be a local file: remote files are not fetched")
    return Path(scope.base.path(text))


def replace_variables(field: Field, env: Mapping[str, str], missing: Missing, budget: Budget) -> Field:
    """Return the value with all variables replaced; raise ConfigError with the path of the string."""
    return Field(field.path, _replace_in(field.path, field.value, env, missing, budget))


def _replace_in(path: str, value: object, env: Mapping[str, str], missing: Missing, budget: Budget) -> object:
    match value:
        case str():
            if "$" not in value:
                return value
            try:
                return budget.count_text(interpolate(value, env, missing))
            except TemplateError as error:
                raise Field(path, value).error(str(error)) from None
        case dict():
            return {
                key: _replace_in(f"{path}.{key}", each, env, missing, budget) for key, each in value.items()
            }
        case list():
            return [
                _replace_in(f"{path}[{index}]", each, env, missing, budget)
                for index, each in enumerate(value)
            ]
    return value
