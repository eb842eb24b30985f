"""Read `pull_policy`: when to pull the image of a service without a build section."""

from __future__ import annotations

from watcher.compose.field import Field
from watcher.compose.units import UnitError, parse_duration

_DAY = 86400.0
_PLAIN = {"": "", "always": "always", "never": "never", "missing": "missing", "build": "build"}
_REFRESH = {"daily": _DAY, "weekly": 7 * _DAY}
_RULE = "must be always, never, missing, build, refresh, daily, weekly or every_<duration>"


def read_pull_policy(policy: Field | None, refresh_after: Field | None) -> tuple[str, float]:
    """Return the policy, and the seconds after which `refresh` pulls again; raise ConfigError."""
    after = refresh_after.duration() if refresh_after else 0.0
    text = policy.text() if policy else ""
    if policy is None or text in _PLAIN:
        return _PLAIN[text], 0.0
    if text == "if_not_present":
        return "missing", 0.0
    if text == "refresh":
        return text, after
    if text in _REFRESH:
        return "refresh", _REFRESH[text]
    if not text.startswith("every_"):
        raise policy.error(_RULE)
    try:
        return "refresh", parse_duration(text.removeprefix("every_"))
    except UnitError as error:
        raise policy.error(f"after every_, {error}") from None
