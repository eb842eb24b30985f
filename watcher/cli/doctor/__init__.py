"""`watcher doctor`: check what the daemon depends on, and advise."""

from watcher.cli.doctor.examine import examine_project
from watcher.cli.doctor.findings import Finding, Grade, worst_grade
from watcher.cli.doctor.options import DoctorOptions

__all__ = ["DoctorOptions", "Finding", "Grade", "examine_project", "worst_grade"]
