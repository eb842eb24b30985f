"""What becomes of each shape of RUN, and which ones are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.facts import missing
from tests.platforms import AMD64
from watcher.dockerfile import (
    Accelerated,
    ImageConfig,
    Level,
    Runs,
    TreeInputs,
    accelerate,
    base_images,
    parse,
)

GOLANG = ImageConfig(env={"GOPATH": "/go", "PATH": "/go/bin:/usr/local/go/bin:/bin"}, workdir="/go")
HEAD = "FROM golang:1.22 AS b\nWORKDIR /src\nENV CGO_ENABLED=0\nCOPY . .\n"
TAIL = '\nFROM alpine\nCOPY --from=b /src/app /app\nCMD ["/app"]\n'
BUILD = "--mount=type=cache,sharing=shared,id=p-gocache,target=/root/.cache/go-build"
MODULES = "--mount=type=cache,sharing=shared,id=p-gomodcache,target=/go/pkg/mod"
BOTH = f"{BUILD} {MODULES}"
EXPIRE = "{ echo 9223372036854775807 >/root/.cache/go-build/testexpire.txt; } 2>/dev/null || :; "

NOTHING = TreeInputs({}, lambda _: None)
SOMETHING = TreeInputs({"c.go": b"1", "x.h": b"2"}, {"c.go": b'import "C"', "x.h": b""}.get)


def made(text: str, level: Level = Level.EXACT, **options) -> Accelerated:
    """Accelerate with every golang base known and no change to the collector, unless asked."""
    options = {"build_args": {}, "target": None, "cache_scope": "p", "gogc": "", "inputs": NOTHING, **options}
    images = base_images(parse(text), options["build_args"], options["target"], AMD64)
    known = {image: GOLANG if "golang" in image else ImageConfig() for image in images}
    return accelerate(
        text, level=level, **{"platforms": AMD64, "bases": known, "keep_programs": False, **options}
    )


def body(middle: str, level: Level = Level.EXACT, **options) -> str:
    """The middle of a two-stage file after acceleration."""
    text = made(HEAD + middle + TAIL, level, **options).text
    assert text.startswith(HEAD)
    assert text.endswith(TAIL)
    return text[len(HEAD) : -len(TAIL)]


def reasons(result: Accelerated) -> str:
    return " | ".join(note.reason for note in result.left_alone)


@pytest.mark.parametrize(
    ("run", "becomes"),
    [
        ("RUN go build -a -o app .", f"RUN {BOTH} go build -o app ."),
        ("RUN go build --a -a=true -o app .", f"RUN {BOTH} go build -o app ."),
        ("RUN go build -a=false .", f"RUN {BOTH} go build -a=false ."),
        ("RUN go install -v -a ./...", f"RUN {BOTH} go install -v ./..."),
        ("RUN go test -a ./... && go vet -a ./...", f"RUN {BOTH} go test -count=1 ./... && go vet ./..."),
        ("RUN go build \\\n  -a \\\n  -o app .", f"RUN {BOTH} go build \\\n  -a=false \\\n  -o app ."),
        ("RUN go build -a \\\n  -o app .", f"RUN {BOTH} go build \\\n  -o app ."),
        ("RUN go build -o app \\\n  -a", f"RUN {BOTH} go build -o app \\\n  -a=false"),
        ("RUN go build -a\\\n  -o app .", f"RUN {BOTH} go build\\\n  -o app ."),
        ("RUN \\\n  # why\n  go build -a .", f"RUN {BOTH} \\\n  # why\n  go build ."),
        ("run\tgo build -a .", f"run {BOTH}\tgo build ."),
        ('RUN ["go", "build", "-a", "."]', f'RUN {BOTH} ["go", "build", "-a=false", "."]'),
        ('RUN ["sh", "-c", "go build -a ."]', f'RUN {BOTH} ["sh", "-c", "go build ."]'),
        ("RUN sh -c 'go build -a .'", f"RUN {BOTH} sh -c 'go build .'"),
        ("RUN <<EOF\nset -e\ngo build -a .\nEOF", f"RUN {BOTH} <<EOF\nset -e\ngo build .\nEOF"),
        ("RUN go -C sub build -a .", f"RUN {BOTH} go -C sub build ."),
        ("RUN time go1.22.3 build -a .", f"RUN {BOTH} time go1.22.3 build ."),
        ("RUN env GOOS=linux gotip build '-a' .", f"RUN {BOTH} env GOOS=linux gotip build ."),
        ("RUN GOFLAGS=-a go build .", f"RUN {BOTH} GOFLAGS=-a go build -a=false ."),
        ("RUN GOFLAGS=-a=1 go build -a .", f"RUN {BOTH} GOFLAGS=-a=1 go build -a=false ."),
        ('RUN GOFLAGS="-v -a" sh -c "go build ."', f'RUN {BOTH} GOFLAGS="-v -a" sh -c "go build ."'),
        ("RUN if [ -f x ]; then go build -a .; fi", f"RUN {BOTH} if [ -f x ]; then go build .; fi"),
        ("RUN --network=host go build -a .", f"RUN {BOTH} --network=host go build ."),
        ("RUN --security=insecure make", None),
        ("RUN make", None),
        ("RUN ./build.sh", None),
        ("RUN case $X in a) go build -a .;; esac", None),
        ("RUN go mod download", f"RUN {MODULES} go mod download"),
        ("RUN go version && echo 'go build -a'", "RUN go version && echo 'go build -a'"),
        ("RUN go build -ldflags '-X main.a=-a' .", f"RUN {BOTH} go build -ldflags '-X main.a=-a' ."),
        ("RUN go build -o -a .", f"RUN {BOTH} go build -o -a ."),
        ("RUN go run . -a", f"RUN {BOTH} {EXPIRE}go run . -a"),
    ],
)
def test_a_run_becomes(run, becomes):
    if becomes is None:  # go is not named, so cgo cannot be ruled out: the cache has a digest in its name
        after = body(run)
        assert "id=p-gocache-cgo-" in after
        assert MODULES in after
        assert after.replace(EXPIRE, "").endswith(run.removeprefix("RUN"))
    else:
        assert body(run) == becomes


@pytest.mark.parametrize(
    ("run", "becomes"),
    [
        ("go build && go clean -cache", "go build && true clean -cache"),
        ("go build && go clean -modcache -cache", "go build && true clean -modcache -cache"),
        ("go build && go clean -cache -testcache", "go build && go clean -cache=false -testcache"),
        ("go build && go clean", "go build && go clean"),
        ("go build && rm -rf /root/.cache/go-build", "go build && true -rf /root/.cache/go-build"),
        (
            "go build && rm -r /go/pkg/mod/ /root/.cache/go-build",
            "go build && true -r /go/pkg/mod/ /root/.cache/go-build",
        ),
    ],
)
def test_what_would_empty_the_mounted_caches_is_turned_off(run, becomes):
    assert body(f"RUN {run}") == f"RUN {BOTH} {becomes}"


@pytest.mark.parametrize(
    ("run", "files"),
    [
        ("RUN go build -toolexec=/src/wrap .", {}),
        ("RUN go build -toolexec '/src/wrap -v' .", {}),
        ("ENV GOFLAGS=-toolexec=/src/wrap\nRUN go build .", {}),
        ("RUN GOFLAGS=-toolexec=/src/wrap go install ./...", {}),
        ("RUN make", {"Makefile": b"\tgo build -toolexec=$(PWD)/wrap .\n"}),
        ("RUN ./build.sh", {"build.sh": b"go build -toolexec ./wrap .\n"}),
    ],
)
def test_a_program_before_gos_tools_gets_no_build_cache(run: str, files: dict[str, bytes]) -> None:
    inputs = TreeInputs(dict.fromkeys(files, b"1"), files.get)
    result = made(HEAD + run + TAIL, inputs=inputs)
    assert "gocache" not in result.text
    assert missing(reasons(result), "toolexec", "program", "tools") == []


@pytest.mark.parametrize(
    "before",
    [
        "RUN go env -w GOFLAGS=-ldflags=-X=main.v=1",
        "COPY env /root/.config/go/env",
        "ENV GOENV=/etc/go-environment",
        "RUN echo GOFLAGS=-ldflags=-s >> /usr/local/go/go.env",
    ],
)
def test_flags_that_go_has_from_a_file_are_not_replaced(before: str) -> None:
    result = made(f"{HEAD}{before}\nRUN go build -o app .{TAIL}", Level.FAST)
    assert "-ldflags=-w" not in result.text
    assert "GOFLAGS is not known" in reasons(result)


def test_a_clean_of_modules_stays_where_they_are_in_the_layer():
    text = 'FROM golang:1.22 AS b\nENV CGO_ENABLED=0\nRUN go build && go clean -cache -modcache\nCMD ["sh"]\n'
    assert made(text).text.split("\n")[2] == f"RUN {BUILD} go build && go clean -cache=false -modcache"


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        ("RUN go build && rm -rf /root/.cache", "itself uses .cache"),
        ("RUN go build && cp -r ~/.cache /x", "itself uses .cache"),
        ("RUN go build && du -sh $(go env GOCACHE)", "itself uses GOCACHE"),
        ("RUN go build && chown -R 5 /root", "itself uses /root"),
        ("RUN go build\nRUN tar c /root/.cache/go-build > /x", "uses /root/.cache/go-build"),
        ("COPY --from=seed /c /root/.cache/go-build\nRUN go build", "copies into go's"),
        ("RUN --mount=type=tmpfs,target=/root/.cache go build", "is in the way"),
        ("RUN --mount=type=bind,target=${WHERE@x} go build", "is in the way"),
        ("RUN GOCACHE=$PWD/c go build", "only when it runs"),
        ("RUN GOCACHE=/a go build && GOCACHE=/b go build", "only when it runs"),
        ("ENV GOCACHE=off\nRUN go build", "not the plain path"),
        ("RUN go build && go clean -cache -i", "does something else"),
        ("USER 1000\nRUN go build", "home of USER 1000"),
        ("USER 1000\nENV HOME=/h\nRUN go build\nRUN golangci-lint run", "golangci-lint may write"),
    ],
)
def test_the_build_cache_is_not_mounted_where_something_else_may_need_it(middle, why):
    result = made(HEAD + middle + TAIL)
    assert "gocache" not in result.text
    assert why in reasons(result)


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        ("RUN go mod download\nRUN ls /go/pkg/mod\nRUN go build", "uses /go/pkg/mod without go"),
        ("RUN go mod download\nRUN cp -r $GOPATH/pkg /x\nRUN go build", "uses $GOPATH"),
        ("RUN go mod download && chmod -R 755 /go\nRUN go build", "the command itself uses /go"),
        ("COPY --from=seed /m /go/pkg/mod\nRUN go build", "may copy modules to /go/pkg/mod"),
        ("COPY vendor-all /go\nRUN go build", "may copy modules to /go/pkg/mod"),
        ("RUN GOMODCACHE=/a go mod download\nRUN go build", "it is at /a in one step and at /go/pkg/mod"),
        ("RUN --mount=type=cache,target=/go/pkg/mod go mod download\nRUN go build", "is there on some"),
        ("ENV GOPROXY=off\nRUN go build", "GOPROXY is off"),
        ("RUN go env -w GOMODCACHE=/m && go build", "go env -w moves a cache"),
        ("RUN go mod download\nUSER 0:5\nRUN go build", "go steps run as different users|could not write"),
        ("USER 1000\nENV HOME=/h GOCACHE=/c\nRUN go build", "USER 1000 could not write next to it"),
        ("RUN go build && su app -c 'go mod download'", "su changes the user"),
        ("RUN go build\nRUN garble build", "garble keeps a cache of its own"),
    ],
)
def test_the_module_cache_is_mounted_on_all_go_steps_or_on_none(middle, why):
    result = made(HEAD + middle + TAIL)
    assert "gomodcache" not in result.text
    assert any(part in reasons(result) for part in why.split("|"))


@pytest.mark.parametrize(
    "path", ["/go/pkg/mod", "/go", "/go/pkg/mod/example.com/x@v1/f", "/go/pkg/m*", "/", "/$X"]
)
def test_modules_that_another_stage_reads_stay_in_the_layer(path):
    text = f"FROM golang:1.22 AS b\nRUN go mod download\nFROM alpine\nCOPY --from=b {path} /x\n"
    assert "gomodcache" not in made(text).text


@pytest.mark.parametrize("path", ["/go/bin/app", "/go/bin", "/src", "/goo", "/go/pkg/model/*"])
def test_another_path_beside_the_modules_may_be_read(path):
    text = f"FROM golang:1.22 AS b\nRUN go mod download\nFROM alpine\nCOPY --from=b {path} /x\n"
    assert MODULES in made(text).text


def test_a_build_cache_that_another_stage_mounts_stays_in_the_layer():
    text = (
        "FROM golang:1.22 AS b\nRUN go build std\nFROM golang:1.22\n"
        'RUN --mount=from=b,source=/root/.cache,target=/seed ls /seed && go build\nCMD ["x"]\n'
    )
    assert made(text).text.split("\n")[1] == f"RUN {MODULES} go build std"


def test_an_image_that_runs_go_itself_keeps_its_caches():
    text = 'FROM golang:1.22\nCOPY . /src\nRUN go mod download && go build -a ./...\nCMD ["go", "run", "."]\n'
    result = made(text)
    assert result.text == text
    assert missing(reasons(result), "container", "runs go") == []
    assert "would lose its modules" in reasons(result)
    assert "-a stays" in reasons(result)


ONE_STAGE = "FROM golang:1.22\nENV CGO_ENABLED=0\nCOPY . .\nRUN go build -o /app .\n"
MOUNTED = "-gocache,target="


@pytest.mark.parametrize(
    ("rest", "runs", "mounted"),
    [
        ('CMD ["/app"]', Runs(), True),
        ('CMD ["go", "run", "."]', Runs(), False),
        # what the compose file says wins over the image, either way
        ('CMD ["/app"]', Runs(command=("go", "run", ".")), False),
        ('CMD ["/app"]', Runs(command=("sh", "-c", "cd cmd && exec go run .")), False),
        ('CMD ["/app"]', Runs(command=("/usr/local/go/bin/go", "run", ".")), False),
        ('CMD ["/app"]', Runs(entrypoint=("air", "-c", ".air.toml")), False),
        ('ENTRYPOINT ["/app"]', Runs(command=("serve",)), True),
        ('ENTRYPOINT ["go"]', Runs(command=("run", ".")), False),
        ('CMD ["go", "run", "."]', Runs(command=("/app",)), True),
        ('CMD ["go", "run", "."]', Runs(entrypoint=("/app",)), True),
        ('ENTRYPOINT ["go"]\nCMD ["run", "."]', Runs(entrypoint=("/app",)), True),
        # what runs besides
        ('CMD ["/app"]', Runs(health=("CMD", "go", "run", "./health")), False),
        ('CMD ["/app"]', Runs(health=("CMD-SHELL", "go run ./health || exit 1")), False),
        ('CMD ["/app"]\nHEALTHCHECK CMD go run ./health', Runs(), False),
        ('CMD ["/app"]\nHEALTHCHECK CMD go run ./health', Runs(health=("NONE",)), True),
        ('CMD ["/app"]', Runs(others=(("go", "run", "./seed"),)), False),
    ],
)
def test_a_container_that_runs_go_keeps_the_cache_of_its_image(rest: str, runs: Runs, mounted: bool) -> None:
    result = made(ONE_STAGE + rest + "\n", runs=runs)
    assert (MOUNTED in result.text) is mounted
    assert (missing(reasons(result), "miss", "build cache") == []) is not mounted


@pytest.mark.parametrize(
    ("rest", "mounted"), [("", False), ('CMD ["/app"]\n', True), ('ENTRYPOINT ["/app"]\n', True)]
)
def test_what_the_base_image_runs_counts_where_nothing_else_is_said(rest: str, mounted: bool) -> None:
    base = replace(GOLANG, command=("air",))
    assert (MOUNTED in made(ONE_STAGE + rest, bases={"golang:1.22": base}).text) is mounted


def test_a_stage_that_is_not_the_image_may_have_any_command() -> None:
    text = f"{ONE_STAGE.replace('1.22', '1.22 AS b')}CMD go run .{TAIL.replace('/src/app', '/app')}"
    assert MOUNTED in made(text, runs=Runs(command=("go", "run", "."))).text


def test_tabs_of_a_heredoc_are_no_part_of_what_the_shell_reads() -> None:
    text = "FROM golang:1.22 AS b\nRUN <<-EOF\n\tcat <<X >f\n\ttext\n\tX\n\tgo build -a .\n\tEOF\n" + TAIL
    assert "\n\tgo build .\n" in made(text).text
    # without the sign they stay, and the end of the inner one is not found
    assert "go build -a ." in made(text.replace("<<-EOF", "<<EOF").replace("\tEOF", "EOF")).text


def test_a_heredoc_fed_to_a_shell_is_read_without_its_tabs() -> None:
    text = "FROM golang:1.22 AS b\nRUN sh -e <<-'EOF'\n\tcat <<X >f\n\tX\n\t\tgo build -a .\n\tEOF\n" + TAIL
    assert "\n\t\tgo build .\n" in made(text).text


@pytest.mark.parametrize(
    ("rest", "runs", "mounted"),
    [
        ('CMD ["/app"]', Runs(), True),
        ("CMD /app --port 1", Runs(), True),
        ('ENTRYPOINT ["/app"]\nCMD ["serve"]', Runs(), True),
        ("", Runs(), False),  # nobody knows what it runs
        ('CMD ["sh"]', Runs(), False),
        ('CMD ["./start.sh"]', Runs(), False),
        ('ENTRYPOINT ["tini", "--", "/app"]', Runs(), False),
        ('CMD ["$APP"]', Runs(), False),
        ('CMD ["/app"]', Runs(command=("go", "run", ".")), False),
        ('CMD ["/app"]', Runs(entrypoint=("sh", "-c", "/app")), False),
        ('CMD ["sh"]', Runs(command=("/app",)), True),
        ('CMD ["/app"]', Runs(health=("CMD", "go", "version")), False),
    ],
)
def test_an_image_of_one_stage_needs_no_modules_where_it_runs_a_program(
    rest: str, runs: Runs, mounted: bool
) -> None:
    """Such a file downloads every module at each save, and leaves them in an image each."""
    text = ONE_STAGE.replace("COPY . .", "COPY . /src")
    assert ("-gomodcache" in made(f"{text}{rest}\n", runs=runs).text) is mounted


def test_the_target_decides_what_becomes_the_image():
    text = HEAD + "RUN go build\n" + TAIL
    assert MODULES in made(text).text
    assert MODULES not in made(text, target="b").text


def test_stages_that_the_target_does_not_need_are_not_touched():
    text = HEAD + "RUN go build" + TAIL + "FROM golang:1.22 AS lint\nRUN go vet -a ./...\nFROM 1\n"
    text = text.replace("FROM 1\n", "FROM alpine\n")
    assert made(text).text == text
    assert "RUN go vet -a" in made(text, target="b").text


def test_a_step_without_go_is_not_touched():
    middle = "RUN apk add --no-cache gcc libc-dev && mkdir -p /x\nRUN go build"
    assert body(middle).split("\n")[0] == middle.split("\n", maxsplit=1)[0]


def test_a_stage_without_go_is_not_touched():
    text = "FROM node:20 AS web\nRUN npm ci && make site\nFROM alpine\nRUN ./setup.sh\nCOPY --from=web /x /\n"
    assert made(text) == Accelerated(text)


def test_a_go_that_is_installed_makes_a_go_stage():
    text = "FROM alpine AS b\nRUN apk add go make\nRUN make\nFROM alpine\nCOPY --from=b /x /\n"
    assert "target=/root/.cache/go-build" in made(text).text.split("\n")[2]


def test_the_caches_are_where_env_and_args_say():
    middle = "ARG C=/c\nENV GOCACHE=${C}/go GOMODCACHE=/m\nRUN go build ."
    assert body(middle).endswith(
        "RUN --mount=type=cache,sharing=shared,id=p-gocache,target=/c/go"
        " --mount=type=cache,sharing=shared,id=p-gomodcache,target=/m go build ."
    )
    assert "target=/d/go " in body(middle, build_args={"C": "/d"})


def test_the_caches_are_where_xdg_home_and_gopath_say():
    assert "target=/x/go-build " in body("ENV XDG_CACHE_HOME=/x\nRUN go build .")
    assert "target=/h/.cache/go-build " in body("ENV HOME=/h\nRUN go build .")
    assert "target=/one/pkg/mod go" in body("ENV GOPATH=/one:/two\nRUN go build .")
    assert "target=/tmp/c " in body("RUN export GOCACHE=/tmp/c && go build .")


def test_the_environment_of_a_stage_is_that_of_the_stage_below():
    text = (
        "FROM golang:1.22 AS base\nENV CGO_ENABLED=0 GOCACHE=/c\nFROM base AS b\nRUN go build -a\n"
        "FROM alpine\nCOPY --from=b /x /\n"
    )
    assert f"RUN {BOTH} go build\n".replace("/root/.cache/go-build", "/c") in made(text).text


def test_the_configuration_of_the_base_counts():
    base = ImageConfig(env={"GOPATH": "/g", "GOCACHE": "/c", "CGO_ENABLED": "0"}, user="0:0")
    text = "FROM mine AS b\nRUN go build\nFROM alpine\nCOPY --from=b /x /\n"
    assert (
        f"RUN {BOTH} go build\n".replace("/root/.cache/go-build", "/c").replace("/go/", "/g/")
        in made(text, bases={"mine": base}).text
    )


def test_a_numeric_user_owns_its_cache():
    middle = "ENV GOCACHE=/c GOMODCACHE=/m\nUSER 1000:1001\nRUN go build -a ."
    after = body(middle).split("\n")[-1]
    assert "target=/c,uid=1000,gid=1001 " in after
    assert "target=/m,uid=1000,gid=1001 " in after
    assert "gid" not in body(middle.replace(":1001", ""))


def test_a_user_with_a_name_is_left_alone_with_a_reason():
    result = made(HEAD + "USER app\nRUN go build -a ." + TAIL)
    assert result.text == HEAD + "USER app\nRUN go build -a ." + TAIL
    assert missing(reasons(result), "USER app", "name") == []


def test_an_official_base_that_was_not_looked_at_is_taken_as_usual():
    result = made(HEAD + "RUN go build -a ." + TAIL, bases={"golang:1.22": None, "alpine": None})
    assert f"RUN {BOTH} go build ." in result.text
    assert "golang:1.22 was not inspected" in result.changes[0].reasons[0]


def test_another_base_that_was_not_looked_at_is_left_alone():
    text = "FROM mine/tools AS b\nRUN go build -a\nFROM alpine\nCOPY --from=b /x /\n"
    result = made(text, bases={})
    assert result.text == text
    assert missing(reasons(result), "mine/tools", "not known") == []


def test_a_windows_base_is_left_alone():
    text = "FROM golang:windowsservercore AS b\nRUN go build -a\nFROM alpine\nCOPY --from=b /x /\n"
    windows = ImageConfig(env={"GOPATH": "C:\\go"}, os="windows")
    assert made(text, bases={"golang:windowsservercore": windows}).text == text
    assert made(text, bases={}).text == text


def test_another_shell_is_left_alone():
    text = HEAD + 'SHELL ["pwsh", "-Command"]\nRUN go build -a .' + TAIL
    result = made(text)
    assert result.text == text
    assert "not a POSIX one" in reasons(result)
    assert f"RUN {BOTH} go build ." in body(
        'SHELL ["/bin/bash", "-euo", "pipefail", "-c"]\nRUN go build -a .'
    )


def test_a_trigger_of_the_base_that_runs_go_keeps_the_modules_in_layers():
    base = ImageConfig(env=GOLANG.env, onbuild=("COPY . /app", "RUN go mod download"))
    result = made(HEAD + "RUN go build -a ." + TAIL, bases={"golang:1.22": base})
    assert f"RUN {BUILD} go build ." in result.text
    assert "ONBUILD trigger" in reasons(result)


def test_an_onbuild_of_the_file_is_left_as_it_is():
    result = made(HEAD + "ONBUILD RUN go build -a .\nRUN go build -a ." + TAIL)
    assert "ONBUILD RUN go build -a .\n" in result.text
    assert f"RUN {BOTH} go build ." in result.text
    assert missing(reasons(result), "builds of other files") == []


def test_existing_cache_mounts_are_left_and_the_rest_is_done():
    mounts = "--mount=type=cache,target=/root/.cache/go-build --mount=type=cache,target=/go/pkg/mod"
    assert body(f"RUN {mounts} go build -a .") == f"RUN {mounts} go build ."
    above = "--mount=type=cache,target=/root/.cache --mount=type=cache,target=/go"
    assert body(f"RUN {above} go build -a .") == f"RUN {above} go build ."


def test_what_the_file_does_with_its_own_mount_is_its_own_affair():
    mounts = "--mount=type=cache,target=/root/.cache --mount=type=cache,target=/go/pkg/mod"
    run = f"RUN {mounts} go build && go clean -cache -i x"
    assert body(run) == run


def test_with_an_existing_mount_a_stays_where_cgo_may_be_on():
    text = (HEAD + "RUN --mount=type=cache,target=/root/.cache/go-build go build -a ." + TAIL).replace(
        "ENV CGO_ENABLED=0", "ENV A=0"
    )
    result = made(text)
    assert "go build -a ." in result.text
    assert "cgo may be on" in reasons(result)


@pytest.mark.parametrize("syntax", ["docker/dockerfile:1.1", "mine/frontend"])
def test_a_frontend_without_mounts_is_respected(syntax):
    text = f"# syntax={syntax}\n" + HEAD + "RUN go build -a" + TAIL
    result = made(text)
    assert result.text == text
    assert missing(reasons(result), "not know", "RUN --mount") == []


def test_the_escape_sign_of_the_file_is_respected():
    text = "# escape=`\n" + HEAD + "RUN go build -a `\n  -o app ." + TAIL
    assert f"RUN {BOTH} go build `\n  -o app ." in made(text).text


def test_windows_line_ends_stay():
    text = (HEAD + "RUN go build -a \\\n  -o app ." + TAIL).replace("\n", "\r\n")
    assert made(text).text == text.replace("RUN go build -a", f"RUN {BOTH} go build")


class TestCgo:
    """Caches that C decides have a name of their own, which changes with whatever may change the C."""

    def cache(self, middle: str, head: str = "FROM golang:1.22 AS b\n", **options) -> str:
        text = made(head + middle + "\nFROM alpine\nCOPY --from=b /x /\n", **options).text
        return text.rpartition("id=p-gocache")[2].partition(",")[0]

    def test_without_cgo_every_base_shares_one(self):
        assert self.cache("RUN CGO_ENABLED=0 go build") == ""
        assert self.cache("RUN export CGO_ENABLED=0; go build && go clean") == ""
        assert self.cache("ARG CGO_ENABLED=0\nRUN go build", "FROM golang:1.23 AS b\n") == ""
        assert self.cache("ARG CGO_ENABLED=0\nRUN go build", build_args={"CGO_ENABLED": "1"}) != ""
        assert self.cache("ENV CGO_ENABLED=0\nRUN CGO_ENABLED=1 go build") != ""

    def test_another_base_or_image_id_is_another_cache(self):
        one = self.cache("RUN go build")
        assert one.startswith("-cgo-")
        assert one != self.cache("RUN go build", "FROM golang:1.23 AS b\n")
        assert one != self.cache(
            "RUN go build", bases={"golang:1.22": ImageConfig(GOLANG.env, id="sha256:1")}
        )

    def test_other_packages_are_another_cache_and_other_go_flags_are_not(self):
        one = self.cache("RUN apk add zlib-dev\nRUN go build")
        assert one != self.cache("RUN apk add zlib-dev=1\nRUN go build")
        assert one == self.cache("RUN apk add zlib-dev\nRUN go vet -v ./... && cd x && go build -v")
        assert self.cache("RUN apk add a && go build") != self.cache("RUN apk add b && go build")

    def test_a_build_arg_that_a_step_uses_counts_and_another_does_not(self):
        middle = "ARG Z=1\nARG COMMIT=a\nRUN wget https://example.com/z-$Z.tgz\nRUN go build"
        one = self.cache(middle)
        assert one != self.cache(middle, build_args={"Z": "2"})
        assert one == self.cache(middle, build_args={"COMMIT": "b"})

    def test_the_trees_c_counts_behind_the_copy_of_the_tree_only(self):
        late = "COPY . .\nRUN go build"
        early = "COPY go.mod go.sum ./\nRUN go install example.com/tool@v1\nCOPY . .\nCMD x"
        assert self.cache(late) != self.cache(late, inputs=SOMETHING)
        assert self.cache(early) == self.cache(early, inputs=SOMETHING)
        bound = "RUN --mount=type=bind,target=/src go build"
        assert self.cache(bound) != self.cache(bound, inputs=SOMETHING)

    def test_a_tree_whose_c_was_not_told_gets_no_build_cache_unless_cgo_is_off(self):
        text = "FROM golang:1.22 AS b\nCOPY . .\nRUN go build -a .\nFROM alpine\nCOPY --from=b /x /\n"
        result = made(text, inputs=None)
        assert "gocache" not in result.text
        assert "go build -a" in result.text
        assert missing(reasons(result), "C", "changed") == []
        off = text.replace("RUN go", "RUN CGO_ENABLED=0 go")
        assert made(off, inputs=None).text == made(off).text != off


@pytest.mark.parametrize(
    ("run", "becomes"),
    [
        ("go build .", "go build -ldflags=-w ."),
        ("go -C x build -a .", "go -C x build -ldflags=-w ."),
        ("go install ./...", "go install -ldflags=-w ./..."),
        ('go build -ldflags="-X a.b=c" .', 'go build -ldflags="-w -X a.b=c" .'),
        ("go build -ldflags '-X a.b=c' .", "go build -ldflags '-w -X a.b=c' ."),
        ('go build -ldflags "-X a.b=$V" .', 'go build -ldflags "-w -X a.b=$V" .'),
        ('go build "-ldflags=-X a.b=c" .', 'go build "-ldflags=-w -X a.b=c" .'),
        ("go build -ldflags=-X=a.b=c .", "go build -ldflags='-w '-X=a.b=c ."),
        ('go build -ldflags="" .', 'go build -ldflags=-w"" .'),
        ("go build -ldflags= .", "go build -ldflags=-w ."),
        ("go build -ldflags='-s' .", "go build -ldflags='-s' ."),
        (
            "go build -ldflags='-extldflags \"-static\" -w' .",
            "go build -ldflags='-extldflags \"-static\" -w' .",
        ),
        ("go build $FLAGS .", "go build -ldflags=-w $FLAGS ."),
        ("go test ./...", "go test -count=1 ./..."),
        ("GOFLAGS=-v go build .", "GOFLAGS=-v go build -ldflags=-w ."),
    ],
)
def test_fast_leaves_the_debugger_data_out(run, becomes):
    assert body(f"RUN {run}", Level.FAST) == f"RUN {BOTH} {becomes}"


def test_fast_in_the_exec_form():
    assert body('RUN ["go", "build", "."]', Level.FAST) == f'RUN {BOTH} ["go", "build", "-ldflags=-w", "."]'
    given = body('RUN ["go", "build", "-ldflags", "-X a.b=c", "."]', Level.FAST)
    assert given == f'RUN {BOTH} ["go", "build", "-ldflags", "-w -X a.b=c", "."]'


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ("go build -ldflags=$L .", "starts with a variable"),
        ("go build -ldflags=all=-X=a.b=c .", "pattern of packages"),
        ("go build -ldflags=-X=a.b=c -ldflags=-X=a.d=e .", "more than once"),
        ("GOFLAGS=-ldflags=-X=a.b=c go build .", "GOFLAGS holds -ldflags"),
        ("GOFLAGS=$F go build .", "GOFLAGS is not known"),
        ("sh -c 'go build -ldflags=-X=a.b=c .'", "leave no place"),
        ("go build -ldflags", "has no value"),
    ],
)
def test_fast_says_why_a_linker_flag_is_not_added(run, why):
    result = made(HEAD + f"RUN {run}" + TAIL, Level.FAST)
    assert f"RUN {BOTH} {run}" in result.text
    assert why in reasons(result)


@pytest.mark.parametrize(
    ("run", "becomes"),
    [
        ("go build .", "GOGC=400 go build ."),
        ("A=1 go build -a .", "A=1 GOGC=400 go build ."),
        ("env A=1 go build .", "env A=1 GOGC=400 go build ."),
        ("sh -c 'go install .'", "sh -c 'GOGC=400 go install .'"),
        ("GOGC=off go build .", "GOGC=off go build ."),
        ("time go build .", "time go build ."),
        ("go test ./...", "go test -count=1 ./..."),
        ("go run .", f"{EXPIRE}go run ."),
        ("X=$(go build .) true", "X=$(go build .) true"),
    ],
)
def test_the_compiler_collects_less_where_the_shell_allows_it_plainly(run, becomes):
    assert body(f"RUN {run}", gogc="400") == f"RUN {BOTH} {becomes}"


class TestNetwork:
    """A step that only compiles runs without a network when the caller says that the modules are there."""

    def offline(self, middle: str, head: str = HEAD) -> bool:
        result = made(head + middle + TAIL, compile_without_network=True)
        line = len((head + middle).split("\n"))
        assert (line in result.without_network) == ("--network=none" in result.text.split("\n")[line - 1])
        assert not result.no_network_lines
        other = made(head + middle + TAIL, compile_without_network=True, engine_knows_networks=False)
        assert other.without_network == result.without_network
        if "# syntax" in head:  # what the engine has built in does not count
            assert other == result
        else:
            assert other.no_network_lines == other.without_network
            assert other.text == result.text.replace(" --network=none", "", len(other.no_network_lines))
        return line in result.without_network

    @pytest.mark.parametrize(
        "run",
        [
            "go build -a .",
            "cd x && CGO_ENABLED=0 go build ./... && strip app",
            "go vet ./... && go build -o x .",
            'go build -ldflags "-X a.b=$(git describe)" .',
            "sh -c 'go build'",
            "go list ./... && mkdir x && go install .",
        ],
    )
    def test_a_compile_step_goes_without(self, run):
        assert self.offline(f"RUN {run}")

    @pytest.mark.parametrize(
        "run",
        [
            "go mod download",
            "go test ./...",
            "go generate ./... && go build",
            "go run .",
            "make",
            "go get x && go build",
            "go install example.com/x@latest",
            "go install $TOOL",
            "apk add git && go build",
            "git pull && go build",
            "curl -O x && go build",
            "./prepare.sh && go build",
            "go build $(cat list)",
        ],
    )
    def test_any_other_step_keeps_it(self, run):
        assert not self.offline(f"RUN {run}")

    def test_the_files_own_choice_stays(self):
        assert (
            body("RUN --network=host go build", compile_without_network=True)
            == f"RUN {BOTH} --network=host go build"
        )

    def test_modules_in_an_earlier_layer_are_enough(self):
        shared = "RUN ls /go/pkg/mod\n"  # keeps the module cache from being mounted
        assert not self.offline(shared + "RUN go build")
        assert self.offline(shared + "RUN go mod download\nRUN go build")
        assert self.offline(shared + "RUN go mod vendor\nRUN go build")

    def test_a_frontend_that_does_not_know_it_does_not_get_it(self):
        assert not self.offline("RUN go build", "# syntax=docker/dockerfile:1.2\n" + HEAD)
        assert self.offline("RUN go build", "# syntax=docker/dockerfile:1.3\n" + HEAD)


def test_scopes_stay_apart_and_fit_into_a_mount_option():
    def key(scope: str) -> str:
        return (
            made(HEAD + "RUN go build" + TAIL, cache_scope=scope)
            .text.partition("id=")[2]
            .partition("-gocache")[0]
        )

    assert key("a_b.c-1") == "a_b.c-1"
    assert len({key("a/b"), key("a,b"), key('a"b'), key("a b"), key("a-b")}) == 5
    assert "," not in key("a,b")


def test_the_changes_tell_the_line_before_and_after_with_reasons():
    result = made(HEAD + "RUN go build \\\n  -a -o app ." + TAIL)
    first, second = result.changes
    assert (first.line, first.before, first.after) == (5, "RUN go build \\", f"RUN {BOTH} go build \\")
    objects, modules = first.reasons
    assert missing(objects, "compiled", "next build") == []
    assert missing(modules, "modules", "downloaded", "next build") == []
    assert (second.line, second.before, second.after) == (6, "  -a -o app .", "  -o app .")
    assert second.reasons[0].startswith("-a compiles the standard library")
