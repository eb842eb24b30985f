from __future__ import annotations

import pytest

from watcher.dockerfile.frontend import Abilities, frontend_abilities


@pytest.mark.parametrize(
    ("syntax", "mounts", "network"),
    [
        (None, True, None),
        ("docker/dockerfile:1", True, True),
        ("docker/dockerfile", True, True),
        ("docker.io/docker/dockerfile:1.7-labs", True, True),
        ("docker/dockerfile-upstream:master", True, True),
        ("docker/dockerfile:1.2", True, False),
        ("docker/dockerfile:1.2.1@sha256:aa", True, False),
        ("docker/dockerfile:1.1", False, False),
        ("docker/dockerfile:1.1-experimental", True, False),
        ("docker/dockerfile:1.10", True, True),
        ("example.com/docker/dockerfile:1", False, False),
        ("mine/frontend:2", False, False),
    ],
)
def test_a_frontend_is_known_by_its_name(syntax, mounts, network):
    assert frontend_abilities(syntax) == Abilities(mounts, network)
