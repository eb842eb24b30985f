"""The outcomes of a wait, for the daemon and for clients that import no models."""

WORST_FIRST = ("failed", "unknown", "paused", "timeout", "live")
