"""What the parser makes of a Dockerfile, by the rules of BuildKit's own."""

from __future__ import annotations

import pytest

from watcher.dockerfile import DockerfileError, parse


def run_of(text: str):
    return next(one for one in parse(text).instructions() if one.keyword == "RUN")


def test_stages_have_names_bases_and_platforms():
    dockerfile = parse("FROM --platform=$BUILDPLATFORM golang:1 AS Builder\nRUN a\nfrom alpine\nCMD b\n")
    first, second = dockerfile.stages
    assert (first.name, first.base, first.platform, first.label) == (
        "builder",
        "golang:1",
        "$BUILDPLATFORM",
        "builder",
    )
    assert (second.name, second.base, second.platform, second.label) == (None, "alpine", None, "1")
    assert [one.keyword for one in second.instructions] == ["CMD"]


def test_a_stage_is_found_by_name_in_any_case_and_by_number():
    dockerfile = parse("FROM a AS One\nFROM b AS two\n")
    assert dockerfile.stage("ONE") is dockerfile.stages[0]
    assert dockerfile.stage("1") is dockerfile.stages[1]
    assert dockerfile.stage("2") is None


def test_a_run_over_lines_is_one_text_without_its_comments():
    one = run_of("FROM a\nRUN go build \\\n  # why\n\n    -o app \\  \n  .\nCMD x\n")
    assert one.body.text == "go build     -o app   ."
    assert (one.line, one.end_line) == (2, 6)


def test_each_character_of_a_joined_line_knows_its_offset():
    text = "FROM a\nRUN go build \\\n  # why\n  -o app\n"
    body = run_of(text).body
    assert [text[offset] for offset in body.at] == list(body.text)


def test_the_backtick_can_be_the_escape_sign():
    dockerfile = parse("# escape=`\nFROM a\nRUN one `\n two \\\nRUN three\n")
    assert dockerfile.escape == "`"
    assert [one.body.text for one in dockerfile.stages[0].instructions] == ["one  two \\", "three"]


def test_directives_are_read_until_the_first_other_line():
    assert (
        parse("# syntax=docker/dockerfile:1.7 \n# check=skip=all\nFROM a\n").syntax == "docker/dockerfile:1.7"
    )
    assert parse("# a comment\n# syntax=docker/dockerfile:1\nFROM a\n").syntax is None
    assert parse("FROM a\n# escape=`\n").escape == "\\"


def test_flags_are_taken_off_the_front_with_their_quotes():
    one = run_of(
        'FROM a\nRUN --mount=type=cache,target=/x --network="none" --security=insecure go --version\n'
    )
    assert [(flag.name, flag.value) for flag in one.flags] == [
        ("mount", "type=cache,target=/x"),
        ("network", "none"),
        ("security", "insecure"),
    ]
    assert one.body.text == "go --version"


def test_flags_on_continued_lines_are_flags():
    one = run_of(
        "FROM a\nRUN --mount=type=cache,target=/x \\\n    --mount=type=cache,target=/y \\\n    go build\n"
    )
    assert one.flag_values("mount") == ("type=cache,target=/x", "type=cache,target=/y")
    assert one.body.text == "go build"


def test_the_exec_form_is_a_list_of_words():
    assert run_of('FROM a\nRUN ["go", "build", "-a"]\n').words == ("go", "build", "-a")


def test_a_list_that_is_not_json_is_the_shell_form():
    assert run_of("FROM a\nRUN ['go', 'build']\n").words is None


def test_a_heredoc_is_taken_up_to_its_delimiter():
    one = run_of("FROM a\nRUN <<EOF\ngo build -a\nRUN not an instruction\nEOF\nCMD x\n")
    assert [heredoc.content.text for heredoc in one.heredocs] == ["go build -a\nRUN not an instruction\n"]
    assert (one.line, one.end_line) == (2, 5)


def test_several_heredocs_follow_each_other():
    one = run_of("FROM a\nRUN cat <<'A' <<-\"B\"\none\nA\n\ttwo\n\tB\n")
    first, second = one.heredocs
    assert (first.name, first.quoted, first.chomp, first.content.text) == ("A", True, False, "one\n")
    assert (second.name, second.quoted, second.chomp, second.content.text) == ("B", True, True, "\ttwo\n")


@pytest.mark.parametrize("body", ["echo '<<EOF'", 'echo "a <<EOF"', "echo \\<<EOF", "cat <<<word"])
def test_a_quoted_sign_or_a_here_string_opens_no_heredoc(body):
    dockerfile = parse(f"FROM a\nRUN {body}\nCMD x\n")
    assert [one.keyword for one in dockerfile.stages[0].instructions] == ["RUN", "CMD"]


def test_a_shift_in_cmd_opens_no_heredoc():
    dockerfile = parse("FROM a\nCMD echo <<EOF\nUSER x\n")
    assert [one.keyword for one in dockerfile.stages[0].instructions] == ["CMD", "USER"]


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\r\nRUN x \\\r\n  y\r\n",
        "\ufeffFROM a\nRUN x",
        "\n\n# c\nARG A=1\nFROM a:${A}\n\n\nRUN <<E\n\nE\n#end",
        "FROM a\nRUN x \\\n",
    ],
)
def test_the_parts_put_together_are_the_file(text):
    assert parse(text).render() == text


def test_windows_line_ends_are_not_part_of_the_words():
    assert run_of("FROM a\r\nRUN x \\\r\n  y\r\nCMD z\r\n").body.text == "x   y"


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("RUN x\nFROM a\n", 1, "only ARG is allowed before the first FROM"),
        ("FROM a\nRNU x\n", 2, "RNU is not an instruction"),
        ("# nothing\n", 1, "at least one FROM"),
        ("", 1, "at least one FROM"),
        ("FROM a b\n", 1, "FROM takes an image"),
        ("FROM a AS 1x\n", 1, "cannot name a stage"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "the here-document EOF has no end"),
        ("# escape=x\nFROM a\n", 1, "escape may be"),
        ("# escape=`\n# escape=`\nFROM a\n", 2, "is allowed only once"),
    ],
)
def test_a_broken_rule_is_named_with_its_line(text, line, rule):
    with pytest.raises(DockerfileError, match=rule) as caught:
        parse(text)
    assert caught.value.line == line
    assert f"line {line}," in str(caught.value)


def test_a_frontend_of_its_own_may_have_instructions_of_its_own():
    assert (
        parse("# syntax=example/other:1\nFROM a\nINCLUDE b\n").stages[0].instructions[0].keyword == "INCLUDE"
    )


@pytest.mark.parametrize("line", ["RUN go build -o a ./x\n", "FROM golang\n", "ARG A\n", "COPY . .\n"])
def test_a_file_of_very_many_instructions_is_not_read(line: str):
    parse("FROM golang\n" + line * 299)
    with pytest.raises(DockerfileError, match="more than 300 instructions"):
        parse("FROM golang\n" + line * 100_000)
