"""Limits and restart policy: the service's own keys, and those of its `deploy` section."""

from __future__ import annotations

from collections.abc import Callable

from watcher.compose import keys
from watcher.compose.build import read_ulimits
from watcher.compose.field import Field, Section
from watcher.compose.spec import Limits

# The names of compose, and of `deploy`, for the engine's restart policies.
_POLICIES = {
    "no": "no",
    "none": "no",
    "always": "always",
    "any": "always",
    "on-failure": "on-failure",
    "unless-stopped": "unless-stopped",
}


def read_limits(section: Section, deploy: Field | None) -> Limits:
    """The limits. The same one may stand in both places if they agree; raises ConfigError."""
    take = section.take
    limit, reserved = _deployed(deploy) if deploy else ({}, {})
    swap, swappiness, ulimits = take("memswap_limit"), take("mem_swappiness"), take("ulimits")
    kill, score, cpuset = take("oom_kill_disable"), take("oom_score_adj"), take("cpuset")
    shares = take("cpu_shares")
    return Limits(
        memory=_either(take("mem_limit"), limit.get("memory"), Field.size) or 0,
        memory_reservation=_either(take("mem_reservation"), reserved.get("memory"), Field.size) or 0,
        memory_swap=swap.size(least=-1) if swap else 0,
        memory_swappiness=swappiness.integer(-1, 100) if swappiness else None,
        nano_cpus=_either(take("cpus"), limit.get("cpus"), _nano) or 0,
        cpu_shares=shares.integer(0) if shares else 0,
        cpu_period=_microseconds(take("cpu_period")),
        cpu_quota=_microseconds(take("cpu_quota")),
        cpu_rt_period=_microseconds(take("cpu_rt_period")),
        cpu_rt_runtime=_microseconds(take("cpu_rt_runtime")),
        cpuset=cpuset.text() if cpuset else "",
        pids=_either(take("pids_limit"), limit.get("pids"), lambda field: field.integer(-1)),
        oom_kill_disable=kill.boolean() if kill else False,
        oom_score_adj=score.integer(-1000, 1000) if score else 0,
        ulimits=read_ulimits(ulimits) if ulimits else {},
    )


def read_restart(restart: Field | None, deploy: Field | None) -> tuple[str, int] | None:
    """(policy of the engine, most tries); that of `deploy` counts more, as with docker compose."""
    if deploy and (policy := Section(deploy).take("restart_policy")):
        section = Section(policy)
        condition, attempts = section.take("condition"), section.take("max_attempts")
        name = condition.choice("none", "on-failure", "any") if condition else "any"
        return _POLICIES[name], attempts.integer(0) if attempts else 0
    if restart is None:
        return None
    # YAML 1.2 has no word for `no`; a file that quotes nothing may still mean it.
    name, colon, tries = ("no" if restart.value is False else restart.text()).partition(":")
    if name not in ("no", "always", "on-failure", "unless-stopped") or (colon and name != "on-failure"):
        raise restart.error("must be no, always, on-failure[:tries] or unless-stopped")
    return _POLICIES[name], Field(restart.path, tries).integer(0) if colon else 0


def _either(own: Field | None, deployed: Field | None, read: Callable[[Field], int]) -> int | None:
    values = [read(field) for field in (own, deployed) if field]
    if own and deployed and values[0] != values[1]:
        raise own.error(f"differs from {deployed.path}")
    return values[0] if values else None


def _nano(field: Field) -> int:
    return round(field.number() * 1e9)


def _microseconds(field: Field | None) -> int:
    return field.integer() if field else 0


def _deployed(deploy: Field) -> tuple[dict[str, Field], dict[str, Field]]:
    """The limits and the reservations of `deploy.resources`."""
    section = Section(deploy)
    for _ in section.drop(keys.DEPLOY_IGNORED):
        pass
    if (replicas := section.take("replicas")) and replicas.integer(0) != 1:
        raise replicas.error("must be 1: one container of a service is kept")
    if policy := section.take("restart_policy"):
        inner = Section(policy)
        for key in ("condition", "max_attempts", "delay", "window"):  # the last two are for swarm
            inner.take(key)
        inner.end("a restart policy")
    resources = section.take("resources")
    section.end("a deploy section")
    if resources is None:
        return {}, {}
    both = Section(resources)
    limits, reservations = both.take("limits"), both.take("reservations")
    both.end("a resources section")
    return _taken(limits, ("memory", "cpus", "pids")), _taken(reservations, ("memory", "cpus"))


def _taken(field: Field | None, known: tuple[str, ...]) -> dict[str, Field]:
    if field is None:
        return {}
    section = Section(field)
    found = {key: given for key in known if (given := section.take(key))}
    section.end("limits and reservations")
    return found
