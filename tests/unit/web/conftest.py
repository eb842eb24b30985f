from __future__ import annotations

import pytest

from tests.unit.observers.story import Story


@pytest.fixture
def story() -> Story:
    return Story().start()
