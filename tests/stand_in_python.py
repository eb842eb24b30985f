"""A stand-in for the image python:…-slim, of this machine's own Python: for engines that reach no registry.

Made of the files of installed Debian packages; it is labelled as what it is, and its name says so too.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker

PACKAGES = ("python3", "python3-venv", "python3-pip", "dash", "coreutils", "libc-bin", "libstdc++6")
MERGED = re.compile(r"^/(bin|sbin|lib|lib64)(?=/|$)")  # /lib is a link to /usr/lib
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def _query(form: str, *packages: str) -> str:
    command = ["dpkg-query", "-W", f"-f={form}", *packages]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _installed() -> set[str]:
    lines = _query("${db:Status-Abbrev} ${Package}\n").splitlines()
    return {line.split()[1] for line in lines if line.startswith("ii")}


def closure() -> set[str]:
    """The packages and all that they depend on; raises AssertionError when one is missing."""
    installed = _installed()
    missing = set(PACKAGES) - installed
    assert not missing, f"not installed: apt-get install {' '.join(sorted(missing))}"
    found: set[str] = set()
    todo = list(PACKAGES)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            for clause in _query("${Depends},${Pre-Depends}", name).split(","):
                names = [re.split(r"[ :(]", option.strip())[0] for option in clause.split("|")]
                todo += [option for option in names if option in installed][:1]
    return found


def root() -> io.BytesIO:
    """The file system as an archive."""
    listing = subprocess.run(["dpkg", "-L", *sorted(closure())], capture_output=True, text=True, check=True)
    paths = {MERGED.sub(r"/usr/\1", line) for line in listing.stdout.splitlines() if line.startswith("/")}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(link)
        for path in sorted({*paths, CERTIFICATES, "/etc/passwd", "/etc/group", "/tmp", "/usr/bin/sh"}):
            file = Path(path)
            if (file.is_symlink() or file.exists()) and not path.startswith("/usr/share/doc/"):
                archive.add(path, path.lstrip("/"), recursive=False)
    out.seek(0)
    return out


def make(engine: docker.DockerClient, name: str) -> str:
    """The stand-in, under `name`; gives it back."""
    assert shutil.which("dpkg"), "a stand-in is made of Debian packages: pull the real image instead"
    changes = [
        "LABEL watcher.stand-in=true",
        f"ENV PIP_CERT={CERTIFICATES} PATH=/usr/local/bin:/usr/bin:/bin",
        'CMD ["python3"]',
    ]
    engine.api.import_image_from_data(root().read(), repository=name, tag="stand-in", changes=changes)
    return f"{name}:stand-in"
