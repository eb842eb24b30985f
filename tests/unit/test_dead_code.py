"""The check for dead code finds what only tests use, and reports allowances that are not needed."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.loaded_script import load_script


@pytest.fixture(scope="module")
def dead_code() -> ModuleType:
    return load_script("dead_code")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A product in which `used` is used, `exported` is only exported, and `tested` is only tested."""
    package = tmp_path / "watcher"
    package.mkdir()
    (package / "__init__.py").write_text(
        'from watcher.a import exported, used\n__all__ = ["exported", "used"]\n'
    )
    (package / "a.py").write_text(
        '__all__ = [\n    "exported",\n    "used",\n]\n'
        "def exported(): ...\n\ndef used(): ...\n\ndef tested(): ...\n\n"
        "class Box:\n    size: int\n    colour: str\n\n    def open(self):\n        self.size = 1\n"
        "\nsize = Box().colour\nprint(size)\n"
        "\nclass Pair:\n    left: int\n    right: int\n"
        "\nmatch size:\n    case Pair(_, other):\n        print(other)\n"
    )
    (package / "b.py").write_text("from watcher import used\n\nused()\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("from watcher.a import tested\n\ntested()\n")
    return tmp_path


def test_what_only_tests_exports_or_variables_name_is_dead(project: Path, dead_code: ModuleType) -> None:
    assert set(dead_code.check(project, {})) == {
        "watcher/a.py:5: unused function `exported`",
        "watcher/a.py:9: unused function `tested`",
        "watcher/a.py:12: unused field `size`",
        "watcher/a.py:15: unused method `open`",
        "watcher/a.py:16: unused field `size`",
        "watcher/a.py:22: unused variable `left`",
    }


def test_an_allowance_needs_a_reason_and_a_use(project: Path, dead_code: ModuleType) -> None:
    allowed = {"exported": "others import it", "tested": " ", "used": "it was dead once"}
    allowed |= dict.fromkeys(("open", "size", "left"), "others read it")
    assert dead_code.check(project, allowed) == [
        "dead_code_allowed.toml: `used` is used now, or gone",
        "dead_code_allowed.toml: `tested` has no reason",
    ]
