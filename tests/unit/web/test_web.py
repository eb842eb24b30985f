"""The HTTP surface, served for real on loopback."""

from __future__ import annotations

import asyncio
import base64
import errno
import gc
import hashlib
import json
import re
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.facts import missing
from tests.loaded_settings import load
from tests.unit.observers.conftest import told
from tests.unit.observers.story import SERVICE, Story, image, revision
from tests.unit.web.support import Desk, Site, site
from watcher.errors import ConfigError, Failure, UserError
from watcher.observers.api_schema import BuildList, LogList, Settled
from watcher.observers.events import (
    BuildStepOutput,
    ComponentChange,
    ConfigurationRefused,
    DaemonStopping,
    DeployFinished,
    DeployOutcome,
    DesiredChanged,
    EngineDown,
    EngineUp,
    ImageExplained,
    Paused,
)
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import (
    Status,
)
from watcher.settings import HttpSettings
from watcher.web import create_app, serve
from watcher.web.app import FIRST_STATUS, fill_page, read_page
from watcher.web.server import listen
from watcher.web.stream import resume_position, settle

pytestmark = pytest.mark.libraries

ACTIONS = ("rebuild", "cancel", "pause", "resume", "rescan")


@asynccontextmanager
async def listening(at: Site, **headers: str) -> AsyncGenerator[AsyncIterator[dict[str, Any]]]:
    """The messages of the event stream, as they come: event, id, data."""

    async def read(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        current: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name in ("event", "id", "data"):
                current[name] = json.loads(value) if name == "data" else value
            elif not line and current:
                yield current
                current = {}

    async with at.client.stream("GET", "/api/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield read(answer)


# Reading.


async def test_the_status_is_the_board(story: Story) -> None:
    async with site(story.cycle(1).failing(2)) as at:
        answer = await at.client.get("/api/status")
        assert Status.model_validate_json(answer.content) == at.board.status
        assert answer.headers["content-type"] == "application/json"


async def test_builds_come_newest_first_and_as_many_as_asked(story: Story) -> None:
    async with site(story.cycle(1).cycle(2).failing(3)) as at:
        answer = BuildList.model_validate_json((await at.client.get("/api/builds?limit=2")).content)
        assert [build.revision for build in answer.builds] == [revision(3), revision(2)]


async def test_logs_are_told_by_source_and_from_a_line_on(story: Story) -> None:
    async with site(story.failing(1).said("one\ntwo\nthree")) as at:

        async def texts(query: str) -> list[str]:
            answer = await at.client.get(f"/api/logs?{query}")
            return [line.text for line in LogList.model_validate_json(answer.content).lines]

        assert await texts("source=container&tail=2") == ["two", "three"]
        assert await texts("after=5") == ["three"]
        assert len(await texts("source=build")) == 3


async def test_metrics_come_in_the_format_that_is_asked_for(story: Story) -> None:
    async with site(story.cycle(1)) as at:
        plain = await at.client.get("/metrics")
        assert plain.headers["content-type"].startswith("text/plain; version=")
        better = await at.client.get(
            "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"}
        )
        assert better.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert better.text.endswith("# EOF\n")


async def test_alive_at_once_ready_when_tree_and_engine_are_known() -> None:
    story = Story().start()
    async with site(story) as at:
        assert (await at.client.get("/livez")).text == "ok\n"
        waiting = await at.client.get("/readyz")
        assert (waiting.status_code, waiting.text) == (503, "the tree was not scanned yet: go-server\n")
        for event in Story().start().save(1).events:
            at.board.notify(event)
        assert (await at.client.get("/readyz")).text == "ok\n"
        at.board.notify(EngineDown(reason="refused", retry_in=1))
        assert (await at.client.get("/readyz")).text == "the engine does not answer: refused\n"
        at.board.notify(EngineUp(version="", store="", endpoint=""))
        at.board.notify(DaemonStopping(reason="SIGTERM"))
        assert (await at.client.get("/readyz")).text == "stopping\n"


async def test_a_service_that_is_unknown_is_named_with_the_known_ones(story: Story) -> None:
    story.events += Story("other").start().events
    async with site(story) as at:
        answer = await at.client.get("/api/builds?service=wbe")
        assert answer.status_code == 404
        assert answer.json()["detail"].endswith("there is no such service (known: go-server, other)")


async def test_builds_of_all_services_come_newest_first_each_with_its_service(story: Story) -> None:
    story.cycle(1).events += Story("other").start().cycle(2).events
    story.save(3).begin(3).built(3)
    async with site(story) as at:
        for event in Story("other").save(4).begin(4).built(4).events[-1:]:
            at.board.notify(event)
        found = BuildList.model_validate_json((await at.client.get("/api/builds")).content)
        assert found.service == ""
        assert [(build.service, build.id) for build in found.builds] == [
            ("other", 4),
            ("go-server", 3),
            ("other", 2),
            ("go-server", 1),
        ]
        newest = BuildList.model_validate_json((await at.client.get("/api/builds?limit=1")).content)
        assert newest.builds == found.builds[:1]


async def test_a_wait_for_newer_builds_of_all_ends_when_each_has_one(story: Story) -> None:
    story.cycle(1).events += Story("other").start().cycle(1).events
    async with site(story) as at:
        at.desk.revision = revision(1)
        accepted = (await at.client.post("/api/rebuild")).json()
        assert accepted["last_build"] == 2
        assert [each["last_build"] for each in accepted["services"]] == [1, 2]
        wait = asyncio.create_task(at.client.post("/api/wait?after_build=2&timeout=30"))
        for name in ("go-server", "other"):
            assert not wait.done()
            for event in Story(name).begin(1).built(1).deploy(1).events:
                at.board.notify(event)
            for _ in range(20):
                await asyncio.sleep(0)
        settled = (await wait).json()
        assert settled["outcome"] == "live"
        assert [each["service"] for each in settled["services"]] == ["go-server", "other"]


async def test_a_rescan_of_all_says_which_tree_cannot_be_scanned(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.events += Story("other").start().events
    async with site(story) as at:
        scan = at.desk.rescan

        async def rescan(service: str) -> str:
            if service == "other":
                raise UserError(Failure("tree", "there is no such folder"))
            return await scan(service)

        monkeypatch.setattr(at.desk, "rescan", rescan)
        answer = await at.client.post("/api/rescan")
        assert answer.status_code == 202
        assert [(each["service"], each["problem"]) for each in answer.json()["services"]] == [
            ("go-server", ""),
            ("other", "there is no such folder"),
        ]
        assert (await at.client.post("/api/rescan?service=other")).status_code == 503


async def test_every_service_has_routes_of_its_own(story: Story) -> None:
    story.cycle(1).events.extend(Story("other").start().cycle(2).said("hello").events)
    async with site(story) as at:
        names = (await at.client.get("/api/services")).json()["services"]
        assert [(one["name"], one["phase"]) for one in names] == [("go-server", "live"), ("other", "live")]
        one = (await at.client.get("/api/services/other")).json()
        assert one["live"]["revision"] == revision(2)
        builds = (await at.client.get("/api/services/other/builds")).json()
        assert [build["revision"] for build in builds["builds"]] == [revision(2)]
        lines = (await at.client.get("/api/services/other/logs")).json()["lines"]
        assert {line["service"] for line in lines} == {"other"}
        assert (await at.client.post("/api/services/other/pause")).json()["service"] == "other"
        assert at.desk.asked == [("pause", "other")]
        assert (await at.client.get("/api/services/none")).status_code == 404


async def test_an_explained_image_has_a_route_by_revision(story: Story) -> None:
    for number, before in ((1, ""), (2, revision(1))):
        changes = (ComponentChange("DWARF", 0, 5),) if before else ()
        story.cycle(number).tell(
            ImageExplained,
            revision=revision(number),
            image=image(number),
            size=10 + number,
            components=(("gin", 10), ("other", number)),
            before=before,
            changes=changes,
        )
    async with site(story) as at:
        newest = (await at.client.get("/api/services/go-server/image")).json()
        assert (newest["revision"], newest["components"]) == (revision(2), {"gin": 10, "other": 2})
        assert newest["changes"] == [{"name": "DWARF", "before": 0, "after": 5}]
        first = (await at.client.get(f"/api/services/go-server/image/{revision(1)[:12]}")).json()
        assert (first["size"], first["before"]) == (11, "")
        gone = await at.client.get("/api/services/go-server/image/abcdef")
        assert (gone.status_code, "revision abcdef" in gone.json()["detail"]) == (404, True)


async def test_a_request_without_a_service_is_for_all(story: Story) -> None:
    story.cycle(1).said("hi").events.extend(Story("other").start().cycle(2).said("hello").events)
    async with site(story) as at:
        for action in ("rebuild", "pause", "resume", "cancel", "rescan"):
            at.desk.asked.clear()
            accepted = (await at.client.post(f"/api/{action}")).json()
            assert [one["service"] for one in accepted["services"]] == ["go-server", "other"]
            assert at.desk.asked == [(action, "go-server"), (action, "other")]
        lines = (await at.client.get("/api/logs?tail=4000")).json()["lines"]
        assert {"go-server", "other"} == {line["service"] for line in lines}
        assert (await at.client.get("/api/builds?service=other")).json()["service"] == "other"
        at.desk.asked.clear()
        assert (await at.client.post("/api/rebuild?service=none")).status_code == 404
        assert at.desk.asked == []


# Actions.


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_reaches_the_daemon(story: Story, action: str) -> None:
    async with site(story) as at:
        answer = await at.client.post(f"/api/{action}")
        assert answer.status_code == 202
        assert at.desk.asked == [(action, SERVICE)]
        assert (await at.client.get(f"/api/{action}")).status_code == 405


async def test_a_rescan_gives_the_revision_or_says_why_not(story: Story) -> None:
    async with site(story) as at:
        assert (await at.client.post("/api/rescan")).json()["revision"] == revision(1)
        at.desk.gone = True
        answer = await at.client.post("/api/rescan")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the project folder is gone")


async def test_what_cannot_be_cancelled_is_said(story: Story) -> None:
    async with site(story) as at:
        assert (await at.client.post("/api/cancel")).json()["action"] == "cancel"
        at.desk.runs = False
        answer = await at.client.post("/api/cancel")
        assert answer.status_code == 409
        assert missing(answer.json()["detail"], "no build or deploy", SERVICE) == []


async def test_an_upgrade_is_begun_or_says_why_not(story: Story) -> None:
    async with site(story) as at:
        assert (await at.client.post("/api/upgrade")).status_code == 202
        at.desk.gone = True
        answer = await at.client.post("/api/upgrade")
        assert (answer.status_code, answer.json()["detail"]) == (409, "it does not start")
        assert at.desk.asked == [("upgrade", "")] * 2


async def test_waiting_ends_when_the_tree_is_live(story: Story) -> None:
    async with site(story.save(1).begin(1)) as at:
        waiting = asyncio.create_task(at.client.post("/api/wait?timeout=20"))
        while not at.desk.asked:
            await asyncio.sleep(0.01)
        mark = len(story.events)
        for event in story.steps(1).built(1).deploy(1).events[mark:]:
            at.board.notify(event)
        settled = Settled.model_validate_json((await waiting).content)
        assert (settled.outcome, settled.revision) == ("live", revision(1))


@pytest.mark.parametrize("then", ["newer is live", "failed", "paused", "nothing"])
async def test_waiting_ends_when(story: Story, then: str) -> None:
    async with site(story.save(1)) as at:
        query = "timeout=0.05" if then == "nothing" else "timeout=20"
        waiting = asyncio.create_task(at.client.post(f"/api/wait?{query}"))
        while not at.desk.asked:
            await asyncio.sleep(0.01)
        mark = len(story.events)
        match then:
            case "newer is live":
                story.cycle(2)
            case "failed":
                story.begin(1).broken(1)
            case "paused":
                story.tell(Paused, paused=True)
        for event in story.events[mark:]:
            at.board.notify(event)
        settled = Settled.model_validate_json((await waiting).content)
        expected = {
            "newer is live": ("live", revision(2)),
            "failed": ("failed", revision(1)),
            "paused": ("paused", revision(1)),
        }
        assert (settled.outcome, settled.revision) == expected.get(then, ("timeout", revision(1)))
        assert (settled.failure is not None) == (then == "failed")


async def test_waiting_fails_at_once_while_the_configuration_is_refused(story: Story) -> None:
    async with site(story.cycle(1)) as at:
        at.board.notify(ConfigurationRefused(reason="services.app.ports = 'nine': is no port"))
        settled = Settled.model_validate_json((await at.client.post("/api/wait")).content)
        assert settled.outcome == "failed"
        assert settled.failure is not None
        assert settled.failure.kind == "config"
        assert missing(settled.failure.summary, "services.app.ports = 'nine'", "is no port") == []
        at.board.notify(ConfigurationRefused(reason=""))
        settled = Settled.model_validate_json((await at.client.post("/api/wait")).content)
        assert settled.outcome == "live"


@pytest.mark.parametrize("how", ["asked to", "closed"])
async def test_waiting_ends_with_a_reason_when_the_daemon_stops(story: Story, how: str) -> None:
    async with site(story.save(1)) as at:
        waiting = asyncio.create_task(at.client.post("/api/wait?timeout=20"))
        while not at.desk.asked:
            await asyncio.sleep(0.01)
        if how == "closed":
            at.board.close()
        else:
            at.board.notify(DaemonStopping(reason="SIGTERM"))
        answer = await waiting
        assert (answer.status_code, answer.json()["detail"]) == (503, "the watcher is being stopped")


@pytest.mark.parametrize("request_path", ["/api/wait?timeout=20", "/api/rescan"])
async def test_a_daemon_that_stops_before_it_has_scanned_says_so(story: Story, request_path: str) -> None:
    async with site(story.save(1)) as at:
        at.desk.look_seconds = 1000.0
        waiting = asyncio.create_task(at.client.post(request_path))
        while not at.desk.asked:
            await asyncio.sleep(0.01)
        at.board.close()
        answer = await waiting
        assert (answer.status_code, answer.json()["detail"]) == (503, "the watcher is being stopped")


async def test_a_look_that_takes_too_long_is_the_time_that_is_up(story: Story) -> None:
    desk = Desk(look_seconds=20.0)
    board = told(story.save(1))
    settled = await settle(board, SERVICE, lambda: desk.rescan(SERVICE), timeout=0.0, scan_seconds=0.01)
    assert (settled.outcome, settled.revision) == ("timeout", revision(1))


# The event stream.


async def test_the_stream_begins_with_the_whole_status(story: Story) -> None:
    async with site(story.cycle(1)) as at, listening(at) as news:
        first = await anext(news)
        assert first["event"] == "status"
        assert Status.model_validate(first["data"]) == at.board.status


async def test_changes_and_lines_follow(story: Story) -> None:
    async with site(story.cycle(1)) as at, listening(at) as news:
        await anext(news)
        for event in Story().save(2).said("hello").events:
            at.board.notify(event)
        found = {item["event"]: item["data"] for item in (await anext(news), await anext(news))}
        assert found["status"]["services"][0]["desired"]["revision"] == revision(2)
        assert [line["text"] for line in found["lines"]["lines"]] == ["hello"]


async def test_a_client_that_comes_back_gets_the_lines_it_missed(story: Story) -> None:
    async with site(story.cycle(1).said("one")) as at:
        async with listening(at) as news:
            last = (await anext(news))["id"]
        for event in Story().said("two").said("three").events:
            at.board.notify(event)
        async with listening(at, **{"last-event-id": last}) as news:
            assert (await anext(news))["event"] == "status"
            lines = (await anext(news))["data"]
        assert [line["text"] for line in lines["lines"]] == ["two", "three"]
        assert lines["dropped"] is False


def test_where_a_client_goes_on(story: Story) -> None:
    board = told(story.said("one\ntwo\nthree"))
    boot = board.status.daemon.boot
    assert resume_position(board, f"{boot}.1") == 1
    assert resume_position(board, f"{boot}.99") == 3  # never beyond what there is
    for stranger in ("", "x", "other.1", f"{boot}.", f"{boot}.-1", f"{boot}.1.2", f"{boot}.²"):
        assert resume_position(board, stranger) == 3


async def test_a_burst_of_events_is_one_message(story: Story) -> None:
    async with site(story.cycle(1)) as at, listening(at) as news:
        await anext(news)
        for number in range(500):
            at.board.notify(Paused(service=SERVICE, paused=number % 2 == 1))
        assert (await anext(news))["data"]["services"][0]["paused"] is True
        at.board.notify(Paused(service=SERVICE, paused=False))
        assert (await anext(news))["data"]["services"][0]["paused"] is False


@pytest.mark.thorough
async def test_fifty_clients_through_two_hundred_builds_leave_nothing_behind(story: Story) -> None:
    async with site(story.cycle(0)) as at:

        async def follow() -> str:
            async with (
                httpx.AsyncClient(base_url=at.url, timeout=60, trust_env=False) as client,
                client.stream("GET", "/api/events") as answer,
            ):
                async for line in answer.aiter_lines():
                    if line.startswith("data: ") and revision(200) in line and '"phase":"live"' in line:
                        return "seen"
            return "ended"

        clients = [asyncio.create_task(follow()) for _ in range(50)]
        while len(at.board._waiters) < 50:
            await asyncio.sleep(0.01)
        for number in range(1, 201):
            cycle = Story().cycle(number)
            for event in cycle.events:
                at.board.notify(event)
            at.board.notify(BuildStepOutput(service=SERVICE, revision="r", step="s", text="line", stage="b"))
            await asyncio.sleep(0)
        assert await asyncio.gather(*clients) == ["seen"] * 50
        while at.board._waiters:
            await asyncio.sleep(0.01)
        assert len(at.board.builds(SERVICE)) == 100
    gc.collect()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_the_daemon_stops_although_clients_listen(story: Story) -> None:
    async with site(story.cycle(1)) as at, at.client.stream("GET", "/api/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: status"
        at.board.close()
        assert [line async for line in lines][-1] == ""


# Who may ask.


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.7", "watcher", "", "[::1", "a b"]
)
async def test_a_name_that_somebody_else_could_own_is_refused(story: Story, host: str) -> None:
    async with site(story) as at:
        answer = await at.client.get("/api/status", headers={"host": host})
        assert answer.status_code == 421
        assert "localhost" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["localhost:9001", "127.0.0.1", "127.1.2.3:1", "[::1]:9001", "app.localhost", "LOCALHOST"]
)
async def test_names_of_this_machine_are_taken(story: Story, host: str) -> None:
    async with site(story) as at:
        assert (await at.client.get("/api/status", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9000"},  # the app itself, on another port, is another origin
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_another_site_cannot_act(story: Story, headers: dict[str, str]) -> None:
    async with site(story) as at:
        for action in ACTIONS:
            assert (await at.client.post(f"/api/{action}", headers=headers)).status_code == 403
        assert at.desk.asked == []


async def test_the_page_itself_can_act(story: Story) -> None:
    async with site(story) as at:
        headers = {"origin": at.url.rstrip("/"), "sec-fetch-site": "same-origin"}
        assert (await at.client.post("/api/pause", headers=headers)).status_code == 202


async def test_no_answer_may_be_read_by_another_site(story: Story) -> None:
    async with site(story) as at:
        for path in ("/", "/api/status", "/metrics", "/openapi.json", "/nothing"):
            answer = await at.client.get(path)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["date"].endswith("GMT")
        preflight = await at.client.options("/api/rebuild", headers={"access-control-request-method": "POST"})
        assert preflight.status_code == 405


def test_beyond_loopback_a_token_is_a_must() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", ""):
        with pytest.raises(ConfigError, match=r"http\.token: must be set"):
            create_app(StatusBoard(), CollectorRegistry(), Desk(), HttpSettings(host=host))


@pytest.mark.parametrize("token", ["corr€ct", " horse", "horse\n", "a\x00b"])
def test_a_token_that_no_header_can_hold_is_refused_at_once(token: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.token"):
        load(http={"token": token})


async def test_beyond_loopback_only_who_has_the_token_is_answered(story: Story) -> None:
    async with site(story, host="0.0.0.0", token="correct horse") as at:
        assert (await at.client.get("/livez")).status_code == 200
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic correct horse"},
            {"cookie": "watcher=correct horse"},
            {"cookie": 'watcher="'},
        ):
            for path in (
                "/api/status",
                "/metrics",
                "/openapi.json",
                "/api/status?token=correct+horse",
                "/metrics?token=correct+horse",
            ):
                refused = await at.client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
        good = {"authorization": "Bearer correct horse"}
        assert (await at.client.get("/metrics", headers=good)).status_code == 200
        for host, code in (("watcher:9001", 200), ("192.168.1.5:9001", 200), ("evil.example", 421)):
            assert (await at.client.get("/api/status", headers=good | {"host": host})).status_code == code


async def test_a_token_that_is_set_is_asked_for_on_loopback_too(story: Story) -> None:
    async with site(story, token="t") as at:
        assert (await at.client.get("/livez")).status_code == 200
        assert (await at.client.post("/api/pause")).status_code == 401
        assert at.desk.asked == []
        good = {"authorization": "Bearer t"}
        assert (await at.client.post("/api/pause", headers=good)).status_code == 202
        assert (
            await at.client.get("/api/status", headers=good | {"host": "watcher:9001"})
        ).status_code == 421


async def test_the_page_is_open_and_nothing_sets_a_cookie(story: Story) -> None:
    """A cookie would be sent to every port of the host: to the very app that the watcher runs."""
    async with site(story, host="0.0.0.0", token="correct horse") as at:
        for path in ("/", "/?token=correct+horse", "/livez", "/api/status"):
            answer = await at.client.get(path, headers={"authorization": "Bearer correct horse"})
            assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
        page = await at.client.get("/")
        assert page.status_code == 200
        assert SERVICE not in page.text
        assert (await at.client.get("/api/status")).status_code == 401


# The page and the document about the API.


async def test_the_page_needs_nothing_from_elsewhere(story: Story) -> None:
    async with site(story) as at:
        answer = await at.client.get("/")
        assert answer.status_code == 200
        assert len(read_page()[0].encode()) < 60_000
        assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", answer.text)
        assert "@import" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert policy == read_page()[1]
        for tag in ("script", "style"):
            parts = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
            digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
            assert digests
            allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
            assert f" {tag}-src {allowed};" in policy


async def test_the_page_comes_with_the_status(story: Story) -> None:
    """So that it is complete at once: a browser that takes a picture on load has more than a frame."""
    async with site(story) as at:
        page, status = await at.client.get("/"), await at.client.get("/api/status")
        first = page.text.partition(FIRST_STATUS)[2].partition("</script>")[0]
        assert json.loads(first) == status.json()


@given(st.text(alphabet="</script!-\\u&\u2028 ", max_size=40))
def test_no_text_of_a_build_ends_the_element_of_the_status(text: str) -> None:
    page = fill_page(read_page()[0], json.dumps({"text": text}))
    first, _, rest = page.partition(FIRST_STATUS)[2].partition("<")
    assert json.loads(first) == {"text": text}
    assert rest.startswith("/script>\n<script>")


async def test_no_page_loads_from_a_cdn(story: Story) -> None:
    async with site(story) as at:
        for path in ("/docs", "/redoc"):
            assert (await at.client.get(path)).status_code == 404


async def test_the_api_describes_itself(story: Story) -> None:
    async with site(story) as at:
        document = (await at.client.get("/openapi.json")).json()
        assert set(document["paths"]) == {
            "/livez",
            "/readyz",
            "/api/status",
            "/api/builds",
            "/api/logs",
            "/api/events",
            "/api/services",
            "/api/services/{service}",
            "/api/services/{service}/image",
            "/api/services/{service}/image/{revision}",
            *(f"/api/services/{{service}}/{route}" for route in ("builds", "logs", "wait", *ACTIONS)),
            "/api/wait",
            "/api/upgrade",
            *(f"/api/{action}" for action in ACTIONS),
        }
        schema = document["components"]["schemas"]["ServiceStatus"]["properties"]
        assert schema["stale"]["description"].startswith("Whether the live revision differs from")


# The server.


def test_a_port_in_use_is_one_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"http\.port = {port}: is in use by another program; stop it or"
        ):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_one_clear_sentence() -> None:
    for host in ("192.0.2.1", "no-such-name.invalid"):
        with pytest.raises(ConfigError, match=r"http\.host = "):
            listen(host, 0)


def test_a_port_that_needs_privileges_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refused)
    with pytest.raises(ConfigError, match=r"http\.port = 80: needs privileges; set one above 1023"):
        listen("127.0.0.1", 80)


async def test_signals_stay_with_the_daemon(story: Story) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with site(story) as at:
        await at.client.get("/livez")
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_the_url_can_be_opened_wherever_it_listens() -> None:
    board = StatusBoard()
    settings = HttpSettings(host="0.0.0.0", token="t")
    app = create_app(board, CollectorRegistry(), Desk(), settings)
    async with serve(app, "0.0.0.0", [0]) as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)


async def test_an_error_in_the_daemon_still_closes_the_port(story: Story) -> None:
    ports = []

    async def fail() -> None:
        async with site(story) as at:
            ports.append(int(at.url.rsplit(":", 1)[1].strip("/")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    listen("127.0.0.1", ports[0]).close()


async def test_deploys_and_wishes_of_a_live_tree_are_settled_at_once(story: Story) -> None:
    story.tell(DesiredChanged, revision=revision(1), changes=(), summary="", saved_at=story.now)
    outcome = DeployOutcome.ADOPTED
    story.tell(DeployFinished, revision=revision(1), image=image(1), outcome=outcome, seconds=0.1)
    async with site(story) as at:
        assert (await at.client.post("/api/wait?timeout=0")).json()["outcome"] == "live"
