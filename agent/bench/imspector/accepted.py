"""Values of a tree: found by their paths, and changed, with all that follows from one."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from agent.bench.imspector.scans import follow
from agent.bench.imspector.tree import RAW, power_of, raw_of

_STEPS = 4096
"""Of a laser's controller, where powers are rounded to what it can do."""


def at(tree: Any, path: str) -> Any:
    """What a path has; a list of plain values is one value.

    Raises
    ------
    RuntimeError
        There is no such path.
    """
    found = tree
    for part in filter(None, path.split("/")):
        try:
            if isinstance(found, list):
                found = found[int(part)]
                if not isinstance(found, dict):
                    raise KeyError
            else:
                found = found[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise RuntimeError(f"No parameter '{path}'") from None
    return found


def take(tree: Any, path: str, value: Any, behaviours: Collection[str]) -> None:
    """Take a value, and change what goes with it.

    Parameters
    ----------
    tree
        Of a configuration.
    path, value
        What is set to what.
    behaviours
        `raw`: powers are rounded; `res_used`: a frame has a pixel less than asked for.
    """
    above, _, last = path.rpartition("/")
    group = at(tree, above)
    measurement = tree.get("ExpControl", {}).get("measurement", {})
    follows = "pixel_steps" in measurement
    if last == "dwelltime" and follows:
        return
    if last in ("calibrated", "raw") and "raw" in group:
        _take_power(group, last, value, rounded="raw" in behaviours)
        return
    group[int(last) if isinstance(group, list) else last] = copy.deepcopy(value)
    if last in ("len", "psz") and "res" in group:
        group["res"] = round(group["len"] / group["psz"])
        if "res_used" in group:
            group["res_used"] = group["res"] - ("res_used" in behaviours)
    if last == "pinhole_size" and "size_used" in group and value >= 0:
        group["size_used"] = value
    if follows:
        follow(measurement)


def _take_power(group: dict[str, Any], last: str, value: float, *, rounded: bool) -> None:
    """Calibrated and raw power, which are tied by a table."""
    unit = group.get("units_used") or "%"
    raw = raw_of(value, unit) if last == "calibrated" else value
    if rounded:
        raw = round(raw * _STEPS / RAW) * RAW / _STEPS
        group["calibrated"] = power_of(raw, unit)
    else:
        group["calibrated"] = value if last == "calibrated" else power_of(raw, unit)
    group["raw"] = raw
