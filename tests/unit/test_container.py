"""What a service's container takes of the host beside the ports that a front serves."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from watcher import compose
from watcher.container import ComposeContainer
from watcher.engine import Engine
from watcher.observe import Fanout


@pytest.mark.parametrize(
    ("ports", "direct", "exclusive"),
    [
        ("'9000:9000'", (), False),
        ("'9000:9000', '9001:9001/tcp'", (), False),
        ("'9000:9000', '5353:53/udp'", ("5353/udp",), True),
        ("'9000:9000', '53/udp'", ("53/udp",), False),
        ("'7000:7000/sctp', '5353:53/udp'", ("7000/sctp", "5353/udp"), True),
    ],
)
def test_a_port_that_no_front_serves_has_one_user(
    tmp_path: Path, ports: str, direct: tuple[str, ...], exclusive: bool
) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"services: {{app: {{build: ., ports: [{ports}]}}}}\n")
    project = compose.load(file, service=None, env={})
    container = ComposeContainer(project, project.service, "id", cast(Engine, None), Fanout())
    assert (container.direct, container.exclusive) == (direct, exclusive)
