"""Projects share Go caches, except where go cannot know that what it would find is another's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from watcher.dockerfile import (
    ImageConfig,
    Level,
    OwnCache,
    Platforms,
    TreeInputs,
    accelerate,
    base_images,
    is_own_command,
    is_shared_cache,
    own_caches,
    parse,
)

AMD64 = Platforms(build="linux/amd64", target="linux/amd64")
SCOPE = "watcher-0123456789ab"
OTHER_SCOPE = "watcher-ba9876543210"
GOLANG = ImageConfig(
    env={"GOPATH": "/go", "GOLANG_VERSION": "1.26", "PATH": "/go/bin:/usr/local/go/bin:/usr/bin"},
    workdir="/go",
    id="sha256:golang",
)
ALPINE = ImageConfig(id="sha256:alpine")
NOTHING = TreeInputs({"go.sum": b"1"}, lambda _: b"example.org/m v1.0.0 h1:x=\n")
BUILD = "COPY . .\nRUN CGO_ENABLED=0 go build -o /x ."


def caches(
    middle: str = BUILD,
    *,
    project: str = "shop-1",
    scope: str = SCOPE,
    golang: ImageConfig | None = GOLANG,
    image: str = "golang:1.26",
    head: str = "",
) -> tuple[OwnCache, ...]:
    """Return the cache mounts of a file with these lines."""
    text = f"{head}FROM {image} AS b\nWORKDIR /src\n{middle}\nFROM alpine\nCOPY --from=b /x /x\n"
    bases = {
        name: golang if "golang" in name else replace(ALPINE, id=f"sha256:{name}")
        for name in base_images(parse(text), {}, None, AMD64)
    }
    made = accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases=bases,
        cache_scope=project,
        shared_scope=scope,
        inputs=NOTHING,
    )
    return own_caches(made.text, project, scope)


def build_cache(middle: str = BUILD, **options: object) -> str:
    """Return the build cache of the last step that has one."""
    return [one.id for one in caches(middle, **options) if not one.modules][-1]  # type: ignore[arg-type]


def module_cache(middle: str = BUILD, **options: object) -> str:
    return next(one.id for one in caches(middle, **options) if one.modules)  # type: ignore[arg-type]


def test_two_projects_on_the_same_base_have_the_same_caches() -> None:
    ours, theirs = caches(project="shop-1"), caches(project="blog-2")
    assert [one.id for one in ours] == [one.id for one in theirs]
    assert all(is_shared_cache(one.id) and "shop" not in one.id for one in ours)


def test_another_user_has_other_caches() -> None:
    ours = {one.id for one in caches()}
    assert not ours & {one.id for one in caches(scope=OTHER_SCOPE)}
    text = f"FROM golang\nRUN --mount=type=cache,id={min(ours)},target=/c go build\n"
    assert own_caches(text, "shop-1", OTHER_SCOPE) == ()
    assert own_caches(text, "shop-1") == ()


def test_without_a_scope_the_caches_are_the_projects_own() -> None:
    assert [one.id for one in caches(scope="")] == ["shop-1-gocache", "shop-1-gomodcache"]


@pytest.mark.parametrize("name", ["shop-1-gocache", "p-gomodcache", "watcher-0123456789-gocache", ""])
def test_a_cache_of_one_project_is_no_shared_one(name: str) -> None:
    assert not is_shared_cache(name)


def test_a_program_that_is_kept_still_names_its_project() -> None:
    text = f"FROM golang:1.26 AS b\nWORKDIR /src\n{BUILD}\nFROM alpine\nCOPY --from=b /x /x\n"
    made = accelerate(
        text,
        level=Level.EXACT,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={"golang:1.26": GOLANG, "alpine": ALPINE},
        cache_scope="shop-1",
        shared_scope=SCOPE,
        inputs=NOTHING,
    )
    assert is_own_command(made.text, "shop-1")
    assert not is_own_command(made.text, "blog-2")


def test_another_base_image_has_another_build_cache_and_the_same_modules() -> None:
    new = replace(GOLANG, id="sha256:newer")
    assert build_cache() != build_cache(golang=new)
    assert module_cache() == module_cache(golang=new)
    assert module_cache() == module_cache(image="golang:1.27@sha256:" + "0" * 64)
    assert module_cache() != module_cache(image="registry.example/golang:1.26")  # its go.env can differ


def test_a_base_image_that_was_not_inspected_is_not_shared() -> None:
    assert build_cache(golang=None) == "shop-1-gocache"


@pytest.mark.parametrize(
    "step",
    [
        "RUN apk add --no-cache gcc musl-dev git",
        "RUN apt-get update && apt-get install -y ca-certificates && rm -rf /var/lib/apt/lists/*",
        "RUN adduser -D app && mkdir -p /data && chown app /data",
        "COPY go.mod go.sum ./\nRUN go mod download",
        "ENV APP_ENV=dev",
        "COPY tools /usr/local/bin/",
        "RUN --mount=type=bind,target=/src true",
    ],
)
def test_steps_that_bring_no_toolchain_do_not_count(step: str) -> None:
    assert build_cache(f"{step}\n{BUILD}") == build_cache()


@pytest.mark.parametrize(
    "step",
    [
        "RUN curl -sSL https://example.org/go.tgz | tar -xz -C /usr/local",
        "RUN make tools",
        "RUN ./setup.sh",
        "RUN rm -rf /usr/local/go && apk add go",
        "RUN apk add go",
        "RUN apt-get install -y golang-1.26",
        "RUN cp -r /opt/patched/. /usr/local/go/",
        "RUN eval $(cat script)",
        "RUN cat <<EOF >/usr/local/go/VERSION\ngo1.26\nEOF",
        "ENV GOTOOLCHAIN=go1.26.1-corp",
        "ENV PATH=/opt/go/bin:$PATH",
        "ENV GOROOT=/opt/go",
    ],
)
def test_steps_that_can_bring_a_toolchain_count(step: str) -> None:
    found = build_cache(f"{step}\n{BUILD}")
    assert found != build_cache()
    assert is_shared_cache(found)
    assert found == build_cache(f"{step}\n{BUILD}", project="blog-2")


def test_what_the_compile_step_itself_runs_before_go_counts() -> None:
    inside = "COPY . .\nRUN ./patch-go && CGO_ENABLED=0 go build -o /x ."
    assert build_cache(inside) != build_cache()
    quiet = "COPY . .\nRUN apk add git && CGO_ENABLED=0 go build -o /x ."
    assert build_cache(quiet) == build_cache()


@pytest.mark.parametrize(
    "step",
    [
        "COPY compile /usr/local/go/pkg/tool/linux_amd64/compile",
        "COPY rootfs /",
        "ADD https://example.org/go.tgz /usr/local/",
        "COPY --from=other/image /usr/local/go /usr/local/go",
        "COPY go $UNKNOWN_PLACE/",
    ],
)
def test_files_that_can_be_a_toolchain_are_not_shared(step: str) -> None:
    assert build_cache(f"{step}\n{BUILD}") == "shop-1-gocache"


def test_a_mounted_toolchain_is_not_shared() -> None:
    mounted = "RUN --mount=type=bind,from=golang:1.20,source=/usr/local/go,target=/usr/local/go"
    assert build_cache(f"COPY . .\n{mounted} CGO_ENABLED=0 go build -o /x .") == "shop-1-gocache"


def test_a_toolchain_that_a_package_manager_installs_counts_by_its_command() -> None:
    def of(packages: str, more: str = "") -> str:
        step = f"RUN apk add {packages}\n{more}COPY . .\nRUN CGO_ENABLED=0 go build -o /x ."
        return build_cache(step, image="alpine:3.22")

    assert is_shared_cache(of("go git"))
    assert of("go git") != of("go")
    assert of("go", "COPY patched /opt/go\n") == "shop-1-gocache"


@pytest.mark.parametrize(
    "middle",
    [
        f"ENV GOPRIVATE=corp.example\n{BUILD}",
        f"ENV GONOSUMDB=*\n{BUILD}",
        "COPY . .\nRUN GOINSECURE=corp CGO_ENABLED=0 go build -o /x .",
        "COPY . .\nRUN --mount=type=secret,id=netrc CGO_ENABLED=0 go build -o /x .",
        "COPY . .\nRUN --mount=type=ssh CGO_ENABLED=0 go build -o /x .",
        f"COPY .netrc /root/.netrc\n{BUILD}",
        f"RUN git config --global url.ssh://git@corp.insteadOf https://corp\n{BUILD}",
        f"RUN go env -w GOPROXY=https://corp\n{BUILD}",
        'ARG TOKEN\nCOPY . .\nRUN GOPROXY="https://$TOKEN@corp" CGO_ENABLED=0 go build -o /x .',
    ],
)
def test_modules_that_may_not_be_public_are_the_projects_own(middle: str) -> None:
    assert module_cache(middle) == "shop-1-gomodcache"


def test_modules_of_another_proxy_are_in_another_cache() -> None:
    proxied = f"ENV GOPROXY=https://proxy.example\n{BUILD}"
    assert is_shared_cache(module_cache(proxied))
    assert module_cache(proxied) != module_cache()


def test_stages_that_hand_modules_on_have_one_module_cache() -> None:
    head = "FROM golang:1.25 AS modules\nCOPY go.mod go.sum ./\nENV GOPROXY=https://proxy.example\n"
    head += "RUN go mod download\n"
    found = [one.id for one in caches(f"COPY --from=modules /go/pkg /go/pkg\n{BUILD}", head=head)]
    assert len([name for name in found if name.endswith("-gomodcache")]) == 1


def test_where_c_can_be_compiled_the_digest_of_it_is_in_the_shared_id() -> None:
    found = build_cache("COPY . .\nRUN go build -o /x .")
    assert "-gocache-cgo-" in found
    assert is_shared_cache(found)


def test_the_owner_of_a_mount_is_known() -> None:
    (own, *_) = caches(f"USER 1000:1001\nENV GOCACHE=/c\n{BUILD}")
    assert own.mount_at("/m").endswith(",target=/m,uid=1000,gid=1001")
