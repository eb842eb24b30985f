"""Which files of a tree count for go's build cache, and where."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.platforms import AMD64
from watcher.dockerfile import ImageConfig, Level, TreeInputs, accelerate, base_images, own_caches, parse
from watcher.dockerfile.inputs import is_gos_own

GOLANG = ImageConfig(env={"GOPATH": "/go", "PATH": "/go/bin:/usr/local/go/bin:/bin"}, workdir="/go", id="1")
PLAIN = {"go.mod": "module m", "main.go": "package main", "README.md": "# m", "_envs/env_dev.yaml": "a: 1"}
CGO = {**PLAIN, "c.go": 'package main\n// #include "answer.h"\nimport "C"', "answer.h": '#include "e.tbl"'}
ASSEMBLY = {**PLAIN, "add_amd64.s": '#include "textflag.h"\n#include "../common/macros.inc"\n'}
VENDORED = {**PLAIN, "vendor/m/c.go": 'package m\nimport "C"', "vendor/m/m.h": ""}


def inputs(tree: dict[str, str]) -> TreeInputs:
    digests = {path: sha256(text.encode()).digest() for path, text in tree.items()}
    return TreeInputs(digests, lambda path: tree[path].encode())


def cache(middle: str, tree: dict[str, str], head: str = "", build_args: dict[str, str] | None = None) -> str:
    """The name of the build cache at the last RUN of a file that has one."""
    text = f"{head}FROM golang:1.22 AS b\nWORKDIR /src\n{middle}\nFROM alpine\nCOPY --from=b /x /x\n"
    args = build_args or {}
    bases = {
        name: GOLANG if "golang" in name else ImageConfig()
        for name in base_images(parse(text), args, None, AMD64)
    }
    made = accelerate(
        text,
        level=Level.EXACT,
        build_args=args,
        target=None,
        platforms=AMD64,
        bases=bases,
        cache_scope="p",
        inputs=inputs(tree),
    )
    return [one.id for one in own_caches(made.text, "p") if "gocache" in one.id][-1]


def counts(middle: str, tree: dict[str, str], path: str, head: str = "") -> bool:
    """Whether another content of the file is another cache."""
    return cache(middle, tree, head) != cache(middle, {**tree, path: "something else"}, head)


BUILD = "COPY . .\nRUN go build -o /x ."


@pytest.mark.parametrize(
    "path", ["entries.tbl", "answer.h", "x/README.md", "a", "b/_data.go", "testdata/t.go"]
)
def test_with_cgo_a_file_of_any_name_counts(path: str) -> None:
    assert counts(BUILD, CGO, path)
    assert counts("COPY . .\nRUN make", CGO, path)
    assert counts("RUN --mount=type=bind,target=/src go build -o /x .", CGO, path)
    assert counts("COPY entries.tbl answer.h *.go ./\nRUN go build -o /x .", CGO, path)
    assert not counts(BUILD.replace("go build", "CGO_ENABLED=0 go build"), CGO, path)


@pytest.mark.parametrize(
    "path", ["main.go", "x/y_test.go", "go.sum", "x/go.mod", ".git/index", "vendor/modules.txt"]
)
def test_what_go_sees_itself_never_counts(path: str) -> None:
    assert is_gos_own(path)
    assert not counts(BUILD, CGO, path)


@pytest.mark.parametrize(
    "spelling", ['"C"', "`C`", r'"\x43"', r'"\u0043"', r'"\103"', '(\n\t"fmt"\n\tx "C"\n)']
)
def test_cgo_is_known_by_every_spelling_of_its_import(spelling: str) -> None:
    assert counts(BUILD, {**PLAIN, "a.go": f"package a\nimport {spelling}"}, "entries.tbl")


def test_swig_is_cgo() -> None:
    assert counts(BUILD, {**PLAIN, "a.swig": "%module a"}, "entries.tbl")


@pytest.mark.parametrize("path", ["README.md", "_envs/env_dev.yaml", "x.h", "main.go"])
@pytest.mark.parametrize("middle", [BUILD, "COPY . .\nRUN make", "RUN apk add gcc\nCOPY . .\nRUN ./build.sh"])
def test_in_a_tree_without_c_nothing_counts(middle: str, path: str) -> None:
    tree = {**PLAIN, "Makefile": "build:\n\tgo build -o /x .", "build.sh": "go build"}
    assert not counts(middle, tree, path)


@pytest.mark.parametrize(
    ("middle", "tree"),
    [
        ("ENV CGO_CFLAGS=-I/src/include\nCOPY . .\nRUN go build", PLAIN),
        ("ENV C_INCLUDE_PATH=/src\nCOPY . .\nRUN go build", PLAIN),
        ('ARG CC="gcc -I/src"\nCOPY . .\nRUN go build', PLAIN),
        ("COPY . .\nRUN CGO_LDFLAGS=-L/src/lib go build", PLAIN),
        ("COPY . .\nRUN export PKG_CONFIG_PATH=$PWD; go build", PLAIN),
        ("COPY . .\nRUN go env -w CGO_CFLAGS=-I/src && go build", PLAIN),
        ("COPY . .\nRUN make", {**PLAIN, "Makefile": "export CGO_CFLAGS=-Iinclude"}),
        ("COPY . .\nRUN ./b.sh", {**PLAIN, "b.sh": "C_INCLUDE_PATH=. go build"}),
        ("COPY include /usr/local/include\nRUN go build", PLAIN),
        ("COPY rootfs /\nRUN go build", PLAIN),
        ("COPY . .\nRUN cp -r include/. /usr/include/\nRUN go build", PLAIN),
        ("COPY . .\nRUN cd lib && make install\nRUN go build", PLAIN),
        ("COPY . .\nRUN cc -c a.c && ar rc a.a a.o\nRUN go build", PLAIN),
        ("RUN --mount=type=bind,source=inc,target=/usr/include/x go build", PLAIN),
    ],
)
def test_without_c_in_the_tree_it_counts_where_a_compiler_is_led_to_it(
    middle: str, tree: dict[str, str]
) -> None:
    assert counts(middle, tree, "include/lib.h")


def test_what_another_stage_makes_of_the_tree_counts() -> None:
    library = "FROM alpine AS lib\nRUN apk add gcc\nCOPY lib .\nRUN cc -c a.c -o /out/a.o\n"
    into = "COPY --from=lib /out /usr/local/lib\nCOPY . .\nRUN go build"
    assert counts(into, PLAIN, "lib/a.def", head=library)
    assert cache(into, PLAIN, library) != cache(into, PLAIN, library.replace("add gcc", "add gcc=1"))
    mounted = "COPY . .\nRUN --mount=type=bind,from=lib,source=/out,target=/usr/local/lib go build"
    assert cache(mounted, PLAIN, library) != cache(mounted, PLAIN, library.replace("add gcc", "add gcc=1"))


def test_of_vendored_c_only_what_is_vendored_counts() -> None:
    assert counts(BUILD, VENDORED, "vendor/m/x.tbl")
    assert not counts(BUILD, VENDORED, "README.md")
    assert counts("ENV CGO_CFLAGS=-I/src\n" + BUILD, VENDORED, "README.md")


def test_what_assembly_includes_counts_with_cgo_off_too() -> None:
    off = BUILD.replace("go build", "CGO_ENABLED=0 go build")
    assert counts(off, ASSEMBLY, "common/macros.inc")
    assert "-asm-" in cache(off, ASSEMBLY)
    usual = {**PLAIN, "a.s": '#include "textflag.h"\n# include "asm_amd64.h"\n', "asm_amd64.h": ""}
    assert cache(off, usual) == "p-gocache"
    assert counts(off, {**usual, "asm_amd64.h": '#include "t.inc"'}, "t.inc")
    early = "COPY go.mod ./\nRUN CGO_ENABLED=0 go install example.com/t@v1"
    assert cache(early, ASSEMBLY) == "p-gocache"


def test_a_tree_that_cannot_be_read_counts() -> None:
    text = "FROM golang:1.22\nCOPY . .\nRUN go build\nCMD x\n"

    def name(content: bytes) -> str:
        made = accelerate(
            text,
            level=Level.EXACT,
            build_args={},
            target=None,
            platforms=AMD64,
            bases={"golang:1.22": GOLANG},
            cache_scope="p",
            inputs=TreeInputs({"main.go": b"1", "x": content}, lambda _: None),
        )
        return next(one.id for one in own_caches(made.text, "p"))

    assert name(b"1") != name(b"2")


def test_a_content_is_looked_through_once() -> None:
    asked: list[str] = []
    known: dict[tuple[str, bytes], bool] = {}
    for number in range(2):
        files = {"a.go": b"a", "b.go": bytes([number])}
        found = TreeInputs(files, lambda path: asked.append(path) or b'import "C"', known)  # type: ignore[func-returns-value]
        assert found.users_of_c == ("a.go", "b.go")
    assert asked == ["a.go", "b.go", "b.go"]
