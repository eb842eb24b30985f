"""A monorepo that is edited at random: sources, modules, shared package, env and compose file, Dockerfile."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

SERVICES = ("api", "worker", "migrate")
_EDITED = 'package {package}\n\nfunc init() {{ println("{text}") }}\n'
_BROKEN = "package {package}\n\nfunc broken( {{\n"


class ShopWriter:
    """Works on a copy of examples/shop. `broken` are the services that cannot be built as the tree is now."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self._number = 0
        self._away: dict[Path, Path] = {}  # what was deleted, and where its content is kept
        self._errors: dict[Path, str] = {}  # files that do not compile, and the part that each belongs to
        self._kept = folder.parent / f"{folder.name}-deleted"
        self._env = folder / "shop.env"
        self._env.write_text("EDIT=0\n")
        self._compose = folder / "compose.yaml"
        text = self._compose.read_text().replace(
            "  worker:\n    <<: *go\n", "  worker:\n    <<: *go\n    env_file: shop.env\n"
        )
        assert "env_file" in text
        self._compose.write_text(text.replace("    REDIS: db:6379\n", "    REDIS: db:6379\n    EDIT: none\n"))

    @property
    def broken(self) -> frozenset[str]:
        """Return the services that cannot be built."""
        if any(path.name != "main.go" for path in self._away):  # go.work names a module that is not there
            return frozenset(SERVICES)
        parts = {*self._errors.values(), *(path.parent.name for path in self._away)}
        return frozenset(SERVICES) if "shared" in parts else frozenset(parts)

    def texts(self, service: str) -> set[str]:
        """Return what the program of a service prints at its start, as the tree is now."""
        files = [path for path in self._edits() if path.parent.name in (service, "orders")]
        return {path.read_text().split('"')[1] for path in files}

    def act(self) -> str:
        """Do one thing; return its name."""
        acts = {
            "edit of a service": (6, self._edit_service),
            "edit of the shared package": (3, self._edit_shared),
            "edit of a go.mod": (2, self._edit_module),
            "edit of the env file": (2, self._edit_env),
            "edit of the compose file": (2, self._edit_compose),
            "edit of the Dockerfile": (2, self._edit_dockerfile),
            "removal of an edit": (2, self._remove_edit),
            "rename": (1, self._rename),
            "deletion": (1, self._delete),
            "restoration": (2, self._restore),
            "broken code": (2, self._break),
            "correction": (2, self._correct),
        }
        name = self.chance.choices(list(acts), [weight for weight, _ in acts.values()])[0]
        acts[name][1]()
        return name

    def repair(self) -> None:
        """Leave a tree of which every service can be built."""
        while self._away:
            self._restore()
        while self._errors:
            self._correct()
        shutil.rmtree(self._kept, ignore_errors=True)

    def _next(self) -> str:
        self._number += 1
        return f"edit {self._number}"

    def _service(self) -> str:
        return self.chance.choice(SERVICES)

    def _write(self, path: Path, text: str) -> None:
        """Save as editors do: in place, or by a rename over the old file."""
        if not path.parent.is_dir():
            return  # its folder is deleted at the moment
        if self.chance.random() < 0.5:
            path.write_text(text)
        else:
            new = path.with_name(f".{path.name}.new")
            new.write_text(text)
            new.rename(path)

    def _edit_service(self) -> None:
        path = self.folder / self._service() / "edit.go"
        self._write(path, _EDITED.format(package="main", text=self._next()))

    def _edit_shared(self) -> None:
        path = self.folder / "shared/orders/edit.go"
        self._write(path, _EDITED.format(package="orders", text=self._next()))

    def _edit_module(self) -> None:
        path = self.folder / self.chance.choice((*SERVICES, "shared")) / "go.mod"
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if not line.startswith(("go ", "//"))]
            version = self.chance.choice(("1.23", "1.24"))
            self._write(path, "\n".join([*lines, f"go {version}", f"// {self._next()}", ""]))

    def _edit_env(self) -> None:
        self._write(self._env, f"EDIT={self._next()}\n")

    def _edit_compose(self) -> None:
        lines = self._compose.read_text().splitlines()
        new = [f"    EDIT: {self._next()}" if line.startswith("    EDIT:") else line for line in lines]
        self._write(self._compose, "\n".join([*new, ""]))

    def _edit_dockerfile(self) -> None:
        path = self.folder / "Dockerfile"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("RUN echo")]
        self._write(path, "\n".join([*lines, f"RUN echo {self._next()} > /edit", ""]))

    def _edits(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob("**/edit*.go")) if path not in self._errors]

    def _remove_edit(self) -> None:
        if found := self._edits():
            self.chance.choice(found).unlink()

    def _rename(self) -> None:
        """Rename the file of an edit; where there are two of one package both stay valid."""
        if found := self._edits():
            path = self.chance.choice(found)
            path.rename(path.with_name(f"edit_{self._next().replace(' ', '_')}.go"))

    def _delete(self) -> None:
        path = self.folder / self.chance.choice(("api", "worker/main.go", "migrate/go.mod", "shared/redis"))
        if path.exists() and not any(path in away.parents or away in path.parents for away in self._away):
            away = self._kept / self._next()
            self._kept.mkdir(exist_ok=True)
            shutil.move(path, away)
            self._away[path] = away

    def _restore(self) -> None:
        if self._away:
            path = self.chance.choice(sorted(self._away))
            if path.is_dir():  # an edit made the folder anew
                shutil.rmtree(path)
            shutil.move(self._away.pop(path), path)

    def _break(self) -> None:
        part = self.chance.choice((*SERVICES, "shared"))
        path = self.folder / ("shared/orders" if part == "shared" else part) / "broken.go"
        if path.parent.is_dir():
            self._write(path, _BROKEN.format(package="orders" if part == "shared" else "main"))
            self._errors[path] = part

    def _correct(self) -> None:
        if self._errors:
            path = self.chance.choice(sorted(self._errors))
            del self._errors[path]
            folders = (away for away in self._away.values() if away.is_dir())
            for found in (path, *(away / path.name for away in folders)):
                found.unlink(missing_ok=True)
