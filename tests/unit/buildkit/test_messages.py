"""The generated messages are those of the .proto files, and speak BuildKit's wire format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from watcher.buildkit.messages import control_pb2, fsutil_pb2

pytestmark = pytest.mark.libraries

ROOT = Path(__file__).parents[3]
MESSAGES = ROOT / "watcher" / "buildkit" / "messages"


def test_the_generated_files_are_up_to_date(tmp_path: Path):
    protos = [str(path.relative_to(ROOT)) for path in sorted(MESSAGES.glob("*.proto"))]
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
    ]
    subprocess.run([*command, *protos], cwd=ROOT, check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "watcher/buildkit/messages").iterdir()}
    assert made == {path.name: path.read_text() for path in MESSAGES.glob("*_pb2.py*")}


# Bytes as BuildKit writes them: field numbers of moby/buildkit and tonistiigi/fsutil, spelled out by hand.
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (control_pb2.SolveRequest(Ref="r", Session="s", Frontend="f"), b"\x0a\x01r\x2a\x01s\x32\x01f"),
        (control_pb2.SolveRequest(FrontendAttrs={"a": "b"}), b"\x3a\x06\x0a\x01a\x12\x01b"),
        (control_pb2.SolveRequest(ExporterDeprecated="e", Entitlements=["n"]), b"\x1a\x01e\x4a\x01n"),
        (control_pb2.VertexLog(vertex="v", stream=2, msg=b"m"), b"\x0a\x01v\x18\x02\x22\x01m"),
        (control_pb2.BytesMessage(data=b"d"), b"\x0a\x01d"),
        (fsutil_pb2.Packet(type="PACKET_REQ", ID=5), b"\x08\x01\x18\x05"),
        (fsutil_pb2.Stat(path=b"p", mode=1, size=2), b"\x0a\x01p\x10\x01\x28\x02"),
        (fsutil_pb2.Stat(modTime=3, linkname=b"l"), b"\x30\x03\x3a\x01l"),
    ],
)
def test_messages_have_buildkits_numbers(message: control_pb2.SolveRequest, expected: bytes):
    assert message.SerializeToString(deterministic=True) == expected
