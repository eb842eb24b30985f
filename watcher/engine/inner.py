"""Access files, commands and the log of a container. Blocking, because docker-py is: call it in threads."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from watcher.engine import private_api
from watcher.engine.values import ContainerCommand, NewFile

_LAST_LINES = 30
_MOST_OUTPUT = 64 * 1024  # last bytes of a command's output that are returned
_LOG_BYTES = 1 << 20  # last bytes of a log that are returned
MOST_LOG_BYTES = 64 << 20  # maximum bytes that are read for them: lines can be of any length
_LOG_LINE = 8_000  # maximum characters of a log line
_CHUNK = 1 << 16


def put_files(api: Any, container: str, files: Sequence[NewFile]) -> None:
    """See `Engine.put_files`."""
    api.put_archive(container, "/", tar_of(files))


def tar_of(files: Sequence[NewFile]) -> bytes:
    """Return a tar archive of the files with their absolute paths."""
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


def run_command(api: Any, container: str, command: ContainerCommand) -> tuple[int, tuple[str, ...]]:
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
    output = api.exec_start(made["Id"], stream=True)
    try:
        for chunk in output:
            tail = (tail + chunk)[-_MOST_OUTPUT:]
    finally:
        private_api.close_output(output)
    status = api.exec_inspect(made["Id"])["ExitCode"]
    return int(status or 0), tuple(tail.decode("utf-8", "replace").splitlines()[-_LAST_LINES:])


def read_logs(api: Any, container: str, tail: int, most_bytes: int = MOST_LOG_BYTES) -> tuple[str, ...]:
    """See `Engine.logs`. docker-py can only read all of a log, or stream it without a timeout."""
    tty = bool(api.inspect_container(container)["Config"].get("Tty"))
    params = {"stdout": 1, "stderr": 1, "tail": tail}
    answer = private_api.open_stream(api, "/containers/{0}/logs", container, params=params)
    kept = bytearray()
    try:
        read = 0
        for chunk in _read_raw(answer.raw) if tty else _read_frames(answer.raw):
            kept += chunk
            read += len(chunk)
            if len(kept) > 2 * _LOG_BYTES:
                del kept[:-_LOG_BYTES]
            if read > most_bytes:
                break
    finally:
        answer.close()
    lines = kept[-_LOG_BYTES:].decode("utf-8", "replace").splitlines()
    return tuple(line[:_LOG_LINE] for line in lines)


def _read_raw(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _read_frames(stream: Any) -> Iterator[bytes]:
    """Yield the payload of the frames that separate stdout from stderr."""
    while len(header := stream.read(8)) == 8:
        left = struct.unpack(">4xI", header)[0]
        while left and (chunk := stream.read(min(left, _CHUNK))):
            yield chunk
            left -= len(chunk)
