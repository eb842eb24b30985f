"""`watcher doctor`: measures what the daemon depends on, and says what to do about what it finds."""

from watcher.cli.doctor.examine import examine
from watcher.cli.doctor.findings import Finding, Grade, worst

__all__ = ["Finding", "Grade", "examine", "worst"]
