"""What holds for every Dockerfile: found by making thousands of them."""

from __future__ import annotations

import re
import shlex

from hypothesis import example, given
from hypothesis import strategies as st

from tests.platforms import AMD64
from watcher.dockerfile import (
    DockerfileError,
    ImageConfig,
    Level,
    ReviewInput,
    TreeInputs,
    accelerate,
    diff,
    lint,
    parse,
    review,
)
from watcher.dockerfile.frontend import frontend_abilities
from watcher.dockerfile.shell import NotUnderstood, commands
from watcher.dockerfile.spans import Edit, apply_edits

GOLANG = ImageConfig(env={"GOPATH": "/go", "PATH": "/go/bin:/usr/local/go/bin:/bin"}, workdir="/go")
OURS = re.compile(
    r" --mount=type=cache,sharing=shared,id=p-go(?:mod)?cache\S*| --network=none| ?'?-ldflags=-w'?"
)

GO_WORDS_TEXT = """\
build|install|test|vet|-a|-v|-o|app|.|./...|-ldflags|-ldflags=-s|$X|'-X a.b=c'|"-X a.b=$V"|-a=true|-trimpath\
|-C|dir|clean|-cache|mod|download|-tags=x"""
GO_WORDS = st.sampled_from(GO_WORDS_TEXT.split("|"))
PLAIN_COMMANDS_TEXT = """\
apk add gcc
cd /src
export CGO_ENABLED=0
export GOCACHE=/c
make
./x.sh
true
rm -rf /root/.cache
rm -rf /go/pkg/mod
echo 'go build -a'
sh -c 'go build -a .'
time go build
GOFLAGS=-a go build
$RUN
case $x in a) b;; esac
su u -c 'go build'
f() { go build; }
echo "it's"
[ -f x ]"""
PLAIN_COMMANDS = st.sampled_from(PLAIN_COMMANDS_TEXT.split("\n"))
GO_COMMANDS = st.lists(GO_WORDS, min_size=1, max_size=6).map(lambda words: "go " + " ".join(words))
JOINS = st.sampled_from(
    [" && ", " ; ", " || ", " | ", " \\\n  && ", " && \\\n    #comment\n    ", " \\\n\n ; "]
)
SPACES = st.sampled_from([" ", " ", "  ", " \\\n  ", "\t", " \\\n#why\n "])


@st.composite
def scripts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.one_of(GO_COMMANDS, PLAIN_COMMANDS), min_size=1, max_size=4))
    text = parts[0]
    for part in parts[1:]:
        text += draw(JOINS) + part
    if draw(st.booleans()):
        text = "".join(
            draw(SPACES) if char == " " and draw(st.integers(0, 9)) == 0 else char for char in text
        )
    return text


@st.composite
def run_steps(draw: st.DrawFn) -> str:
    flags = draw(
        st.lists(
            st.sampled_from(
                ["--network=host", "--security=insecure", "--mount=type=cache,target=/root/.cache/go-build",
                 "--mount=type=cache,target=/go/pkg/mod", "--mount=type=tmpfs,target=/tmp"]
            ),
            max_size=2,
            unique=True,
        )
    )  # fmt: skip
    head = draw(st.sampled_from(["RUN", "run", "Run", "ONBUILD RUN"])) + "".join(f" {flag}" for flag in flags)
    kind = draw(st.sampled_from(["shell", "shell", "shell", "exec", "heredoc", "fed"]))
    if kind == "exec":
        words = draw(st.lists(GO_WORDS, min_size=1, max_size=5))
        return head + " [" + ", ".join('"{}"'.format(word.replace('"', "")) for word in ["go", *words]) + "]"
    script = draw(scripts())
    if kind == "heredoc":
        return f"{head} <<EOF\n{script}\nEOF"
    if kind == "fed":
        return f"{head} cat <<'EOF' > /x && go build -a\n{script}\nEOF"
    return f"{head} {script}"


OTHERS_TEXT = """\
WORKDIR /src
COPY . .
COPY go.mod ./
ENV CGO_ENABLED=0
ENV GOFLAGS=-a
ENV A=b
ENV GOCACHE=/c
ARG ENV
USER 1000
USER app
USER root
LABEL stage=builder
# go build -a

   # indented
CMD ["./app"]
CMD go run .
EXPOSE 9000
SHELL ["/bin/bash", "-c"]
HEALTHCHECK CMD go build -a
COPY --from=0 /go /go
COPY --from=0 /src/app /app
VOLUME /go
ADD x.tar /
ENTRYPOINT go build -a
MAINTAINER go build -a"""
OTHERS = st.sampled_from(OTHERS_TEXT.split("\n"))


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    heads = st.sampled_from(["# syntax=docker/dockerfile:1", "# a note", "", "ARG V=1"])
    lines = draw(st.lists(heads, max_size=2, unique=True))
    for index in range(draw(st.integers(1, 3))):
        base = draw(
            st.sampled_from(["golang:1.22", "golang:${V}", "alpine", "scratch", "s0" if index else "golang"])
        )
        lines.append(f"FROM {base} AS s{index}")
        lines += draw(st.lists(st.one_of(run_steps(), OTHERS), max_size=6))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(lines).replace("\n", end) + draw(st.sampled_from(["", end]))


NOTHING = TreeInputs({}, lambda _: None)


def made(text: str, level: Level = Level.FAST, inputs: TreeInputs | None = NOTHING):
    bases = dict.fromkeys(("golang", "golang:1.22", "golang:1"), GOLANG)
    return accelerate(
        text,
        level=level,
        build_args={},
        target=None,
        platforms=AMD64,
        bases={**bases, "alpine": ImageConfig()},
        cache_scope="p",
        compile_without_network=True,
        inputs=inputs,
    )


@given(dockerfiles())
def test_the_parts_of_a_file_put_together_are_the_file(text):
    assert parse(text).render() == text


@given(st.text(alphabet="FROMRUNgo -a<>E\n\\`#'\"$ &=\t\r[]", max_size=80))
def test_any_text_is_parsed_or_refused_with_a_line_of_it(text):
    refusal = None
    try:
        assert parse(text).render() == text
    except DockerfileError as error:
        refusal = error
    assert refusal is None or 1 <= refusal.line <= text.count("\n") + 1


@given(dockerfiles(), st.sampled_from([Level.EXACT, Level.FAST]), st.sampled_from([NOTHING, None]))
@example("FROM golang AS s0\nRUN go build && go build -C", Level.FAST, NOTHING)
def test_accelerating_twice_is_accelerating_once(text, level, inputs):
    once = made(text, level, inputs)
    twice = made(once.text, level, inputs)
    assert twice.text == once.text
    assert twice.changes == ()


@given(dockerfiles(), st.sampled_from([Level.EXACT, Level.FAST]))
def test_nothing_outside_a_run_changes_and_every_line_stays_where_it_is(text, level):
    result = made(text, level)
    assert result.text.count("\n") == text.count("\n")
    before, after = list(parse(text).instructions()), list(parse(result.text).instructions())
    assert [(one.keyword, one.line, one.end_line) for one in before] == [
        (one.keyword, one.line, one.end_line) for one in after
    ]
    for old, new in zip(before, after, strict=True):
        if old.keyword != "RUN":
            assert text[old.start : old.stop] == result.text[new.start : new.stop]


@given(dockerfiles())
def test_a_run_keeps_its_own_flags_and_gets_only_ours(text):
    result = made(text)
    for old, new in zip(parse(text).instructions(), parse(result.text).instructions(), strict=True):
        added = list(new.flags)
        for flag in old.flags:
            added.remove(flag)  # raises where one of the file's own is gone
        assert all(
            (flag.name, flag.value) == ("network", "none")
            or (flag.name == "mount" and (flag.value or "").startswith("type=cache,sharing=shared,id=p-go"))
            for flag in added
        )
        assert len([flag for flag in new.flags if flag.name == "network"]) <= 1


MAY_COME_OR_GO = re.compile(
    r"--?a(=true|=false)?|GOGC=400|-ldflags=-w|--?cache|--?modcache|-(mod)?cache=false|-w|-count=1"
)
EXPIRE = re.compile(r"\{ echo \d+ >[^ ]+/testexpire\.txt; \} 2>/dev/null \|\| :; ")
WRAPPER = re.compile(r"\{ \[ -x \S+/go \] \|\| .*? export PATH=\"[^\"]*\"; ")


def lasting(text: str) -> list[str]:
    """A script's words without those that an acceleration may add, take away or put in place of others."""
    words = [part for word in shlex.split(text, comments=True) for part in word.split()]
    kept = [word for word in words if not MAY_COME_OR_GO.fullmatch(word)]
    return [
        "go or rm" if word in ("true", "rm", "go") else word.replace("-ldflags=-w", "-ldflags=")
        for word in kept
    ]


@given(dockerfiles())
@example("FROM golang AS s0\nRUN go build -a=true -a=true")
def test_the_commands_stay_the_same_but_for_the_words_that_may_change(text):
    result = made(text)
    for old, new in zip(parse(text).instructions(), parse(result.text).instructions(), strict=True):
        if old.keyword != "RUN" or old.words is not None:
            continue
        befores = [old.body, *(heredoc.content for heredoc in old.heredocs)]
        afters = [new.body, *(heredoc.content for heredoc in new.heredocs)]
        for before, after in zip(befores, afters, strict=True):
            assert lasting(before.text) == lasting(
                WRAPPER.sub("", EXPIRE.sub("", after.text, count=1), count=1)
            )


@given(dockerfiles())
def test_what_is_changed_is_told_with_before_after_and_why(text):
    result = made(text)
    old, new = text.split("\n"), result.text.split("\n")
    differ = [index + 1 for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    assert [change.line for change in result.changes] == differ
    for change in result.changes:
        assert change.before == old[change.line - 1].rstrip("\r")
        assert change.after == new[change.line - 1].rstrip("\r")
        assert all(change.reasons)
    for note in result.left_alone:
        assert old[note.line - 1].strip() == note.text
    shown = diff(text, result)
    assert all(
        f"# line {change.line}: {reason}" in shown for change in result.changes for reason in change.reasons
    )


@given(dockerfiles())
def test_a_module_cache_is_mounted_on_all_go_steps_of_a_stage_or_on_none(text):
    result = made(text)
    for stage in parse(result.text).stages:
        named = [
            "gomodcache" in ((one.flag_values("mount") and " ".join(one.flag_values("mount"))) or "")
            for one in stage.instructions
            if one.keyword == "RUN" and re.search(r"(?<!')\bgo (build|install|test|vet|mod)", one.body.text)
        ]
        assert len(set(named)) <= 1


@given(dockerfiles())
def test_off_changes_nothing(text):
    assert made(text, Level.OFF).text == text


@given(dockerfiles())
def test_advice_points_to_lines_of_the_file(text):
    lines = text.split("\n")
    for note in lint(text, build_args={}, target=None, platforms=AMD64):
        assert 1 <= note.line <= len(lines)
    for found in review(text, ReviewInput(build_args={}, target=None, platforms=AMD64)):
        assert 1 <= found.line <= len(lines)


@given(st.text(alphabet="go buildA=1-'\"$`\\(){};&|<> \n#*[]~EOF", max_size=60))
@example("a $(")
@example("a\\")
def test_the_words_of_any_script_stand_where_they_say(script):
    try:
        found = commands(script)
    except NotUnderstood:
        return
    for command in found:
        for word in (*command.assignments, *command.words):
            assert 0 <= word.start <= word.stop
            assert len(word.at) == len(word.text) == len(word.quotes)
            if not command.inner:
                assert [script[index] for index in word.at] == list(word.text)


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.text("xyz", max_size=3)), max_size=5))
def test_insertions_are_all_made_and_nothing_else_is(text, places):
    edits = tuple(Edit(min(at, len(text)), min(at, len(text)), new, "") for at, new in places)
    after = apply_edits(text, edits)
    assert len(after) == len(text) + sum(len(new) for _, new in places)
    rest = iter(after)
    assert all(char in rest for char in text)  # `text` is still there, in order


@given(st.text(alphabet="docker/file:1.2-labsx@", max_size=30))
def test_any_syntax_gets_an_answer_and_only_dockers_own_may_have_mounts(syntax):
    if frontend_abilities(syntax).mounts:
        assert "docker/dockerfile" in syntax
