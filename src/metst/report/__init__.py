"""Stage 7: a report that a person can read, keep and pass on."""

from metst.report.html import write_report

__all__ = ["write_report"]
