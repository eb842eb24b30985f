"""The platform that builds and the platform that is built for, as a Dockerfile's variables have them.

Names are brought into one form as containerd/platforms does (database.go, `normalizeOS`, `normalizeArch`),
because BuildKit does so before it fills TARGETARCH and its kin.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_VARIANTS = {  # (architecture, variant as given) -> variant
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
_ARM = {"armhf": "v7", "armel": "v6"}
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})


@dataclass(frozen=True, slots=True)
class Platforms:
    """`build` is the platform of BuildKit's worker, `target` the one of the image: `os/arch[/variant]`."""

    build: str
    target: str

    @classmethod
    def of(cls, build: str, target: str) -> Platforms:
        """Return both in normal form; an empty `target` is the building platform."""
        normal = normalized(build, build)
        return cls(normal, normalized(target, normal) if target else normal)

    @classmethod
    def of_this_machine(cls, target: str) -> Platforms:
        """Return the platforms without a BuildKit to ask: Linux on this processor."""
        return cls.of(f"linux/{platform.machine().lower() or 'amd64'}", target)

    def values(self) -> dict[str, str]:
        """Return the variables that BuildKit sets: TARGETPLATFORM, TARGETOS, …, and the same of BUILD."""
        found: dict[str, str] = {}
        for kind, text in (("BUILD", self.build), ("TARGET", self.target)):
            system, _, rest = text.partition("/")
            arch, _, variant = rest.partition("/")
            found |= {
                f"{kind}PLATFORM": text,
                f"{kind}OS": system,
                f"{kind}ARCH": arch,
                f"{kind}VARIANT": variant,
            }
        return found


def normalized(text: str, default: str) -> str:
    """Return `text` in normal form; missing parts (`arm64`, `linux`) are those of `default`."""
    system, _, rest = text.strip().lower().partition("/")
    if not rest:
        if system in _SYSTEMS:
            rest = default.partition("/")[2]
        else:
            system, rest = default.partition("/")[0], system
    arch, _, variant = rest.partition("/")
    if arch in _ARM:
        arch, variant = "arm", _ARM[arch]
    arch = _ARCHITECTURES.get(arch, arch)
    variant = _VARIANTS.get((arch, variant), variant)
    return "/".join(part for part in ("darwin" if system == "macos" else system, arch, variant) if part)
