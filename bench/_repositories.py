"""List public repositories for `bench repositories`, from the Go module proxy, and adapt them.

A module's archive has no git history and no submodules. Base images are replaced by those on the engine,
because a registry can be unreachable: any Go image by golang:alpine, any other by alpine. Other changes of a
Dockerfile are listed here with their reason, and printed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from bench._peers import go_environment

_FROM = re.compile(r"(?im)^(FROM\s+(?:--platform=\S+\s+)?)(\S+)")
_SYNTAX = re.compile(r"(?im)^#\s*syntax\s*=.*$")
OUT = "OUT"
_KEPT = ("scratch", "alpine", "golang:alpine")


@dataclass(frozen=True)
class Edit:
    """A change of a Dockerfile: `old` becomes `new`, because of `why`."""

    old: str
    new: str
    why: str


@dataclass(frozen=True)
class Repository:
    """One repository. `saved` is the Go file to save, `alone` the go commands of its Dockerfile.

    `setup` is what its Dockerfile runs before go in the step that compiles, so at each save.

    With `path` the container serves it on `port`; otherwise it only keeps running, and `asks` runs in the
    image.
    """

    name: str
    module: str
    version: str
    saved: str
    alone: tuple[tuple[str, ...], ...]
    dockerfile: str = "Dockerfile"
    edits: tuple[Edit, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    port: int = 0
    path: str = ""
    asks: tuple[str, ...] = ()
    cgo: bool = False
    quick: bool = False
    setup: str = ""


_OFFERED = "the placeholder image does not offer it"

REPOSITORIES = (
    Repository(
        name="go-httpbin",
        module="github.com/mccutchen/go-httpbin/v2",
        version="v2.26.0",
        saved="httpbin/helpers.go",
        alone=(
            ("build", "-ldflags=-s -w", "-o", OUT, "./cmd/go-httpbin"),
            ("test", "-ldflags=-s -w", "-c", "-o", OUT, "./httpbin"),
        ),
        edits=(
            Edit("\nCOPY . .", "\nRUN apk add --no-cache make\nCOPY . .", "no make in Alpine"),
            Edit(
                "RUN --mount",
                "RUN sed -i 's/date -u .*SZ/echo none/' Makefile\nRUN --mount",
                "a date makes each image another",
            ),
        ),
        port=8080,
        path="/get",
        quick=True,
    ),
    Repository(
        name="swag",
        module="github.com/swaggo/swag",
        version="v1.16.6",
        saved="parser.go",
        alone=(("build", "-installsuffix=cgo", "-o", OUT, "./cmd/swag"),),
        edits=(Edit("=$TARGETPLATFORM scratch", "=$TARGETPLATFORM alpine", "it has to stay up: sleep"),),
        asks=("/bin/swag", "--version"),
        quick=True,
    ),
    Repository(
        name="miniflux",
        module="miniflux.app/v2",
        version="v2.3.5",
        saved="internal/reader/sanitizer/sanitizer.go",
        alone=(("build", "-buildmode=pie", "-ldflags=-s -w", "-o", OUT, "."),),
        dockerfile="packaging/docker/alpine/Dockerfile",
        edits=(Edit("RUN make miniflux", "RUN make miniflux BUILD_DATE=none", "no date in it"),),
        asks=("/usr/bin/miniflux", "-version"),
        cgo=True,
    ),
    Repository(
        name="podinfo",
        module="github.com/stefanprodan/podinfo",
        version="v1.8.1-0.20250910200901-e86405a8674e",
        saved="pkg/api/http/server.go",
        alone=(
            ("build", "-ldflags=-s -w", "-o", OUT, "./cmd/podinfo"),
            ("build", "-ldflags=-s -w", "-o", OUT, "./cmd/podcli"),
        ),
        edits=(Edit("ca-certificates curl netcat-openbsd", "ca-certificates", _OFFERED),),
        port=9898,
        path="/healthz",
    ),
    Repository(
        name="oauth2-proxy",
        module="github.com/oauth2-proxy/oauth2-proxy/v7",
        version="v7.15.6",
        saved="pkg/util/util.go",
        alone=(("build", "-installsuffix=cgo", "-o", OUT, "."),),
        edits=(
            Edit("RUN go mod download", "RUN apk add make bash git && go mod download", "golang has them"),
        ),
        arguments={"BUILD_IMAGE": "golang:alpine", "RUNTIME_IMAGE": "alpine", "VERSION": "v7.15.6"},
        command=(
            "--http-address=0.0.0.0:4180",
            "--upstream=static://202",
            "--email-domain=*",
            "--cookie-secret=0123456789abcdef",
            "--client-id=x",
            "--client-secret=x",
        ),
        port=4180,
        path="/ping",
    ),
    Repository(
        name="mailpit",
        module="github.com/axllent/mailpit",
        version="v1.33.1",
        saved="internal/tools/utils.go",
        alone=(("build", "-ldflags=-s -w", "-o", OUT, "."),),
        edits=(
            Edit("apk add git npm && \\\n    npm ci && npm run package", "apk add git", f"npm: {_OFFERED}"),
            Edit("go install github.com/google/go-licenses/v2@v2.0.1", "true", "a report, takes minutes"),
            Edit("go-licenses report ./... --template .github/third-party-licenses.tpl --ignore "
                 "github.com/axllent/mailpit", "echo none", "the same"),
            Edit("--start-interval=1s ", "", "BuildKit of 20.10 does not know it"),
        ),
        port=8025,
        path="/api/v1/info",
        setup="apk upgrade && apk add git",
    ),
    Repository(
        name="litestream",
        module="github.com/benbjohnson/litestream",
        version="v0.5.18",
        saved="litestream.go",
        alone=(
            ("build", "-ldflags=-s -w", "-tags=osusergo,netgo,sqlite_omit_load_extension", "-o", OUT,
             "./cmd/litestream"),
        ),
        edits=(
            Edit("apt-get update && apt-get install -y gcc libc6-dev && rm -rf /var/lib/apt/lists/*",
                 "apk add gcc musl-dev", "Alpine's names"),
            Edit("-o dist/litestream-vfs.a", "-n -o dist/litestream-vfs.a", "-ldl -lm are glibc's"),
            Edit("mv dist/litestream-vfs.h src/litestream-vfs.h && \\\n\tgcc",
                 "touch dist/litestream-vfs.so; : \\\n\tgcc", "the same"),
            Edit("apt-get update && \\\n\tapt-get install -y ca-certificates sqlite3",
                 "apk add ca-certificates", "Alpine's names, and sqlite3 is not offered"),
        ),
        asks=("/usr/local/bin/litestream", "version"),
        cgo=True,
    ),
)  # fmt: skip


class NotHad(Exception):
    """A repository that cannot be downloaded or adapted; the message is the reason."""


def fetch_repository(one: Repository, folder: Path) -> list[str]:
    """Copy a repository into `folder` and adapt it; return descriptions of the changes in its Dockerfile."""
    command = ["go", "mod", "download", "-json", f"{one.module}@{one.version}"]
    done = subprocess.run(
        command,
        cwd=folder.parent,
        env={**go_environment(), "GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise NotHad(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer") from error
    if answer.get("Error"):
        raise NotHad(str(answer["Error"]))
    shutil.copytree(answer["Dir"], folder, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.read_bytes()[:2] == b"#!" else 0o644)
    file = folder / one.dockerfile
    text, said = adapt_dockerfile(one, file.read_text())
    file.write_text(text)
    return said


def adapt_dockerfile(one: Repository, text: str) -> tuple[str, list[str]]:
    """Return the Dockerfile with the repository's edits and available bases, and a list of the changes."""
    said = []
    for edit in one.edits:
        if edit.old not in text:
            raise NotHad(f"its Dockerfile has no {edit.old!r} any more")
        text = text.replace(edit.old, edit.new, 1)
        said.append(f"{edit.old.strip()!r} → {edit.new.strip()!r} ({edit.why})")
    text = _SYNTAX.sub("#", text)
    stages: set[str] = set()

    def replace_base(match: re.Match[str]) -> str:
        name = match[2]
        line = text[match.start() :].partition("\n")[0]
        keep = name.lower() in stages or name in _KEPT or "$" in name
        if label := re.search(r"(?i)\sas\s+(\S+)", line):
            stages.add(label[1].lower())
        if keep:
            return match[0]
        new = "golang:alpine" if "golang" in name else "alpine"
        said.append(f"FROM {name} → {new}")
        return match[1] + new

    return _FROM.sub(replace_base, text), said
