"""What the doctor is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class DoctorOptions:
    """What the doctor was asked for. `written` are the suggested texts of this run by their paths.

    `quick`: nothing that takes long. `measure`: build variants. `write`: write files; `patch`: print a patch.
    """

    quick: bool = False
    measure: bool = False
    write: bool = False
    patch: bool = False
    written: dict[Path, str] = field(default_factory=dict)
