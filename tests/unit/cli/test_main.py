"""The command line: usage, help, exit statuses."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic_settings import BaseSettings

from tests.facts import missing
from watcher import errors
from watcher.cli import commands
from watcher.cli import main as main_module
from watcher.cli.main import Cli, main
from watcher.cli.topics import TOPICS
from watcher.errors import EXIT_CONFIG, EXIT_NOT_RUNNING, EXIT_USAGE, UsageError

pytestmark = pytest.mark.libraries


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "110")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["wait", "--timeout", "soon"], EXIT_USAGE),
        (["wait", "--timeout", "-1"], EXIT_USAGE),
        (["wait", "--start-timeout", "nan"], EXIT_USAGE),
        (["rebuild", "--timeout", ""], EXIT_USAGE),
        (["logs", "--tail", "0"], EXIT_USAGE),
        (["logs", "--source", "nowhere"], EXIT_USAGE),
        (["wait", "--nothing"], EXIT_USAGE),
        (["wiat"], EXIT_USAGE),
        (["help", "wiat"], EXIT_USAGE),
        (["wait", "--http.port", "99999"], EXIT_CONFIG),
        (["wait", "--project", "/nowhere/at/all"], EXIT_CONFIG),
        (["status"], EXIT_NOT_RUNNING),
        (["wait", "--timeout", "0"], EXIT_NOT_RUNNING),
        (["pause"], EXIT_NOT_RUNNING),
        (["resume"], EXIT_NOT_RUNNING),
        (["rebuild", "--wait"], EXIT_NOT_RUNNING),
    ],
)
def test_what_went_wrong_has_its_status_and_with_json_a_document(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (status, "")
    assert err.startswith("watcher: ")
    code, out, again = run(capsys, *arguments, "--json")
    assert (code, again) == (status, err)
    if arguments[0] in Cli.model_fields:
        document = json.loads(out)
        assert document["exit_status"] == status
        assert document["error"] in err


def test_a_bad_setting_of_the_environment_is_no_wrong_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHER_HTTP__PORT", "many")
    assert run(capsys, "status")[0] == EXIT_CONFIG


def test_a_folder_that_is_gone_under_the_command_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, _, err = run(capsys, "status")
    assert code == EXIT_CONFIG
    assert err.count("\n") == 1


@pytest.mark.parametrize("asked", [[], ["help"], ["-h", "status"], ["--vers"], ["wiat"], ["-v", "status"]])
def test_without_a_command_no_parser_is_built(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    monkeypatch.delattr(main_module, "CliSettingsSource")
    with pytest.raises(SystemExit):
        main(asked)


@pytest.mark.parametrize(
    "asked", [["prune", "--dry-run"], ["prune", "--help"], ["help", "prune"], ["prune", "x"]]
)
def test_only_the_parser_of_the_given_command_is_built(
    monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    built: list[set[str]] = []

    def build(chosen: type[BaseSettings], **options: object) -> NoReturn:
        built.append({*chosen.model_fields})
        raise UsageError("enough")

    monkeypatch.setattr(main_module, "CliSettingsSource", build)
    with pytest.raises(SystemExit):
        main(asked)
    assert built == [{"prune"}]


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (["wiat"], ("wiat", "did you mean wait", "watcher --help")),
        (["help", "wiat"], ("wiat", "did you mean wait")),
        (["re"], ("re", "watcher --help")),
        (["-v", "status"], ("-v", "before the command")),
        (["--project=x", "status"], ("--project=x", "before the command", "watcher COMMAND --project=x")),
    ],
)
def test_what_is_no_command_is_named_with_what_resembles_it(
    capsys: pytest.CaptureFixture[str], asked: list[str], facts: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *asked)
    assert (code, out) == (EXIT_USAGE, "")
    assert missing(err, *facts) == []


@pytest.mark.parametrize("asked", [["--version"], ["version"], ["-V"], ["--vers"], ["--version", "status"]])
def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str], asked: list[str]) -> None:
    code, out, _ = run(capsys, *asked)
    assert code == 0
    assert re.fullmatch(r"watcher \d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize("asked", [[], ["help"], ["--help"], ["-h"], ["--he"], ["-h", "status"]])
def test_the_help_names_all_commands(capsys: pytest.CaptureFixture[str], asked: list[str]) -> None:
    code, out, _ = run(capsys, *asked)
    assert code == 0
    more = re.search(r"^More: (.+)$", out, re.MULTILINE)
    assert more
    listed = [*re.findall(r"^  (\w+)  ", out, re.MULTILINE), *more[1].split(", ")]
    assert sorted(listed) == sorted(Cli.model_fields)


@pytest.mark.parametrize("command", ["", *sorted(Cli.model_fields)])
def test_every_help_fits_a_small_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(capsys, *command.split(), "--help")[1].splitlines()
    assert len(lines) <= (25 if command else 24)
    assert max(map(len, lines)) <= 80


@cache
def help_text(*arguments: str) -> str:
    """Print a help once for all tests that read it: building a parser of all settings takes time."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert not ended.value.code
    return text.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", sorted(Cli.model_fields))
def test_the_help_of_a_command_is_short_and_begins_with_its_own_options(
    command: str,
) -> None:
    out = help_text("help", command)
    assert len(out.splitlines()) < 40
    assert out.index("options:") < out.index("which project:")
    assert "--build.accelerate" not in out
    everything = help_text(command, "--help-settings")
    assert words(out.partition("\n\nEvery setting")[0]) in words(everything)
    assert "--build.accelerate {off,exact,fast}" in everything


@pytest.mark.thorough
def test_every_value_is_a_word_that_people_read(capsys: pytest.CaptureFixture[str]) -> None:
    for command in Cli.model_fields:
        text = run(capsys, command, "--help-settings")[1]
        values = re.findall(r"^  (?:-\w, )?--\S+ (\S+)", text, re.MULTILINE)
        assert values
        for value in values:
            assert re.fullmatch(r"[A-Z]+(=[A-Z]+)?(,?…)?|\{[a-z,]+\}", value), (command, value)
    assert "--watch.ignore PATTERN,…" in text
    assert "--build.args NAME=VALUE" in text
    assert "--image.max-size SIZE" in text


@pytest.mark.parametrize("command", ["run", "prune"])
def test_help_before_and_after_the_command_is_the_same(command: str) -> None:
    assert help_text(command, "--help") == help_text("help", command)


def test_the_help_has_no_defaults_of_python() -> None:
    text = help_text("run", "--help-settings")
    assert not re.search(r"default: (None|\(|\{|True|False|\d+\.0\))", text)


@pytest.mark.parametrize(
    ("arguments", "named", "flags"),
    [
        (["--gone"], (), (False, False, False)),
        (["--gone", "--yes", "--json"], (), (False, True, True)),
        (["--dry-run", "--gone"], (), (True, False, False)),
        (["--gone", "a-0123456789"], ("a-0123456789",), (False, False, False)),
        (["--yes", "--gone", "a-1", "b-2", "c-3", "--json"], ("a-1", "b-2", "c-3"), (False, True, True)),
        (["--gone=a-1,b-2", "c-3"], ("a-1", "b-2", "c-3"), (False, False, False)),
        (["--gone", "shop-*", "--dry-run"], ("shop-*",), (True, False, False)),
        (
            ["--gone=a-0123456789,b-0123456789", "--yes"],
            ("a-0123456789", "b-0123456789"),
            (False, True, False),
        ),
    ],
)
def test_gone_projects_are_all_or_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    named: tuple[str, ...],
    flags: tuple[bool, bool, bool],
) -> None:
    asked: list[object] = []

    def prune_gone(_: object, *, named: object, dry_run: bool, yes: bool, as_json: bool) -> int:
        asked.append((named, (dry_run, yes, as_json)))
        return 0

    monkeypatch.setattr(commands, "prune_gone", prune_gone)
    with pytest.raises(SystemExit) as ended:
        main(["prune", *arguments])
    assert ended.value.code == 0
    assert asked == [(named, flags)]


@pytest.mark.parametrize("arguments", [["--yes"], ["--gone", "--cache"], ["--gone", "--all-projects"]])
def test_options_that_mean_nothing_together_are_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prune", *arguments])
    assert ended.value.code == 2


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_topic_is_a_short_page_that_the_overview_names(
    capsys: pytest.CaptureFixture[str], topic: str
) -> None:
    code, out, _ = run(capsys, "help", topic)
    assert (code, out) == (0, TOPICS[topic])
    assert max(map(len, out.splitlines())) <= 88
    assert len(out.splitlines()) <= 24
    assert topic in help_text("--help").splitlines()[-1]


def test_the_topic_about_exit_statuses_has_all_of_them() -> None:
    values = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    listed = set(map(int, re.findall(r"^  (\d+) ", TOPICS["exit-status"], re.MULTILINE)))
    assert listed >= values


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_commands_options_and_values(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    for word in (*Cli.model_fields, "prune.go-cache-max", "start-timeout", "uninstall", "recreate"):
        assert word in out
    assert out.splitlines()[-1].startswith(f"# Kept up to date by: watcher completion {shell} > ")


def test_bash_completes_with_the_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run(capsys, "completion", "bash")[1])

    def complete(*line: str) -> list[str]:
        words = " ".join(f"'{word}'" for word in ("watcher", *line))
        code = (
            f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(line)}; "
            '_shtab_watcher; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.split()

    assert set(complete("re")) == {"rebuild", "resume"}
    assert "--start-timeout" in complete("wait", "--sta")
    assert complete("service", "un") == ["uninstall"]
