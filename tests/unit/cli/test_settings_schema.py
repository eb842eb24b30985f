"""The schema of watcher.toml: the program takes what it accepts, and each example is good."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.loaded_settings import load
from watcher import regex
from watcher.cli.init_plan import plan_project
from watcher.cli.main import main
from watcher.cli.settings_schema import SCHEMA_LINE, SCHEMA_NAME, build_schema, render_schema
from watcher.cli.settings_template import render_settings
from watcher.errors import ConfigError

ROOT = Path(__file__).parents[3]
SCHEMA = build_schema()
VALIDATOR = jsonschema_rs.Draft7Validator(SCHEMA)
VALUES: list[Any] = [
    *(0, 1, -1, 7, 1023, 1024, 9001, 65535, 65536, 10**12, 0.0, 0.5, -0.5, 3.0, True, False),
    *(
        "",
        " ",
        "auto",
        "tcp",
        "off",
        "fast",
        "stop",
        "keep",
        "json",
        "web",
        "front",
        "machine",
        "/health",
        "health",
        "/a b",
    ),
    *(
        "30MB",
        "2 GiB",
        "5kb",
        "8Kibit",
        "12",
        "1.5g",
        "MB",
        "30 XB",
        "30MB and more",
        "-1MB",
        "1b",
        "1bit",
        "1ib",
    ),
    *("unix:///run/x.sock", "tcp://far:1234", "http://far", "stage=builder", "stage", "a=b=c"),
    *([], ["a"], [1], {}, {"a": "b"}, {"a": 1}, {"2525": "tcp"}, {"2525": "udp"}, {"x": "tcp"}, {"0": "tcp"}),
    *(
        {"99999": "tcp"},
        {"DWARF": "1MB"},
        {"DWARF": 1},
        {"DWARF": "big"},
        {"web": {}},
        {"web": {"build": {}}},
    ),
]


def paths(schema: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting that the schema names, those of one service too."""
    for name, part in schema["properties"].items():
        if "$ref" in part:
            yield from paths(SCHEMA["definitions"][part["$ref"].rpartition("/")[2]], (*place, name))
        else:
            yield (*place, name)
    if not place:
        yield from paths(SCHEMA["definitions"]["ServiceSettings"], ("service", "web"))


def taken(text: dict[str, Any], folder: Path) -> bool:
    """Whether the program takes these settings, read as from the file."""
    given = dict(text)
    if isinstance(given.get("service"), dict):
        given["per_service"] = given.pop("service")
    try:
        load(project=folder, **given)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("path", [*paths(SCHEMA)], ids=".".join)
def test_the_program_takes_what_the_schema_accepts(path: tuple[str, ...], tmp_path: Path) -> None:
    accepted = 0
    for value in VALUES:
        document: Any = value
        for name in reversed(path):
            document = {name: document}
        if path[-1].endswith("head_size") and value in ("12", "1b", "1bit"):
            continue  # below the limit, which a pattern cannot know of a size in words
        if VALIDATOR.is_valid(document):
            accepted += 1
            assert taken(document, tmp_path), document
    assert 0 < accepted < len(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "[front]\nhold_timeout = -1",
        "[build]\naccelerate = 'faster'",
        "[build]\ntypo = 1",
        "typo = 1",
        "project = '/elsewhere'",
        "[http]\nport = 65536",
        "[deploy]\nready_path = 'health'",
        "[deploy.protocols]\nweb = 'tcp'",
        "[image]\nmax_size = '30 XB'",
        "[service.web.http]\nport = 1",
        "[service.web.build]\nparallel = 1",
        "[service.web.prune]\nmin_free = '1GB'",
        "[per_service.web.build]\ntarget = 'x'",
        "services = 'web'",
        "plain = 'maybe'",
    ],
)
def test_what_the_program_refuses_is_marked_in_the_editor(text: str, tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text(text)
    with pytest.raises(ConfigError):
        load(project=tmp_path)
    assert not VALIDATOR.is_valid(tomllib.loads(text))


def examples() -> list[tuple[str, str]]:
    """Every watcher.toml, and every example of one in a document."""
    found = [
        (str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in ROOT.glob("[!.]*/**/watcher.toml")
    ]
    block = regex.compile(r"(?ms)^```toml\n(.*?)^```")
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        found += [(path.name, text) for text in block.findall(path.read_text("utf-8"))]
    return found


@pytest.mark.parametrize("text", [text for _, text in examples()], ids=[name for name, _ in examples()])
def test_each_example_is_good(text: str, tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text(text)
    VALIDATOR.validate(tomllib.loads(text))
    load(project=tmp_path)


def test_each_default_of_the_file_with_all_settings_is_good() -> None:
    lines = [
        line.removeprefix("#") for line in render_settings().splitlines() if not line.startswith(("# ", "#:"))
    ]
    unset = [line for line in lines if not line.endswith('= ""')]
    document = tomllib.loads("\n".join(unset))
    VALIDATOR.validate(document)
    assert document["service"]["NAME"]["deploy"] == {"startup_timeout": 60.0}


def test_each_setting_is_explained() -> None:
    for path in paths(SCHEMA):
        part: Any = SCHEMA
        for name in path:
            while "$ref" in part:
                part = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
            part = SCHEMA["definitions"]["ServiceSettings"] if name == "web" else part["properties"][name]
        assert part.get("description"), path


def test_the_schema_alone_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "watcher.toml").write_text("bell = true\n")
    (tmp_path / SCHEMA_NAME).write_text("{}")
    with pytest.raises(SystemExit) as end:
        main(["init", "--schema", "--project", str(tmp_path)])
    assert (end.value.code, capsys.readouterr().out) == (0, f"wrote {tmp_path / SCHEMA_NAME}\n")
    assert (tmp_path / SCHEMA_NAME).read_text("utf-8") == render_schema()
    assert (tmp_path / "watcher.toml").read_text() == "bell = true\n"


def test_a_written_file_names_the_schema_that_is_written_with_it(tmp_path: Path) -> None:
    plan = plan_project(tmp_path)
    for text in (plan.files["watcher.toml"], render_settings()):
        assert text.splitlines()[0] == SCHEMA_LINE == f"#:schema ./{SCHEMA_NAME}"
    assert plan.files[SCHEMA_NAME] == render_schema()
