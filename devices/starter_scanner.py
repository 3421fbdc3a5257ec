"""A scanner among the cameras: which of its properties say how long a frame takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from devices.dwell import HERTZ, SECONDS, dwell_s
from devices.inventory import DeviceInfo, PropertyInfo
from devices.values import number

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_DWELL = re.compile(r"pixel[ _-]?(rate|clock|frequency|time)|dwell|sample[ _-]?rate", re.IGNORECASE)
_LINES = re.compile("resolution|lines|pixels|size", re.IGNORECASE)
_PASSES = re.compile("line[ _-]?(accumulation|average|averaging|repetition)", re.IGNORECASE)
_SAME = 0.01
"""Relative difference between an exposure time and what it follows from."""
_UNIT = re.compile(rf"(?<![a-z])({'|'.join(sorted((*HERTZ, *SECONDS), key=len, reverse=True))})\b")


def scanner(core: UniMMCore, camera: DeviceInfo | None) -> Mapping[str, PropertyInfo]:
    """Properties of a camera without an exposure time, by the key of `exposure` that they are.

    Parameters
    ----------
    core
        With the microscope's devices loaded.
    camera
        The detector; None where there is none, or it is open which.

    Returns
    -------
    Mapping[str, PropertyInfo]
        `dwell_time`; `resolution` where a property is as large as a frame, `line_accumulations`
        where the exposure time follows from a property of that name. Empty where the camera has
        an exposure time of its own, or no property looks like a dwell time.
    """
    if camera is None:
        return {}
    dwell = next((p for p in _that_can_be_set(camera) if _DWELL.search(p.name)), None)
    if dwell is None or dwell.value is None or not _is_dwell_time(dwell):
        return {}
    found = {"dwell_time": dwell}
    if not core.getCameraDevice():
        core.setCameraDevice(camera.label)  # the one whose frames are asked about
    size = (core.getImageWidth(), core.getImageHeight())
    if (exposure_s := core.getExposure(camera.label) * 1e-3) > 0:
        lines = next((p for p in _that_can_be_set(camera) if _PASSES.search(p.name)), None)
        passes = None if lines is None else number(lines.value)
        scan_s = dwell_s(dwell.value, _unit(dwell)) * size[0] * size[1] * (passes or 1)
        if not math.isclose(exposure_s, scan_s, rel_tol=_SAME):
            return {}
        return found if lines is None else {**found, "line_accumulations": lines}
    for prop in _that_can_be_set(camera):
        side = number(prop.value)
        if _LINES.search(prop.name) and side is not None and size == (side, side):
            return {**found, "resolution": prop}
    return found


def setting(device: str, key: str, prop: PropertyInfo) -> Iterator[str]:
    """Lines of YAML that make a property a setting, at the value that it has."""
    yield f"    {key}:"
    yield f"      device: {_quoted(device)}"
    yield f"      property: {_quoted(prop.name)}"
    choices: tuple[object, ...] = prop.allowed
    if key == "resolution" and not choices:
        choices = (prop.value,)
    if key == "line_accumulations":
        yield "      kind: integer"
    elif key == "dwell_time":
        yield f"      unit: {_unit(prop)}  # check: of the dwell time, or of the rate"
    if choices:
        yield "      kind: choice"
        yield f"      choices: [{', '.join(map(_quoted, choices))}]"
    else:
        assert prop.limits is not None
        as_is = int if key == "line_accumulations" else float
        yield f"      range: [{as_is(prop.limits[0])!r}, {as_is(prop.limits[1])!r}]"
    yield f"      start: {_quoted(prop.value)}  # check: what a run starts from"


def _that_can_be_set(camera: DeviceInfo) -> Iterator[PropertyInfo]:
    for prop in camera.properties:
        if not (prop.read_only or prop.before_loading) and prop.value is not None:
            yield prop


def _is_dwell_time(prop: PropertyInfo) -> bool:
    """Whether each value that a property can have is one."""
    values = prop.allowed or prop.limits or ()
    try:
        return bool(values) and all(dwell_s(value, _unit(prop)) >= 0 for value in values)
    except ValueError:
        return False


def _unit(prop: PropertyInfo) -> str:
    """The unit in its name, or the one that is likely."""
    if unit := _UNIT.search(re.sub("(?<=[a-z])(?=[A-Zµ])|[-_ ]", " ", prop.name)):
        return unit[1]
    rate = re.search("rate|clock|frequency", prop.name, re.IGNORECASE)
    return "Hz" if rate else "µs"


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
