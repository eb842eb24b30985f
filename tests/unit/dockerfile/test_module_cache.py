"""The module cache of stages that hand their modules to each other."""

from __future__ import annotations

import pytest

from tests.facts import missing
from tests.unit.dockerfile.test_accelerate import made, reasons
from watcher.dockerfile import Accelerated, TreeInputs

DOWNLOAD = "FROM golang:1.22 AS modules\nWORKDIR /m\nCOPY go.mod go.sum ./\nRUN go mod download\n"
BUILD = "WORKDIR /src\nENV CGO_ENABLED=0\nCOPY . .\nRUN go build -o /app .\n"
PLAIN_COPY = "COPY --from=modules /go/pkg /go/pkg"
FINAL = 'FROM alpine\nCOPY --from=builder /app /app\nCMD ["/app"]\n'


LISTED = TreeInputs({"go.sum": b"1"}, {"go.sum": b"example.com/x v1.0.0 h1:x=\n"}.get)


def shape(
    copy: str,
    *,
    download: str = DOWNLOAD,
    build: str = BUILD,
    final: str = FINAL,
    inputs: TreeInputs = LISTED,
) -> Accelerated:
    return made(f"{download}FROM golang:1.22 AS builder\n{copy}\n{build}{final}", inputs=inputs)


def run_mounts(result: Accelerated) -> int:
    """On how many instructions the module cache is mounted."""
    return result.text.count("id=p-gomodcache,")


@pytest.mark.parametrize(
    ("copy", "becomes"),
    [
        ("COPY --from=modules /go/pkg /go/pkg", "COPY --from=modules /go/[p]kg /go/pkg"),
        ("COPY --from=modules /go/pkg/ /go/pkg/", None),
        ("COPY --from=modules /go/pkg/mod /go/pkg/mod", None),
        ("COPY --from=modules /go /go", "COPY --from=modules /go /go"),
        ("COPY --link --from=modules ${GOPATH}/pkg ${GOPATH}/pkg", None),
        ('COPY --from=modules ["/go/pkg", "/go/pkg"]', None),
        ("COPY --from=modules /go/pkg/mod/cache /go/pkg/mod/cache", None),
        ("COPY --from=0 \\\n  /go/pkg \\\n  /go/pkg", None),
        ("WORKDIR /go\nCOPY --from=modules /go/pkg pkg", None),
    ],
)
def test_modules_that_a_stage_hands_on_are_mounted_in_both(copy: str, becomes: str | None) -> None:
    result = shape(copy)
    assert run_mounts(result) == 2
    assert not reasons(result)
    assert result.modules_mounted
    assert result.text.count("\n") == shape(copy, final=FINAL).text.count("\n")
    if becomes is not None:
        assert becomes.replace("[p]kg", "pk[g]") in result.text


def test_a_pattern_begins_at_the_first_folder_that_may_be_missing() -> None:
    assert " /go/pk[g]/mod /go/pkg/mod\n" in shape("COPY --from=modules /go/pkg/mod /go/pkg/mod").text
    moved = "ENV GOMODCACHE=/cache/mod\n"
    result = shape(
        f"{moved}COPY --from=modules /cache /cache", download=DOWNLOAD.replace("COPY", f"{moved}COPY")
    )
    assert "COPY --from=modules /cach[e] /cache\n" in result.text
    assert run_mounts(result) == 2
    home = "ENV GOPATH=/root/go\n"
    result = shape(
        f"{home}COPY --from=modules /root/go/pkg/mod /root/go/pkg/mod",
        download=DOWNLOAD.replace("COPY", f"{home}COPY"),
    )
    assert "COPY --from=modules /root/g[o]/pkg/mod /root/go/pkg/mod\n" in result.text


def test_each_stage_may_have_the_cache_at_a_folder_of_its_own() -> None:
    result = shape("ENV GOMODCACHE=/mods\nCOPY --from=modules /go/pkg/mod /mods")
    assert "gomodcache,target=/go/pkg/mod go mod download" in result.text
    assert "gomodcache,target=/mods " in result.text


def test_a_stage_may_hand_its_modules_to_several() -> None:
    more = "FROM golang:1.22 AS tests\nCOPY --from=modules /go/pkg /go/pkg\nWORKDIR /src\nCOPY . .\n"
    more += "RUN CGO_ENABLED=0 go test ./... && touch /passed\n"
    result = shape("COPY --from=modules /go/pkg /go/pkg", final=f"{more}{FINAL}COPY --from=tests /passed /\n")
    assert run_mounts(result) == 3
    assert not reasons(result)


def test_flags_of_go_for_its_modules_do_not_matter() -> None:
    flags = "ENV GOFLAGS=-modcacherw\n"
    result = shape(
        f"{flags}COPY --from=modules /go/pkg /go/pkg", download=DOWNLOAD.replace("COPY", f"{flags}COPY")
    )
    assert run_mounts(result) == 2


@pytest.mark.parametrize(
    ("copy", "why"),
    [
        ("COPY --from=modules /go/pkg /elsewhere", "modules at /go/pkg/mod"),
        ("COPY --from=modules /go/pkg/mod /go/pkg", "modules at /go/pkg/mod"),
        ("ENV GOMODCACHE=/mods\nCOPY --from=modules /go/pkg /go/pkg", "modules at /mods"),
        ("COPY --from=modules /go/pkg/mod/example.com/x@v1.0.0/web /web", "has its modules at"),
        ("COPY --from=modules /go/pk? /go/pkg", "reads /go/pk? out"),
        ("COPY --from=modules --chmod=700 /go/pkg /go/pkg", "reads /go/pkg out"),
        ("COPY --from=modules /go/pkg /go/bin /go/pkg/", "reads /go/pkg /go/bin out"),
        (f"ENV GOMODCACHE=/go/pkg/mod\nUSER 1000\nENV HOME=/h\n{PLAIN_COPY}", "another user"),
        ("RUN --mount=type=bind,from=modules,source=/go/pkg,target=/go/pkg go vet .", "out of this stage"),
        ("COPY --from=modules /go/pkg /go/pkg\nRUN du -s /go/pkg/mod", "uses /go/pkg/mod without go"),
        ("COPY --from=modules /go/pkg /go/pkg\nCOPY private /go/pkg/mod/", "may copy modules"),
        ("ENV GOPROXY=off\nCOPY --from=modules /go/pkg /go/pkg", "GOPROXY is off"),
    ],
)  # fmt: skip
def test_modules_stay_in_the_layers_where_a_copy_is_not_plain(copy: str, why: str) -> None:
    result = shape(copy)
    assert "\nRUN go mod download\n" in result.text
    assert all(line in result.text.split("\n") for line in copy.split("\n") if line.startswith("COPY"))
    assert why in reasons(result)


def test_what_refuses_one_stage_refuses_all_that_share_its_modules() -> None:
    lists = "FROM golang:1.22 AS list\nCOPY --from=modules /go/pkg /go/pkg\nWORKDIR /src\nCOPY . .\n"
    lists += "RUN go build ./... && ls /go/pkg/mod > /list\n"
    result = shape("COPY --from=modules /go/pkg /go/pkg", final=f"{lists}{FINAL}COPY --from=list /list /\n")
    assert run_mounts(result) == 0
    assert missing(reasons(result), "itself", "/go/pkg/mod") == []
    assert "COPY --from=modules /go/pkg /go/pkg\n" in result.text


def test_an_image_that_gets_the_modules_keeps_them() -> None:
    result = shape("COPY --from=modules /go/pkg /go/pkg", final='CMD ["go", "run", "."]\n')
    assert run_mounts(result) == 0
    assert "becomes the image" in reasons(result)


def test_modules_that_are_copied_make_a_network_needless_too() -> None:
    refused = "COPY --from=modules /go/pkg /go/pkg\nRUN du -s /go/pkg/mod"
    text = f"{DOWNLOAD}FROM golang:1.22 AS builder\n{refused}\n{BUILD}{FINAL}"
    result = made(text, compile_without_network=True)
    assert run_mounts(result) == 0
    assert result.without_network == (11,)


@pytest.mark.parametrize("files", [{}, {"go.sum": b""}, {"x/go.sum": b" \n"}])
def test_a_tree_without_modules_keeps_the_copy_that_fails(files: dict[str, bytes]) -> None:
    inputs = TreeInputs(dict.fromkeys(files, b"1"), files.get)
    result = shape(PLAIN_COPY, inputs=inputs)
    assert run_mounts(result) == 0
    assert "go.sum lists no module" in reasons(result)


def test_a_stage_of_its_own_needs_no_list_of_modules() -> None:
    nothing = TreeInputs({}, lambda _: None)
    assert run_mounts(made(f"FROM golang:1.22 AS builder\n{BUILD}{FINAL}", inputs=nothing)) == 1
