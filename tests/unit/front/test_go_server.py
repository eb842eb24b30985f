"""Raw requests to Go's own server, with and without the front; docs/front.md says where the two differ.

A request that both take is answered by the same server, so only the status is compared.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.front.support import PATIENCE, Peer, fronted
from watcher.front import Backend

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="needs go")

SERVER = """package main

import ("fmt"; "io"; "net"; "net/http")

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { panic(err) }
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Connection", "close")
		fmt.Fprintln(w, r.Proto)
	}))
}
"""
HOST = b"Host: test\r\n"
END = b"\r\n"

# What is sent, the status from Go, and from the front; the client ends its side after it.
SAME = {
    "a request": (b"GET / HTTP/1.1\r\n" + HOST + END, 200),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + END, 200),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + END, 200),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + END, 505),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\n" + HOST + END, 505),
    "no version": (b"GET /\r\n" + END, 400),
    "half a line": (b"GET / HT", 400),
    "half a head": (b"GET / HTTP/1.1\r\nHost: te", 400),
    "no Host": (b"GET / HTTP/1.1\r\n" + END, 400),
    "two Hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + END, 400),
    "unknown method": (b"MADEUP / HTTP/1.1\r\n" + HOST + END, 200),
    "absolute target": (b"GET http://test/a HTTP/1.1\r\n" + HOST + END, 200),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + END, 200),
    "space before colon": (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n" + END, 400),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"abc\r\n" + END, 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n" + END, 400),
    "two lengths that differ": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n" + END + b"ab",
        400,
    ),
    "length with a sign": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n" + END + b"a", 400),
    "chunks": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" + END + b"1\r\na\r\n0\r\n\r\n",
        200,
    ),
}
DIFFERENT = {
    "empty line before": (b"\r\nGET / HTTP/1.1\r\n" + HOST + END, 400, 200),
    "LF alone": (b"GET / HTTP/1.1\nHost: test\n\n", 200, 400),
    "two lengths alike": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n" + END + b"a",
        200,
        400,
    ),
    "obs-fold": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n" + END, 200, 400),
    "large head": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 100_000 + b"\r\n" + END, 200, 431),
}
ALL = {name: (sent, status, status) for name, (sent, status) in SAME.items()} | DIFFERENT


@pytest.fixture(scope="module")
def go_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder: Path = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(SERVER)
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    command = ["go", "build", "-o", str(folder / "server"), str(folder / "main.go")]
    subprocess.run(command, check=True, env=environment, timeout=300)
    process = subprocess.Popen(
        [folder / "server"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield Backend("127.0.0.1", int(process.stdout.readline()), "a" * 64)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def status(port: int, sent: bytes) -> int:
    client = Peer(*await asyncio.open_connection("127.0.0.1", port))
    try:
        async with asyncio.timeout(PATIENCE):
            await client.send(sent)
            client.end()
            line = await client.until(b"\r\n")
    finally:
        client.drop()
    return int(line.split()[1])


@pytest.mark.parametrize(("sent", "direct", "through"), ALL.values(), ids=ALL)
async def test_a_raw_request_is_answered_as_written_down(
    go_server: Backend, sent: bytes, direct: int, through: int
) -> None:
    async with fronted() as it:
        it.front.switch(go_server)
        assert await status(go_server.port, sent) == direct
        assert await status(it.front.addresses[0].port, sent) == through
