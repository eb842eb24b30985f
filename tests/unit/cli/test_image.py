"""`watcher image`: which image is explained, and how a wrong name is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.unit.image.test_read import AGAIN, LAYERS, saved
from watcher import labels
from watcher.cli import image as command
from watcher.cli.main import main

COMPOSE = (
    "services:\n  api:\n    build: .\n    image: shop-api\n  web:\n    build: .\n    image: shop-web:1\n"
)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine with images of two services; the project is in `tmp_path`."""
    made = FakeEngine()

    @asynccontextmanager
    async def open_fake(_: object) -> AsyncIterator[Any]:
        yield made

    monkeypatch.setattr(command, "open_engine", open_fake)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    for service, tags in {
        "api": ("shop-api:latest", "shop-api:rev-aaaa11112222"),
        "web": ("shop-web:1", "shop-web:rev-aaaa33334444"),
    }.items():
        marks = labels.image_labels(labels.project_id(tmp_path), service, labels.FINAL)
        image = made.add_image(tags=tags, labels=marks)
        made.archives[image] = saved(LAYERS if service == "api" else {**LAYERS, "2/layer.tar": AGAIN * 2})
    return made


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["image", "--project", str(tmp_path), *arguments])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


@pytest.mark.usefixtures("engine")
def test_without_a_name_each_service_has_its_image(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, tmp_path, "--json")
    assert code == 0
    assert [each["names"][0] for each in json.loads(out)["images"]] == ["shop-api:latest", "shop-web:1"]
    assert "COPY /workspace/app ." in run(capsys, tmp_path, "--service", "api")[1]


def test_the_newest_build_is_explained_also_if_it_was_not_deployed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: FakeEngine
) -> None:
    """One that is over its budget has only the tag of its revision."""
    marks = labels.image_labels(labels.project_id(tmp_path), "api", labels.FINAL)
    newer, older = (
        engine.add_image(tags=(f"shop-api:rev-{digit * 12}",), labels=marks, created=created)
        for digit, created in (("b", 4e9), ("c", 1.0))
    )
    for image in (newer, older):
        engine.archives[image] = saved(LAYERS)
    _, out, _ = run(capsys, tmp_path, "--json", "--service", "api")
    assert [each["id"] for each in json.loads(out)["images"]] == [newer]


@pytest.mark.usefixtures("engine")
def test_a_revision_is_named_by_its_first_digits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, tmp_path, "--json", "rev-aaaa1")
    assert (code, json.loads(out)["images"][0]["names"][0]) == (0, "shop-api:latest")
    code, _, err = run(capsys, tmp_path, "aaaa")
    assert code == 78
    assert missing(err, "several") == []
    assert run(capsys, tmp_path, "aaaa", "--service", "web")[0] == 0


@pytest.mark.usefixtures("engine")
def test_two_images_are_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, tmp_path, "--diff", "aaaa1", "shop-web:1")[0] == 0
    code, out, _ = run(capsys, tmp_path, "--diff", "--markdown", "aaaa1", "aaaa1")
    assert (code, missing(out, "Nothing", "size") == []) == (0, True)
    assert json.loads(run(capsys, tmp_path, "--diff", "--json", "aaaa1", "aaaa1")[1])["difference"] == 0


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["nothing:1"], 1, "no image nothing:1"),
        (["--diff", "shop-api"], 2, "--diff needs two"),
        (["--markdown", "--json"], 2, "exclude each other"),
        (["--service", "nowhere"], 78, "nowhere"),
    ],
)
def test_what_is_wrong_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], status: int, text: str
) -> None:
    code, out, err = run(capsys, tmp_path, *arguments)
    assert code == status
    assert text in out + err


def test_an_image_that_cannot_be_read_is_said_to_be(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    engine.archives = dict.fromkeys(engine.archives, b"no archive")
    code, _, err = run(capsys, tmp_path, "shop-api")
    assert code == 1
    assert missing(err, "shop-api", "cannot be read") == []


@pytest.mark.usefixtures("engine")
def test_budgets_are_compared_in_every_form(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text(
        '[image]\nmax_size = "30MB"\ncomponents = { "/app" = "1kB", "/gone" = "1MB" }\n'
    )
    lines = [
        "within its budget: 109 kB of 30.0 MB (image.max_size)",
        "OVER its budget: 50.0 kB of 1.00 kB (image.components, /app)",
        "image.components: nothing in the image is called /gone",
    ]
    assert run(capsys, tmp_path, "--service", "api")[1].splitlines()[1:4] == lines
    marked = run(capsys, tmp_path, "--service", "api", "--markdown")[1]
    assert all(f"- {line}" in marked for line in lines)
    assert json.loads(run(capsys, tmp_path, "--service", "api", "--json")[1])["images"][0]["budgets"] == lines
