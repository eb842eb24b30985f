"""What a review of a Dockerfile finds, each kind with a near miss that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.facts import missing
from tests.platforms import AMD64
from watcher.dockerfile import (
    ImageConfig,
    ReviewInput,
    Runs,
    Severity,
    find_context_copies,
    review,
)

ALPINE = "FROM alpine:3.20\nHEALTHCHECK CMD /app -health\nUSER 65532\n"
SCRATCH = 'FROM scratch\nHEALTHCHECK CMD ["/app", "-health"]\nUSER 65532\nCMD ["/app"]\n'
GIVEN = ReviewInput(
    build_args={},
    target=None,
    platforms=AMD64,
    bases={"alpine:3.20": ImageConfig(), "golang:1.26": ImageConfig(env={"GOTOOLCHAIN": "local"})},
)


def found(text: str, given: ReviewInput = GIVEN) -> list[str]:
    return [f"{each.severity} {each.evidence}" for each in review(text, given)]


def test_a_file_in_order_gets_no_advice() -> None:
    text = (
        "ARG GO=1.26\nFROM golang:$GO AS b\nARG VERSION\nCOPY . .\n"
        'RUN --mount=type=cache,target=/root/.cache go build -ldflags="-s -X main.v=$VERSION" -o /app\n'
        "FROM alpine:3.20\nCOPY --from=b /app /app\nUSER 65532\nHEALTHCHECK CMD /app -health\nCMD /app\n"
    )
    assert found(text) == []


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("COPY env_$ENV.yaml /\nARG ENV\n", "line 4 uses ENV, which line 5 declares"),
        ("WORKDIR /${ENV}\nARG ENV=dev\n", "line 4 uses ENV, which line 5 declares"),
        ("RUN echo $ENV\nARG ENV\n", "line 4 uses ENV, which line 5 declares"),
        ("LABEL a=$TARGETARCH\n", "line 4 uses TARGETARCH, which has a value only in stages with ARG"),
        ("RUN GOARCH=$TARGETARCH make\n", "line 4 uses TARGETARCH"),
        ("COPY <<END /a\n$TARGETOS\nEND\n", "line 4 uses TARGETOS"),
        ("ENV A=${TARGETARCH#x}\n", "line 4 uses TARGETARCH"),
        ("ARG A=$TARGETOS\n", "line 4 uses TARGETOS"),
    ],
)
def test_an_argument_without_a_value_is_named(before: str, told: str) -> None:
    (said,) = found(ALPINE + before)
    assert said.startswith(f"advice {told}")


@pytest.mark.parametrize(
    "text",
    [
        "ARG ENV\nCOPY env_$ENV.yaml /\n",
        "COPY env_${ENV:-dev}.yaml /\nARG ENV\n",
        "COPY env_${ENV:+x}.yaml /\nARG ENV\n",
        "RUN ENV=dev; echo $ENV\nARG ENV\n",
        "RUN for ENV in a b; do echo $ENV; done\nARG ENV\n",
        "RUN read ENV < f && echo $ENV\nARG ENV\n",
        "RUN . ./vars && echo $ENV\nARG ENV\n",
        "RUN echo '$ENV' \\$ENV\nARG ENV\n",
        'RUN ["echo", "$ENV"]\nARG ENV\n',
        "CMD echo $ENV\nARG ENV\n",
        "ENTRYPOINT exec /app $ENV\nARG ENV\n",
        "HEALTHCHECK CMD /app $ENV\nARG ENV\n",
        "COPY <<'END' /a\n$TARGETOS\nEND\n",
        "ENV ENV=dev\nRUN echo $ENV\nARG ENV\n",
        "RUN echo $HOME $PATH\n",
        "RUN --mount=type=secret,id=a,env=ENV echo $ENV\nARG ENV\n",
        "ARG A=1 B=$A\n",
    ],
)
def test_an_argument_that_has_a_value_is_not(text: str) -> None:
    assert found(ALPINE + text) == []


def test_an_argument_from_before_the_first_from_or_another_stage_has_no_value() -> None:
    text = "ARG VERSION=1\nFROM alpine:3.20 AS a\nARG OTHER\n" + ALPINE + "LABEL v=$VERSION o=$OTHER\n"
    text += "COPY --from=a / /\n"
    before, other = found(text)
    assert missing(before, "advice", "line 7", "VERSION", "before the first FROM", "line 1") == []
    assert missing(other, "advice", "line 7", "OTHER", "another stage", "line 3") == []
    assert found(text.replace("LABEL", "ARG VERSION\nARG OTHER\nLABEL")) == []


def test_a_stage_has_the_arguments_of_the_stage_that_it_is_based_on() -> None:
    assert (
        found("FROM alpine:3.20 AS a\nARG V=1\n" + ALPINE.replace("alpine:3.20", "a") + "LABEL v=$V\n") == []
    )


def test_a_stage_that_is_not_built_gets_no_advice() -> None:
    assert found("FROM alpine AS other\nLABEL v=$TARGETOS\n" + ALPINE) == []


def test_a_build_arg_that_no_arg_declares_is_named() -> None:
    given = replace(GIVEN, build_args={"VERSON": "1", "HTTP_PROXY": "x", "BUILDKIT_INLINE_CACHE": "1"})
    (said,) = found(ALPINE + "ARG VERSION\n", given)
    assert said.startswith("taste the build arg VERSON of the compose file is declared by no ARG")
    assert found("ARG VERSON\n" + ALPINE, given) == []
    (said,) = found(ALPINE + "RUN echo $VERSON\n", given)[:1]
    assert "declared by no ARG" in said


def test_a_from_line_sees_only_arguments_before_the_first_from() -> None:
    rest = "@sha256:00\nHEALTHCHECK NONE\nUSER 1\nARG V=1\n"
    (said,) = found("FROM alpine$V" + rest)
    assert missing(said, "advice", "line 1", "V", "no value", "'alpine@sha256:00'") == []
    assert found("ARG V=1\nFROM alpine$V" + rest) == []
    (said,) = found("ARG V\nFROM alpine:$V\nHEALTHCHECK NONE\nUSER 1\n")
    assert said.startswith("error line 2: the tag of alpine: is empty")


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("alpine", "taste"),
        ("alpine:latest", "taste"),
        ("localhost:5000/team/base", "taste"),
        ("golang:alpine", "taste"),
        ("debian:stable-slim", "taste"),
        ("cgr.dev/chainguard/static:nonroot", "taste"),
        ("alpine:3.20", ""),
        ("golang:1.26-alpine", ""),
        ("alpine@sha256:00", ""),
        ("localhost:5000/team/base:v2", ""),
        ("debian:bookworm-slim", ""),
        ("ubuntu:jammy", ""),
        ("gcr.io/distroless/static-debian12", ""),
        ("gcr.io/distroless/static-debian12:nonroot", ""),
        ("scratch", ""),
    ],
)
def test_a_base_without_a_version_is_named(name: str, severity: str) -> None:
    told = found(f"FROM {name}\nHEALTHCHECK NONE\nUSER 1\n")
    assert [said.split()[0] for said in told] == ([severity] if severity else [])


def test_an_image_that_is_copied_from_needs_a_version_and_one_of_the_compose_file_none() -> None:
    text = ALPINE + "COPY --from=busybox /bin/sh /bin/sh\n"
    (said,) = found(text)
    assert said.startswith("taste line 4: busybox has no tag")
    assert found(text, replace(GIVEN, given_images=frozenset({"busybox"}))) == []


def test_root_in_the_final_stage_is_named() -> None:
    text = "FROM alpine:3.20\nHEALTHCHECK NONE\n"
    (said,) = found(text)
    assert said.startswith("taste line 1: the container runs as root: no USER in the final stage")
    (said,) = found(text + "USER 1\nUSER 0:0\n")
    assert said.startswith("advice line 4: the container runs as root, as USER 0:0 says")


@pytest.mark.parametrize(
    "rest",
    [
        "USER app\n",
        "USER 1000:1000\n",
        'ENTRYPOINT ["/entrypoint.sh"]\n',
        'ENTRYPOINT ["su-exec", "app", "/app"]\n',
        "RUN apk add gosu\n",
    ],
)
def test_a_container_with_another_user_is_not(rest: str) -> None:
    assert found("FROM alpine:3.20\nHEALTHCHECK NONE\n" + rest) == []


def test_the_user_of_a_base_image_the_compose_file_or_an_unknown_image_counts() -> None:
    text = "FROM alpine:3.20\nHEALTHCHECK NONE\n"
    assert found(text, replace(GIVEN, bases={"alpine:3.20": ImageConfig(user="app")})) == []
    assert found(text, replace(GIVEN, user="1000")) == []
    assert found(text, replace(GIVEN, bases={})) == []


def test_a_missing_health_check_is_a_matter_of_taste_unless_another_service_waits_for_it() -> None:
    text = "FROM alpine:3.20\nUSER 1\n"
    (said,) = found(text)
    assert said.startswith("taste line 1: a health check is neither in the image nor in the compose file")
    (said,) = found(text, replace(GIVEN, waiting=("web",)))
    assert said.startswith("error web waits until this service is healthy")
    (said,) = found(text + "HEALTHCHECK NONE\n", replace(GIVEN, waiting=("web",)))
    assert said.startswith("error web waits")


def test_a_health_check_of_the_compose_file_the_base_or_a_lower_stage_counts() -> None:
    text = "FROM alpine:3.20\nUSER 1\n"
    assert found(text, replace(GIVEN, health=("CMD", "/app"), waiting=("web",))) == []
    assert found(text, replace(GIVEN, health=("NONE",))) == []
    config = ImageConfig(healthcheck=("CMD", "/app"))
    assert found(text, replace(GIVEN, bases={"alpine:3.20": config})) == []
    assert found(ALPINE.replace("FROM alpine:3.20", "FROM alpine:3.20 AS a") + "FROM a\n") == []
    assert found(text, replace(GIVEN, has_ports=False)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('CMD ["/app"]', "CMD /app", "line 4: CMD is in shell form"),
        ('CMD ["/app"]', 'ENTRYPOINT ["/bin/sh", "-c", "/app"]', "line 4: ENTRYPOINT starts /bin/sh"),
        ('["/app", "-health"]', "wget -q localhost", "line 2: HEALTHCHECK is in shell form"),
        ("USER 65532", "USER app", "line 3: the container runs as app, and scratch has no /etc/passwd"),
    ],
)
def test_what_scratch_does_not_have_is_an_error(old: str, new: str, told: str) -> None:
    (said,) = found(SCRATCH.replace(old, new))
    assert said.startswith(f"error {told}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('CMD ["/app"]', 'ENTRYPOINT ["/app"]\nCMD -v'),
        ('CMD ["/app"]', "COPY --from=busybox:1.36 /bin/busybox /bin/sh\nCMD /app"),
        ('CMD ["/app"]', "COPY --from=alpine:3.20 / /\nCMD /app"),
        ("USER 65532", "COPY --from=alpine:3.20 /etc/passwd /etc/\nUSER app"),
        ("FROM scratch", "FROM alpine:3.20"),
    ],
)
def test_what_scratch_is_given_is_none(old: str, new: str) -> None:
    assert found(SCRATCH.replace(old, new)) == []


def test_a_program_in_a_folder_bin_is_no_shell() -> None:
    assert found(SCRATCH.replace('CMD ["/app"]', "COPY app /bin/app\nCMD /bin/app"))


def test_a_program_copied_to_the_root_brings_no_file_system() -> None:
    text = SCRATCH.replace('CMD ["/app"]', "COPY --from=alpine:3.20 /src/app /\nCMD /app")
    assert missing(found(text)[0], "CMD", "shell form") == []
    assert found(text.replace("/src/app", "/src/rootfs")) == []


def test_commands_of_the_compose_file_replace_those_of_the_image() -> None:
    text = SCRATCH.replace('CMD ["/app"]', "CMD /app")
    assert found(text, replace(GIVEN, runs=Runs(command=("/app",)))) == []
    (said,) = found(SCRATCH, replace(GIVEN, health=("CMD-SHELL", "wget localhost")))
    assert said.startswith("error the health check of the compose file runs in a shell")


def test_distroless_has_no_shell_but_users_and_a_debug_image_has_one() -> None:
    text = SCRATCH.replace("FROM scratch", "FROM gcr.io/distroless/static-debian12").replace(
        'CMD ["/app"]', "CMD /app"
    )
    (said,) = found(text)
    assert missing(said, "CMD", "shell form") == []
    assert found(text.replace("debian12", "debian12:debug")) == []
    assert found(text.replace("CMD /app", 'CMD ["/app"]').replace("65532", "nonroot")) == []


def test_certificates_and_time_zones_are_missed_only_if_they_are_used() -> None:
    given = replace(GIVEN, needs_certificates="client.go", needs_zones="zone.go")
    told = found(SCRATCH, given)
    assert [said.split(": ")[1].split()[0] for said in told] == ["client.go", "zone.go"]
    copies = "COPY --from=a /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n"
    copies += "COPY --from=a /usr/share/zoneinfo /usr/share/zoneinfo\n"
    assert found("FROM alpine:3.20 AS a\n" + SCRATCH + copies, given) == []
    tagged = SCRATCH.replace("FROM scratch", "FROM golang:1.26 AS b\nRUN make TAGS=timetzdata\nFROM scratch")
    assert [said for said in found(tagged + "COPY --from=b /a /a\n", given) if "zone.go" in said] == []


ARTICLE = """\
FROM alpine:3.20 AS builder
WORKDIR /workspace
COPY . .
FROM alpine:3.20
HEALTHCHECK NONE
USER 1
ARG ENV
COPY --from=builder /workspace/_envs/env_$ENV.yaml ./_envs/
"""
FILES = frozenset({"_envs/env_dev.yaml", "_envs/env_prod.yaml", "main.go"})


def test_a_missing_file_for_the_chosen_env_is_an_error_that_names_those_there_are() -> None:
    given = replace(GIVEN, files=FILES, build_args={"ENV": "staging"})
    (advice,) = review(ARTICLE, given)
    assert advice.severity is Severity.ERROR
    assert missing(advice.evidence, "line 8", "_envs/env_staging.yaml", "not exist", "ENV=staging") == []
    assert "_envs has env_dev.yaml, env_prod.yaml" in advice.remedy
    (advice,) = review(ARTICLE, replace(given, build_args={}))
    assert "_envs/env_.yaml" in advice.evidence
    (advice,) = review(ARTICLE.replace("--from=builder /workspace/", ""), given)
    assert "_envs/env_staging.yaml" in advice.evidence


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("staging", "dev"),
        ("$ENV.yaml", "$ENV*.yaml"),
        ("/workspace/_envs/env_$ENV.yaml", "/made/elsewhere_$ENV.yaml"),
        ("/workspace/_envs/env_$ENV.yaml", "/workspace/dist/app_$ENV"),
        ("--from=builder /workspace", "--from=redis:7 /data"),
    ],
)
def test_a_file_that_is_there_or_made_by_a_step_is_not_missed(old: str, new: str) -> None:
    given = replace(GIVEN, files=FILES, build_args={"ENV": "staging".replace(old, new)})
    assert found(ARTICLE.replace(old, new), given) == []


def test_a_build_with_debug_information_and_without_a_cache_is_a_matter_of_taste() -> None:
    text = "FROM golang:1.26 AS b\nCOPY . .\nRUN go build -o /app\n" + ALPINE + "COPY --from=b /app /app\n"
    told = found(text)
    assert [said.partition(":")[0] for said in told] == ["taste line 3", "taste line 3"]
    assert "symbol table" in told[0]
    assert "cache mount" in told[1]
    better = text.replace("RUN go build", "RUN --mount=type=cache,target=/root/.cache go build -ldflags=-s")
    assert found(better) == []
    assert found(text.replace("go build -o /app", "go vet")) == []


def test_what_is_copied_from_the_context_is_known_with_its_exceptions() -> None:
    text = "FROM alpine:3.20 AS b\nRUN --mount=target=. true\nCOPY --exclude=*.pem conf /conf\n"
    text += "FROM alpine:3.20\nCOPY --from=b /conf /conf\nCOPY . .\nADD https://example.com/a /a\n"
    mount, folder, whole, _ = find_context_copies(text, GIVEN)
    assert mount.is_whole
    assert not mount.in_image
    assert folder.brings("conf/.env")
    assert not folder.brings("conf/a.pem")
    assert not folder.brings("main.go")
    assert whole.is_whole
    assert whole.in_image


@pytest.mark.parametrize(
    ("source", "brings"),
    [
        ("/w", True),
        ("/w/", True),
        ("/", True),
        ("./w", True),
        ("/w/app", False),
        ("/wide", False),
        ("/w/*", False),
    ],
)
def test_a_copy_that_brings_the_whole_tree(source: str, brings: bool) -> None:
    text = (
        "FROM golang:1.26 AS b\nWORKDIR /w\nCOPY . .\n"
        'RUN --mount=type=cache,target=/root/.cache go build -ldflags="-s" -o app .\n'
        f"FROM alpine:3.20\nCOPY --from=b {source} /x\nUSER 65532\nHEALTHCHECK CMD /app -health\nCMD /app\n"
    )
    told = [each for each in found(text) if "whole tree" in each]
    assert [missing(each, "advice", "line 6", "line 3") for each in told] == ([[]] if brings else [])
    (copy,) = find_context_copies(text, GIVEN)
    assert copy.in_image == brings, "a secret in the tree is in the image"
