"""What the doctor says of the disk."""

from __future__ import annotations

import json
import tomllib

from tests.facts import missing
from watcher.cli.doctor import Grade
from watcher.cli.doctor.disk import BUILDKITD_RULE, ENGINE_RULE, describe_disk, describe_steps
from watcher.observers.events import DiskMeasured
from watcher.prune import NotMeasured

HELD = DiskMeasured(images=31_000_000, steps=2000, go_cache=12_000_000_000, module_cache=96_000, others=5)


def test_what_the_project_holds_stands_beside_what_all_others_hold() -> None:
    found = describe_disk(HELD, 20_000_000_000, ())
    assert found.grade is Grade.GOOD
    own, _, everything_else = found.text.partition(";")
    assert missing(own, "this project", "image layers", "31.0 MB", "build steps", "2.00 kB") == []
    assert missing(own, "Go build caches", "12.0 GB", "20.0 GB", "prune.go_cache_max") == []
    assert missing(own, "prune.go_cache_max", "Go modules", "96.0 kB") == []
    assert missing(everything_else, "5 B") == []


def test_a_go_cache_over_its_bound_is_worth_advice() -> None:
    assert describe_disk(HELD, 10_000_000_000, ()).grade is Grade.ADVICE
    found = describe_disk(HELD, 0, ())
    assert found.grade is Grade.GOOD
    assert "without a bound" in found.text


def test_caches_that_are_not_known_are_not_called_empty() -> None:
    held = DiskMeasured(images=0, steps=0, go_cache=None, module_cache=None, others=5)
    found = describe_disk(held, 10, NotMeasured("no du"))
    assert "Go build caches" not in found.text
    assert found.text.endswith("its Go caches are not known: no du")


def test_the_engine_is_given_a_rule_where_it_has_none() -> None:
    found = describe_steps("they stay", None, standalone=False)
    assert found.grade is Grade.ADVICE
    assert json.dumps(ENGINE_RULE) in found.advice
    rule = ENGINE_RULE["builder"]["gc"]["policy"]
    assert rule == [{"keepStorage": "20GB", "filter": ["type=regular"]}]  # no cache mounts


def test_a_buildkitd_is_given_a_rule_of_its_own() -> None:
    found = describe_steps("they stay", None, standalone=True)
    assert BUILDKITD_RULE in found.advice
    assert tomllib.loads(BUILDKITD_RULE)["worker"]["containerd"]["gc"] is True


def test_a_rule_that_is_there_is_told_without_advice() -> None:
    found = describe_steps("they stay", 20_000_000_000, standalone=False)
    assert (found.grade, found.advice) == (Grade.GOOD, "")
    assert found.text == "they stay"
