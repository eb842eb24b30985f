"""What is installed: the package alone, with everything that it imports declared."""

import ast
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from watcher import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirement_name(requirement: str) -> str:
    return requirement.partition(">")[0].partition("<")[0].lower()


def lowest_version(requirement: str) -> str:
    return requirement.partition(">=")[2].partition(",")[0]


def imported_packages() -> set[str]:
    """The distributions that files of the package import from."""
    modules: set[str] = set()
    for path in (ROOT / "watcher").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
                if node.module == "google":
                    modules |= {"google." + name.name for name in node.names}
    foreign = modules - sys.stdlib_module_names - {"watcher", "google"}
    owners = packages_distributions()
    return {owners[name][0].lower().replace("_", "-") for name in foreign}


def test_each_import_is_a_declared_dependency_and_each_dependency_is_imported() -> None:
    declared = {requirement_name(line) for line in PROJECT["dependencies"]}
    assert imported_packages() | {"protobuf"} == declared


@pytest.mark.parametrize("requirement", PROJECT["dependencies"], ids=requirement_name)
def test_the_lowest_versions_are_locked_as_declared(requirement: str) -> None:
    """`./dev check` runs tests with this lock file, so what is declared there is what was tried."""
    locked = dict(
        line.partition(" ")[0].split("==")
        for line in (ROOT / "requirements-lowest.lock").read_text("utf-8").splitlines()
        if "==" in line and not line.startswith(" ")
    )
    version = locked[requirement_name(requirement)].split(".")
    wanted = lowest_version(requirement).split(".")
    assert version[: len(wanted)] == wanted


@pytest.mark.parametrize("library", ["watchdog", "docker"])
def test_a_library_whose_private_parts_are_used_has_an_upper_bound(library: str) -> None:
    (line,) = [line for line in PROJECT["dependencies"] if requirement_name(line) == library]
    assert ",<" in line


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


def test_the_wheel_carries_one_package_with_its_files(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "watcher",
        f"go_container_watcher-{__version__}.dist-info",
    }
    assert {
        "watcher/py.typed",
        "watcher/web/page.html",
        "watcher/monitoring/grafana/dashboards/watcher.json",
        "watcher/monitoring/prometheus/watcher.alerts.yml",
    } <= set(names)


def test_the_source_distribution_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    assert not (tree / "tests").exists()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=tree,
        check=True,
        capture_output=True,
    )
    (again,) = (tmp_path / "dist").glob("*.whl")
    (wheel,) = built.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()
