"""Files that never end, grow without end, or are no compose files at all: each is one clear error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.compose.conftest import Compose
from watcher.compose import load
from watcher.errors import ConfigError
from watcher.system.regular_file import NotReadable, read_regular

SOON = 20.0  # seconds; all of this takes far less, and hung for good before


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def zero(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(17 << 20)


MAKERS = [
    (fifo, "it is a fifo, not a file"),
    (zero, "it is a device, not a file"),
    (large, "it has more than"),
    (lambda path: path.mkdir(), "it is a directory, not a file"),
]


@pytest.mark.parametrize(("make", "why"), MAKERS)
@pytest.mark.parametrize(
    "name", ["compose.yaml", "inc.yaml", "base.yaml", ".env", "a.env", "l.env", "s.json"]
)
@pytest.mark.timeout(60)
def test_a_file_that_cannot_be_read_to_its_end(
    tmp_path: Path, make: Callable[[Path], None], why: str, name: str
) -> None:
    (tmp_path / "inc.yaml").write_text("services: {other: {image: a}}")
    (tmp_path / "base.yaml").write_text("services: {base: {image: a}}")
    for each in (".env", "a.env", "l.env"):
        (tmp_path / each).write_text("A=1")
    (tmp_path / "s.json").write_text("{}")
    file = tmp_path / "compose.yaml"
    file.write_text(
        "include: [inc.yaml]\nservices:\n  web:\n    extends: {service: base, file: base.yaml}\n"
        "    env_file: a.env\n    label_file: l.env\n    security_opt: ['seccomp:s.json']\n"
    )
    load(file, services=("web",), env={})
    (tmp_path / name).unlink()
    make(tmp_path / name)
    if name == ".env" and (tmp_path / name).is_dir():  # that is none, as with compose
        load(file, services=("web",), env={})
        return
    begun = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        load(file, services=("web",), env={})
    assert why in str(caught.value)
    assert name in str(caught.value)
    assert time.monotonic() - begun < SOON


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    assert read_regular(path, 1000) == b"x" * 1000
    with pytest.raises(NotReadable):
        read_regular(path, 999)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "b", 999)


DOUBLING = "A=xxxxxxxxxxxxxxxx\n" + "".join(
    f"{chr(66 + n)}=${chr(65 + n)}${chr(65 + n)}\n" for n in range(24)
)


def many(count: int) -> str:
    return "A=" + "x" * 1000 + "\n" + "".join(f"V{n}={'$A' * 1000}\n" for n in range(count))


@pytest.mark.parametrize("text", [DOUBLING, many(100)])
def test_variables_that_grow_without_end(compose: Compose, text: str) -> None:
    compose.write("a.env", text)
    with pytest.raises(ConfigError, match=r"a\.env:\d+: .* after interpolation"):
        compose.service("env_file: a.env")
    with pytest.raises(ConfigError, match="after interpolation"):
        compose.service(f"labels: [{', '.join(['$A'] * 3000)}]", env={"A": "x" * 20000})


def test_files_that_include_each_other_ever_more_often(compose: Compose) -> None:
    for n in range(30):
        compose.write(
            f"i{n}.yaml", f"include: [i{n + 1}.yaml, ./i{n + 1}.yaml]\nservices: {{s{n}: {{image: a}}}}"
        )
    compose.write("i30.yaml", "services: {last: {image: a}}")
    with pytest.raises(ConfigError, match="more than 1000 files are included or extended"):
        compose.load("include: [i0.yaml]\nservices: {web: {image: a}}")


def test_definitions_that_extend_each_other_ever_more_often(compose: Compose) -> None:
    lines = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(40))
    text = f"services:\n{lines}  s40: {{image: a}}\n"
    others = [compose.write(f"b{n}.yaml", text) for n in range(8)]
    path = compose.write("compose.yaml", text)
    with pytest.raises(ConfigError, match="more than 20000 definitions"):
        load(path, services=("s0",), env={}, overrides=others)


@pytest.mark.parametrize("key", ["depends_on", "links", "volumes_from"])
def test_services_that_depend_on_each_other_in_a_long_row(compose: Compose, key: str) -> None:
    def chain(length: int) -> str:
        lines = "".join(f"  s{n}: {{image: a, {key}: [s{n + 1}]}}\n" for n in range(length))
        return f"services:\n{lines}  s{length}: {{image: a}}\n"

    assert len(compose.load(chain(400), service="s0").services) == 401
    with pytest.raises(ConfigError, match="is one of more than 400 services that depend on each other"):
        compose.load(chain(2000), service="s0")


def test_definitions_that_extend_each_other_in_a_long_row(compose: Compose) -> None:
    def chain(length: int) -> str:
        lines = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(length))
        return f"services:\n{lines}  s{length}: {{image: a}}\n"

    assert compose.load(chain(50), service="s0").services["s0"].image == "a"
    with pytest.raises(ConfigError, match="is one of more than 50 definitions that extend each other"):
        compose.load(chain(60), service="s0")
    with pytest.raises(ConfigError, match="extends itself"):
        compose.load("services: {s0: {extends: s1}, s1: {extends: s0}}", service="s0")


def test_a_service_that_many_depend_on_is_merged_once(compose: Compose) -> None:
    count = 250  # 31,125 dependencies, more than definitions that may be merged
    lines = "".join(
        f"  s{n}: {{image: a, depends_on: [{', '.join(f's{m}' for m in range(n))}]}}\n" for n in range(count)
    )
    project = compose.load(f"services:\n{lines}  web: {{image: '${{GONE}}a', depends_on: [s{count - 1}]}}\n")
    assert len(project.services) == count + 1
    (warning,) = project.warnings
    assert missing(warning, "GONE", "not set", "empty string") == []


def test_a_compose_file_of_three_megabytes_is_read_or_refused_soon(compose: Compose) -> None:
    services = "".join(
        f"  s{n}:\n    image: a\n    environment:\n      TEXT: {'x' * 900}\n      N: {n}\n"
        for n in range(3000)
    )
    text = f"services:\n  web: {{build: .}}\n{services}"
    assert len(text) > 2.8e6
    begun = time.process_time()
    assert compose.load(text, service=None).managed_services[0].name == "web"
    assert time.process_time() - begun < 10  # about 1 s here; with PyYAML's own parser it was 40
    begun = time.process_time()
    with pytest.raises(ConfigError, match="has more than"):
        compose.load("services: [" + "a," * 1_500_000 + "]")
    assert time.process_time() - begun < 10


PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:*:1:1:s3cret:/usr/sbin:/usr/sbin/nologin\n"


@pytest.mark.parametrize(
    "content", [PASSWD, "user: s3cret\n", "s3cret: x\n", "A B=s3cret\nC s3cret\n", "a: ${s3cret\n"]
)
@pytest.mark.parametrize(
    "text",
    [
        "include: [../x]\nservices: {web: {image: a}}",
        "services: {web: {image: a, env_file: ../x}}",
        "services: {web: {image: a, env_file: [{path: ../x, format: raw}]}}",
        "services: {web: {image: a, label_file: ../x}}",
        "services: {web: {extends: {file: ../x, service: web}}}",
        "services: {web: {image: a, security_opt: ['seccomp:../x']}}",
    ],
)
def test_a_file_that_was_named_by_mistake_is_not_quoted(compose: Compose, content: str, text: str) -> None:
    (compose.root.parent / "x").write_text(content)
    said = ""
    try:
        compose.load(text)
    except ConfigError as error:  # some of these are good environment files
        said = str(error)
    assert content == "s3cret: x\n" or "s3cret" not in said
    assert "root:" not in said
