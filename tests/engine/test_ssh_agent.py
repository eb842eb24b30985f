"""`RUN --mount=type=ssh` on the real engine, with a program of Go that speaks to the agent."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ssh_agent import FAILURE, ONE_KEY, REMOVE_ALL_IDENTITIES, REQUEST_IDENTITIES, agent, message
from watcher.buildkit import Client, MemorySource, Progress, SolveFailed, SolveRequest, StepLog

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
PROGRAM = """package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	connection, err := net.Dial("unix", os.Getenv("SSH_AUTH_SOCK"))
	if err != nil {
		panic(err)
	}
	for _, asked := range os.Args[1:] {
		request, _ := hex.DecodeString(asked)
		if _, err := connection.Write(request); err != nil {
			panic(err)
		}
		length := make([]byte, 4)
		if _, err := io.ReadFull(connection, length); err != nil {
			panic(err)
		}
		body := make([]byte, int(length[2])<<8|int(length[3]))
		io.ReadFull(connection, body)
		fmt.Printf("answer %x%x\\n", length, body)
	}
}
"""


def ask(*messages: bytes, mount: str = "type=ssh") -> SolveRequest:
    words = " ".join(each.hex() for each in messages)
    dockerfile = (
        "FROM golang:alpine\nWORKDIR /src\nCOPY main.go .\n"
        "RUN --mount=type=cache,target=/root/.cache/go-build CGO_ENABLED=0 go build -o /ask main.go\n"
        f"RUN --mount={mount} /ask {words} # {uuid.uuid4().hex}\n"
    )
    return SolveRequest(
        context=MemorySource({"main.go": PROGRAM.encode()}),
        dockerfile=MemorySource({"Dockerfile": dockerfile.encode()}),
        shared_key="watcher-test-ssh",
        exporter="",
    )


async def test_a_step_lists_the_agents_keys_and_cannot_remove_them(tmp_path: Path) -> None:
    events: list[Progress] = []
    sent = ask(message(REQUEST_IDENTITIES), message(REMOVE_ALL_IDENTITIES))
    async with agent(tmp_path / "agent") as asked, await Client.connect(ENGINE) as client:
        await client.solve(replace(sent, ssh={"default": tmp_path / "agent"}), events.append)
    lines = "\n".join(event.text for event in events if isinstance(event, StepLog)).splitlines()
    answers = [line.removeprefix("answer ") for line in lines if line.startswith("answer ")]
    assert answers == [ONE_KEY.hex(), message(FAILURE).hex()]
    assert asked == [REQUEST_IDENTITIES]


async def test_an_agent_that_is_required_and_not_there_is_named(tmp_path: Path) -> None:
    sent = ask(message(REQUEST_IDENTITIES), mount="type=ssh,required")
    async with await Client.connect(ENGINE) as client:
        with pytest.raises(SolveFailed, match=r"no SSH key .* forwarded"):
            await client.solve(sent, lambda _: None)
        with pytest.raises(SolveFailed, match=r"the SSH agent 'default' at .* does not answer: No such file"):
            await client.solve(replace(sent, ssh={"default": tmp_path / "gone"}), lambda _: None)
