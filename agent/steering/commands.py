"""Commands to the session at work: pause, resume, stop, and what the filter does.

    pause: true
    resume: true
    stop: true            finish the frame under way, then end safely
    filter: newest        or all, or none: which frames are filtered from now on

They stand in the control file like what a plan is told, one a line, and are heeded within a tick of
the session, whatever the plan is doing. Each leaves an entry in the ledger, with who gave it
and when, and how far the file was read for it. What was written while no session was at work is
not heeded: nobody wants an old `stop` to end the run that they have just resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config.reading import UserError
from agent.steering.control_file import COMMANDS, FILTERING
from agent.steering.instructions import short


def check_command(told: Mapping[str, Any], *, filters: bool) -> tuple[str, Any]:
    """The command that a line is, and its value.

    Parameters
    ----------
    told
        A line without its stamp.
    filters
        Whether the run has a filter.

    Raises
    ------
    UserError
        It is none that can be heeded: names key, value and what is accepted.
    """
    if len(told) != 1:
        listed = ", ".join(f"`{key}`" for key in told)
        raise UserError(
            f"{short(listed, quoted=False)}: accepted: one of {', '.join(COMMANDS)} a line"
        )
    ((key, value),) = told.items()
    if key != "filter":
        if value is not True:
            raise UserError(f"`{key}`: {short(value)} is not accepted; accepted: true")
    elif not isinstance(value, str) or value not in FILTERING:
        known = ", ".join(FILTERING)
        raise UserError(f"`filter`: {short(value)} is not accepted; accepted: {known}")
    elif not filters:
        raise UserError(f"`filter`: {short(value)}: this run has no filter in its config")
    return key, value
