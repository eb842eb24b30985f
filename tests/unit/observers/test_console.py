"""What is printed, and where."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterable
from typing import Any

import pytest

from tests.facts import missing
from tests.unit.observers.conftest import Screen
from tests.unit.observers.story import CRASH, SERVICE, STEPS, Story, revision
from watcher.observers.console import Console
from watcher.observers.console_lines import INDENT
from watcher.observers.console_service import FETCHED_EVERY
from watcher.observers.events import (
    BuildCachePruned,
    BuildFinished,
    BuildOutcome,
    BuildStepProgress,
    BuildStepStarted,
    ContainerLost,
    ContainerPaused,
    DaemonStopping,
    DeployFinished,
    DeployOutcome,
    EngineDown,
    EngineUp,
    Event,
    Failure,
    FrontRefused,
    GoCacheTrimmed,
    Held,
    InternalError,
    Notice,
    Paused,
    SourceMode,
    SourceScanned,
    SourceScanning,
    short,
)
from watcher.observers.progress_view import step_words
from watcher.observers.status_board import StatusBoard

pytestmark = pytest.mark.libraries


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(events: Iterable[Event], **options: bool) -> str:
    file = io.StringIO()
    console = Screen(file, environ={}, **options)
    for event in events:
        console.notify(event)
    return re.sub(r"(?m)^\d\d:\d\d:\d\d", "TIME", file.getvalue())


def on_terminal(events: Iterable[Event], **environ: str) -> str:
    file = Terminal()
    console = Screen(file, environ={"TERM": "xterm-256color", **environ})
    for event in events:
        console.notify(event)
    console.close()
    return file.getvalue()


def lines_since(story: Story, mark: int) -> list[str]:
    """What the events after `mark` add to what the ones before them print."""
    before = printed(story.events[:mark])
    return printed(story.events).removeprefix(before).splitlines()


def test_the_start_names_project_engine_service_and_addresses(story: Story) -> None:
    assert printed(story.events).splitlines() == [
        "TIME  · watcher 0.1.0, starting for /src/go-server",
        "TIME  · watching /src/go-server",
        "TIME  · status page and metrics: http://127.0.0.1:9001/",
        "TIME  · engine 20.10.24 answers (overlay2, unix:///var/run/docker.sock)",
        "TIME  · managing go-server at http://localhost:9000",
        "            docker-compose-dev.yml → image go-server-dev, container go-server-box-dev",
    ]


def test_a_cycle_says_what_changed_each_step_and_what_is_live(story: Story) -> None:
    mark = len(story.events)
    story.cycle(1)
    assert lines_since(story, mark) == [
        f"TIME  → internal/version/version.go changed  → {short(revision(1))}",
        f"TIME  · building {short(revision(1))}",
        "             cached  builder 2/5  RUN apk add --no-cache gcc libc-dev",
        "              30 ms  builder 4/5  COPY . .",
        "              1.2 s  builder 5/5  RUN CGO_ENABLED=0 GOOS=linux go build -o mygoexecutable .",
        "              50 ms  final 2/3  COPY --from=builder /workspace/mygoexecutable .",
        "TIME  · built in 1.4 s (2 of 7 cached)",
        f"TIME  ✓ live {short(revision(1))} 1.9 s after the save"
        "  build 1.4 s (2 of 7 cached) · deploy 0.3 s · 23.3 MB",
    ]


def test_the_second_image_is_told_with_the_change_of_its_size(story: Story) -> None:
    assert "23.3 MB (+1.20 kB)" in printed(story.cycle(1, 23_300_000).cycle(2, 23_301_200).events)
    assert " 23.3 → 14.5 MB" in printed(story.cycle(3, 14_500_000).events)


def test_a_compile_error_is_shown_in_full_and_what_serves_is_called_stale(story: Story) -> None:
    mark = len(story.cycle(1).events)
    story.failing(2)
    assert lines_since(story, mark)[-5:] == [
        "TIME  ✗ build failed after 0.9 s: internal/handler/health.go:17:21: undefined: versoin (and 1 more)",
        "            # example.com/go-server/internal/handler",
        "            internal/handler/health.go:17:21: undefined: versoin",
        '            internal/handler/health.go:9:2: "net/http" imported and not used',
        f"            stale: {short(revision(1))} keeps answering until the next good save",
    ]


def test_every_line_of_a_long_error_is_printed(story: Story) -> None:
    lines = tuple(f"line {number}" for number in range(60))
    failure = Failure("build", "it failed", lines)
    story.tell(BuildFinished, revision=revision(1), outcome=BuildOutcome.FAILED, seconds=1.0, failure=failure)
    assert [line.strip() for line in printed(story.events).splitlines() if "line " in line] == list(lines)


def test_a_first_failure_says_that_nothing_answers(story: Story) -> None:
    assert missing(printed(story.failing(1).events), "nothing answers", "next good save") == []


def test_a_first_failure_says_that_the_last_good_version_serves(story: Story) -> None:
    lines = printed(story.find_last_good(7).failing(1).events).splitlines()
    assert lines[-1].split()[0] == short(revision(7)) + ","
    assert not [line for line in lines if "nothing answers" in line]


def test_a_last_good_version_that_does_not_start_is_no_longer_promised(story: Story) -> None:
    story.find_last_good(7).failing(1).deploy(7, DeployOutcome.FAILED)
    assert missing(printed(story.events), "nothing answers", "next good save") == []


def test_a_failed_deploy_gives_the_hint(story: Story) -> None:
    story.cycle(1).save(2).begin(2).built(2).deploy(2, DeployOutcome.FAILED)
    text = printed(story.events)
    assert missing(text, "failed", "0.3 s", "exit status 1") == []
    assert f"hint: {CRASH.hint}" in text


def test_a_lost_container_is_said_to_be_started_again(story: Story) -> None:
    story.cycle(1).tell(ContainerLost, revision=revision(1), container="c1", failure=CRASH)
    assert missing(printed(story.events), "nothing answers", "started again") == []


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        (Held, {"reason": "a git operation"}, "· waiting: a git operation"),
        (
            Held,
            {"reason": "waiting for a build slot: api and web build"},
            "· waiting for a build slot: api and web build",
        ),
        (Paused, {"paused": True}, "· paused: saves are not built"),
        (Paused, {"paused": False}, "· resumed"),
        (
            ContainerPaused,
            {"container": "c", "name": "box", "paused": True},
            "! the live container was paused: requests wait until `docker unpause box`",
        ),
        (
            ContainerPaused,
            {"container": "c", "name": "box", "paused": False},
            "· the live container was unpaused",
        ),
        (Notice, {"level": "warning", "text": "a stand-in"}, "! a stand-in"),
        (
            SourceMode,
            {"mode": "polling", "reason": "bind mount"},
            "! polling for changes: bind mount",
        ),
        (EngineDown, {"reason": "refused", "retry_in": 1.0}, "! the engine does not answer: refused"),
        (DaemonStopping, {"reason": "SIGINT"}, "· stopping (SIGINT); a second Ctrl-C exits immediately"),
        (DaemonStopping, {"reason": "SIGTERM"}, "· stopping (SIGTERM)"),
        (
            InternalError,
            {"where": "build", "traceback": "x"},
            "✗ internal error in build; the watcher continues",
        ),
        (
            ContainerLost,
            {"revision": "r", "container": "c", "failure": CRASH},
            "✗ the live container is gone: ",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_one_line_for(story: Story, kind: type[Event], fields: dict[str, Any], line: str) -> None:
    mark = len(story.events)
    story.tell(kind, **fields)
    assert lines_since(story, mark)[0].startswith(f"TIME  {line}")


def test_an_engine_that_stays_away_is_told_once_and_its_return_too(story: Story) -> None:
    for _ in range(5):
        story.tell(EngineDown, reason="refused", retry_in=1.0)
    story.tell(EngineUp, version="28", store="containerd", endpoint="unix:///x")
    text = printed(story.events)
    assert text.count("does not answer") == 1
    assert "engine 28 answers again" in text


def test_refusals_in_a_row_are_told_together(story: Story) -> None:
    for _ in range(50):
        story.tell(FrontRefused, 0.2, reason="timeout", code=503)
    lines = [line for line in printed(story.events).splitlines() if "by the front" in line]
    assert lines[0].endswith("! 1 request answered 503 by the front: waited longer than front.hold_timeout")
    assert lines[1].endswith("! 25 requests answered 503 by the front: waited longer than front.hold_timeout")
    assert len(lines) == 2


def test_pruned_objects_are_counted_by_kind(story: Story) -> None:
    assert missing(printed(story.pruned().events), "1 builder image", "1 final image", "600 MB") == []


def test_what_went_of_the_build_cache_is_told(story: Story) -> None:
    story.tell(BuildCachePruned, records=3, freed=700_000_000)
    assert missing(printed(story.events), "3 records", "build cache", "700 MB") == []


def test_what_was_trimmed_of_the_go_cache_is_told(story: Story) -> None:
    story.tell(GoCacheTrimmed, freed=700_000_000, left=9_000_000_000)
    assert missing(printed(story.events), "Go's build cache", "9.00 GB", "700 MB") == []


def test_a_builder_image_is_told_when_it_is_new_or_much_changed(story: Story) -> None:
    story.sized(1, 602_000_000, "builder").sized(2, 602_000_100, "builder").sized(3, 640_000_000, "builder")
    lines = [line for line in printed(story.events).splitlines() if "builder image" in line]
    assert [line[4:] for line in lines] == ["  · builder image 602 MB", "  · builder image 602 → 640 MB"]


def test_with_two_services_each_line_names_its_own() -> None:
    events = Story("one").start().cycle(1).events + Story("two").start().cycle(2).events
    text = printed(events)
    assert "✓ two  live" in text
    assert "            two    1.2 s  builder 5/5  RUN" in text


def test_escape_sequences_of_a_tool_do_not_reach_the_terminal(story: Story) -> None:
    failure = Failure("build", "\x1b[31mred\x1b[0m", ("\x1b]0;title\x07text", "\x1b[2J"))
    story.tell(BuildFinished, revision=revision(1), outcome=BuildOutcome.FAILED, seconds=1.0, failure=failure)
    assert "\x1b" not in printed(story.events)


def test_text_in_brackets_is_not_taken_for_markup(story: Story) -> None:
    assert "[red]x[/red] :smile:" in printed(
        story.tell(Notice, level="info", text="[red]x[/red] :smile:").events
    )


def test_outside_a_terminal_nothing_moves_and_nothing_is_coloured(story: Story) -> None:
    assert "\x1b" not in printed(story.cycle(1).events)


async def test_a_terminal_shows_the_running_build_and_takes_it_away(story: Story) -> None:
    file = Terminal()
    console = Screen(file, environ={"TERM": "xterm-256color"})
    story.save(1).begin(1).steps(1, 4)
    story.tell(BuildStepStarted, revision=revision(1), step="b5", name=STEPS[4][1], stage="builder")
    for event in story.events:
        console.notify(event)
    while "RUN CGO_ENABLED=0" not in file.getvalue():
        await asyncio.sleep(0.01)
    mark = len(file.getvalue())
    story.built(1).deploy(1)
    for event in story.events[-3:]:
        console.notify(event)
    console.close()
    end = file.getvalue()[mark:]
    assert "\x1b[2K" in end  # lines erased
    assert "live" in end
    assert end.count("\x1b[?25h") >= 1  # the cursor is back


async def test_a_stop_during_a_build_gives_the_cursor_back(story: Story) -> None:
    file = Terminal()
    console = Screen(file, environ={"TERM": "xterm-256color"})
    for event in story.save(1).begin(1).tell(DaemonStopping, reason="SIGINT").events:
        console.notify(event)
    mark = file.getvalue().rindex("\x1b[?25h")
    for event in Story().steps(1).cancelled(1).events:
        console.notify(event)
    assert "\x1b[?25l" not in file.getvalue()[mark:]


async def test_a_long_sentence_goes_on_beneath_its_beginning(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = on_terminal(story.tell(Notice, level="info", text="one word after the other, on and on").events)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in text.splitlines()]
    place = next(number for number, line in enumerate(lines) if "one word" in line)
    assert lines[place].endswith("one word after the other, on")
    assert lines[place + 1] == " " * INDENT + "and on"


async def test_no_color_leaves_no_colour_on_a_terminal(story: Story) -> None:
    text = on_terminal(story.cycle(1).events, NO_COLOR="1")
    assert "live" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


async def test_ci_and_dumb_terminals_get_plain_lines(story: Story) -> None:
    for environ in ({"CI": "true"}, {"TERM": "dumb"}):
        assert "\x1b[?25l" not in on_terminal(story.cycle(1).events, **environ)


async def test_the_bell_rings_when_broken_and_when_mended_if_asked_for(story: Story) -> None:
    story.cycle(1).failing(2).failing(3).cycle(4).cycle(5)
    for bell, rings in ((True, 2), (False, 0)):
        file = Terminal()
        console = Screen(file, bell=bell, environ={"TERM": "xterm"})
        for event in story.events:
            console.notify(event)
        console.close()
        assert file.getvalue().count("\a") == rings


def test_text_that_the_terminal_cannot_show_does_no_harm(story: Story) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Screen(file, environ={})
    for event in story.cycle(1).events:
        console.notify(event)
    file.flush()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("[builder 5/5] RUN go build", ("builder 5/5", "RUN go build")),
        ("[internal] load metadata", ("internal", "load metadata")),
        ("exporting to image", ("", "exporting to image")),
        ("[2/2] RUN a \\\n  b", ("2/2", "RUN a \\ b")),
        ("", ("", "")),
    ],
)
def test_a_step_is_split_into_place_and_deed(name: str, words: tuple[str, str]) -> None:
    assert step_words(name) == words


def test_a_base_image_on_its_way_is_told_at_once_and_then_now_and_then(story: Story) -> None:
    fields = {
        "revision": "r",
        "step": "sha256:1",
        "name": "[builder 1/3] FROM golang:alpine",
        "stage": "builder",
        "total": 120_000_000,
    }
    for after, done in ((0.0, 900_000), (1.0, 2_000_000), (FETCHED_EVERY, 60_000_000)):
        story.tell(BuildStepProgress, after=after, done=done, **fields)
    lines = [line for line in printed(story.events).splitlines() if "fetched" in line]
    first, second = lines
    assert missing(first, "builder 1/3", "FROM golang:alpine", "900 kB", "120 MB") == []
    assert missing(second, "builder 1/3", "FROM golang:alpine", "60.0", "120 MB") == []


def test_going_back_to_the_live_tree_after_an_error_ends_with_a_mark(story: Story) -> None:
    story.cycle(1).failing(2)
    mark = len(story.events)
    lines = lines_since(story.save(1), mark)
    assert lines[-1] == f"TIME  ✓ live {short(revision(1))} already"
    rung = Terminal()
    console = Screen(rung, bell=True, plain=True, environ={"TERM": "xterm"})
    for event in story.events:
        console.notify(event)
    assert rung.getvalue().count("\a") == 2, "once when it broke and once when it was mended"


def test_a_large_change_is_counted_while_it_is_read(story: Story) -> None:
    mark = len(story.events)
    for files in (12_400, 20_000):
        story.tell(SourceScanning, files=files)
    story.tell(
        SourceScanned, reason="event", full=False, seconds=4.2, files=30_003, context_bytes=1, problems=()
    )
    so_far, whole = lines_since(story, mark)
    assert missing(so_far, "scanning", "12400 files") == []
    assert missing(whole, "scanned", "30003 files", "4.2 s") == []


def test_a_clock_that_is_set_back_silences_nothing(story: Story) -> None:
    mark = len(story.events)
    for back in (0.0, 1.0, 3600.0):
        story.now -= back
        story.tell(FrontRefused, reason="timeout", code=503)
    assert len(lines_since(story, mark)) == 3


def test_what_the_engine_could_not_do_is_tried_again_and_needs_no_save(story: Story) -> None:
    story.save(1).begin(1).built(1)
    mark = len(story.events)
    failure = Failure("engine", "the engine does not answer")
    story.tell(
        DeployFinished,
        revision=revision(1),
        image="i",
        outcome=DeployOutcome.ERROR,
        seconds=0.1,
        failure=failure,
    )
    failed, state = lines_since(story, mark)
    assert missing(failed, "✗", "deploy failed", "0.1 s", "the engine does not answer") == []
    assert missing(state, "nothing answers", "retry") == []


def test_a_console_reads_the_board_that_it_is_given_and_does_not_feed_it(story: Story) -> None:
    board, file = StatusBoard(), io.StringIO()
    console = Console(file, board, plain=True)
    for event in story.cycle(1).events:
        board.notify(event)
        console.notify(event)
    assert len(board.builds(SERVICE)) == 1
    assert "live" in file.getvalue()
