"""What tests of several folders share."""

import os
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, so that a commit which passed passes again, and no deadline, which a busy
# machine would miss. HYPOTHESIS_PROFILE=explore looks for new ones; what it finds becomes an @example.
SLOW = [HealthCheck.too_slow]
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=SLOW)
settings.register_profile("explore", max_examples=3000, deadline=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all projects that are compiled, one after the other: the caches are warm but once."""
    return tmp_path_factory.mktemp("e2e") / f"e2e-{uuid.uuid4().hex[:8]}"
