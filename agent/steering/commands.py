"""Commands to the running session: pause, resume, stop, and which frames are filtered.

    pause: true
    resume: true
    stop: true            finish the frame under way, then end safely
    filter: newest        or all, or none: which frames are filtered from now on

They stand in the control file like instructions to a plan, one a line, and are obeyed within a tick
of the session, even while the plan computes. Each leaves an entry in the ledger: who gave it, when,
and how far the file was read for it. Commands written while no session was running are not obeyed:
an old `stop` must not end a run that was just resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config.reading import UserError
from agent.steering.control_file import COMMANDS, FILTERING
from devices.refusals import refused, shortened


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
        It is none that can be obeyed: names key, value and what is accepted.
    """
    if len(told) != 1:
        listed = shortened(", ".join(f"`{key}`" for key in told), quoted=False)
        raise UserError(f"{listed}: accepted: one of {', '.join(COMMANDS)} a line")
    ((key, value),) = told.items()
    if key != "filter":
        if value is not True:
            raise UserError(f"`{key}`: {refused(value, 'true')}")
    elif not isinstance(value, str) or value not in FILTERING:
        raise UserError(f"`filter`: {refused(value, FILTERING)}")
    elif not filters:
        raise UserError(f"`filter`: {shortened(value)}: this run has no filter in its config")
    return key, value
