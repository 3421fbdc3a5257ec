"""Values of one measurement, as Imspector 16.3 has them, as far as they are used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LASERS = ("Exc_640", "STED_775", "Exc_561")
"""Names of the calibrations of its lasers, in their order."""
UNITS = {"%": 100.0, "mW": 500.0, "µW": 50.0}
"""Greatest power of a laser whose calibration has this unit."""
RAW = 10.0
"""What the greatest power is on the scale of the controller (V)."""

_XY = 1296
"""Scan mode of a plane before 16.3."""


def tree(
    pixels: int = 32,
    channels: Iterable[str] = ("STED 640",),
    units: Iterable[str] = ("%", "%", "%"),
) -> dict[str, Any]:
    """The values of a measurement.

    Parameters
    ----------
    pixels
        Side of the field, of 20 nm each.
    channels
        Names; each is scanned in a line step of its own.
    units
        Of the power of each laser.
    """
    names, units = list(channels), list(units)

    def lasers() -> list[dict[str, Any]]:
        return [
            {
                "active": True,
                "id": f"LAS{number}",
                "power": {
                    "calibrated": 10.0,
                    "raw": raw_of(10.0, unit),
                    "calibration_used": name,
                    "units_used": unit,
                },
            }
            for number, (name, unit) in enumerate(zip(LASERS, units, strict=True))
        ]

    def steps(channel: int) -> list[int]:
        # As of a real one: the last four are never used.
        return [int(step == channel) for step in range(4)] + [1] * 4

    axis = {"psz": 2e-8, "len": 2e-8 * pixels, "res": pixels, "res_used": pixels, "off": 0.0}
    coarse = {"g_off": 1e-3, "off": 0.0, "res": 512, "res_used": 0}
    return {
        "ExpControl": {
            "measurement": {
                "channels": [
                    {
                        "name": name,
                        "dwelltime": 1e-5,
                        "lasers": lasers(),
                        "id": f"channel-{number}",
                        "detsel": {
                            "detector": f"DET{1 + number}",
                            "gain": {"calibrated": 50.0, "calibration_used": "AI PMT 0-1V"},
                        },
                        "gating": {"active": True, "delay": 7.5e-10, "width": 8e-9},
                        "rescue": {
                            "probe_channel": "",
                            "rescue_allowed": True,
                            "rescue_mode": 0,
                            "signal_level": 20.0,
                            "strength": 5.0,
                        },
                        "steps": {"linestep_active": steps(number)},
                    }
                    for number, name in enumerate(names)
                ],
                "line_steps": {
                    "active": True,
                    "repetitions_used": 1,
                    "step_active": [step < len(names) for step in range(8)],
                    "step_duration": [1] * 8,
                },
                "pixel_steps": {
                    "active": False,
                    "step_active": [True] + [False] * 7,
                    "step_duration": [1e-5] + [1e-6] * 7,
                },
            },
            "scan": {
                "range": {
                    **{letter: dict(axis) for letter in "xyz"},
                    **{f"coarse_{letter}": dict(coarse) for letter in "xyz"},
                    "scanmode": "xy",
                }
            },
        },
        "Measurement": {
            "axes": {
                "num_synced": 2,
                "scan_axes": ["ExpControl X", "ExpControl Y", "None", "None"],
            }
        },
        "Pinhole": {"pinhole_size": -1.0, "size_used": 5e-5, "size_used_au": 1},
        "STED_775": {"laser_on": True, "power": 1.25},
    }


def old_tree(pixels: int = 32, detectors: int = 1) -> dict[str, Any]:
    """The same of Imspector 14 to early 16: powers and dwell are those of all detectors.

    Parameters
    ----------
    pixels
        Side of the field, of 20 nm each.
    detectors
        How many of its four are recorded; each in a line step of its own.
    """
    axis = {"psz": 2e-8, "len": 2e-8 * pixels, "res": pixels, "g_off": 0.0, "off": 0.0}
    recorded = [number < detectors for number in range(4)]
    return {
        "ExpControl": {
            "lasers": {
                "power_calibrated": [
                    {"value": {"calibrated": 10.0, "raw": raw_of(10.0, "%")}} for _ in LASERS
                ]
            },
            "gating": {
                "linesteps": {
                    "on": True,
                    "steps_active": [step < detectors for step in range(8)],
                    "step_values": [int(step < detectors) for step in range(8)],
                    "laser_enabled": [True, True, True] + [False] * 5,
                    "chans_enabled": recorded,
                    "chans_on": [[step == number for number in range(4)] for step in range(8)],
                },
                "pulses": {"pulse_chan": {"delay": [7.5e-10] * 4}},
            },
            "rescue": {
                "channels": [{"on": False, "signal_level": 20.0, "strength": 5.0} for _ in recorded]
            },
            "scan": {
                "dwelltime": 1e-5,
                "range": {
                    **{letter: dict(axis) for letter in "xyz"},
                    "offsets": {"coarse": {letter: {"g_off": 1e-3} for letter in "xyz"}},
                    "mode": _XY,
                },
            },
        },
        "Measurement": {"axes": {"num_synced": 2}},
        "Pinhole": {"pinhole_size": 1e-4},
    }


def raw_of(power: float, unit: str) -> float:
    """What a power is on the scale of the controller, by the table of its calibration.

    Examples
    --------
    >>> raw_of(0.0, "%"), raw_of(100.0, "%")
    (0.0, 10.0)
    """
    return float(RAW * (power / UNITS[unit]) ** 0.8)


def power_of(raw: float, unit: str) -> float:
    """What a value on the scale of the controller is as a power.

    Examples
    --------
    >>> round(power_of(raw_of(30.0, "%"), "%"), 9)
    30.0
    """
    return float(UNITS[unit] * (raw / RAW) ** 1.25)
