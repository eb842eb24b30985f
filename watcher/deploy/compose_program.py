"""Ask the installed docker compose for the hash that it labels the containers of a service with.

The hash is that of compose's own data structure, so it depends on compose's version and cannot be computed
here. `docker compose config --hash` alone leaves env files out, which `docker compose up` counts. So compose
resolves the project first, and hashes what it resolved.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from watcher.compose import ComposeProject, ServiceSpec

PROGRAMS = (("docker", "compose"), ("docker-compose",))
PATIENCE = 10.0  # seconds for both questions; each takes a tenth
_CONTAINER = "container:"


class ComposeHashes:
    """The hashes of one project's services. Without docker compose there are none."""

    def __init__(self, programs: Sequence[Sequence[str]] = PROGRAMS, patience: float = PATIENCE) -> None:
        """Ask the first of `programs` that answers within `patience` seconds."""
        self._programs, self._patience = programs, patience
        self._project: ComposeProject | None = None
        self._question: asyncio.Task[None] | None = None
        self._known: dict[str, tuple[ServiceSpec, str]] = {}
        self._compose_version = ""

    def ask(self, project: ComposeProject) -> asyncio.Task[None]:
        """Ask for all hashes, once for each state of the project; the task ends with the answer."""
        if self._question is None or self._project is not project:
            if self._question:
                self._question.cancel()
            self._project = project
            self._question = asyncio.create_task(self._ask(project))
        return self._question

    async def find_hash(self, project: ComposeProject, spec: ServiceSpec) -> str:
        """Return the hash of a service once it is known, "" if there is none."""
        await asyncio.wait([self.ask(project)])
        return self.known_hash(spec)

    def known_hash(self, spec: ServiceSpec) -> str:
        """Return the hash of a service if it is known by now, else ""."""
        found, value = self._known.get(spec.name, (None, ""))
        return value if found == spec else ""

    def is_version(self, label: str) -> bool:
        """Return whether the docker compose that was asked is of the version in a label."""
        return bool(label) and _short_version(label) == _short_version(self._compose_version)

    async def close(self) -> None:
        """End a question that is not answered."""
        if self._question:
            self._question.cancel()
            await asyncio.wait([self._question])

    async def _ask(self, project: ComposeProject) -> None:
        specs = [spec for spec in project.services.values() if has_stable_hash(spec)]
        if not specs:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                for program in self._programs:
                    if answer := await _ask_program(program, project, [spec.name for spec in specs]):
                        self._compose_version, hashes = answer
                        self._known = {
                            spec.name: (spec, hashes[spec.name]) for spec in specs if spec.name in hashes
                        }
                        return


def _short_version(text: str) -> str:
    """Return the version without what a distribution adds, which compose leaves out of its labels."""
    return text.removeprefix("v").partition("+")[0].partition("-")[0]


def has_stable_hash(spec: ServiceSpec) -> bool:
    """Return whether the hash depends on the compose file alone.

    Before it hashes a service that uses another one's network, IPC, PID or volumes, `docker compose up` puts
    the id of that container in.
    """
    modes = (spec.network_mode, spec.ipc, spec.pid)
    shares = spec.volumes_from or any(mode.startswith(_CONTAINER) for mode in modes)
    return not spec.left_to_compose and not shares


async def _ask_program(
    program: Sequence[str], project: ComposeProject, services: Sequence[str]
) -> tuple[str, Mapping[str, str]] | None:
    """Return version and hashes as this program has them; None if it does not answer or refuses."""
    common = ("--project-name", project.name, "--project-directory", str(project.directory))
    files = [part for file in project.config_files for part in ("--file", str(file))]
    version = await _run(program, ("version", "--short"))
    resolved = version and await _run(
        program, (*common, *files, "config", "--format", "json", "--", *services)
    )
    if not version or not resolved:
        return None
    hashed = await _run(program, (*common, "--file", "-", "config", "--hash", "*"), resolved)
    lines = (line.split() for line in (hashed or b"").decode("utf-8", "replace").splitlines())
    return version.decode("utf-8", "replace").strip(), {
        words[0]: words[1] for words in lines if len(words) == 2
    }


async def _run(program: Sequence[str], arguments: Sequence[str], given: bytes = b"") -> bytes | None:
    """Return the output of a program that ends well, else None. It is killed if this is cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        output, _ = await process.communicate(given)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return None if process.returncode else output
