"""The report of a run: one HTML page, and one picture of its result."""

from agent.report.page import write_report
from agent.report.picture import save_picture

__all__ = ["save_picture", "write_report"]
