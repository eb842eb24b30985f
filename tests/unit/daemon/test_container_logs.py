"""Following what containers print: from start to end, across replacements, bounded."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any

import pytest

from tests.fake_engine import FakeEngine, Program
from watcher import labels
from watcher.daemon import container_logs as follow
from watcher.daemon.container_logs import LEFT_OUT, LogStreamer
from watcher.engine import EngineError, EngineEvent, Printed
from watcher.engine.convert import LONGEST_LINE, parse_log
from watcher.engine.stream_reader import BatchReader
from watcher.observers.events import InternalError, Notice
from watcher.observers.status_board import StatusBoard

PROJECT, SERVICE = "project-1", "web"


async def until(condition: Callable[[], object]) -> None:
    """The test's own time limit ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0.005)


class World:
    """A fake engine whose events reach a follower, and a board that hears it."""

    def __init__(self, engine: FakeEngine, *, tail: int = follow.TAIL, calm: float = 0.0) -> None:
        self.engine, self.board = engine, StatusBoard()
        self.follower = LogStreamer(engine, self.board, PROJECT, tail=tail, calm=calm)

    async def run(self) -> None:
        async for event in self.engine.events(labels=[f"{labels.PROJECT}={PROJECT}"], since=0.0):
            self.follower.take(event)

    async def container(self, *lines: str) -> str:
        image = self.engine.add_image()
        self.engine.programs[image] = Program(None, lines)
        body = {
            "Image": image,
            "Labels": labels.app_labels(PROJECT, SERVICE, "r") | labels.proof_labels(image),
        }
        return await self.engine.create(f"box-{image[7:19]}", body)

    def lines(self) -> list[str]:
        return [line.text for line in self.board.lines.tail(1000, service=SERVICE, source="container")]


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    made = World(FakeEngine(), calm=0.001)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await made.follower.close()


async def test_lines_go_on_across_a_replacement(world: World) -> None:
    old, new = await world.container("old is up"), await world.container("new is up")
    await world.engine.start(old)
    await until(lambda: world.lines() == ["old is up"])
    await world.engine.start(new)
    await until(lambda: "new is up" in world.lines())
    world.engine.print(old, "old says goodbye")
    await until(lambda: "old says goodbye" in world.lines())
    await world.engine.remove_by_force(old)
    world.engine.print(new, "new goes on")
    await until(lambda: world.lines() == ["old is up", "new is up", "old says goodbye", "new goes on"])
    told = world.board.lines.tail(4)
    assert [line.container for line in told] == [old, new, old, new]


async def test_a_container_that_is_restarted_is_followed_on_without_telling_anything_twice(
    world: World,
) -> None:
    box = await world.container("up")
    for number in range(1, 4):
        await world.engine.start(box)
        await until(lambda: len(world.lines()) >= number)  # noqa: B023 - waited for here
        await world.engine.stop(box, 0)
    assert world.lines() == ["up"] * 3


async def test_a_start_before_the_end_was_read_is_followed_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[asyncio.Event] = []
    ended: list[asyncio.Event] = []

    async def follow_until_told(*_: object, **__: object) -> AsyncGenerator[Sequence[Printed]]:
        leave = asyncio.Event()
        begun.append(leave)
        try:
            while not leave.is_set():
                await leave.wait()
                yield [Printed(1.0, "a line")]
        finally:
            ended.append(leave)

    monkeypatch.setattr(world.engine, "follow", follow_until_told)
    box = await world.container()
    await world.engine.start(box)
    await until(lambda: len(begun) == 1)
    await world.engine.stop(box, 0)
    await world.engine.start(box)
    await until(lambda: world.follower._again)
    begun[0].set()
    await until(lambda: len(begun) == 2)
    begun[1].set()
    await until(lambda: len(ended) == 2)
    for _ in range(20):  # the task's end, and what it would begin
        await asyncio.sleep(0)
    assert len(begun) == 2


async def test_a_container_that_runs_already_is_found_and_shows_its_last_lines_with_their_times(
    world: World,
) -> None:
    other = World(world.engine, tail=2)
    box = await world.container()
    await world.engine.start(box)
    world.engine.clock = lambda: 1_790_000_000.0
    world.engine.print(box, "one", "two", "three")
    await other.follower.look()
    await until(lambda: other.lines() == ["two", "three"])
    assert other.board.lines.tail(1)[0].at == 1_790_000_000.0
    world.engine.clock = lambda: 1_790_000_001.0
    await other.follower.look()
    world.engine.print(box, "four")
    await until(lambda: other.lines() == ["two", "three", "four"])
    await other.follower.close()


async def test_other_projects_and_containers_without_a_service_are_left_alone(world: World) -> None:
    image = world.engine.add_image()
    world.engine.programs[image] = Program(None, ("secret",))
    for name, carried in (("a", {labels.PROJECT: "other", labels.SERVICE: SERVICE}), ("b", {})):
        await world.engine.start(await world.engine.create(name, {"Image": image, "Labels": carried}))
    await world.follower.look()
    mine = await world.container("mine")
    await world.engine.start(mine)
    await until(lambda: world.lines() == ["mine"])


async def test_containers_that_only_hold_a_network_or_an_address_are_not_followed(world: World) -> None:
    """Each would need a thread and a connection to the engine, and prints nothing."""
    image = world.engine.add_image()
    world.engine.programs[image] = Program(None, ("nothing of the user's",))
    for kind in (labels.pause_labels(PROJECT, SERVICE), labels.address_labels(PROJECT, SERVICE)):
        name = {labels.PAUSE: labels.PAUSE_NAME, labels.ADDRESS: labels.ADDRESS_NAME}[kind[labels.KIND]]
        body = {"Image": image, "Labels": kind | labels.proof_labels(image)}
        await world.engine.start(await world.engine.create(f"{name}{'0' * 12}", body))
    await world.follower.look()
    mine = await world.container("mine")
    await world.engine.start(mine)
    await until(lambda: world.lines() == ["mine"])
    assert len(world.follower._tasks) == 1


async def test_a_container_that_somebody_runs_from_our_image_is_not_followed(world: World) -> None:
    """It inherits the labels: what it prints is not what the service prints."""
    ours = await world.container("ours")
    image = world.engine.commit(ours)
    world.engine.programs[image] = Program(None, ("theirs",))
    theirs = await world.engine.create("theirs", {"Image": image})
    await world.engine.start(theirs)
    await world.follower.look()
    await world.engine.start(ours)
    await until(lambda: world.lines() == ["ours"])


class Flood(FakeEngine):
    """An engine with one container that prints for ever, `size` lines at a time.

    From reading number `calm` on it prints nothing any more.
    """

    def __init__(self, size: int, error: Exception | None = None, calm: int = 1_000_000) -> None:
        super().__init__()
        self.size, self.error, self.calm = size, error, calm
        self.readings: list[float] = []

    async def follow(self, container: str, *, since: float, tail: int) -> AsyncGenerator[Sequence[Printed]]:
        self.readings.append(since)
        if self.error:
            raise self.error
        if len(self.readings) >= self.calm:
            await asyncio.Event().wait()
        for number in itertools.count(1):
            await asyncio.sleep(0)
            yield [Printed(1000.0 * len(self.readings) + number, "x")] * self.size


def started(container: str) -> EngineEvent:
    own = {**labels.app_labels(PROJECT, SERVICE, "r"), **labels.proof_labels("i")}
    return EngineEvent("start", container, {"image": "i", **own})


async def test_of_a_container_that_prints_without_measure_lines_are_left_out() -> None:
    engine = Flood(follow.MUCH, calm=2)
    world = World(engine)
    world.follower.take(started("c"))
    await until(lambda: LEFT_OUT in world.lines())
    await until(lambda: len(engine.readings) == 2)
    await world.follower.close()
    assert engine.readings[0] == 0.0
    assert engine.readings[1] == 1000.0 + follow.PATIENCE + follow.STEP


async def test_a_container_that_prints_much_at_a_bearable_pace_is_shown_whole() -> None:
    engine = Flood(follow.MUCH - 1)
    world = World(engine)
    world.follower.take(started("c"))
    await until(lambda: world.board.lines.last > 3 * follow.PATIENCE * follow.MUCH)
    await world.follower.close()
    assert len(engine.readings) == 1


class Heard:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def notify(self, event: Any) -> None:
        self.events.append(event)


async def test_a_log_that_cannot_be_read_is_said_once() -> None:
    heard = Heard()
    follower = LogStreamer(
        Flood(1, EngineError("configured logging driver does not support reading")), heard, PROJECT
    )
    for container in ("a", "b"):
        follower.take(started(container))
    await follower.close()
    for container in ("a", "b"):
        follower.take(started(container))
        await asyncio.sleep(0.01)
    (notice,) = heard.events
    assert isinstance(notice, Notice)
    assert "does not support reading" in notice.text


async def test_a_bug_while_following_is_told() -> None:
    heard = Heard()
    follower = LogStreamer(Flood(1, ZeroDivisionError()), heard, PROJECT)
    follower.take(started("a"))
    await until(lambda: heard.events)
    assert isinstance(heard.events[0], InternalError)
    assert "ZeroDivisionError" in heard.events[0].traceback


# The lines of a raw log.


def test_lines_are_put_together_from_chunks_with_their_times() -> None:
    chunks = [b"2026-01-02T03:04:05.123456789Z one\n2026-01-02T03:0", b"4:06Z tw", b"o\r\nno time", b" here"]
    assert [line.text for line in parse_log(chunks)] == ["one", "two", "no time here"]
    assert [line.at for line in parse_log(chunks)] == [1767323045.123456, 1767323046.0, 0.0]


def test_a_line_without_an_end_is_given_in_pieces() -> None:
    lines = list(parse_log([b"x" * 4096] * 40))
    assert sum(len(line.text) for line in lines) == 40 * 4096
    assert max(len(line.text) for line in lines) <= LONGEST_LINE + 4096


def test_undecodable_bytes_are_shown_as_such() -> None:
    assert [line.text for line in parse_log([b"2026-01-02T03:04:05Z \xff\n"])] == [
        "\N{REPLACEMENT CHARACTER}"
    ]


# The thread that reads it.


async def test_a_pump_gives_everything_in_order_and_ends() -> None:
    pump = BatchReader((number for number in range(1000)), most=10, name="test")
    batches = [batch async for batch in pump.batches()]
    assert list(itertools.chain(*batches)) == list(range(1000))
    assert max(map(len, batches)) <= 10


async def test_a_pump_holds_only_so_many_items_and_lets_its_thread_go() -> None:
    given, ended = itertools.count(), threading.Event()

    def items() -> Generator[int]:
        try:
            while True:
                yield next(given)
        finally:
            ended.set()

    pump = BatchReader(items(), most=10, name="test")
    first = await anext(pump.batches())
    assert 1 <= len(first) <= 10
    pump.close()
    await asyncio.to_thread(ended.wait)
    assert next(given) <= 22  # taken, waiting, and one in the thread's hand
