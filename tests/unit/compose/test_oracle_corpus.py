"""The compose files of compose-go's own tests, read here and by compose-go: equal, or refused with a reason.

They are in the module that the oracle is built of: files, and texts within its Go code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.compose.both_readings import differing, ours, theirs
from tests.unit.compose.test_oracle import ENV, ORACLE, Ask, ask  # noqa: F401 - a fixture
from watcher.compose import load
from watcher.errors import ConfigError

# What compose-go reads and this program refuses, and why that is right.
REFUSED = [
    "is not supported: ",  # by name, with a reason; a dependency is left to docker compose
    "must be a local directory: a remote context cannot be watched",
    "the target must be an absolute path in the container",  # the engine refuses it too
    "the protocol must be tcp, udp or sctp",  # the engine refuses others too
    "must be a port of the host, or a range of them",  # as above
    "must have a hard, a number",  # the engine refuses a soft limit above the hard one, 0
    "compose reads a single letter before ':' as a Windows drive",
    "Windows paths are not supported",
]
# What compose-go refuses in places that have no meaning here, or in its own output.
FORGIVEN = ["develop.watch", "MarshalJSON", "build.ssh must be a mapping", "services.nil must be a mapping"]


class Loader(yaml.SafeLoader):
    """Reads any tag as nothing."""


Loader.add_constructor(None, lambda *_: None)


def go_texts(module: Path) -> Iterator[tuple[str, str]]:
    """The compose files within the Go code of tests, and where each is."""
    for file in sorted(module.rglob("*_test.go")):
        code = file.read_text("utf-8")
        for match in re.finditer(r"`([^`]*)`", code):
            text = match[1].replace("\t", "  ").removeprefix("\n")
            if re.search(r"(?m)^ *(services|name|include|volumes|x-\w+):", text):
                # Jobs have the names of services there, which collide when an image is added.
                text = re.sub(r"(?m)^jobs:\n(?:(?:[ #].*)?\n)*", "", text)
                yield f"{file.relative_to(module)}:{code.count(chr(10), 0, match.start()) + 1}", text


def with_images(file: Path) -> list[Path]:
    """A second file that gives an image to each service without one: most of these texts have none."""
    complete: dict[str, bool] = {}
    try:
        documents = list(yaml.load_all(file.read_text("utf-8"), Loader))
    except (yaml.YAMLError, ValueError):
        return []
    for document in documents:
        services = document.get("services") if isinstance(document, dict) else None
        for name, service in services.items() if isinstance(services, dict) else ():
            has = isinstance(service, dict) and bool(
                {"image", "build", "extends", "provider"} & service.keys()
            )
            complete[str(name)] = complete.get(str(name), False) or has
    missing = [name for name, has in complete.items() if not has]
    if not missing:
        return []
    more = file.parent / "more-images.yaml"
    more.write_text("services:\n" + "".join(f"  {name!r}: {{image: added}}\n" for name in missing))
    return [more]


def compare_all(ask: Ask, file: Path) -> str:  # noqa: F811 - the fixture
    """`equal`, who refused it and why, or what differs; for each service by itself."""
    more = with_images(file)
    found = ask(file.parent, [file, *more])
    if "error" in found:
        try:
            load(file, env=ENV, overrides=more)
        except ConfigError:
            return "refused by both"
        return f"refused by compose-go: {found['error']}"
    for name in found.get("services") or {}:
        try:
            project = load(file, services=(name,), env=ENV, overrides=more)
        except ConfigError as error:
            return f"refused here: {error}"
        for other, spec in project.services.items():
            if spec.left_to_compose:
                return f"refused here: {spec.left_to_compose}"
            here, there = ours(spec, project), theirs(found["services"][other])
            if other == name:
                here["replicas"] = there["replicas"]  # of a managed service one is run
            if different := differing(here, there):
                return f"{other}.{'; '.join(different)}"
    return "equal" if found.get("services") else "no services"


@pytest.mark.timeout(180)
@pytest.mark.thorough
def test_the_tests_of_compose_go(ask: Ask, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    go = shutil.which("go") or "/usr/local/go/bin/go"
    listed = [go, "list", "-m", "-f", "{{.Dir}}", "github.com/compose-spec/compose-go/v2"]
    module = Path(
        subprocess.run(listed, cwd=ORACLE, check=True, capture_output=True, text=True).stdout.strip()
    )
    files: dict[str, Path] = {}
    for place, (label, text) in enumerate(go_texts(module)):
        files[label] = tmp_path / f"text-{place}" / "compose.yaml"
        files[label].parent.mkdir()
        files[label].write_text(text)
    shutil.copytree(module, tmp_path / "module", copy_function=shutil.copyfile)
    for folder in (tmp_path / "module", *(tmp_path / "module").rglob("*/")):
        folder.chmod(0o755)
    for path in sorted((tmp_path / "module").rglob("*.y*ml")):
        if not any(part.startswith(".") for part in path.relative_to(tmp_path).parts):
            files[str(path.relative_to(tmp_path))] = path
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for label, path in files.items():
        said = compare_all(ask, path)
        counts[said.partition(":")[0] if said.startswith("refused") else said[:20]] += 1
        fine = said in ("equal", "refused by both", "no services")
        reasons = REFUSED if said.startswith("refused here") else FORGIVEN
        if not fine and not (said.startswith("refused") and any(each in said for each in reasons)):
            wrong.append(f"{label}: {said}")
    print(f"oracle: {dict(counts)} of {len(files)} files of compose-go's tests")
    assert not wrong, "\n".join(wrong)
    assert counts["equal"] > 400
