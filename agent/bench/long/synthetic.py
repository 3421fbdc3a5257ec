"""The ledger of a long run, written at once: what a night of `live` leaves, without the night."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.record.folder import versions, write_config
from agent.record.ledger import FILE, Ledger

_BORN = datetime(2026, 1, 2, 20, tzinfo=UTC)
_PERIOD_S = 0.1
_FLAGGED_EVERY = 7

Row = tuple[str, str, int | None, str]


def demo(frames: int, *, side: int = 64) -> RunConfig:
    """`live` on Micro-Manager's demo camera, with one setting that can be told.

    Parameters
    ----------
    frames
        How many are taken.
    side
        Of a frame (pixels).
    """
    return RunConfig.model_validate(
        {
            "plan": "live",
            "live": {"frames": frames},
            "analysis": {"score": False},
            "dose": {"budget_J": {"light": 1000.0}},
            "microscope": {
                "cfg": "demo",
                "pixel_size_nm": 20,
                "exposure": {"camera_ms": 1},
                "properties": [
                    ["Camera", "OnCameraCCDXSize", side],
                    ["Camera", "OnCameraCCDYSize", side],
                    ["Camera", "PixelType", "16bit"],
                ],
                "settings": {
                    # The demo microscope has no laser: its camera's gain stands for one.
                    "power": {
                        "device": "Camera",
                        "property": "Gain",
                        "kind": "integer",
                        "unit": "mW",
                        "range": [0, 8],
                        "start": 1,
                        "safe": 0,
                        "laser": "light",
                        "watts_per_unit": 1e-3,
                    }
                },
            },
        }
    )


def write(folder: Path, frames: int) -> None:
    """Make the folder of a run of this many scored frames, each three rows of its ledger.

    There are no pixels: what reads a ledger alone is measured with it.
    """
    folder.mkdir(parents=True)
    config = demo(frames)
    write_config(folder, config, {"simulated": True})
    Ledger(folder).close()
    with closing(sqlite3.connect(folder / FILE)) as db, db:
        db.executemany(
            "INSERT INTO entries (at, kind, frame, data) VALUES (?, ?, ?, ?)", _rows(frames)
        )


def _rows(frames: int) -> Iterator[Row]:
    def row(kind: str, data: dict[str, Any], at_s: float, frame: int | None = None) -> Row:
        at = _BORN + timedelta(seconds=at_s)
        return at.isoformat(timespec="milliseconds"), kind, frame, json.dumps(data)

    born = {
        "plan": "live",
        "session": 1,
        "simulated": True,
        "planned": frames,
        "versions": versions(),
        "weights": {},
    }
    yield row("run", born, 0.0)
    shot = {
        "mode": "sted",
        "asked": {},
        "field": None,
        "at_s": None,
        "purpose": "",
        "settings": {"power": 1},
        "dose_J": {"light": 1e-6},
    }
    for index in range(frames):
        at_s = index * _PERIOD_S
        yield row("shot", shot, at_s, index)
        crc = (2654435761 * index) % 2**32
        frame = {"shape": [64, 64], "dtype": "uint16", "crc32": crc, "time_s": at_s}
        yield row("frame", frame, at_s + 0.02, index)
        flags = ["blank"] if index % _FLAGGED_EVERY == 0 else []
        value = 0.5 + 0.4 * math.sin(index / 1000)
        score = {"value": value, "sd": 0.05, "flags": flags, "tiles": 1}
        yield row("score", score, at_s + 0.05, index)
    over_s = frames * _PERIOD_S
    at = (_BORN + timedelta(seconds=over_s)).isoformat(timespec="milliseconds")
    yield row("safe_state", {"reason": "finished", "at": at, "ok": True, "readback": {}}, over_s)
    yield row("end", {"status": "stopped", "reason": "told to stop"}, over_s)
