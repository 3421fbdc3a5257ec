"""What real systems do, each of which the double of Imspector's server can do, too."""

from __future__ import annotations

from collections.abc import Mapping

BEHAVIOURS: Mapping[str, str] = {
    "greyed": "a value is ignored the first time it is set",
    "late": "a configuration becomes active a little later",
    "untold": "neither begin nor end of a scan is told",
    "bad_cast": "`run`, and a start that has a result, raise at once, while it scans",
    "dropped": "one of several settings in quick succession is lost, without an error",
    "bad_lines": "the first two lines of a frame are wrong",
    "raw": "a power is rounded to what the table of its calibration has",
    "res_used": "a frame has one pixel less than was asked for",
    "growing": "each scan leaves its stacks behind, of the same names",
    "disconnected": "the connection is lost, once: all that belonged to it is dead",
    "hung": "a call hangs, once, and does its work when it comes back",
    "stopped": "a person presses Stop in the middle of a scan, once",
    "stopped_late": "a person presses Stop in the last tenth of a scan, once",
    "changed": "a person changes a power in the middle of a scan, once",
    "other": "a person activates another measurement in the middle of a scan, once",
    "reconfigured": "a person activates another configuration in the middle of a scan, once",
    "closed": "a person closes the measurement, and opens it again a little later",
    "interlocked": "the depletion laser's head does not emit, and takes its power",
    "runs_on": "a scan does not end by itself, once",
    "late_start": "the answer to a start is lost, once, and the scan begins later",
    "started": "a person presses Start while nothing scans, once",
}
"""What real systems do; a value that is unknown raises, a whole dictionary is refused, and
`num_synced` returns to 2 with each activation, all of it always."""
ONCE = (
    "disconnected",
    "hung",
    "stopped",
    "stopped_late",
    "changed",
    "other",
    "reconfigured",
    "closed",
    "runs_on",
    "late_start",
    "started",
)
"""What happens once, behind the first scans."""
