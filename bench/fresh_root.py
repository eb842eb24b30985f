"""Try the watcher on a fresh Debian with a booted systemd: install, service, save, reboot, removal.

    ./dev bench fresh_root [--folder FOLDER] [--install pipx|pip|uv] [--port 24000]

It needs root, debootstrap (or a FOLDER that an earlier run made), a Docker engine at /var/run/docker.sock
with the base images, and five to fifteen minutes; so it is in no test run. The root shares the network of
this machine, so both ports must be free. Each step is printed with its time. The exit status is 1 as soon as
one fails, and 0 when nothing of it is left.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import docker

ROOT = Path(__file__).parents[1]
SOCKET = Path("/var/run/docker.sock")
PACKAGES = (
    "python3,python3-venv,python3-pip,pipx,ca-certificates,systemd-sysv,dbus,dbus-user-session,libpam-systemd"
)
PASSED = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
FILES = ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf", "etc/hosts", "etc/resolv.conf")
WATCHER = {
    "pip": "python3 -m venv ~/v && ~/v/bin/pip -q install ./*.whl"
    " && mkdir -p ~/.local/bin && ln -s ~/v/bin/watcher ~/.local/bin/",
    "pipx": "pipx install ./*.whl",
    "uv": "python3 -m venv ~/u && ~/u/bin/pip -q install uv"
    " && ~/u/bin/uv -q tool install --native-tls ./*.whl",
}
# A process namespace and cgroups of its own; pivot_root, because user namespaces are refused below a chroot.
BOOT = """
set -e
mount --bind {root} {root}
cd {root}
mkdir -p proc run tmp sys dev mnt/old
mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mount -t tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd || true
mount -t cgroup2 cgroup2 sys/fs/cgroup/unified || mount -t cgroup2 cgroup2 sys/fs/cgroup
touch run/docker.sock; mount --bind {socket} run/docker.sock
pivot_root . mnt/old
umount -l /mnt/old
exec env -i container=unshare /lib/systemd/systemd --system --unit=multi-user.target
"""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Failed(Exception):
    """A step did not do what it should."""


def until(condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= end:
            raise Failed(f"not within {timeout:g} s: {what}")
        time.sleep(0.2)


class Machine:
    """A Debian in a folder, with systemd as its process 1 while it is up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        if not (self.root / "usr/bin/pipx").exists():
            say(f"debootstrap to {self.root}")
            command = [
                "debootstrap",
                "--variant=minbase",
                f"--include={PACKAGES}",
                "bookworm",
                str(self.root),
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for name in FILES:
            if Path("/", name).exists():
                shutil.copy(Path("/", name), self.root / name)

    def boot(self) -> None:
        script = BOOT.format(root=self.root, socket=SOCKET)
        flags = ["-m", "-p", "-C", "-i", "-u", "-f", "--kill-child", "--propagation", "private"]
        self._process = subprocess.Popen(
            ["unshare", *flags, "bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        until(lambda: self.run("systemctl is-system-running", check=False) in ("running", "degraded"), "boot")
        say(f"booted: {self.run('systemctl --version | head -1')}; process 1: {self.run('cat /proc/1/comm')}")

    def power_off(self) -> None:
        if self._process and self._process.poll() is None:
            self.run("systemctl poweroff", check=False)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()

    def run(self, command: str, *, user: str = "", check: bool = True, timeout: float = 600.0) -> str:
        """Run a command in it; return what it printed. Raises Failed."""
        assert self._process
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return ""
        enter = ["nsenter", "-t", children[0], "-m", "-p", "-C", "-i", "-u", "-r", "-w"]
        if user:
            enter += [
                "runuser",
                "-l",
                user,
                "-w",
                ",".join(PASSED),
                "-c",
                f"PATH=~/.local/bin:$PATH; {command}",
            ]
        else:
            enter += ["bash", "-c", command]
        done = subprocess.run(enter, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise Failed(f"`{command}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


class Project:
    """A project in the home of the user `dev`."""

    def __init__(self, machine: Machine, name: str, port: int, change: tuple[str, str], file: str) -> None:
        self.machine, self.name, self.port = machine, name, port
        (self.old, self.new), self.file = change, file

    @property
    def folder(self) -> Path:
        return self.machine.root / "home/dev" / self.name

    def watcher(self, command: str) -> str:
        return self.machine.run(f"cd ~/{self.name} && watcher {command}", user="dev")

    def ask(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=60) as answer:
            return str(answer.read().decode())

    def expect(self, text: str) -> None:
        answer = self.ask()
        if text not in answer:
            raise Failed(f"{self.name} answers {answer!r}, not {text!r}")

    def begin(self) -> None:
        say(f"{self.name}: " + self.watcher("init").splitlines()[-1])
        compose = self.folder / "docker-compose-dev.yml"
        compose.write_text(compose.read_text().replace('"9000:9000"', f'"127.0.0.1:{self.port}:9000"'))
        self.watcher("service install")
        say(f"{self.name}: " + self.watcher("wait --timeout 400"))
        self.expect(self.old)
        source = self.folder / self.file
        source.write_text(source.read_text().replace(f'"{self.old}"', f'"{self.new}"'))
        say(f"{self.name}: saved; " + self.watcher("wait --timeout 100"))
        self.expect(self.new)

    def restart(self) -> None:
        self.machine.run(f"systemctl --user restart 'watcher-{self.name}-*'", user="dev")
        say(f"{self.name}: unit restarted; " + self.watcher("wait --timeout 100"))
        self.machine.run(f"systemctl --user reload 'watcher-{self.name}-*'", user="dev")
        say(f"{self.name}: unit reloaded; " + self.watcher("wait --timeout 100"))
        self.expect(self.new)
        warned = self.machine.run(f"journalctl --user -u 'watcher-{self.name}-*' -p err -o cat", user="dev")
        say(f"{self.name}: the journal has {len(warned.splitlines())} lines of errors")

    def end(self) -> None:
        self.watcher("service uninstall")
        say(f"{self.name}: " + self.watcher("down --images --caches").replace("\n", "; "))


def end_reported(project: Project) -> bool:
    """End the project; say what fails, so that the other one is ended too."""
    try:
        project.end()
    except Failed as error:
        say(f"{project.name}: {error}")
        return False
    return True


def is_listed(machine: Machine, project: Project) -> bool:
    return f"/{project.name} " in machine.run("watcher list", user="dev", check=False)


def list_objects(client: docker.DockerClient, names: list[str]) -> set[str]:
    """Return the objects of the engine whose name, tag or label has one of the names."""
    found = {f"container {each.name} {each.labels}" for each in client.containers.list(all=True)}
    found |= {f"image {each.id} {each.tags} {each.labels}" for each in client.images.list(all=True)}
    found |= {f"network {each.name} {each.attrs['Labels']}" for each in client.networks.list()}
    found |= {f"volume {each.name}" for each in client.volumes.list()}
    return {each for each in found if any(name in each for name in names)}


def list_files(machine: Machine) -> set[str]:
    """Return the files that the watcher can have made: not those of the projects, of pip and of systemd."""
    text = machine.run(
        "find /home /tmp /run/user /var/tmp -not -path '*/v/*' -not -path '*/systemd*'", check=False
    )
    ours = (line for line in text.splitlines() if "/.local/pipx" not in line and "/.cache" not in line)
    return {line for line in ours if "/share/uv" not in line}


@contextmanager
def booted(machine: Machine) -> Iterator[None]:
    machine.make()
    machine.boot()
    try:
        yield
    finally:
        machine.power_off()


def try_all(machine: Machine, install: str, port: int) -> None:
    tag = uuid.uuid4().hex[:6]
    gid = SOCKET.stat().st_gid
    machine.run(f"id dev || (groupadd -f -g {gid} docker; useradd -m -s /bin/bash -G {gid} dev)")
    machine.run("loginctl enable-linger dev; rm -rf ~dev/*.whl ~dev/v ~dev/u ~dev/.local")
    wheels = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(machine.root / "home/dev")]
    subprocess.run(wheels, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    empty = Project(machine, f"empty-{tag}", port, ("ok", "fine"), "main.go")
    example = Project(machine, f"example-{tag}", port + 1, ("1.0.0", "2.0.0"), "internal/version/version.go")
    empty.folder.mkdir()
    (empty.folder / "go.mod").write_text("module example.com/empty\n\ngo 1.19\n")
    without = shutil.ignore_patterns("Dockerfile", "docker-compose*", ".dockerignore")
    shutil.copytree(ROOT / "examples/go-server", example.folder, ignore=without)
    machine.run("chown -R dev:dev ~dev")
    machine.run(WATCHER[install], user="dev")
    say(f"installed with {install}: {machine.run('watcher --version', user='dev')}")
    before, names = list_files(machine), [empty.name, example.name]
    client = docker.from_env()
    try:
        for project in (empty, example):
            project.begin()
            project.restart()
        machine.power_off()
        say("powered off")
        machine.boot()
        for project in (empty, example):
            until(partial(is_listed, machine, project), f"the service of {project.name} starts", 180)
            say(f"{project.name}: after the reboot " + project.watcher("up"))
            project.expect(project.new)
    except Failed as error:
        say(f"failed, ending the rest: {error}")
        print(machine.run("journalctl --user -o cat -n 40", user="dev", check=False))
        raise
    finally:
        ends = [end_reported(project) for project in (empty, example)]
    if not all(ends):
        raise Failed("not all could be taken away, see above")
    left = list_objects(client, names)
    files = {each for each in list_files(machine) - before if f"/home/dev/{empty.name}" not in each}
    files = {each for each in files if f"/home/dev/{example.name}" not in each}
    for each in sorted(left):
        say(f"left: {each}")
    for each in sorted(files):
        say(f"new file: {each}")
    wrong = [each for each in files if empty.name in each or example.name in each]
    # An empty lock file stays in the run directory until the user logs out: removing it would race.
    if left or any(not each.endswith(".lock") for each in wrong):
        raise Failed("something of it is left")
    for project in (empty, example):
        shutil.rmtree(project.folder)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="the root, kept for the next run (default: temporary)")
    parser.add_argument("--install", choices=sorted(WATCHER), default="pipx")
    parser.add_argument("--port", type=int, default=24000, help="and the next one")
    given = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("only root can boot it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: the machine is powered off
    folder = given.folder or Path(tempfile.mkdtemp(prefix="fresh-root-"))
    machine = Machine(folder.resolve())
    try:
        with booted(machine):
            try_all(machine, given.install, given.port)
    except Failed as error:
        say(f"FAILED: {error}")
        return 1
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)  # its mounts are gone with its namespace
    say("all of it works, and nothing is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
