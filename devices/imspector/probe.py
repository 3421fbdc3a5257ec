"""What a system answers, without any light: a report that a lab can send in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from devices.imspector.connection import Imspector
from devices.imspector.layouts import Layout
from devices.imspector.values import same

_PATHS = {field.name for field in fields(Layout)} - {"versions", "tell", "groups"}
_ONLY_READ = {
    "lasers",
    "channels",
    "recorded",
    "lines_on",
    "steps_active",
    "line_steps",
    "lines_detectors",
    "repetitions",
    "pixel_steps",
    "pixel_steps_on",
    "pixels_used",
    "scan_mode",
    "scan_axes",
    "gain_calibration",
    "rescue",
    "pinhole_used",
    "coarse",
}
"""What the driver never sets, and what would move the stage."""
_MORE = (
    "ExpControl/gating",
    "ExpControl/measurement/lasers",
    "ExpControl/rescue",
    "ExpControl/scan/detsel",
    "ExpControl/scan/range/external_scan",
    "ExpControl/scan/range/fast_scan",
    "Measurement/axes",
    "Pinhole",
    "easyCommander/meas_config",
)
"""What may hold what is not mapped, or change what a scan is; only read, where it is there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found at a path.

    Parameters
    ----------
    path
        Which.
    value
        As it was read; None where it could not be.
    limits, settable
        As Imspector says.
    again
        As it was read after it was set to what it had; None where it was not set.
    error
        What went wrong; empty if nothing did.
    """

    path: str
    value: Any = None
    limits: tuple[float, float] | None = None
    settable: bool | None = None
    again: Any = None
    error: str = ""

    @property
    def differs(self) -> bool:
        """It was set to what it had, and has something else."""
        return self.again is not None and not same(self.again, self.value)


def probe(link: Imspector, step: Callable[[str], object] = str) -> Iterator[Answer]:
    """Read every path that is known; set each to the value it has, and read it back.

    The scan is stopped, and stays so: no light falls on the sample. The stage is not moved.

    Parameters
    ----------
    link
        The connection.
    step
        Told each path before it is asked for.

    Raises
    ------
    RuntimeError
        A scan is running and does not stop.
    """
    link.stop()
    for name, path in mapped(link):
        step(path)
        yield _answer(link, path, only_read=name in _ONLY_READ)


def mapped(link: Imspector) -> Iterator[tuple[str, str]]:
    """Names and paths of all values that the driver uses, for every channel, laser and axis."""
    layout, values = link.layout, link.values
    every = layout.channels or layout.recorded
    found = link.find(every) if every is not None else None
    channels = len(found) if isinstance(found, list) else 1
    lasers = len(values.get(layout.lasers))
    for name in sorted(_PATHS):
        template = getattr(layout, name)
        if template is None:
            continue
        parts = template.split("/")
        axes = "xyz" if any(part in ("A", "coarse_A") for part in parts) else "x"
        for channel in range(channels if "N" in parts else 1):
            for laser in range(lasers if "M" in parts else 1):
                for axis in axes:
                    yield name, layout.at(template, channel=channel, laser=laser, axis=axis)


def _answer(link: Imspector, path: str, *, only_read: bool) -> Answer:
    values = link.values
    try:
        value = values.get(path)
    except RuntimeError as error:
        return Answer(path, error=str(error))
    found = Answer(path, value)
    try:
        found = Answer(path, value, values.limits(path), values.settable(path))
        if only_read:
            return found
        values.set(path, value)
        return Answer(path, value, found.limits, found.settable, values.get(path))
    except RuntimeError as error:
        return Answer(path, value, found.limits, found.settable, error=str(error))


def report(link: Imspector, answers: list[Answer], version: str, drivers: Any) -> dict[str, Any]:
    """All of it, as data."""
    return {
        "imspector": version,
        "paths": link.layout.versions,
        "way": link.values.way,
        "not_mapped": link.layout.not_mapped,
        "devices": drivers,
        "scanning": link.says(),
        "more": {path: found for path in _MORE if (found := link.find(path)) is not None},
        "answers": [asdict(answer) | {"differs": answer.differs} for answer in answers],
    }
