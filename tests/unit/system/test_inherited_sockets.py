"""Listening sockets that outlive the process which made them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.front.support import fronted, get, ok, origin
from watcher.daemon.status_port import candidate_ports
from watcher.front import Front, Listen
from watcher.labels import project_id
from watcher.observers.events import Fanout
from watcher.settings import HttpSettings
from watcher.system import early_listen, inherited_sockets, lock, reexec
from watcher.system.inherited_sockets import Handover, ListenAddress
from watcher.system.lock import ProjectLock, Running
from watcher.web.server import listen


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    inherited_sockets.close_unused()


def bound(host: str = "127.0.0.1", only6: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only6))
    sock.bind((host, 0))
    sock.listen()
    return sock


def passed(*sockets: socket.socket, pid: int | None = None) -> None:
    """As a supervisor passes them, to this process."""
    first = 100
    for place, sock in enumerate(sockets, first):
        os.dup2(sock.fileno(), place)
    environ = {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(len(sockets)), "PATH": "/"}
    inherited_sockets.receive_sockets(environ, first)
    assert environ == {"PATH": "/"}  # children are not told
    for place in range(first, first + len(sockets)):
        with contextlib.suppress(OSError):  # it was no socket that listens
            assert not os.get_inheritable(place)


async def test_a_front_takes_the_socket_that_was_passed_and_whoever_waits_at_it() -> None:
    with bound() as given:
        port = given.getsockname()[1]
        passed(given)
    with socket.create_connection(("127.0.0.1", port)) as client:  # before there is a front
        client.sendall(get("/"))
        front = Front([Listen("127.0.0.1", port)], observer=Fanout())
        await front.start()
        async with origin() as app:
            front.switch(app.backend)
            server = await app.peer()
            await server.head()
            await server.send(ok("hello"))
            await front.close()
            assert client.recv(4096) == ok("hello", "Connection: close")


async def test_one_socket_for_both_families_is_a_front_on_all_addresses() -> None:
    with bound("::", only6=False) as given:
        port = given.getsockname()[1]
        passed(given)
    front = Front([Listen("", port)], observer=Fanout())
    await front.start()
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port)).close()
    await front.close()


def test_the_api_takes_its_socket_too() -> None:
    with bound() as given:
        port = given.getsockname()[1]
        passed(given)
        with listen("127.0.0.1", port) as taken:
            assert os.path.samestat(os.fstat(taken.fileno()), os.fstat(given.fileno()))


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    with bound() as given:
        environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"}
        inherited_sockets.receive_sockets(environ, given.fileno())
        assert environ == {}
        assert inherited_sockets.take_socket(socket.AF_INET, *given.getsockname()) is None


@pytest.mark.parametrize("count", ["", "-1", "x", "1000000", "²"])
def test_a_wrong_count_does_no_harm(count: str) -> None:
    inherited_sockets.receive_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}, 1000)


def test_other_descriptors_than_listeners_and_files_are_closed() -> None:
    one, other = socket.socketpair()
    with other:
        passed(one)
        one.close()
        assert other.recv(1) == b""


def test_an_address_of_a_killed_process_is_listened_on_again() -> None:
    with bound() as gone:
        address = inherited_sockets.address_of(gone)
    inherited_sockets.reopen_sockets(
        [address, address, ListenAddress("203.0.113.1", 9)]
    )  # the last is no address of this machine
    socket.create_connection((address.host, address.port)).close()
    with bound() as other:  # taken by another program meanwhile: left to whoever binds it, and says so
        inherited_sockets.reopen_sockets([inherited_sockets.address_of(other)])
        assert inherited_sockets.take_socket(socket.AF_INET, *other.getsockname()) is None


def test_what_nobody_wanted_is_closed() -> None:
    with bound() as gone:
        address = inherited_sockets.address_of(gone)
    inherited_sockets.reopen_sockets([address])
    inherited_sockets.close_unused()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))


def test_a_program_takes_the_place_of_another_with_its_sockets_and_files(tmp_path: Path) -> None:
    """The socket is open throughout: a client that connects in between is answered by the second program."""
    second = """
        import os, socket, sys
        from watcher.system import inherited_sockets as listening
        listening.receive_sockets()
        assert listening.take_file(os.stat(sys.argv[1])) is not None
        sock = listening.take_socket(socket.AF_INET, "127.0.0.1", int(sys.argv[2]))
        client, _ = sock.accept()
        client.sendall(f"second {os.getpid()}".encode())
    """
    first = f"""
        import os, socket, sys
        from watcher.system.inherited_sockets import Handover
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        kept = Handover([sys.executable, "-c", {textwrap.dedent(second)!r}, sys.argv[1], str(port)])
        kept.keep(os.open(sys.argv[1], os.O_RDONLY))
        kept.keep(sock.fileno())
        sock.close()
        print(os.getpid(), port, flush=True)
        kept.start()
    """
    file = tmp_path / "lock"
    file.touch()
    command = [sys.executable, "-c", textwrap.dedent(first), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid, port = map(int, process.stdout.readline().split())
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert client.recv(100).decode() == f"second {pid}"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit(sys.argv[1:] != ['--help'])", ""),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("import time; time.sleep(60)", "does not start within"),
    ],
)
async def test_a_program_must_show_that_it_starts_before_one_makes_way(
    monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", code])
    seconds = 1.0 if "sleep" in code else 60.0
    if says:
        with pytest.raises(reexec.Unfit, match=says):
            await reexec.find_command(seconds)
    else:
        assert await reexec.find_command(seconds) == [sys.executable, "-c", code]


# What a killed daemon leaves to the next.


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def killed(project: Path, address: ListenAddress) -> None:
    """A daemon that listened at `address` has been killed: what it announced stays in its file."""
    held = ProjectLock.take(project, project_id(project))
    held.announce(Running(1, "http://x/", listening=(address,), paused=("go-server",)))
    held._passed_on = True
    held.release()


@pytest.mark.parametrize("how", ["--project X", "--project=X", "environment", "here"])
def test_the_ports_of_a_killed_daemon_are_back_before_anything_else(
    project: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with bound() as gone:
        address = inherited_sockets.address_of(gone)
    killed(project, address)
    arguments, environ = ["run", "--plain"], {}
    match how:
        case "--project X":
            arguments += ["--project", str(project)]
        case "--project=X":
            arguments += [f"--project={project}"]
        case "environment":
            environ = {"WATCHER_PROJECT": str(project)}
        case _:
            monkeypatch.chdir(project)
    early_listen.listen_early(["status", *arguments[1:]], environ)
    early_listen.listen_early([*arguments, "--help"], environ)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))
    early_listen.listen_early(arguments, environ)
    socket.create_connection((address.host, address.port)).close()


def test_an_api_at_any_free_port_keeps_the_one_it_had(project: Path) -> None:
    with bound() as gone:
        address = inherited_sockets.address_of(gone)
    killed(project, address)
    held = ProjectLock.take(project, project_id(project))
    assert held.before
    before = replace(held.before, url=f"http://{address.host}:{address.port}/")
    assert candidate_ports(HttpSettings(port=0), (), before) == [0]  # another program may have it by now
    assert address.port not in candidate_ports(HttpSettings(), (), before)
    inherited_sockets.reopen_sockets([address])
    assert candidate_ports(HttpSettings(port=0), (), before) == [address.port]
    assert candidate_ports(HttpSettings(), (), before)[:2] == [address.port, HttpSettings().port]
    assert candidate_ports(HttpSettings(port=7), (), before) == [7]
    held.release()


def test_a_successor_that_is_killed_too_leaves_the_same(project: Path) -> None:
    address = ListenAddress("127.0.0.1", 9)
    killed(project, address)
    ProjectLock.take(project, project_id(project))  # has not come to announce anything
    held = lock.find_running(project_id(project))
    assert held
    assert held.listening == (address,)


def test_a_pause_outlives_the_daemon_unless_that_ends_in_good_order(project: Path) -> None:
    killed(project, ListenAddress("127.0.0.1", 9))
    held = ProjectLock.take(project, project_id(project))
    assert held.before
    assert held.before.paused == ("go-server",)
    held.release()
    assert ProjectLock.take(project, project_id(project)).before is None


def test_a_daemon_that_ended_in_good_order_leaves_nothing(project: Path) -> None:
    held = ProjectLock.take(project, project_id(project))
    held.announce(Running(1, "http://x/", listening=(ListenAddress("127.0.0.1", 9),)))
    assert lock.find_last(project_id(project)) is None  # it runs
    held.release()
    assert lock.find_last(project_id(project)) is None


def test_the_lock_is_held_throughout_a_hand_over(project: Path) -> None:
    held = ProjectLock.take(project, project_id(project))
    held.announce(Running(1, "http://x/"))
    handover = Handover(["true"])
    held.pass_on(handover)
    held.release()
    running = lock.find_running(project_id(project))
    assert running
    assert running.upgrading
    with pytest.raises(lock.AlreadyRunning):
        ProjectLock.take(project, project_id(project), patience=0.0)
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    inherited_sockets.receive_sockets(environ, handover._descriptors[0])
    again = ProjectLock.take(project, project_id(project))
    running = lock.find_running(project_id(project))
    assert running
    assert (running.pid, running.upgrading, running.project) == (os.getpid(), False, str(project))
    again.release()
    assert lock.find_running(project_id(project)) is None


async def test_a_kept_connection_is_ended_by_an_answer_not_under_a_request() -> None:
    async with origin() as app, fronted() as it:
        it.front.switch(app.backend)
        client, idle = await it.connect(), await it.connect()
        await client.send(get("/1"))
        server = await app.peer()
        await server.head()
        await server.send(ok("1"))
        await client.expect(ok("1"))
        closing = asyncio.create_task(it.front.close(linger=1.0))
        await asyncio.sleep(0.05)  # whatever the front does at once, it has done
        await client.send(get("/2"))
        await server.head()
        await server.send(ok("2"))
        assert await client.rest() == ok("2", "Connection: close")
        assert await idle.rest() == b""
        await closing
