"""Every field of a recipe is used, and is in the revision unless a reason is declared."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from watcher.builder import Recipe
from watcher.builder.recipe import NOT_IN_REVISION
from watcher.buildkit import CacheImport
from watcher.dockerfile import Level, Runs

WATCHER = Path(__file__).parents[3] / "watcher"
RECIPE = Recipe(service="web", project="p", image="web:latest")
OTHER: dict[str, Any] = {
    "owner": "other",
    "service": "other",
    "project": "other",
    "cache_scope": "other",
    "image": "other:latest",
    "folder": "other",
    "dockerfile": "other.Dockerfile",
    "inline": "FROM scratch",
    "build_args": {"A": "1"},
    "target": "final",
    "level": Level.OFF,
    "platform": "linux/arm64",
    "image_labels": {"a": "1"},
    "secrets": {"token": b"1"},
    "ssh": {"default": Path("/agent")},
    "frontend_attrs": {"add-hosts": "a=1.1.1.1"},
    "network": "none",
    "contexts": {"other": Path("/other")},
    "images": {"base": "alpine"},
    "tags": ("other:1",),
    "cache_from": (CacheImport(type="registry", attrs={"ref": "x"}),),
    "entitlements": ("network.host",),
    "no_cache": True,
    "runs": Runs(command=("true",)),
    "keep_programs": False,
    "builder_label": "other",
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_is_in_the_revision_or_has_a_reason(name: str) -> None:
    changed = dataclasses.replace(RECIPE, **{name: OTHER[name]})
    assert (changed.inputs() == RECIPE.inputs()) is (name in NOT_IN_REVISION)


def test_the_declared_reasons_are_of_fields() -> None:
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert NOT_IN_REVISION.keys() <= names
    assert all(NOT_IN_REVISION.values())


def test_a_new_field_is_in_the_revision() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Wider(Recipe):
        squash: bool = False
        profile: str = ""

    wider = Wider(service="web", project="p", image="web:latest")
    assert dataclasses.replace(wider, squash=True).inputs() != wider.inputs()
    assert dataclasses.replace(wider, profile="x").inputs() != wider.inputs()


def test_a_field_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Recipe\.platform has no form"):
        dataclasses.replace(RECIPE, platform=3.5).inputs()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"secrets": {"token": b"1"}}, {"secrets": {"token": b"2"}}),
        ({"secrets": {"token": Path("/a")}}, {"secrets": {"token": Path("/b")}}),
        ({"ssh": {"default": Path("/a")}}, {"ssh": {"other": Path("/a")}}),
        ({"build_args": {"a": "1"}}, {"image_labels": {"a": "1"}}),
        ({"contexts": {"a": Path("b")}}, {"images": {"a": "b"}}),
        ({"tags": ("a:1",)}, {"tags": ("a:1", "b:1")}),
    ],
)
def test_values_that_differ_give_other_inputs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert dataclasses.replace(RECIPE, **one).inputs() != dataclasses.replace(RECIPE, **other).inputs()


def test_a_new_login_is_no_new_revision_and_no_secret_is_readable() -> None:
    one, other = (dataclasses.replace(RECIPE, ssh={"default": Path(f"/tmp/{number}")}) for number in (1, 2))
    assert one.inputs() == other.inputs()
    assert "hunter2" not in str(dataclasses.replace(RECIPE, secrets={"token": b"hunter2"}).inputs())


def test_every_field_is_read_by_the_program() -> None:
    read = {
        node.attr
        for path in WATCHER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert {field.name for field in dataclasses.fields(Recipe)} - read == set()
