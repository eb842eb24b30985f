"""Measure the front: requests per second and latency, compared with no proxy, a splice and docker-proxy.

    ./dev bench front                    # a quick look: 3 rounds of 2 seconds
    ./dev bench front --rounds 9 --seconds 5
    ./dev bench front --memory

Needs `go`. The server and, where `wrk` is not installed, the load generator are one Go program that is
built in a temporary directory. All ways are measured in turn in every round, so that what else the machine
does falls on all of them alike; shown are medians over the rounds. With `--memory` the front's memory is
shown with 1,000 open connections and while a body of 1 GB passes in each direction.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from watcher.front import Backend, Front, Listen
from watcher.observers.events import Event, Fanout

ROOT = Path(__file__).resolve().parent.parent
ME = [sys.executable, "-m", "bench.front", "--child"]
GIGABYTE = 1 << 30

GO = r"""
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
	"bufio"
)

func serve() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello, world\n") })
	http.HandleFunc("/sink", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, n)
	})
	http.HandleFunc("/source", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		block := make([]byte, 1<<16)
		for n > 0 {
			m := min(n, int64(len(block)))
			w.Write(block[:m])
			n -= m
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	http.Serve(l, nil)
}

func load(addr string, conns int, d time.Duration) {
	var mu sync.Mutex
	var all []float64
	var failed int
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var mine []float64
			c, err := net.Dial("tcp", addr)
			if err != nil {
				panic(err)
			}
			defer c.Close()
			r := bufio.NewReader(c)
			bad := 0
			for time.Now().Before(end) {
				t := time.Now()
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					bad++
					break
				}
				io.Copy(io.Discard, res.Body)
				if res.StatusCode != 200 {
					bad++
				}
				mine = append(mine, time.Since(t).Seconds())
			}
			mu.Lock()
			all = append(all, mine...)
			failed += bad
			mu.Unlock()
		}()
	}
	wg.Wait()
	sort.Float64s(all)
	at := func(q float64) float64 { return all[min(int(q*float64(len(all))), len(all)-1)] * 1e3 }
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"rate": float64(len(all)) / d.Seconds(), "p50": at(0.5), "p99": at(0.99), "failed": failed})
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	n, _ := strconv.Atoi(os.Args[3])
	s, _ := strconv.ParseFloat(os.Args[4], 64)
	load(os.Args[2], n, time.Duration(s*float64(time.Second)))
}
"""


# -- the measured proxies, each in a separate process


async def splice_streams(port: int) -> int:
    """Run the simplest possible asyncio proxy: two transports that write to each other."""
    loop = asyncio.get_running_loop()

    class End(asyncio.Protocol):
        peer: asyncio.Transport | None = None
        early = b""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            if self.peer is None:
                self.dial = loop.create_task(self.connect())

        async def connect(self) -> None:
            other = End()
            other.peer = self.transport  # type: ignore[assignment]
            transport, _ = await loop.create_connection(lambda: other, "127.0.0.1", port)
            self.peer = transport
            transport.write(self.early)

        def data_received(self, data: bytes) -> None:
            if self.peer is None:
                self.early += data
            else:
                self.peer.write(data)

        def pause_writing(self) -> None:
            if self.peer is not None:
                self.peer.pause_reading()

        def resume_writing(self) -> None:
            if self.peer is not None:
                self.peer.resume_reading()

        def connection_lost(self, _exc: Exception | None) -> None:
            if self.peer is not None:
                self.peer.close()

    server = await loop.create_server(End, "127.0.0.1", 0, backlog=4096)
    return int(server.sockets[0].getsockname()[1])


async def run_front(port: int) -> int:
    """Run the front as in the daemon, with an observer that counts."""

    class Count:
        seen = 0

        def notify(self, _event: Event) -> None:
            self.seen += 1

    it = Front([Listen("127.0.0.1", 0)], observer=Fanout(Count()), service="bench")
    await it.start()
    it.switch(Backend("127.0.0.1", port, "0" * 64))
    return it.addresses[0].port


async def stay(what: str, port: int) -> None:
    print(await {"splice": splice_streams, "front": run_front}[what](port), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


def run_child(what: str, loop: str, port: int) -> None:
    """Run one of the above until standard input is closed."""
    if loop == "uvloop":
        uvloop.run(stay(what, port))
    else:
        asyncio.run(stay(what, port))


# -- running them


@contextlib.contextmanager
def wait_for_start(*command: str | Path) -> Iterator[tuple[int, int]]:
    """Start a process that prints its port; return (port, pid)."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def docker_proxy(port: int) -> Iterator[tuple[int, int]]:
    """Start the engine's userland proxy, as for every published port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        mine = probe.getsockname()[1]
    command = ["docker-proxy", "-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", str(mine)]
    command += ["-container-ip", "127.0.0.1", "-container-port", str(port)]
    # It reports through file descriptor 3, which the engine opens for it.
    process = subprocess.Popen(["sh", "-c", 'exec "$@" 3>/dev/null', "sh", *command])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", mine)):
                break
            time.sleep(0.01)
        yield mine, process.pid
    finally:
        process.kill()
        process.wait()


def run_load(program: Path, port: int, connections: int, seconds: float) -> dict[str, float]:
    """Return requests per second, p50 and p99 in milliseconds, and the number of failures."""
    wrk = shutil.which("wrk")
    if wrk is None:
        command = [str(program), "load", f"127.0.0.1:{port}", str(connections), str(seconds)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    command = [
        wrk,
        "-t1",
        f"-c{connections}",
        f"-d{round(seconds)}s",
        "--latency",
        f"http://127.0.0.1:{port}/",
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile_of(which: str) -> float:
        value, name = re.search(rf"{which}%\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
        return float(value) * unit[name]

    errors = re.findall(r"(?:connect|read|write|timeout) (\d+)|Non-2xx or 3xx responses: (\d+)", text)
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),  # type: ignore[union-attr]
        "p50": percentile_of("50"),
        "p99": percentile_of("99"),
        "failed": sum(int(number) for pair in errors for number in pair if number),
    }


def compare_fronts(program: Path, backend: int, rounds: int, seconds: float) -> None:
    with contextlib.ExitStack() as stack:
        ways = {"direct": backend}
        if shutil.which("docker-proxy"):
            ways["docker-proxy"] = stack.enter_context(docker_proxy(backend))[0]
        for what in ("splice", "front"):
            for loop in ("asyncio", "uvloop"):
                ways[f"{what} {loop}"] = stack.enter_context(wait_for_start(*ME, what, loop, str(backend)))[0]
        for connections in (64, 1):
            results: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, port in ways.items():
                    results[name].append(run_load(program, port, connections, seconds))
            print_results(connections, results)


def print_results(connections: int, results: dict[str, list[dict[str, float]]]) -> None:
    def median_of(name: str, key: str) -> float:
        return statistics.median(result[key] for result in results[name])

    print(f"\nkeep-alive connections: {connections}, medians of {len(results['direct'])}")
    print(f"{'':16}{'req/s':>9}{'of splice':>11}{'p50 ms':>9}{'added':>8}{'p99 ms':>9}{'failed':>8}")
    for name, rounds in results.items():
        rate, p50, p99 = (median_of(name, key) for key in ("rate", "p50", "p99"))
        of_splice = f"{rate / median_of('splice asyncio', 'rate'):.0%}"
        added = p50 - median_of("direct", "p50")
        failed = sum(result["failed"] for result in rounds)
        print(f"{name:16}{rate:9.0f}{of_splice:>11}{p50:9.3f}{added:8.3f}{p99:9.3f}{failed:8.0f}")


# -- memory


def resident_memory(pid: int, key: str = "VmRSS") -> float:
    """Return a line of /proc/<pid>/status in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]


def measure_memory(backend: int) -> None:
    for loop in ("asyncio", "uvloop"):
        with wait_for_start(*ME, "front", loop, str(backend)) as (port, pid):
            rest = resident_memory(pid)
            sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
            for sock in sockets:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
            for sock in sockets:
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            many = resident_memory(pid)
            for sock in sockets:
                sock.close()
            with socket.create_connection(("127.0.0.1", port)) as sock:
                began = time.monotonic()
                sock.sendall(f"POST /sink HTTP/1.1\r\nHost: b\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode())
                block = bytes(1 << 20)
                for _ in range(GIGABYTE // len(block)):
                    sock.sendall(block)
                assert str(GIGABYTE).encode() in sock.recv(4096)
                up = time.monotonic() - began
                sock.sendall(f"GET /source?n={GIGABYTE} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
                got, began = 0, time.monotonic()
                while got < GIGABYTE:
                    got += len(sock.recv(1 << 20))
                down = time.monotonic() - began
            peak = resident_memory(pid, "VmHWM")
            print(f"front {loop:8} {rest:.0f} MB at rest, {many:.0f} MB with 1,000 connections,", end=" ")
            print(f"peak {peak:.0f} MB after 1 GB up ({up:.1f} s) and 1 GB down ({down:.1f} s)")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--memory", action="store_true", help="show memory instead of speed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        source, program = Path(directory, "main.go"), Path(directory, "bench")
        source.write_text(GO)
        build = ["go", "build", "-o", str(program), str(source)]
        subprocess.run(build, check=True, env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"})
        with wait_for_start(program, "serve") as (backend, _):
            if options.memory:
                measure_memory(backend)
            else:
                compare_fronts(program, backend, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
