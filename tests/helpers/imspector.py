"""A microscope through Imspector, and what a test wants to know of its frames."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.record.ledger import Ledger
from agent.record.reader import open_run
from agent.run import Result
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from devices.shot import Shot
from tests.helpers.runs import mean_score, run_session

Serve = Callable[..., Any]
"""Sets a server up."""


def laser(label: str, name: str, watts: float, start: float) -> dict[str, Any]:
    bound = {"device": label, "property": "Power", "unit": "%", "watts_per_unit": watts}
    return {**bound, "range": [0, 100], "start": start, "safe": 0, "laser": name}


def scanned(prop: str, least: float, most: float, start: float, **more: Any) -> dict[str, Any]:
    return {"device": "Scan", "property": prop, "range": [least, most], "start": start, **more}


SCOPE: dict[str, Any] = {
    "imspector": {"confirm_s": 0.6, "reply_s": 0.5, "scan_s": 1.0},
    "python_devices": {},
    "shutter": "Beam",
    "pixel_size_nm": 20,
    "exposure": {"dwell_time": "dwell", "line_accumulations": "lines"},
    "settings": {
        "excitation": laser("Exc_640", "excitation", 1e-6, 20),
        "depletion": laser("STED_775", "depletion", 1e-3, 30),
        "dwell": scanned("DwellTime_us", 1, 100, 5, unit="µs"),
        "lines": scanned("LineAccumulations", 1, 8, 1, kind="integer"),
    },
    "modes": {"sted": {}, "confocal": {"depletion": 0}},
}


def scope(**changes: Any) -> MicroscopeConfig:
    return MicroscopeConfig.model_validate({**SCOPE, **changes})


def take(microscope: Microscope, shot: Shot) -> Any:
    """The frame of a shot."""
    frames: list[Any] = []

    def keep(image: Any, *_: Any) -> None:
        frames.append(image.copy())

    microscope.core.mda.events.frameReady.connect(keep)
    try:
        microscope.core.mda.run(iter([microscope.event(shot, 0)]))
    finally:
        microscope.core.mda.events.frameReady.disconnect(keep)
    return frames[0]


def check_rows(run: Path) -> int:
    """Frames of a run, each of whose recorded powers are those that its pixels tell."""
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data for entry in ledger.entries("frame")]
    stored = open_run(run)
    for number, row in enumerate(rows):
        has = row["settings"]
        told = has["excitation"] + 10 * has["depletion"]
        assert abs(stored.frame(number)[6, 0] - told) <= 1
    return len(rows)


def live(tmp_path: Path, frames: int = 6, **microscope: Any) -> tuple[Result, Path]:
    """A run on it, in this process."""
    return run_session(
        tmp_path,
        session={"scorer": mean_score},
        plan="live",
        live={"frames": frames},
        faults={"retries": 2},
        microscope={**SCOPE, **microscope},
    )
