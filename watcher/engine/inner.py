"""What is done inside of a container: files are written, commands are run. For threads: docker-py blocks."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from typing import Any

from watcher.engine.port import Command, NewFile

_LAST_LINES = 30
_MOST_OUTPUT = 64 * 1024  # bytes of a command's output that are looked at, from its end


def put_files(api: Any, container: str, files: Sequence[NewFile]) -> None:
    """See `Engine.put_files`."""
    api.put_archive(container, "/", tar_of(files))


def tar_of(files: Sequence[NewFile]) -> bytes:
    """An archive of the files, by their absolute paths."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.size, member.mode, member.uid, member.gid = (
                len(file.content),
                file.mode,
                file.uid,
                file.gid,
            )
            archive.addfile(member, io.BytesIO(file.content))
    return packed.getvalue()


def execute(api: Any, container: str, command: Command) -> tuple[int, tuple[str, ...]]:
    """See `Engine.execute`."""
    made = api.exec_create(
        container,
        list(command.words),
        user=command.user,
        workdir=command.workdir or None,
        environment=list(command.environment) or None,
        privileged=command.privileged,
    )
    tail = b""
    for chunk in api.exec_start(made["Id"], stream=True):
        tail = (tail + chunk)[-_MOST_OUTPUT:]
    status = api.exec_inspect(made["Id"])["ExitCode"]
    return int(status or 0), tuple(tail.decode("utf-8", "replace").splitlines()[-_LAST_LINES:])
