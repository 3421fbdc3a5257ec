"""One session of a run, from the microscope that it opens to how it ended."""

from agent.record.folder import RunBusy
from agent.session.ending import EXIT_CODES, Result, Status
from agent.session.opening import open_microscope
from agent.session.session import Session
from agent.session.state import Progress

__all__ = ["EXIT_CODES", "Progress", "Result", "RunBusy", "Session", "Status", "open_microscope"]
