"""Generated projects of several services, files and profiles: the same here and as compose-go reads them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.unit.compose.both_readings import differing, ours, theirs
from tests.unit.compose.test_oracle import ENV, MENU, Ask, ask  # noqa: F401 - a fixture
from watcher.compose import load
from watcher.errors import ConfigError

GENERATED = 600
NAMES = ("web", "api", "db", "cache", "job", "mail")
MORE: Mapping[str, Sequence[str]] = {
    **{key: values for key, values in MENU.items() if key not in ("depends_on", "links", "extends", "build")},
    "build": [".", "{context: ./sub, args: {A: 1}}", "{context: ., target: final, network: host, pull: yes}"],
    "healthcheck": [
        "{test: curl -f localhost, interval: 1m30s, retries: 3}",
        "{test: [CMD, a, b], timeout: 500ms, start_period: 2s, start_interval: 1s}",
        "{test: [NONE]}",
        "{disable: true}",
        "{disable: yes}",
        "{test: [], interval: 5s}",
    ],
    "deploy": [
        "{resources: {limits: {cpus: '0.50', memory: 50M, pids: 10}, reservations: {memory: 20m}}}",
        "{replicas: 2, restart_policy: {condition: on-failure, max_attempts: 3, delay: 5s}}",
        "{restart_policy: {condition: any}, placement: {constraints: [a]}, labels: {x: y}}",
        "{resources: {limits: {cpus: 1}}, endpoint_mode: vip, mode: replicated}",
    ],
    "ulimits": ["{nofile: 10}", "{nofile: {soft: 5, hard: '20'}, nproc: 65535}"],
    "tmpfs": ["/run", "[/run, '/tmp:size=64m,mode=1770']"],
    "sysctls": ["{net.core.somaxconn: 1024}", "[net.ipv4.tcp_syncookies=0, kernel.x=a b]"],
    "secrets": [
        "[s]",
        "[{source: s, target: named, mode: 0440, uid: '103'}, t]",
        "[{source: t, target: /abs}]",
    ],
    "configs": ["[c]", "[{source: c, target: /etc/c.conf, mode: 0o444}, d]"],
    "init": ["true", "no", "'yes'", "off"],
    "tty": ["true", "on", "'false'"],
    "privileged": ["yes", "false"],
    "read_only": ["false"],
    "logging": [
        "{driver: json-file, options: {max-size: 10m, max-file: 3}}",
        "{driver: none}",
        "{options: {a: b}}",
    ],
    "dns": ["1.1.1.1", "[1.1.1.1, 8.8.8.8]", "'${GONE}'", "['', 9.9.9.9]"],
    "dns_search": ["example.com", "[a.example, b.example]"],
    "dns_opt": ["['ndots:1']"],
    "extra_hosts": [
        "['a:1.2.3.4', 'b=::1', 'host.docker.internal:host-gateway']",
        "{a: 1.2.3.4, c: [1.1.1.1, 2.2.2.2]}",
    ],
    "cap_add": ["[ALL]", "[NET_ADMIN, SYS_PTRACE]"],
    "cap_drop": ["[NET_RAW]"],
    "user": ["'1000'", "'0:0'", "nobody", "'${NUMBER}'"],
    "hostname": ["box", "'${OUT}'"],
    "domainname": ["example.com"],
    "working_dir": ["/app", "'/a b'"],
    "stop_grace_period": ["1m30s", "10s", "1.5s", "0s"],
    "stop_signal": ["SIGUSR1", "'9'"],
    "shm_size": ["64m", "1024", "'1gb'", "2GiB"],
    "mem_limit": ["1g", "512M", "'104857600'"],
    "mem_reservation": ["10m"],
    "memswap_limit": ["-1", "2g"],
    "cpus": ["0.5", "'1.25'", "2"],
    "cpu_shares": ["73", "'10'"],
    "cpuset": ["0,1", "'0'"],
    "pids_limit": ["100", "-1"],
    "oom_score_adj": ["500", "-10"],
    "expose": ["[80, '81', '82/udp']", "['3000']"],
    "devices": [
        "[/dev/null, '/dev/zero:/dev/z:r']",
        "[{source: /dev/null, target: /dev/n, permissions: rw}]",
    ],
    "security_opt": ["['no-new-privileges:true', 'label:disable']", "[seccomp:unconfined]"],
    "group_add": ["[mail, 1000]", "['5']"],
    "annotations": ["[a=b]", "{c: d, e: 1}"],
    "container_name": ["box-${NUMBER}"],
    "platform": ["linux/amd64"],
    "pull_policy": ["missing", "always", "never", "every_12h"],
    "userns_mode": ["host"],
    "uts": ["host"],
    "cgroup": ["host"],
    "x-more": ["{a: [1, 2]}", "null"],
    "post_start": ["[{command: [a, b]}, {command: 'c d', user: root}]"],
    "pre_stop": ["[{command: ./stop.sh, environment: [A=1]}]"],
    "label_file": ["one.env"],
    "env_file": [
        "one.env",
        "[one.env, two.env]",
        "[{path: gone.env, required: false}, two.env]",
        "[{path: one.env, required: yes}]",
    ],
}
BELOW = {"build", "container_name", "networks"}
TOP = (
    "volumes: {vol: }\nnetworks: {n: }\n"
    "secrets: {s: {file: ./s.txt}, t: {environment: OUT}}\n"
    "configs: {c: {file: ./c.conf}, d: {content: 'x ${OUT}'}}\n"
)


def service(chance: random.Random, share: float, keys: Sequence[str]) -> list[str]:
    return [f"{key}: {chance.choice(MORE[key])}" for key in keys if chance.random() < share]


def relations(chance: random.Random, others: Sequence[str]) -> list[str]:
    """What a service needs of those that come after it."""
    if not others:
        return []
    one, found = chance.choice(others), []
    conditions = ("service_started", "service_healthy", "service_completed_successfully")
    form = chance.random()
    if form < 0.25:
        found.append(f"depends_on: [{', '.join(dict.fromkeys((one, chance.choice(others))))}]")
    elif form < 0.6:
        required = chance.choice(("true", "false", "no"))
        found.append(
            f"depends_on: {{{one}: {{condition: {chance.choice(conditions)}, required: {required},"
            f" restart: {chance.choice(('true', 'false'))}}}}}"
        )
    form = chance.random()
    if form < 0.1:
        found.append(f"links: ['{one}:alias', {chance.choice(others)}]")
    elif form < 0.2:
        found.append(f"volumes_from: ['{one}:ro', 'container:outside']")
    elif form < 0.3:
        found.append(f"{chance.choice(('ipc', 'pid'))}: 'service:{one}'")
    elif form < 0.4:
        found.append(f"network_mode: {chance.choice((f'service:{one}', 'host', 'none', 'bridge'))}")
    return found


def block(name: str, lines: Sequence[str], anchor: str = "") -> str:
    body = "".join(f"    {line}\n" for line in lines) or "    tty: true\n"
    return f"  {name}:{anchor}\n{body}"


def generate_project(folder: Path, seed: int) -> tuple[list[Path], list[str]]:
    """Write a project; return its files and the active profiles."""
    chance = random.Random(seed)
    (folder / "one.env").write_text("A=file\nF1=x # y\nF2='$A'\nF3=\"${OUT}-$A\"\nexport F4=4\n")
    (folder / "two.env").write_text('F1=two\nF5: five\nF6="a\\nb"\nOUT\n')
    (folder / ".env").write_text("DOT=dot\nNUMBER=9\nFROM_DOT=${DOT:-none}\n")
    (folder / "s.txt").write_text("s")
    (folder / "c.conf").write_text("c")
    keys = list(MORE)
    text = "name: shop\n"
    if included := chance.random() < 0.35:
        inner = folder / "inner"
        inner.mkdir()
        (inner / ".env").write_text("DOT=inner\n")
        (inner / "one.env").write_text("A=inner\n")
        form = chance.choice(
            ("inner/more.yaml", "{path: inner/more.yaml}", "{path: [inner/more.yaml, inner/over.yaml]}")
        )
        if chance.random() < 0.3:
            form = "{path: inner/more.yaml, project_directory: ., env_file: two.env}"
        text += f"include: [{form}]\n"
        plain = [key for key in keys if key not in ("secrets", "configs", "label_file", "env_file")]
        (inner / "more.yaml").write_text(
            "services:\n"
            + block(
                "inner", ["image: 'in:${DOT}'", *service(chance, 0.1, [k for k in plain if k not in BELOW])]
            )
        )
        (inner / "over.yaml").write_text(
            "services:\n  inner: {environment: {OVER: '${DOT}'}, env_file: one.env}\n"
        )
    text += "x-base: &base\n" + "".join(
        f"  {line}\n" for line in service(chance, 0.04, [k for k in keys if k not in BELOW])
    )
    text += "  cap_drop: [ALL]\nservices:\n"
    used = NAMES[: chance.randint(2, len(NAMES))]
    for place, name in enumerate(used):
        lines = service(chance, 0.1, [key for key in keys if key != "image" and key not in BELOW])
        relating = relations(chance, [*used[place + 1 :], *(["inner"] if included else [])])
        free = not any(line.startswith("network_mode") for line in relating)
        if free:
            lines += service(chance, 0.2, ["networks"])
        lines += [*relating, f"image: {name}"]
        if place == 0 or chance.random() < 0.2:
            lines += [f"build: {chance.choice(MORE['build'])}"]
        if chance.random() < 0.2:
            lines.insert(0, "<<: *base")
        if place and chance.random() < 0.25:
            lines.append(f"profiles: [{chance.choice(('one', 'two', 'one, two'))}]")
        text += block(name, lines)
    files = [folder / "compose.yaml"]
    files[0].write_text(text + TOP)
    for number in range(chance.choice((0, 0, 1, 2))):
        over = "services:\n"
        for name in used:
            if chance.random() < 0.5:
                over += block(name, service(chance, 0.06, [key for key in keys if key not in BELOW]))
        if over.count("\n") > 1:
            files.append(folder / f"over{number}.yaml")
            files[-1].write_text(over)
    return files, chance.choice(([], [], ["one"], ["two"], ["one", "two"], ["*"]))


def compare(ask: Ask, folder: Path, files: list[Path], profiles: list[str]) -> str:  # noqa: F811 - the fixture
    found = ask(folder, files, profiles)
    try:
        project = load(files[0], env=ENV, overrides=files[1:], profiles=profiles)
    except ConfigError as error:
        if "has no container to share" in str(error) and "error" not in found:
            return "refused here"  # docker compose finds out when it creates the container
        return "refused by both" if "error" in found else f"refused here: {error}"
    if any("has no container to share" in text for text in project.warnings):
        return "refused here"
    not_started = [text for text in project.warnings if "is not started" in text]
    if "error" in found:
        return "refused by both" if not_started else f"refused by compose-go: {found['error']}"
    if not_started or (missing := found["services"].keys() ^ project.services.keys()):
        return f"services: {not_started or missing}"
    for name, spec in project.services.items():
        here, there = ours(spec, project), theirs(found["services"][name])
        # An optional dependency of an inactive profile is dropped here, with a warning.
        there["depends_on"] = {
            other: each for other, each in there["depends_on"].items() if other in project.services
        }
        there["links"] = [link for link in there["links"] if link.partition(":")[0] in project.services]
        if spec.network_mode in ("host", "none"):  # nothing can be published, so nothing is, with a warning
            there["ports"] = []
        taken = {mount[2] for mount in there["mounts"]}  # a mount at the target of a config wins, as there
        there["files"] = [target for target in there["files"] if target not in taken]
        if name in project.managed:
            here["replicas"] = there["replicas"]
        if different := differing(here, there):
            return f"{name}.{'; '.join(different)}"
    return "equal"


@pytest.mark.timeout(240)
@pytest.mark.thorough
def test_generated_projects(ask: Ask, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(GENERATED):
        folder = tmp_path / str(seed)
        folder.mkdir()
        files, profiles = generate_project(folder, seed)
        said = compare(ask, folder, files, profiles)
        if said in ("equal", "refused by both", "refused here"):
            counts[said] += 1
        else:
            texts = "\n".join(f"# {each.name}\n{each.read_text()}" for each in files)
            wrong.append(f"{said}\nprofiles {profiles}\n{texts}")
    print(f"oracle: {dict(counts)} of {GENERATED} generated projects")
    assert not wrong, f"{len(wrong)} differ; the first:\n{wrong[0]}"
    assert counts["equal"] > GENERATED / 2
