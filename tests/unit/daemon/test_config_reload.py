"""Following the files of a configuration, without a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from watcher.daemon import config_reload
from watcher.daemon.config_reload import Configuration, ConfigurationWatch, ReloadTimes, merge
from watcher.errors import ConfigError, PartlyApplied, WatcherError
from watcher.observers.events import ConfigurationRefused, Event, InternalError, Notice
from watcher.settings import Settings

COMPOSE = "services:\n  app:\n    build: .\n    environment:\n      WORD: {word}\n"


class Rig:
    """A project, its configuration followed, and what came of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("compose.yaml", COMPOSE.format(word="one"))
        self.applied: list[Configuration] = []
        self.told: list[str] = []
        self.bugs: list[str] = []
        self.refused: list[str] = []
        self.concerned: list[tuple[str, ...] | None] = []
        self.refuse: Exception | None = None
        self.times = ReloadTimes(look_every=0.01)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def age(self) -> None:
        """Let all files be older than whatever is read from now on."""
        for path in self.root.iterdir():
            os.utime(path, (1_000_000_000, 1_000_000_000))

    def notify(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.told.append(event.text)
        if isinstance(event, ConfigurationRefused):
            self.refused.append(event.reason)
            self.concerned.append(event.services)
        if isinstance(event, InternalError):
            self.bugs.append(event.traceback)

    async def apply(self, new: Configuration) -> None:
        if self.refuse:
            raise self.refuse
        self.applied.append(new)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[ConfigurationWatch]:
        watch = ConfigurationWatch(
            config_reload.read(load(project=self.root)), observer=self, apply=self.apply, times=self.times
        )
        task = asyncio.create_task(watch.run())
        await watch.current()
        yield watch
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert self.bugs == []

    def words(self) -> list[str | None]:
        return [each.compose.managed_services[0].environment.get("WORD") for each in self.applied]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_nothing_is_said_or_done_while_nothing_changes(rig: Rig) -> None:
    async with rig.following() as watch:
        os.utime(rig.root / "compose.yaml")
        await watch.current()
    assert (rig.applied, rig.told) == ([], [])


async def test_a_changed_compose_file_is_in_force_when_current_returns(rig: Rig) -> None:
    async with rig.following() as watch:
        rig.write("compose.yaml", COMPOSE.format(word="two"))
        await watch.current()
        assert rig.words() == ["two"]
        assert watch.configuration.compose.managed_services[0].environment["WORD"] == "two"
    (said,) = rig.told
    assert missing(said, "compose.yaml", "in force") == []


async def test_a_change_that_nobody_asks_about_is_noticed(rig: Rig) -> None:
    async with rig.following():
        rig.write("compose.yaml", COMPOSE.format(word="two"))
        async with asyncio.timeout(30):
            while not rig.applied:
                await asyncio.sleep(0.01)


async def test_a_change_between_reading_and_following_is_noticed(rig: Rig) -> None:
    rig.age()
    read = config_reload.read(load(project=rig.root))
    rig.write("compose.yaml", COMPOSE.format(word="one").replace("one", "two"))
    watch = ConfigurationWatch(read, observer=rig, apply=rig.apply, times=rig.times)
    task = asyncio.create_task(watch.run())
    await watch.current()
    task.cancel()
    assert rig.words() == ["two"]


async def test_a_file_that_cannot_be_used_is_refused_once_and_the_old_one_stays(rig: Rig) -> None:
    async with rig.following() as watch:
        rig.write("compose.yaml", "services: {app: {build: ., ports: [nine]}}")
        await watch.current()
        rig.write("compose.yaml", "services: {app: {build: ., ports: [nine]}} # the same again")
        await watch.current()
        assert len(rig.told) == 1
        assert "services.app.ports" in rig.told[0]
        assert "nine" in rig.told[0]
        assert rig.told[0].endswith("what was in force stays")
        assert watch.configuration.compose.managed_services[0].environment["WORD"] == "one"
        rig.write("compose.yaml", COMPOSE.format(word="one"))
        await watch.current()
    assert rig.applied == []
    assert rig.told[1:] == ["compose.yaml says again what is in force"]
    assert ["services.app.ports" in reason for reason in rig.refused] == [True, False]
    assert rig.refused[-1] == ""


async def test_what_cannot_be_put_in_force_is_refused_and_tried_again_when_changed(rig: Rig) -> None:
    async with rig.following() as watch:
        rig.refuse = ConfigError("services.app.ports", "1:1", "is taken")
        rig.write("compose.yaml", COMPOSE.format(word="two"))
        await watch.current()
        assert missing(rig.told[0], "services.app.ports = '1:1'", "is taken") == []
        assert watch.configuration.compose.managed_services[0].environment["WORD"] == "one"
        rig.refuse = None
        rig.write("compose.yaml", COMPOSE.format(word="two") + "# again\n")
        await watch.current()
    assert rig.words() == ["two"]
    assert rig.refused == ["services.app.ports = '1:1': is taken", ""]


async def test_a_port_that_was_taken_is_tried_again_without_a_save(rig: Rig) -> None:
    rig.times = dataclasses.replace(rig.times, retry_every=0.0)
    async with rig.following() as watch:
        rig.refuse = WatcherError("port 1 is taken")
        rig.write("compose.yaml", COMPOSE.format(word="two"))
        await watch.current()
        assert rig.refused == ["port 1 is taken"]
        rig.refuse = None
        async with asyncio.timeout(30):
            while not rig.applied:
                await asyncio.sleep(0.01)
    assert rig.refused == ["port 1 is taken", ""]
    assert missing(rig.told[-1], "compose.yaml", "in force") == []


async def test_a_file_that_is_written_all_the_time_does_not_hold_the_looks(rig: Rig) -> None:
    rig.times = dataclasses.replace(rig.times, settled=0.01, settled_most=0.1)

    async def write() -> None:
        for number in itertools.count():
            rig.write("beside", COMPOSE.format(word=f"w{number}"))
            (rig.root / "beside").rename(rig.root / "compose.yaml")
            await asyncio.sleep(0)

    async with rig.following() as watch:
        writer = asyncio.create_task(write())
        await asyncio.sleep(0)
        await asyncio.wait_for(watch.current(), 30)
        writer.cancel()
    assert rig.applied, (rig.told, rig.refused)


async def test_env_files_and_files_that_only_may_come_are_followed(rig: Rig) -> None:
    async with rig.following() as watch:
        rig.write("compose.yaml", "services:\n  app:\n    build: .\n    env_file: app.env\n")
        await watch.current()
        assert "app.env" in rig.told[0]
        rig.write("app.env", "WORD=late\n")
        await watch.current()
        rig.write("app.env", "WORD=later\n")
        await watch.current()
        assert rig.words() == ["late", "later"]
        rig.write("compose.override.yaml", "services: {app: {environment: {WORD: over}}}\n")
        await watch.current()
        rig.write(".env", "UNUSED=1\n")
        await watch.current()
    assert rig.words() == ["late", "later", "over"]


async def test_a_compose_file_of_a_name_that_goes_before_takes_over(rig: Rig) -> None:
    async with rig.following() as watch:
        rig.write("docker-compose-dev.yml", COMPOSE.format(word="dev"))
        await watch.current()
        assert rig.words() == ["dev"]
        (rig.root / "docker-compose-dev.yml").unlink()
        await watch.current()
        assert rig.words() == ["dev"]
        assert missing(rig.told[1], "docker-compose-dev.yml", "no such file", "start the watcher again") == []


@pytest.mark.parametrize(
    ("put", "rule"),
    [
        (lambda path: path.mkdir(), "it is not a regular file any more"),
        (os.mkfifo, "it is not a regular file any more"),
        (lambda path: path.symlink_to("nowhere"), "it is a link that leads nowhere"),
        (lambda path: path.symlink_to(path.name), "it is a link that leads nowhere"),
        (lambda path: None, "there is no such file any more; what was in force stays"),
    ],
    ids=["folder", "fifo", "dangling link", "link to itself", "nothing"],
)
async def test_what_took_the_place_of_the_compose_file_is_named(
    rig: Rig, put: Callable[[Path], None], rule: str
) -> None:
    async with rig.following() as watch:
        file = watch.configuration.compose.file
        file.unlink()
        put(file)
        await watch.current()
        assert f"{file.name}: {rule}" in rig.told[-1]


async def test_settings_of_the_file_are_in_force_and_the_command_line_wins(rig: Rig) -> None:
    settings = load(project=rig.root, deploy={"soak": 7})
    watch = ConfigurationWatch(config_reload.read(settings), observer=rig, apply=rig.apply, times=rig.times)
    task = asyncio.create_task(watch.run())
    rig.write("watcher.toml", "[prune]\nkeep = 9\n[deploy]\nsoak = 1\n[http]\nport = 1\n")
    await watch.current()
    assert (rig.applied[0].settings.prune.keep, rig.applied[0].settings.deploy.soak) == (9, 7)
    assert rig.applied[0].settings.http.port == settings.http.port
    rig.write("watcher.toml", "[prune]\nkeep = 0\n")
    await watch.current()
    task.cancel()
    assert len(rig.applied) == 1
    assert missing(rig.told[0], "http", "next start") == []
    assert missing(rig.told[2], "watcher.toml", "refused", "prune.keep = 0") == []


async def test_those_who_wait_are_let_go_when_a_bug_or_the_end_comes(rig: Rig) -> None:
    watch = ConfigurationWatch(
        config_reload.read(load(project=rig.root)), observer=rig, apply=rig.apply, times=rig.times
    )
    task = asyncio.create_task(watch.run())
    await watch.current()
    rig.refuse = RuntimeError("a bug")
    rig.write("compose.yaml", COMPOSE.format(word="two"))
    await watch.current()
    assert "a bug" in rig.bugs[0]
    (refused,) = rig.refused
    assert missing(refused, "error of the watcher itself", "RuntimeError('a bug')") == []
    rig.refuse = None
    rig.write("compose.yaml", COMPOSE.format(word="three"))
    await watch.current()
    assert rig.words() == ["three"]
    rig.write("compose.yaml", COMPOSE.format(word="four"))
    waiter = asyncio.create_task(watch.current())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait_for(waiter, 30)


def test_only_what_can_change_at_run_time_is_merged() -> None:
    old, new = Settings(), Settings(plain=True, deploy={"strategy": "recreate", "soak": 1})
    merged, late = merge(old, new)
    assert late == ("deploy.strategy", "plain")
    assert (merged.plain, merged.deploy.strategy) == (False, "front")
    assert merged.deploy.soak == 1
    assert merge(old, Settings()) == (old, ())


def test_settings_are_read_again_with_the_values_that_were_given(tmp_path: Path) -> None:
    first = load(project=tmp_path, front={"hold_requests": 3})
    (tmp_path / "watcher.toml").write_text("[front]\nhold_requests = 4\nhold_timeout = 5\n")
    again = first.reload()
    assert (again.front.hold_requests, again.front.hold_timeout) == (3, 5)
    assert again.model_copy(update={"plain": True}).reload() == again
    (tmp_path / "watcher.toml").write_text("[front]\nhold_timeout = -1\n")
    with pytest.raises(ConfigError, match=r"front\.hold_timeout = -1"):
        first.reload()


def test_when_it_was_read_is_no_difference(rig: Rig) -> None:
    read = config_reload.read(load(project=rig.root))
    assert dataclasses.replace(read, since=0) == read


async def test_a_project_path_that_leads_elsewhere_is_refused_until_it_leads_back(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    places = tmp_path_factory.mktemp("places")
    link, other = places / "project", places / "other"
    other.mkdir()
    link.symlink_to(rig.root)
    watch = ConfigurationWatch(
        config_reload.read(load(project=link)), observer=rig, apply=rig.apply, times=rig.times
    )
    task = asyncio.create_task(watch.run())
    await watch.current()
    link.unlink()
    link.symlink_to(other)
    await watch.current()
    await watch.current()
    text = f"project leads to {other} now, not to {rig.root}: start the watcher again"
    assert (rig.refused, rig.told) == ([text], [text])
    link.unlink()
    link.symlink_to(rig.root)
    await watch.current()
    assert rig.refused[1:] == [""]
    task.cancel()
    assert rig.applied == []


async def test_a_change_that_is_in_force_for_some_services_only_is_told_so_and_tried_again(rig: Rig) -> None:
    rig.times = dataclasses.replace(rig.times, retry_every=0.01)
    async with rig.following() as watch:
        rig.refuse = PartlyApplied("cannot listen on *:9000", ["app"])
        rig.write("compose.yaml", COMPOSE.format(word="two"))
        await watch.current()
        (said,) = rig.told
        assert missing(said, "compose.yaml", "in force", "not all", "cannot listen on *:9000") == []
        assert rig.refused == ["cannot listen on *:9000"]
        rig.refuse = None
        async with asyncio.timeout(30):
            while not rig.applied:
                await asyncio.sleep(0.01)


async def test_an_undone_change_that_was_in_force_in_part_is_undone(rig: Rig) -> None:
    async with rig.following() as watch:
        rig.refuse = PartlyApplied("cannot listen on *:9000", ["app"])
        rig.write("compose.yaml", COMPOSE.format(word="two"))
        await watch.current()
        rig.refuse = None
        rig.write("compose.yaml", COMPOSE.format(word="one"))
        await watch.current()
        assert [each.compose.services["app"].environment for each in rig.applied] == [{"WORD": "one"}]
        assert missing(rig.told[-1], "compose.yaml", "in force") == []


def test_how_the_containers_of_one_service_are_published_waits_for_the_next_start() -> None:
    old = Settings(per_service={"web": {"deploy": {"soak": 1}}})
    new = Settings(per_service={"web": {"deploy": {"soak": 2, "strategy": "recreate"}}})
    merged, late = merge(old, new)
    assert late == ("service.web.deploy.strategy",)
    deploy = merged.for_service("web").deploy
    assert (deploy.soak, deploy.strategy) == (2, "front")


SEVERAL = """
services:
  api: {build: ., environment: {WORD: WORD_OF_API}}
  web: {build: ., env_file: web.env, depends_on: [db]}
  page: {build: .}
  db: {image: redis}
"""


@pytest.fixture
def several(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.write("web.env", "A=1")
    made.write("compose.yaml", SEVERAL)
    return made


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        (lambda rig: (rig.root / "web.env").unlink(), ("web",)),
        (lambda rig: rig.write("compose.yaml", SEVERAL.replace("redis", "[1]")), ("web",)),
        (
            lambda rig: (
                (rig.root / "web.env").unlink(),
                rig.write("compose.yaml", SEVERAL.replace("WORD_OF_API", "two")),
            ),
            ("api", "web"),
        ),
        (lambda rig: rig.write("compose.yaml", SEVERAL + "  new: {build: [1]}"), ()),
        (lambda rig: rig.write("compose.yaml", SEVERAL + "  : ["), ("api", "page", "web")),
        (lambda rig: rig.write("watcher.toml", "= no"), None),
        (lambda rig: rig.write("watcher.toml", "[deploy]\nsoak = -1"), None),
    ],
)
async def test_a_refused_change_concerns_the_services_that_it_would_change(
    several: Rig, change: Callable[[Rig], object], concerned: tuple[str, ...] | None
) -> None:
    async with several.following() as watch:
        change(several)
        await watch.current()
        assert several.refused[-1]
        found = several.concerned[-1]
        assert (found if found is None else tuple(sorted(found))) == concerned


async def test_what_is_in_force_in_part_decides_whom_a_later_refusal_concerns(several: Rig) -> None:
    async with several.following() as watch:
        two = SEVERAL.replace("WORD_OF_API", "two").replace("page: {build: .}", "page: {build: ., user: me}")
        several.refuse = PartlyApplied("cannot listen on *:9000", ["page"])
        several.write("compose.yaml", two)
        await watch.current()
        assert several.concerned[-1:] == [("page",)]
        (several.root / "web.env").unlink()
        await watch.current()
        assert several.concerned[-1] == ("web", "page")
