"""How a session ends: its status, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.record.anchor import FolderGone
from agent.record.dose import BudgetReached
from agent.run.pause import Stopped
from devices.errors import DeviceFault

Status = Literal["completed", "stopped", "interrupted", "failed"]
EXIT_CODES: dict[Status, int] = {"completed": 0, "stopped": 3, "interrupted": 130, "failed": 1}
LET_GO_S = 2.0
"""How long a thread that hangs in a driver is waited for (s)."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a session ended."""

    folder: Path
    status: Status
    reason: str
    safe: bool
    thread_left: bool
    """A thread still hangs in a driver: end the process without waiting for it."""


def status_of(
    reason: str, cause: BaseException | None, finished: bool, done: int, planned: int | None
) -> Status:
    """How a session ended, from why it stopped waiting and what its thread ended with."""
    if isinstance(cause, BudgetReached | Stopped):
        return "stopped"
    if cause is not None:
        return "failed"
    if reason == "finished" and finished:
        return "completed" if planned in (None, done) else "failed"
    return "failed" if reason == "failed" else "interrupted"


def why_of(reason: str, cause: BaseException | None) -> str:
    """The same in words."""
    if cause is None:
        return reason
    if isinstance(cause, DeviceFault | BudgetReached | Stopped | FolderGone):
        return str(cause)
    return f"{type(cause).__name__}: {cause}"
