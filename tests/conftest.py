"""What tests of several folders share."""

import uuid
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all projects that are compiled, one after the other: the caches are warm but once."""
    return tmp_path_factory.mktemp("e2e") / f"e2e-{uuid.uuid4().hex[:8]}"
