"""What a client may ask the double of the server for, and what they both call it."""

from __future__ import annotations

BEGIN, END = "beg_measurement", "end_measurement"
"""What a client is told, by the names of specpy's signals."""
CALLS = frozenset(
    {
        "get",
        "put",
        "mode",
        "traits",
        "state",
        "version",
        "drivers",
        "names",
        "active_measurement",
        "activate_measurement",
        "configurations",
        "active_configuration",
        "activate",
        "stacks",
        "stack",
        "start",
        "start_active",
        "result",
        "run",
        "pause",
        "lock",
        "unlock",
        "listen",
        "deafen",
    }
)
"""What a client may ask for."""
MEASUREMENT, ANOTHER = "meas01", "meas02"
"""Names of measurements; the first is driven, and the other one is empty."""
STATUS = "Measurement/timing/progress"
DRIVERS = {"ExpControl": "AIFpgaV3 Driver", "STED_775": "MPB Laser"}
"""Of its devices."""
