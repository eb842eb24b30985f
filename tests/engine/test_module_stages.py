"""Stages that hand their modules to each other, built for real as they are and accelerated."""

from __future__ import annotations

import io
import uuid
import zipfile
from base64 import b64encode
from hashlib import sha256

import pytest

from tests.engine.test_dockerfile_shapes import SCOPE, Workshop, client, engine, workshop
from watcher.buildkit import SolveFailed
from watcher.dockerfile import Level

__all__ = ["client", "engine", "workshop"]
pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

NAME = "example.test/dep"
PROXY = "ENV GOPROXY=file:///proxy GOSUMDB=off GOFLAGS=-modcacherw CGO_ENABLED=0\nCOPY proxy /proxy\n"
COPIED = (
    f"FROM golang:alpine AS modules\n{PROXY}WORKDIR /modules\nCOPY go.mod go.sum ./\nRUN go mod download\n"
    f"FROM golang:alpine AS build\n{PROXY}COPY --from=modules /go/pkg /go/pkg\nWORKDIR /src\nCOPY . .\n"
    "RUN go build -trimpath -buildvcs=false -o /out/app .\n"
    'FROM scratch\nCOPY --from=build /out/app /out/app\nCMD ["/out/app"]\n'
)
MOVED = COPIED.replace("GOSUMDB=off", "GOSUMDB=off GOMODCACHE=/mods").replace(
    "/go/pkg /go/pkg", "/mods /mods"
)
MOUNTED = COPIED.replace("COPY --from=modules /go/pkg /go/pkg\n", "").replace(
    "RUN go build", "RUN --mount=type=bind,from=modules,source=/go/pkg,target=/go/pkg,rw go build"
)
SERVED = COPIED.replace(
    "FROM scratch\n", f"FROM scratch\nCOPY --from=modules /go/pkg/mod/{NAME}@v1.0.0 /dep\n"
)


def dirhash(files: dict[str, bytes]) -> str:
    """What go.sum says of these files (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    lines = "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return f"h1:{b64encode(sha256(lines.encode()).digest()).decode()}"


def tree(*versions: str) -> dict[str, bytes]:
    """A program that prints the last version of a module, and a proxy that has all of them."""
    files: dict[str, bytes] = {}
    mod, sums = f"module {NAME}\n\ngo 1.21\n".encode(), ""
    for version in versions:
        source = f'package dep\n\nconst Version = "{version}"\n'.encode()
        inner = {f"{NAME}@{version}/go.mod": mod, f"{NAME}@{version}/dep.go": source}
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for name, content in inner.items():
                archive.writestr(name, content)
        folder = f"proxy/{NAME}/@v/{version}"
        files |= {f"{folder}.zip": data.getvalue(), f"{folder}.mod": mod}
        files[f"{folder}.info"] = f'{{"Version":"{version}"}}'.encode()
        sums = f"{NAME} {version} {dirhash(inner)}\n{NAME} {version}/go.mod {dirhash({'go.mod': mod})}\n"
    main = (
        f'package main\n\nimport "{NAME}"\n\nfunc main() {{ println(dep.Version, "{uuid.uuid4().hex}") }}\n'
    )
    wanted = f"module example.test/stages\n\ngo 1.21\n\nrequire {NAME} {versions[-1]}\n"
    return files | {"go.mod": wanted.encode(), "go.sum": sums.encode(), "main.go": main.encode()}


@pytest.mark.parametrize(("text", "mounted"), [(COPIED, 2), (MOVED, 2), (MOUNTED, 0), (SERVED, 0)])
async def test_a_stage_of_modules_gives_the_same_program(workshop: Workshop, text: str, mounted: int) -> None:
    workshop.text = text
    for versions in (["v1.0.0"], ["v1.0.0", "v1.1.0"] if text is not SERVED else ["v1.0.0"]):
        workshop.tree = tree(*versions)
        accelerated = workshop.accelerated(Level.EXACT)
        assert accelerated.text.count(f"id={SCOPE}-gomodcache") == mounted
        fast = await workshop.build(accelerated.text)
        assert workshop.says().startswith(versions[-1])
    plain = await workshop.build(workshop.text)
    assert sha256(fast).hexdigest() == sha256(plain).hexdigest()


async def test_a_module_that_was_downloaded_is_not_asked_for_again(workshop: Workshop) -> None:
    workshop.text = COPIED
    workshop.tree = tree("v1.2.0")
    await workshop.build(workshop.accelerated(Level.EXACT).text)
    workshop.tree = {name: data for name, data in tree("v1.2.0").items() if not name.endswith(".zip")}
    workshop.tree["go.mod"] += b"// a comment\n"
    await workshop.build(workshop.accelerated(Level.EXACT).text)
    assert workshop.says().startswith("v1.2.0")


async def test_a_stage_that_downloads_nothing_fails_as_the_file_does(workshop: Workshop) -> None:
    workshop.text = COPIED
    workshop.tree = tree("v1.0.0") | {
        "go.mod": b"module example.test/stages\n\ngo 1.21\n",
        "go.sum": b"",
        "main.go": b"package main\n\nfunc main() {}\n",
    }
    for text in (workshop.text, workshop.accelerated(Level.EXACT).text):
        with pytest.raises(SolveFailed):
            await workshop.build(text)
