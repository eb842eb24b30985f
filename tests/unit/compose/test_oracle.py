"""The same compose files, read here and by compose-go, the library of docker compose: equal in what matters.

In CI the oracle must be built; elsewhere the tests are skipped without go.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.compose.both_readings import differing, ours, theirs
from watcher.compose import load
from watcher.errors import ConfigError

ROOT = Path(__file__).parents[3]
ORACLE = ROOT / "tests" / "oracle" / "compose"
ENV = {"HOME": "/home/ann", "OUT": "outside", "EMPTY": "", "NUMBER": "7"}
GENERATED = 1500

Ask = Callable[..., dict[str, Any]]  # (directory, files, profiles)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ask compose-go for a project."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        assert not os.environ.get("CI"), "the oracle needs go"
        pytest.skip("go is not here")
    program = tmp_path_factory.mktemp("oracle") / "oracle"
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=ORACLE,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if built.returncode and not os.environ.get("CI") and "dial tcp" in built.stderr:
        pytest.skip("the module of compose-go is not here, and there is no network")
    assert built.returncode == 0, built.stderr
    with subprocess.Popen(
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENV,
    ) as process:
        assert process.stdin
        assert process.stdout
        sent, answered = process.stdin, process.stdout

        def one(directory: Path, files: list[Path], profiles: Sequence[str] = ()) -> dict[str, Any]:
            env = [f"{name}={value}" for name, value in ENV.items()]
            request = {"files": [str(each) for each in files], "directory": str(directory), "env": env}
            request["profiles"] = list(profiles)
            sent.write(json.dumps(request) + "\n")
            sent.flush()
            found: dict[str, Any] = json.loads(answered.readline())
            return found

        yield one
        sent.close()


def compare(ask: Ask, directory: Path, files: list[Path], service: str | None) -> str:
    """`equal`, who refused it, or what differs."""
    found = ask(directory, files)
    try:
        project = load(files[0], services=(service,) if service else (), env=ENV, overrides=files[1:])
    except ConfigError as error:
        return "refused by both" if "error" in found else f"refused here: {error}"
    if "error" in found:
        return f"refused by compose-go: {found['error']}"
    for name, spec in project.services.items():
        if spec.left_to_compose:
            return f"left to compose: {spec.left_to_compose}"
        if different := differing(ours(spec, project), theirs(found["services"][name])):
            return f"{name}.{'; '.join(different)}"
    return "equal"


def test_the_compose_files_of_this_repository(ask: Ask) -> None:
    files = [
        path
        for pattern in ("examples/**/*compose*.y*ml", "tests/e2e/**/*compose*.y*ml", "docker-compose.yml")
        for path in sorted(ROOT.glob(pattern))
        if ".override." not in path.name and ".venv" not in path.parts
    ]
    counts: Counter[str] = Counter()
    for path in files:
        overrides = sorted(path.parent.glob(f"{path.stem}.override.y*ml"))
        with_service = None if path.parent != ROOT else "watcher"
        counts[compare(ask, path.parent, [path, *overrides], with_service)] += 1
    print(f"oracle: {dict(counts)} of {len(files)} files of the repository")
    assert counts.keys() <= {"equal", "refused by both"}
    assert counts["equal"] >= 3


@pytest.mark.parametrize(
    ("entry", "both"),
    [
        ("'8000-8010:80'", "equal"),
        ("'8000-8010:80-80'", "equal"),
        ("'8000-8000:80'", "equal"),
        ("'127.0.0.1:8000-8010:80/udp'", "equal"),
        ("'[::1]:8000-8010:80'", "equal"),
        ("{target: 80, published: '8000-8010', host_ip: '::1'}", "equal"),
        ("'8000-8002:80-82'", "equal"),
        ("'8000-8002:80-81'", "refused by both"),
        ("'8000-8001:80-82'", "refused by both"),
        ("'8000:80-82'", "refused by both"),
        ("'8010-8000:80'", "refused by both"),
        ("'8000-:80'", "refused by both"),
        ("'65530-65536:80'", "refused by both"),
        ("'a-b:80'", "refused by both"),
    ],
)
def test_ranges_of_ports(ask: Ask, tmp_path: Path, entry: str, both: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"name: shop\nservices:\n  web:\n    image: a\n    ports: [{entry}, '8000-8010:81']\n")
    assert compare(ask, tmp_path, [file], "web") == both


# Generated files.

MENU: Mapping[str, list[str]] = {
    "image": ["a", "'repo/a:${NUMBER}'", "a:1"],
    "build": [
        ".",
        "{context: ./sub, args: {A: 1, OUT: , T: true}, target: final, tags: [x, y]}",
        "{args: [A=2, OUT], dockerfile: docker/Dev, labels: [l=1, m]}",
        "{additional_contexts: {shared: ./sub, base: 'docker-image://x'}}",
        "{dockerfile_inline: 'FROM scratch'}",
    ],
    "command": ["run me 'a b'", "[sh, -c, 'x $$y ${OUT}']", "null", "''", "[]"],
    "entrypoint": ["/in it", "[/in]"],
    "environment": [
        "[A=1, OUT, GONE, B=$NUMBER]",
        "{A: 2, OUT: , B: '${GONE:-d}', C: 1.50, D: true, E: 0x10, F: 'x=y'}",
        "{A: !reset null, N: '1'}",
        "!override {ONLY: me}",
    ],
    "env_file": ["one.env", "[one.env, two.env]", "[{path: gone.env, required: false}]"],
    "ports": [
        "['80', '81:80', '127.0.0.1:82:80/udp']",
        "['8000-8002:9000-9002']",
        "['8000-8010:80', '127.0.0.1:9000-9003:90/udp', '[::1]:7000-7001:70', '6000-6000:60']",
        "[{target: 90, published: '8000-8010', host_ip: 127.0.0.1}, '8000-8010:80', '8000:80']",
        "[{target: 90, published: '91', protocol: tcp}, 70]",
        "!override ['1:1']",
        "!reset []",
    ],
    "volumes": [
        "['/a:/b', './sub:/c:ro', 'vol:/d/']",
        "[{type: bind, source: ./x, target: /b, read_only: true}, {type: tmpfs, target: /t}]",
        "['~/h:/h', '/anon']",
    ],
    "labels": ["[a=1, b]", "{a: 2, c: '${OUT}'}"],
    "networks": ["[n]", "{n: {aliases: [z, y], ipv4_address: 10.9.8.7}, default: }"],
    "depends_on": ["[db]", "{db: {condition: service_healthy, restart: true}}", "{db: !reset null}"],
    "links": ["['db:alias']"],
    "restart": ["always", "'no'", "on-failure:3", "!reset null"],
    "extends": ["base", "{service: other, file: ext.yaml}"],
}


def service(chance: random.Random, share: float, keys: list[str]) -> str:
    chosen = [key for key in keys if chance.random() < share]
    return "".join(f"    {key}: {chance.choice(MENU[key])}\n" for key in chosen) or "    tty: true\n"


def generate(folder: Path, seed: int) -> list[Path]:
    chance = random.Random(seed)
    keys = list(MENU)
    plain = [key for key in keys if key != "extends"]
    (folder / "one.env").write_text("A=file\nF1=x # y\nF2='$A'\nF3=\"${OUT}-$A\"\nexport F4=4\n")
    (folder / "two.env").write_text("F1=two\nF5: five\n")
    (folder / ".env").write_text("DOT=dot\nNUMBER=9\n")
    (folder / "ext.yaml").write_text(
        "services:\n  other:\n    image: other\n" + service(chance, 0.2, [k for k in plain if k != "image"])
    )
    head = "services:\n  base:\n    image: base\n" + service(chance, 0.25, [k for k in plain if k != "image"])
    head += "  db: {image: db}\n  web:\n" + service(chance, 0.45, keys)
    tail = "volumes: {vol: }\nnetworks: {n: }\n"
    files = [folder / "compose.yaml"]
    files[0].write_text(f"name: shop\n{head}{tail}")
    for number in range(chance.choice((0, 0, 1, 2))):
        files.append(folder / f"over{number}.yaml")
        files[-1].write_text("services:\n  web:\n" + service(chance, 0.3, plain))
    return files


@pytest.mark.timeout(180)
@pytest.mark.thorough
def test_generated_compose_files(ask: Ask, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(GENERATED):
        folder = tmp_path / str(seed)
        folder.mkdir()
        files = generate(folder, seed)
        said = compare(ask, folder, files, "web")
        if said in ("equal", "refused by both"):
            counts[said] += 1
        else:
            texts = "\n".join(f"# {each.name}\n{each.read_text()}" for each in files)
            wrong.append(f"{said}\n{texts}")
    print(f"oracle: {dict(counts)} of {GENERATED} generated files")
    assert not wrong, f"{len(wrong)} differ; the first:\n{wrong[0]}"
    assert counts["equal"] > GENERATED / 2
