"""From paths as tools say them back to the files of a context."""

from __future__ import annotations

import pytest

from tests.platforms import AMD64
from watcher.dockerfile import ImageConfig, Places, parse

FILES = {
    "go.mod": "module example.com/a\n",
    "main.go": "",
    "internal/x/x.go": "",
    "app/go.mod": 'module "example.com/a/app" // the app\n',
    "app/main.go": "",
    "app/only.go": "",
    "common/server/http.go": "",
    "config.yaml": "",
}


def places(text: str, files: dict[str, str] = FILES, **args: str) -> Places:
    return Places(
        parse(text), files, lambda path: files[path], build_args=args, target=None, platforms=AMD64, bases={}
    )


HTTP = "common/server/http.go"


@pytest.mark.parametrize(
    ("text", "said", "file"),
    [
        ("WORKDIR /src\nCOPY . .\nRUN go build ./...", "internal/x/x.go", "internal/x/x.go"),
        ("WORKDIR /src\nCOPY . .\nRUN go build ./...", "/src/internal/x/x.go", "internal/x/x.go"),
        ("COPY . /w/\nWORKDIR /w\nRUN cd app && go build", "main.go", "app/main.go"),
        ("WORKDIR /src\nCOPY . .\nRUN cd app && go build", f"../{HTTP}", HTTP),
        ("WORKDIR /src\nCOPY . .\nRUN mkdir /out && go -C app build -o /out", "main.go", "app/main.go"),
        ("WORKDIR /src\nCOPY . .\nRUN go build -C app .", "main.go", "app/main.go"),
        ("WORKDIR /src\nCOPY app/ ./\nRUN go build", "main.go", "app/main.go"),
        ("WORKDIR /src/app\nCOPY app .\nCOPY common ../common\nRUN go vet", f"../{HTTP}", HTTP),
        ("WORKDIR /src\nCOPY app/*.go ./\nRUN go build", "only.go", "app/only.go"),
        ("WORKDIR /src\nCOPY app/main.go cmd.go\nRUN go build", "cmd.go", "app/main.go"),
        ("WORKDIR /src\nCOPY go.mod app/only.go ./\nRUN go build", "only.go", "app/only.go"),
        ("ARG D=app\nWORKDIR /src\nCOPY $D .\nRUN go build", "main.go", "app/main.go"),
        ("COPY . .\nRUN go build", "main.go", "main.go"),
        ("WORKDIR /src\nRUN --mount=type=bind,target=. go build", "main.go", "main.go"),
        ("RUN --mount=type=bind,source=app,target=/m cd /m && go build", "main.go", "app/main.go"),
        ("WORKDIR /src\nCOPY . .\nRUN (cd app && go vet) && go build", HTTP, HTTP),
        ("WORKDIR /src\nCOPY . .\nRUN <<EOF\ncd app\ngo build\nEOF", "main.go", "app/main.go"),
        # By its module, as -trimpath has it.
        ("WORKDIR /src\nCOPY . .\nRUN go build -trimpath", "example.com/a/app/only.go", "app/only.go"),
        # Nobody can say.
        ("WORKDIR /src\nCOPY . .\nRUN (cd app && go vet) && go build", "main.go", None),
        ("WORKDIR /src\nCOPY . .\nRUN make", "main.go", None),
        ("WORKDIR /src\nCOPY . .\nRUN make", HTTP, HTTP),
        ("WORKDIR /src\nCOPY . .\nRUN go generate && go build", "made.go", None),
        ("WORKDIR /src\nCOPY . .\nRUN go build", "/usr/local/go/src/net/http/server.go", None),
        ("WORKDIR /src\nCOPY . .\nRUN go build", "../../../etc/passwd", None),
        ("WORKDIR /src\nCOPY --from=alpine . .\nRUN go build", "main.go", None),
    ],
)  # fmt: skip
def test_a_place_in_the_output_of_a_step(text: str, said: str, file: str | None) -> None:
    text = f"FROM golang AS b\n{text}\n"
    line = next(number for number, one in enumerate(text.split("\n"), 1) if one.startswith("RUN"))
    assert places(text).at_step(line, said) == file


def test_what_make_says_of_the_folder_it_entered_counts() -> None:
    found = places("FROM golang\nWORKDIR /src\nCOPY app app\nRUN make -C app")
    assert found.at_step(4, "only.go", ("/src/app",)) == "app/only.go"


def test_a_place_that_a_running_program_names() -> None:
    text = (
        "FROM golang AS deps\nWORKDIR /d\nCOPY common .\n"
        "FROM golang AS b\nWORKDIR /workspace\nCOPY . .\nCOPY --from=deps /d /deps\nRUN go build -o /x\n"
        "FROM alpine\nCOPY --from=b /x /x\n"
    )
    found = places(text)
    assert found.in_image("/workspace/main.go") == "main.go"
    assert found.in_image("/workspace/app/main.go") == "app/main.go"
    assert found.in_image("/deps/server/http.go") == "common/server/http.go"
    assert found.in_image("example.com/a/internal/x/x.go") == "internal/x/x.go"
    assert found.in_image("example.com/b/x.go") is None
    assert found.in_image("/usr/local/go/src/runtime/panic.go") is None


def test_two_stages_with_other_files_at_one_path_are_told_apart_or_not_at_all() -> None:
    text = "FROM golang AS a\nCOPY main.go /w/main.go\n"
    text += "FROM golang\nCOPY app/main.go /w/main.go\nCOPY --from=a /w /v\n"
    assert places(text).in_image("/w/main.go") is None


def test_a_package_is_found_by_its_module() -> None:
    found = places("FROM golang\n")
    assert found.in_package("example.com/a/app", "main.go") == "app/main.go"
    assert found.in_package("example.com/a", "./main.go") == "main.go"
    assert found.in_package("example.com/a/internal/x", "internal/x/x.go") == "internal/x/x.go"
    assert found.in_package("command-line-arguments", "main.go") is None
    twice = {**FILES, "copy/go.mod": FILES["go.mod"], "copy/main.go": ""}
    assert places("FROM golang\n", twice).in_package("example.com/a", "main.go") is None


def test_stages_that_are_copied_from_each_other_end() -> None:
    lines = ["FROM golang AS s0", "COPY . /w"]
    for number in range(1, 40):
        lines += [f"FROM golang AS s{number}", f"COPY --from=s{number - 1} /w /w"]
    assert places("\n".join(lines)).in_image("/w/nothing.go") is None


def test_the_base_images_folder_is_used_where_it_is_known() -> None:
    found = Places(
        parse("FROM golang\nCOPY app .\nRUN go build\n"),
        FILES,
        FILES.__getitem__,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={"golang": ImageConfig(workdir="/base")},
    )
    assert found.at_step(3, "/base/main.go") == "app/main.go"
