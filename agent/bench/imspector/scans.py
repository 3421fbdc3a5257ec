"""What a scan is by the values of a tree: its frames, its time, the lasers that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def scan_of(values: Mapping[str, Any]) -> tuple[list[str], tuple[int, int], float]:
    """Names of a scan's stacks, their rows × columns, and how long it takes (s)."""
    control = values["ExpControl"]
    axes = control["scan"]["range"]
    rows, columns = (axes[axis].get("res_used") or axes[axis]["res"] for axis in "yx")
    if "measurement" not in control:  # before 16.3
        steps = control["gating"]["linesteps"]
        lines = sum(
            value
            for value, used in zip(steps["step_values"], steps["steps_active"], strict=True)
            if used
        )
        names = [f"ExpControl Ch{1 + n}" for n, on in enumerate(steps["chans_enabled"]) if on]
        return names, (rows, columns), control["scan"]["dwelltime"] * rows * columns * lines
    measurement = control["measurement"]
    steps, channels = measurement["line_steps"], measurement["channels"]
    passes = 0.0
    for step in [step for step, there in enumerate(steps["step_active"]) if there]:
        times = [
            pixel_time(measurement, one)
            for one in channels
            if one["steps"]["linestep_active"][step]
        ]
        passes += max(times, default=0.0) * steps["step_duration"][step]
    if not steps["active"]:
        passes = max(pixel_time(measurement, one) for one in channels)
    seconds = passes * rows * columns * steps["repetitions_used"]
    return [str(channel["name"]) for channel in channels], (rows, columns), seconds


def pixel_time(measurement: Mapping[str, Any], channel: Mapping[str, Any]) -> float:
    """How long the beam is on a pixel each time that it passes (s)."""
    steps = measurement.get("pixel_steps")
    return float(channel["dwelltime"] if steps is None else steps["step_duration"][0])


def follow(measurement: dict[str, Any]) -> None:
    """What channels have as their dwell times follows from other values."""
    lines = measurement["line_steps"]
    for one in measurement["channels"]:
        count = sum(
            many
            for many, used, there in zip(
                lines["step_duration"],
                one["steps"]["linestep_active"],
                lines["step_active"],
                strict=True,
            )
            if used and there
        )
        one["dwelltime"] = pixel_time(measurement, one) * (count if lines["active"] else 1)


def lasers_of(values: Mapping[str, Any], channel: int | None = None) -> list[dict[str, Any]]:
    """Lasers of a channel, or of all: whether each is used, and its power."""
    control = values["ExpControl"]
    if "measurement" not in control:
        used = control["gating"]["linesteps"]["laser_enabled"]
        return [
            {"active": used[number], "power": one["value"]["calibrated"]}
            for number, one in enumerate(control["lasers"]["power_calibrated"])
        ]
    channels = control["measurement"]["channels"]
    return [
        {"active": laser["active"], "power": laser["power"]["calibrated"]}
        for one in (channels if channel is None else [channels[channel]])
        for laser in one["lasers"]
    ]


def pattern(values: Mapping[str, Any], channel: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Counts that tell the powers that were accepted."""
    power = sum(
        one["power"] * one["active"] * 10**number
        for number, one in enumerate(lasers_of(values, channel)[:2])
    )
    rows, columns = np.indices(shape)
    return np.asarray(power + rows % 3 + columns % 2)
