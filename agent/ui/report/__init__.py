"""The report of a run: one HTML page, and one picture of its result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.ui.report.page import write_report
    from agent.ui.report.picture import save_picture

# Drawing a whole report takes long to import; who needs one of its charts only does not wait.
_HOMES = {"save_picture": "agent.ui.report.picture", "write_report": "agent.ui.report.page"}

__all__ = ["save_picture", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
