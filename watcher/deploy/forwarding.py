"""The address container's rules: forward what arrives at the service's address to the live container. Pure.

The kernel forwards, as with a Service of Kubernetes: a new connection goes where the rules say, an open one
stays where it began. Ports that a front serves are the exception (`network_sockets.py`). While no container
is live, packets are dropped. Clients send them again, so that their connections are held, not refused.

iptables is the engine's own: every host that runs a Linux engine has it, so the host's system folders are
mounted, read-only, into a container of an empty image.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from watcher import labels
from watcher.engine import ContainerCommand

IMAGE = labels.ADDRESS_IMAGE
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/alternatives")  # folders of the engine's host
OPTIONAL = frozenset({"/lib64", "/etc/alternatives"})  # not on each distribution
_PATH = "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_FILE = "/run/watcher"  # names the program that works with this kernel
_UNSERVED = "/run/unserved"  # the rules for when no front listens here
_OWNER = "/run/owner"  # names the last one that listens

# What is neither forwarded nor served is dropped. Debian's iptables leads to one of the two others.
_START = f"""
for program in iptables 'xtables-nft-multi iptables' 'xtables-legacy-multi iptables'; do
    said=$($program -w -t nat -N WATCHER 2>&1) || continue
    $program -w -N WATCHER &&
    $program -w -t nat -A PREROUTING -j WATCHER &&
    $program -w -t nat -A POSTROUTING ! -o lo -j MASQUERADE &&
    $program -w -N WATCHER-IN &&
    $program -w -A FORWARD -j WATCHER &&
    $program -w -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT &&
    $program -w -A INPUT -j WATCHER-IN &&
    $program -w -A INPUT ! -i lo -j DROP &&
    echo "$program" >{_FILE} &&
    exec sleep 2147483647
done
echo "$said"
exit 1
"""
_APPLY = f"""
tries=0
until [ -s {_FILE} ]; do
    tries=$((tries + 1))
    [ $tries -le 200 ] || exit 1
    sleep 0.05
done
read -r program <{_FILE}
printf '%s\\n' "$2" >{_UNSERVED}
printf '%s\\n' "$1" | $program-restore --noflush -w
"""
# The sockets are not kept here: when the watcher ends they are closed, and the kernel forwards again.
_SEND_SOCKETS = """
import os, socket, sys
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
sockets = []
for port in map(int, sys.argv[2:]):
    each = socket.socket()
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    each.bind(("", port))
    each.listen(1024)
    sockets.append(each)
socket.send_fds(control, [b"!"], [each.fileno() for each in sockets])
for each in sockets:
    each.close()
os.dup2(control.fileno(), 0)
os.execv("/bin/cat", ["cat"])  # ends with the connection, and is smaller
"""
_LISTEN = f"""
python=$1 program=$2
shift 2
"$python" -I -S -c 'import socket' || exit 1
echo "$1" >{_OWNER}
(
    "$python" -I -S -c "$program" "$@"
    read -r owner <{_OWNER}
    [ "$owner" = "$1" ] || exit
    read -r program <{_FILE}
    $program-restore --noflush -w <{_UNSERVED}
) >/dev/null 2>&1 </dev/null &
"""
# A connection in another state than ESTABLISHED is ending, or has not been answered.
_DRAIN = """
tries=$(($2 * 4))
[ -r /proc/net/nf_conntrack ] || exec sleep "$2"
while [ $tries -gt 0 ] && grep -qE " ESTABLISHED .* ($1) " /proc/net/nf_conntrack; do
    tries=$((tries - 1))
    sleep 0.25
done
"""


def address_body(endpoints: Mapping[str, Mapping[str, Any]], own: Mapping[str, str]) -> dict[str, Any]:
    """Return the body for an address container on the first of the networks, without its image."""
    network, endpoint = next(iter(endpoints.items()))
    return {
        "Entrypoint": ["/bin/sh", "-c", _START],
        "Cmd": [],
        "Env": [_PATH],
        "User": "0:0",
        "Labels": {**own, "watcher.config": endpoints_digest(endpoints)},
        "HostConfig": {
            "NetworkMode": network,
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN", "NET_RAW"],
            "SecurityOpt": ["no-new-privileges", "label=disable"],
            "ReadonlyRootfs": True,
            "Tmpfs": {"/run": ""},
            "Sysctls": {
                "net.ipv4.ip_forward": "1",
                "net.ipv4.conf.all.send_redirects": "0",
                "net.ipv4.conf.default.send_redirects": "0",
            },
        },
        "NetworkingConfig": {"EndpointsConfig": {network: dict(endpoint)}},
    }


def with_system(
    body: Mapping[str, Any], *, optional: bool, more: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the body with the folders of the host that hold iptables, and `more` (source -> target)."""
    folders = {each: each for each in SYSTEM if optional or each not in OPTIONAL} | dict(more or {})
    mounts = [
        {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}
        for source, target in folders.items()
    ]
    return {**body, "HostConfig": {**body["HostConfig"], "Mounts": mounts}}


def endpoints_digest(endpoints: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a digest of all that an address container is made of."""
    text = json.dumps([endpoints, _START, SYSTEM], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def forward_rules(
    own: Mapping[str, str], target: Mapping[str, str], *, starting: bool, served: Collection[int] = ()
) -> str:
    """Return what iptables-restore reads: forward from the `own` address in each network to the `target`'s.

    With an empty `target` nothing is forwarded. `served` are TCP ports that a front listens on here. A
    `starting` container is possibly not listening yet: that it refuses is dropped, so that the client tries
    again.
    """
    pairs = [(address, target[network]) for network, address in own.items() if network in target]
    nat = [f"-A WATCHER -p tcp --dport {port} -j RETURN" for port in sorted(served)]
    nat += [f"-A WATCHER -d {here} -j DNAT --to-destination {there}" for here, there in pairs]
    inward = [f"-A WATCHER-IN -p tcp --dport {port} -j ACCEPT" for port in sorted(served)]
    refusals = [f"-A WATCHER -s {there} -p tcp --tcp-flags RST RST -j DROP" for _, there in pairs if starting]
    chains = (":WATCHER - [0:0]", ":WATCHER-IN - [0:0]")
    return "\n".join(("*nat", chains[0], *nat, "COMMIT", "*filter", *chains, *refusals, *inward, "COMMIT"))


def apply_command(rules: str, unserved: str) -> ContainerCommand:
    """Return the command that puts `rules` into force, and those `unserved` once no front listens."""
    words = ("/bin/sh", "-c", _APPLY, "sh", rules, unserved)
    return ContainerCommand(words, user="0:0", environment=(_PATH,))


def listen_command(python: str, path: str, ports: Sequence[int]) -> ContainerCommand:
    """Return a command that listens on ports of the container and sends the sockets to the one at `path`."""
    words = ("/bin/sh", "-c", _LISTEN, "sh", python, _SEND_SOCKETS, path, *map(str, ports))
    return ContainerCommand(words, user="0:0", environment=(_PATH,))


def drain_command(addresses: Sequence[str], seconds: float) -> ContainerCommand:
    """Return a command that ends when no connection to these addresses is open, or after some seconds."""
    pattern = "|".join(f"src={address}" for address in addresses)
    words = ("/bin/sh", "-c", _DRAIN, "sh", pattern, str(int(seconds)))
    return ContainerCommand(words, user="0:0", environment=(_PATH,))


def empty_image(platform: str) -> bytes:
    """Return an archive for `docker load` with an image that has no file."""
    layer = bytes(1024)  # the end of a tar archive
    system, _, architecture = platform.partition("/")
    config = {
        "architecture": architecture.partition("/")[0],
        "os": system,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    index = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in (
            ("layer.tar", layer),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(index).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
