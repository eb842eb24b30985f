"""Refuse what two managed services of a project cannot both have: a host port, the name of an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

from watcher.builder import Recipe, full_reference
from watcher.daemon.service_config import ServiceConfig
from watcher.deploy import fixed_addresses
from watcher.dockerfile import Runs
from watcher.errors import ConfigError, raise_all


def check_conflicts(configs: Iterable[ServiceConfig]) -> None:
    """Raise ConfigError for services that would take from each other."""
    problems: list[ConfigError] = []
    for first, second in combinations(configs, 2):
        problems += _compare_ports(first, second)
        problems += _compare_images(first, second)
    raise_all(problems)


def _compare_ports(first: ServiceConfig, second: ServiceConfig) -> list[ConfigError]:
    taken = list(fixed_addresses(first.spec))
    rule = (
        f"services.{first.spec.name} publishes the same port of this machine: give one of the two another one"
    )
    return [
        ConfigError(f"services.{second.spec.name}.ports", str(address), rule)
        for address in fixed_addresses(second.spec)
        if any(address.overlaps(other) for other in taken)
    ]


def _compare_images(first: ServiceConfig, second: ServiceConfig) -> list[ConfigError]:
    """Two services may share an image if the same build makes it."""
    ours, theirs = first.recipe, second.recipe
    if full_reference(ours.image) != full_reference(theirs.image) or _build_of(ours) == _build_of(theirs):
        return []
    rule = f"services.{first.spec.name} builds another image of this name: give one of the two another one"
    return [ConfigError(f"services.{second.spec.name}.image", theirs.image, rule)]


def _build_of(recipe: Recipe) -> Recipe:
    """Return what decides the image's content: neither the service nor what its container runs does."""
    return replace(recipe, service="", owner="", runs=Runs())
