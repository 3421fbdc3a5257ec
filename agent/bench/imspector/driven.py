"""A live view on the double: short frames whose pixels tell the powers that were accepted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agent.bench.imspector.client import specpy_of
from agent.bench.imspector.server import FakeImspector
from agent.config import load
from agent.record.folder import new_folder
from agent.record.ledger import Ledger
from agent.record.reader import open_run
from agent.run import Progress, Result, Session

_ROW = 6
"""Of a frame: below the lines that may be bad, above the middle of a frame that was stopped."""


@dataclass(frozen=True, slots=True)
class Driven:
    """A run.

    Parameters
    ----------
    result
        How it ended.
    seconds
        What it took.
    frames
        How many are recorded.
    untrue
        Of those, how many have other powers in their row than their pixels tell.
    """

    result: Result
    seconds: float
    frames: int
    untrue: int


def drive(
    server: FakeImspector,
    folder: Path,
    frames: int,
    *,
    dwell_us: float = 5.0,
    watch: Callable[[Progress], None] = lambda progress: None,
    imspector: Mapping[str, Any] | None = None,
) -> Driven:
    """Take frames through the double, which must be that of no other run."""
    folder.mkdir()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(_config(frames, dwell_us, imspector or {})), encoding="utf-8")
    config = load(file)
    run = new_folder(config, folder, folder / "run")
    began = time.monotonic()
    with specpy_of(server):
        result = Session(config, file, run).run(watch)
    seconds = time.monotonic() - began
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data["settings"] for entry in ledger.entries("frame")]
    stored = open_run(run)
    untrue = 0
    for number, has in enumerate(rows):
        told = has["excitation"] + 10 * has["depletion"]
        untrue += abs(float(stored.frame(number)[_ROW, 0]) - told) > 1
    return Driven(result, seconds, len(rows), untrue)


def _config(frames: int, dwell_us: float, imspector: Mapping[str, Any]) -> dict[str, Any]:
    def laser(label: str, name: str, watts: float, start: float) -> dict[str, Any]:
        bound = {"device": label, "property": "Power", "unit": "%", "watts_per_unit": watts}
        return {**bound, "range": [0, 100], "start": start, "safe": 0, "laser": name}

    return {
        "plan": "live",
        "live": {"frames": frames},
        "analysis": {"score": False},
        "faults": {"retries": 2},
        "microscope": {
            "imspector": dict(imspector),
            "shutter": "Beam",
            "pixel_size_nm": 20,
            "exposure": {"dwell_time": "dwell"},
            "settings": {
                "excitation": laser("Exc_640", "excitation", 1e-6, 20),
                "depletion": laser("STED_775", "depletion", 1e-3, 30),
                "dwell": {
                    "device": "Scan",
                    "property": "DwellTime_us",
                    "unit": "µs",
                    "range": [0.1, 100],
                    "start": dwell_us,
                },
            },
        },
    }
