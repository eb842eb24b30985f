"""The API against its own OpenAPI document, with requests that schemathesis makes up."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from prometheus_client import CollectorRegistry

from tests.unit.observers.conftest import told
from tests.unit.observers.story import Story
from tests.unit.web.support import Desk
from watcher.settings import HttpSettings
from watcher.web import create_app

APP = create_app(
    told(Story().start().cycle(1).failing(2).pruned()), CollectorRegistry(), Desk(), HttpSettings()
)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, headers={"host": "localhost"})


@SCHEMA.exclude(path="/api/events").parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case: schemathesis.Case[Any]) -> None:
    if case.path == "/api/wait":
        case.query = {**(case.query or {}), "timeout": 0}
    case.call_and_validate(headers={"host": "localhost"})
