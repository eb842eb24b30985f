"""Somebody who writes at random: all that editors, git and people do to a tree, one act after the other."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

BROKEN = "\nfunc broken( {\n"
EXTRA = (
    '\n// Extra is filled by files that come and go.\nvar Extra []string\n\nfunc init() { Number += "" }\n'
)


class Writer:
    """Works on a copy of the example, of which it makes a git repository with two branches."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.version = folder / "internal" / "version" / "version.go"
        self.environment = folder / "_envs" / "env_dev.yaml"
        self.broken: set[Path] = set()
        self._number = 0
        (folder / ".dockerignore").write_text(".git\n")  # a plain build would stamp the binary with it
        self.version.write_text(self.version.read_text() + EXTRA)
        self._git("init", "-q", "-b", "one")
        self._git("add", "-A")
        self._git("commit", "-q", "-m", "one")
        self._git("checkout", "-q", "-b", "two")
        for number in range(40):
            (self.version.parent / f"branch_{number}.go").write_text(self._extra())
        self._set_number("two")
        self._git("add", "-A")
        self._git("commit", "-q", "-m", "two")
        self._git("checkout", "-q", "one")

    def act(self) -> str:
        """Do one thing; its name."""
        acts = {
            "edit": (6, self._edit),
            "edit of an environment file": (2, self._edit_environment),
            "save by renaming": (2, self._save_by_renaming),
            "creation": (3, self._create),
            "rename": (2, self._rename),
            "removal": (2, self._delete),
            "revert": (2, self._revert),
            "checkout": (1, self._checkout),
            "broken code": (2, self._break),
            "touch": (1, self._touch),
            "chmod": (1, self._chmod),
            "edit of a test": (1, self._edit_test),
        }
        name = self.chance.choices(list(acts), [weight for weight, _ in acts.values()])[0]
        acts[name][1]()
        return name

    def repair(self) -> None:
        """Leave a tree that builds."""
        self._set_number(f"repaired-{self._next()}")
        for path in list(self.broken):
            path.unlink(missing_ok=True)
            self.broken.discard(path)

    # The acts.

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=writer", "-c", "user.email=writer@localhost")
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def _extra(self) -> str:
        return f'package version\n\nfunc init() {{ Extra = append(Extra, "{self._next()}") }}\n'

    def _extras(self) -> list[Path]:
        return sorted(self.version.parent.glob("extra_*.go"))

    def _set_number(self, number: str, text: str | None = None) -> None:
        lines = (text or self.version.read_text()).replace(BROKEN, "").splitlines()
        changed = [f'var Number = "{number}"' if line.startswith("var Number") else line for line in lines]
        self.version.write_text("\n".join([*changed, ""]))
        self.broken.discard(self.version)

    def _edit(self) -> None:
        self._set_number(str(self._next()))

    def _edit_environment(self) -> None:
        lines = self.environment.read_text().splitlines()
        text = f"greeting: Hello {self._next()}"
        changed = [text if line.startswith("greeting") else line for line in lines]
        self.environment.write_text("\n".join([*changed, ""]))

    def _save_by_renaming(self) -> None:
        beside = self.version.with_name(".version.go.swp")
        beside.write_text(self.version.read_text().replace(BROKEN, "") + f"// {self._next()}\n")
        beside.replace(self.version)
        self.broken.discard(self.version)

    def _create(self) -> None:
        (self.version.parent / f"extra_{self._next()}.go").write_text(self._extra())

    def _rename(self) -> None:
        if extras := self._extras():
            old = self.chance.choice(extras)
            new = old.with_name(f"extra_{self._next()}.go")
            old.rename(new)
            if old in self.broken:
                self.broken.remove(old)
                self.broken.add(new)

    def _delete(self) -> None:
        if extras := self._extras():
            path = self.chance.choice(extras)
            path.unlink()
            self.broken.discard(path)

    def _revert(self) -> None:
        self._git("checkout", "--", "internal/version/version.go")
        self.broken.discard(self.version)

    def _checkout(self) -> None:
        self._git("checkout", "-q", "-f", self.chance.choice(["one", "two"]))
        self.broken.discard(self.version)

    def _break(self) -> None:
        path = self.chance.choice([self.version, *self._extras()[:1]])
        if path not in self.broken:
            path.write_text(path.read_text() + BROKEN)
            self.broken.add(path)

    def _touch(self) -> None:
        os.utime(self.version)

    def _chmod(self) -> None:
        self.version.chmod(self.chance.choice([0o644, 0o600, 0o755]))

    def _edit_test(self) -> None:
        path = self.folder / "internal" / "notes" / "store_test.go"
        path.write_text(path.read_text() + f"// {self._next()}\n")
