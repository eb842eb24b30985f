"""Unusual ways to call go in a Dockerfile, built as they are and accelerated: same files, same exit status.

All stand on one stage that has compiled the standard library, so that the file as it is builds in seconds.
"""

from __future__ import annotations

import io
import tarfile
from hashlib import sha256

import pytest

from tests.engine.test_dockerfile_shapes import SCOPE, Workshop, client, engine, tree_of, workshop
from watcher.buildkit import SolveFailed
from watcher.dockerfile import Level

__all__ = ["client", "engine", "workshop"]
pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

WARM = (
    "FROM golang:alpine AS warm\nENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false\nWORKDIR /src\nCOPY . .\n"
    "RUN go build -o /dev/null .\n"
)
EMBEDS = r"""
RUN printf '//go:generate sh -c "echo made >made.txt"\n\npackage main\n\nimport _ "embed"\n\n' >made.go && \
    printf '//go:embed made.txt\nvar made string\n\nfunc init() { println(made) }\n' >>made.go
RUN go generate ./... && go build -o /out/app .
"""
REPLACED = r"""
RUN mkdir dep && cd dep && printf 'module example.test/dep\n\ngo 1.21\n' >go.mod && echo 'package dep' >dep.go
RUN go mod edit -require=example.test/dep@v0.0.0 -replace=example.test/dep=./dep && \
    printf 'package main\n\nimport _ "example.test/dep"\n' >use.go && go mod vendor && \
    go build -mod=vendor -o /out/app .
"""
WRAPPED = r"""
RUN printf '#!/bin/sh\nexec /usr/local/go/bin/go "$@"\n' >/usr/local/bin/go && chmod 755 /usr/local/bin/go
ENV PATH=/usr/local/bin:$PATH
RUN go build -o /out/app .
"""
CORNERS = {
    "bound": "RUN --mount=type=bind,source=.,target=/bound,rw cd /bound && go build -o /out/app .",
    "several": "RUN go build -o /out/ ./... && mv /out/shapes /out/app",
    "installed": "ENV GOBIN=/out/bin\nRUN go install ./... && mv /out/bin/shapes /out/app",
    "relative": "WORKDIR greet\nWORKDIR ..\nRUN go build -o ../out/app .",
    "generated": EMBEDS,
    "workspace": "RUN go work init . && go build -o /out/app .",
    "strict": 'SHELL ["/bin/sh", "-euxo", "pipefail", "-c"]\nRUN go build -o /out/app . 2>&1 | tee /log',
    "function": 'RUN build() { go build "$@"; }; build -o /out/app .',
    "appended": "RUN go build -o /out/app .\nRUN cat go.mod >>/out/app",
    "wrapped": WRAPPED,
    "piped": "RUN echo 'go build -o /out/app .' | sh",
    "replaced": REPLACED,
    "conditional": 'RUN if [ "$NONE" ]; then exit 1; else go build -o /out/app . || exit 2; fi',
    "tested": "RUN go test ./... && go vet ./... && go build -o /out/app .",
    "inner": 'RUN go build -ldflags "-X main.version=$(wc -l <go.mod)" -o /out/app .',
    "environment": 'RUN ["/usr/bin/env", "GOOS=linux", "go", "build", "-o", "/out/app", "."]',
    "settings": "RUN go env -w GOAMD64=v1 && go build -o /out/app .",
}


def files_of(workshop: Workshop) -> dict[str, str]:
    """The digests of the programs in the image that was built last."""
    container = workshop.engine.containers.create(workshop.images[-1])
    try:
        stream, _ = container.get_archive("/out")
        data = io.BytesIO(b"".join(stream))
    finally:
        container.remove()
    with tarfile.open(fileobj=data) as archive:
        members = [(member, archive.extractfile(member)) for member in archive if member.isfile()]
        return {member.name: sha256(file.read()).hexdigest() for member, file in members if file}


@pytest.mark.timeout(1200)
async def test_each_corner_gives_the_same_program(workshop: Workshop) -> None:
    stages = "".join(f"FROM warm AS {name}\n{text.strip()}\n" for name, text in CORNERS.items())
    copies = "".join(f"COPY --from={name} /out/app /out/{name}\n" for name in CORNERS)
    final = f'FROM scratch\n{copies}COPY --from=several /out/app /out/app\nCMD ["/out/app"]\n'
    workshop.text = WARM + stages + final
    workshop.tree = tree_of("module", hello=f"{SCOPE} first")
    await workshop.build(workshop.accelerated(Level.EXACT).text)
    await workshop.keep(workshop.accelerated(Level.EXACT))
    workshop.tree["_envs/env_dev.yaml"] = b"a: 2\n"  # what was kept is used again
    await workshop.build(workshop.accelerated(Level.EXACT).text)
    fast = files_of(workshop)
    await workshop.build(workshop.text)
    plain = files_of(workshop)
    assert len(plain) == len(CORNERS) + 1
    assert [name for name in plain if plain[name] != fast.get(name)] == []


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("RUN go build ./nowhere | cat", False),
        ('SHELL ["/bin/sh", "-eo", "pipefail", "-c"]\nRUN go build ./nowhere | cat', True),
        ("RUN ! go build -o /out/app .", True),
        ("RUN ! go build ./nowhere", False),
        ("RUN go build ./nowhere; true", False),
        ("RUN go build ./nowhere & wait $!", True),
        ("RUN (go build ./nowhere) || exit 0", False),
        ("ENV GOCACHE=off\nRUN go build .", True),
        ("RUN trap 'exit 7' EXIT; go build -o /out/app .", True),
        ("RUN go clean -cache -i nowhere && go build -o /out/app .", True),
        ("RUN test ! -e /out/app && go build -o /out/app . && test -e /out/app && false", True),
        ("RUN sh -c 'go build ./nowhere'", True),
    ],
)
async def test_a_corner_ends_with_the_same_status(workshop: Workshop, text: str, fails: bool) -> None:
    workshop.tree = tree_of("module")
    workshop.text = f'{WARM}{text}\nRUN mkdir -p /out && touch /out/app\nCMD ["/out/app"]\n'
    for built in (workshop.text, workshop.accelerated(Level.EXACT).text):
        if fails:
            with pytest.raises(SolveFailed):
                await workshop.build(built)
        else:
            await workshop.build(built)
