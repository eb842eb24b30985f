"""Changes that make the final image smaller: what they write, and when they are not possible."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.facts import missing
from tests.platforms import AMD64
from tests.unit.dockerfile.test_properties import dockerfiles as random_dockerfiles
from watcher.dockerfile import (
    SHRINK_RULES,
    BaseNeeds,
    DockerfileError,
    ImageConfig,
    ImageFacts,
    ShrinkInput,
    parse,
)
from watcher.dockerfile.leave_base import DEFAULT_PATH
from watcher.dockerfile.shrink import find_build_lines, insert_measurement

GIN = ImageFacts(
    packages=frozenset({"github.com/ugorji/go/codec", "net/http"}),
    modules=frozenset({"github.com/gin-gonic/gin"}),
    needs=BaseNeeds(static=True, certificates=True, accounts=("/etc/passwd", "/etc/group"), temporary=True),
)
ARTICLE = """\
FROM golang:alpine AS builder
WORKDIR /workspace
COPY . .
RUN CGO_ENABLED=0 go build -a -o app .

FROM alpine AS final
ARG ENV
COPY --from=builder /workspace/app .
CMD ["./app"]
"""


BASES = {
    "alpine": ImageConfig(env={"PATH": DEFAULT_PATH}, command=("/bin/sh",)),
    "golang:alpine": ImageConfig(),
    "distroless": ImageConfig(
        env={"PATH": DEFAULT_PATH, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"},
        user="65532",
        workdir="/home/nonroot",
    ),
    "distroless/entry": ImageConfig(command=("/entry.sh", "serve"), entrypoint=("/entry.sh",)),
    "triggers": ImageConfig(onbuild=("COPY . /x",)),
    "quoted": ImageConfig(env={"PS1": '\\u "$X"'}),
    "distroless/checked": ImageConfig(healthcheck=("CMD", "/check")),
    "gone": None,
}


def facts_for(facts: ImageFacts) -> ShrinkInput:
    return ShrinkInput({}, None, AMD64, BASES, facts)


def shrink(text: str, facts: ImageFacts = GIN) -> tuple[str, list[str]]:
    """Apply all rules; return the text and why rules were not possible."""
    obstacles = []
    for rule in SHRINK_RULES:
        found = rule.propose(text, facts_for(facts))
        if found and found.obstacle:
            obstacles.append(found.obstacle)
        elif found:
            text = found.text
    return text, obstacles


def build_line(command: str, facts: ImageFacts = GIN) -> str:
    text, _ = shrink(f"FROM golang:alpine AS b\nRUN {command}\nFROM scratch\nCOPY --from=b /a /a\n", facts)
    return text.split("\n")[1].removeprefix("RUN ")


def test_the_article_becomes_small():
    text, obstacles = shrink(ARTICLE)
    assert obstacles == []
    assert 'go build -trimpath -tags=nomsgpack -ldflags="-s -w" -a -o app .' in text
    assert text.endswith(
        """
FROM alpine AS former-base

FROM scratch AS final
COPY --from=former-base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=former-base /etc/passwd /etc/group /etc/
COPY --from=former-base /tmp /tmp
ARG ENV
COPY --from=builder /workspace/app .
CMD ["./app"]
"""
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("go build -ldflags='-X a.b=c' .", "-ldflags='-s -w -X a.b=c' ."),
        ('go build -ldflags "-w -X a.b=$V" .', '-ldflags "-s -w -X a.b=$V" .'),
        ("go build -ldflags=-s .", "go build -trimpath -tags=nomsgpack -ldflags=-s ."),
        ("go build -tags netgo -trimpath -ldflags=-s .", "-tags netgo,nomsgpack -trimpath -ldflags=-s ."),
        ("go build -tags='a b' -trimpath -ldflags=-s .", "-tags=a,b,nomsgpack -trimpath -ldflags=-s ."),
        ("sh -c 'go build -trimpath -tags=nomsgpack .'", "sh -c 'go build -ldflags=-s -trimpath"),
        ('["go", "build", "."]', '["go", "build", "-trimpath", "-tags=nomsgpack", "-ldflags=-s -w", "."]'),
        ("go install -v ./cmd/x", '-ldflags="-s -w" -v ./cmd/x'),
        ("go vet ./...", "go vet ./..."),
    ],
)
def test_flags_are_added_to_those_that_are_there(command: str, expected: str):
    assert expected in build_line(command)


@pytest.mark.parametrize(
    "command", ['go build -ldflags="" .', "GOFLAGS=-ldflags=-X=a.b=c go build .", "go build -ldflags $X ."]
)
def test_flags_that_cannot_be_added_stay(command: str):
    assert "-s -w" not in build_line(command)


def test_a_tag_needs_the_code_that_it_leaves_out():
    without = ImageFacts(frozenset({"net/http"}), frozenset({"github.com/gin-gonic/gin"}))
    assert "nomsgpack" not in build_line("go build .", without)
    traced = ImageFacts(frozenset({"golang.org/x/net/trace"}), frozenset({"google.golang.org/grpc"}))
    assert "-tags=grpcnotrace" in build_line("go build .", traced)


def test_lookups_in_go_are_for_programs_with_a_c_library_only():
    dynamic = ImageFacts(packages=frozenset({"runtime/cgo"}))
    assert "-tags=netgo,osusergo" in build_line("go build .", dynamic)
    assert "netgo" not in build_line("go build .", ImageFacts(needs=BaseNeeds(static=True)))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("go build -ldflags=-s .", "'-linkmode=external -extldflags=-static '-s ."),
        ("go build .", 'go build -trimpath -tags=netgo,osusergo -ldflags="'),
        ('go build -ldflags="-s -w -linkmode=external" .', '"-extldflags=-static -s -w -linkmode=external"'),
    ],
)
def test_the_c_library_can_become_part_of_the_program(command: str, expected: str):
    changed = build_line(command, ImageFacts(packages=frozenset({"runtime/cgo"})))
    assert expected in changed
    assert "-extldflags=-static" in changed


FINAL = "FROM golang AS b\nRUN CGO_ENABLED=0 go build -ldflags=-s -trimpath -o /app .\nFROM alpine\n"
STATIC = ImageFacts(needs=BaseNeeds(static=True))


@pytest.mark.parametrize(
    ("steps", "obstacle"),
    [
        ('RUN mkdir /data\nCMD ["/app"]\n', "line 4: RUN"),
        ('RUN apk add curl\nCMD ["/app"]\n', "line 4: RUN"),
        ('RUN adduser -D app\nUSER app\nCMD ["/app"]\n', "line 4: RUN"),
        ('RUN apk add tzdata > /etc/x && ./y\nCMD ["/app"]\n', "line 4: RUN"),
        ('HEALTHCHECK CMD wget -q localhost/health\nCMD ["/app"]\n', "line 4: HEALTHCHECK"),
        ('HEALTHCHECK CMD ["curl", "localhost"]\nCMD ["/app"]\n', "line 4: HEALTHCHECK"),
        ("CMD /app && echo\n", "CMD needs a shell"),
        ("CMD A=b /app\n", "CMD needs a shell"),
        ('CMD ["sh", "-c", "/app"]\n', "CMD runs sh"),
        ('ENTRYPOINT /app\nCMD ["-v"]\n', "line 4: ENTRYPOINT"),
        ("COPY --from=b /app /app\n", "decided by the base"),
    ],
)
def test_what_needs_the_base_image_is_named(steps: str, obstacle: str):
    _, obstacles = shrink(FINAL + steps, STATIC)
    assert obstacle in obstacles[-1]


def test_a_program_with_a_c_library_keeps_its_base():
    text, obstacles = shrink(f'{FINAL}CMD ["/app"]\n', ImageFacts())
    assert "C library" in obstacles[-1]
    assert "FROM scratch" not in text


def test_certificates_and_users_of_a_step_move_with_it():
    steps = (
        "RUN apk add --no-cache ca-certificates tzdata \\\n  && adduser -DH app\nUSER app\nCMD exec /app -v\n"
    )
    needs = BaseNeeds(static=True, certificates=True, zones=True, accounts=("/etc/passwd",))
    text, obstacles = shrink(FINAL + steps, ImageFacts(needs=needs))
    assert obstacles == []
    assert text.partition("/app .\n")[2] == (
        "FROM alpine AS former-base\n"
        "RUN apk add --no-cache ca-certificates tzdata \\\n  && adduser -DH app\n\n"
        "FROM scratch\n"
        "COPY --from=former-base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n"
        "COPY --from=former-base /usr/share/zoneinfo /usr/share/zoneinfo\n"
        "COPY --from=former-base /etc/passwd /etc/\n"
        'USER app\nCMD ["/app", "-v"]\n'
    )


def test_what_the_base_image_sets_is_written_into_the_stage():
    """Without its USER the program would run as root, and answer just as well."""
    text, obstacles = shrink(FINAL.replace("alpine", "distroless") + 'CMD ["/app"]\n', STATIC)
    assert obstacles == []
    assert text.partition("FROM scratch\n")[2].splitlines() == [
        'ENV SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt"',
        "WORKDIR /home/nonroot",
        "USER 65532",
        'CMD ["/app"]',
    ]


@pytest.mark.parametrize(
    ("image", "command", "facts"),
    [
        ("distroless/entry", "CMD", ("ENTRYPOINT", "base image")),
        ("distroless/entry", "ENTRYPOINT", ()),
        ("triggers", "CMD", ("ONBUILD",)),
        ("distroless/checked", "CMD", ("health check", "base image")),
        ("quoted", "CMD", ("variable PS1", "base image")),
        ("gone", "CMD", ("gone", "not known")),
        ("never-seen", "CMD", ("never-seen", "not known")),
    ],
)
def test_a_base_image_whose_configuration_is_needed_stays(image: str, command: str, facts: tuple[str, ...]):
    text, obstacles = shrink(FINAL.replace("alpine", image) + f'{command} ["/app"]\n', STATIC)
    assert ("FROM scratch" in text) == (not facts)
    assert missing(obstacles[-1] if obstacles else "", *facts) == []


@pytest.mark.parametrize(
    "steps",
    [
        "COPY ca.crt /usr/local/share/ca-certificates/\nRUN update-ca-certificates\n",
        "COPY ca.crt /usr/local/share/ca-certificates/\nRUN apk add ca-certificates\n",
        'COPY ["ca.crt", "/usr/local/share/ca-certificates/"]\nRUN update-ca-certificates\n',
        "WORKDIR /usr/local/share/ca-certificates\nCOPY ca.crt .\nRUN update-ca-certificates\n",
        "COPY rootfs/ /\nRUN update-ca-certificates\n",
        "ADD ca.crt usr/local/share/ca-certificates/\nRUN update-ca-certificates\n",
        "ARG TO\nCOPY ca.crt $TO\nRUN update-ca-certificates\n",
    ],
)
def test_certificates_of_ones_own_are_not_left_behind(steps: str):
    """The moved step would run without them, and requests to a server of one's own would fail."""
    text, obstacles = shrink(f'{FINAL}{steps}CMD ["/app"]\n', STATIC)
    assert "FROM scratch" not in text
    assert missing(obstacles[-1], "RUN", "certificates") == []


@pytest.mark.parametrize(
    "steps",
    [
        "RUN apk add ca-certificates\nCOPY ca.crt /usr/local/share/ca-certificates/\n",
        "COPY --from=b /app /app\nRUN apk add ca-certificates\n",
        "COPY --from=b /app /app\nRUN adduser -DH app\n",
    ],
)
def test_what_was_copied_elsewhere_or_later_does_not_matter(steps: str):
    text, obstacles = shrink(f'{FINAL}{steps}CMD ["/app"]\n', STATIC)
    assert obstacles == []
    assert "FROM scratch" in text


def test_a_stage_that_is_named_by_its_number_keeps_its_place():
    text = f'{FINAL}CMD ["/app"]\nFROM scratch\nCOPY --from=1 /app /app\n'
    found = [rule.propose(text, ShrinkInput({}, "1", AMD64, BASES, STATIC)) for rule in SHRINK_RULES]
    assert any(each and "by its number" in each.obstacle for each in found)


def test_a_measured_step_runs_again_and_no_other():
    text = insert_measurement(ARTICLE, facts_for(GIN), "x1")
    assert "COPY . .\nENV WATCHER_MEASURES=x1\nRUN CGO_ENABLED=0 go build" in text
    assert text.count("WATCHER_MEASURES") == 1


def test_a_compile_step_in_another_program_is_known():
    text = "FROM golang AS b\nRUN go mod download\nRUN make build\nFROM alpine\nCOPY --from=b /a /a\n"
    assert find_build_lines(text, facts_for(GIN)) == (frozenset(), frozenset({3}))


@given(random_dockerfiles())
def test_whatever_is_written_is_a_dockerfile_and_complete(text: str):
    try:
        parse(text)
        changed, _ = shrink(text)
    except DockerfileError:
        return
    parse(changed)
    insert_measurement(changed, facts_for(GIN), "t")
    again, _ = shrink(changed)
    assert again == changed


@pytest.mark.parametrize(
    ("image", "plain"),
    [
        ("alpine", True),
        ("localhost:5000/team/debian:12-slim", True),
        ("gcr.io/distroless/base-debian12@sha256:00", True),
        ("company/base:3", False),
        ("nginx", False),
        ("alpine/git:2", False),
    ],
)
def test_a_base_that_is_no_plain_system_may_have_files_that_are_read(image: str, plain: bool) -> None:
    text = f'FROM golang AS b\nRUN CGO_ENABLED=0 go build -o /app .\nFROM {image}\nCMD ["/app"]\n'
    given = ShrinkInput({}, None, AMD64, {image: ImageConfig()}, ImageFacts(needs=BaseNeeds(static=True)))
    found = SHRINK_RULES[-1].propose(text, given)
    assert found is not None
    assert (missing(found.obstacle, "not", "plain system") == []) != plain
    assert bool(found.text) == plain
