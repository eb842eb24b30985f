"""The base images, real or stand-ins, do what Dockerfiles written for Alpine expect of them."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]

CGO_HELLO = """
package main

/*
#include <stdio.h>
#include <stdlib.h>

static void greet(const char *name) {
    printf("hello %s\\n", name);
    fflush(stdout);
}
*/
import "C"
import "unsafe"

func main() {
    name := C.CString("from C")
    defer C.free(unsafe.Pointer(name))
    C.greet(name)
}
"""


def docker(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *args], input=stdin, capture_output=True, text=True, check=False)


def run(image: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a fresh container that is gone afterwards."""
    return docker("run", "--rm", *options, image, "sh", "-euc", script)


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_both_bases_are_in_the_engine() -> None:
    for image in ("golang:alpine", "alpine"):
        found = docker("image", "inspect", "-f", "{{.Size}}", image)
        assert found.returncode == 0, found.stderr
        assert int(found.stdout) > 1_000_000


def test_the_final_base_is_small() -> None:
    assert int(docker("image", "inspect", "-f", "{{.Size}}", "alpine").stdout) < 10_000_000


def test_apk_add_gcc_and_libc_dev_compile_a_cgo_program_that_runs_on_alpine(tmp_path: Path) -> None:
    built = docker(
        "create", "-i", "golang:alpine", "sh", "-euc",
        "apk add --no-cache gcc libc-dev && mkdir /w && cd /w && cat >main.go && go mod init hello && "
        "CGO_ENABLED=1 go build -o /hello . && /hello",
    ).stdout.strip()  # fmt: skip
    try:
        output = docker("start", "-ai", built, stdin=CGO_HELLO)
        assert output.returncode == 0, output.stdout + output.stderr
        assert output.stdout.endswith("hello from C\n")
        docker("cp", f"{built}:/hello", str(tmp_path / "hello"))
    finally:
        docker("rm", "-f", built)

    final = docker("create", "alpine", "/hello").stdout.strip()
    try:
        docker("cp", str(tmp_path / "hello"), f"{final}:/hello")
        assert docker("start", "-a", final).stdout == "hello from C\n"
    finally:
        docker("rm", "-f", final)


def test_apk_refuses_a_package_it_does_not_have() -> None:
    for image in ("golang:alpine", "alpine"):
        refused = run(image, "apk add no-such-package-anywhere")
        assert refused.returncode != 0
        assert "no-such-package-anywhere" in refused.stdout + refused.stderr


def test_apk_del_takes_away_what_a_virtual_package_brought() -> None:
    done = run(
        "golang:alpine",
        "apk add -t .deps make >/dev/null; make --version | head -n 1; apk del .deps >/dev/null; "
        "[ ! -e /usr/bin/make ]; tar --help 2>&1 | head -n 1",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("GNU Make")
    assert "BusyBox" in done.stdout + done.stderr


def test_users_can_be_made_as_dockerfiles_do() -> None:
    done = run(
        "alpine",
        "addgroup -S app; adduser -S -D -H -G app -u 1234 app; su -s /bin/sh app -c 'id -un; id -u; id -gn'",
    )
    assert done.stdout.split() == ["app", "1234", "app"], done.stderr


def test_certificates_are_where_go_looks_for_them() -> None:
    for image in ("golang:alpine", "alpine"):
        assert "BEGIN CERTIFICATE" in run(image, "cat /etc/ssl/certs/ca-certificates.crt").stdout


def test_the_go_of_the_base_is_set_up_as_in_the_official_image_and_new_enough_for_the_example() -> None:
    told = run("golang:alpine", "pwd; go env GOPATH GOTOOLCHAIN GOFLAGS; go env GOVERSION").stdout.split("\n")
    assert told[:4] == ["/go", "/go", "local", ""]
    module = (ROOT / "examples/go-server/go.mod").read_text().splitlines()
    (wanted,) = [line.split()[1] for line in module if line.startswith("go ")]
    assert numbers(told[4].removeprefix("go")) >= numbers(wanted)
