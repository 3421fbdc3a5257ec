"""Position lists as Micro-Manager writes them, and configs whose microscope has places."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from tests import faulty

Stages = Mapping[str, Sequence[float]]
"""Where each stage is (µm), by label: two numbers for an XY stage, one for others."""


def micro_manager_1(places: Mapping[str, Stages]) -> dict[str, Any]:
    """A `.pos` file of Micro-Manager 1.4, by the places' labels."""

    def device(label: str, at: Sequence[float]) -> dict[str, Any]:
        x, y = (*at, 0.0)[:2]
        return {"DEVICE": label, "AXES": len(at), "X": x, "Y": y, "Z": 0.0}

    return {
        "VERSION": 3,
        "ID": "Micro-Manager XY-position list",
        "POSITIONS": [
            {
                "GRID_COL": 0,
                "DEVICES": [device(*one) for one in stages.items()],
                "PROPERTIES": {},
                "DEFAULT_Z_STAGE": "Focus",
                "LABEL": name,
                "GRID_ROW": 0,
                "DEFAULT_XY_STAGE": "Stage",
            }
            for name, stages in places.items()
        ],
    }


def micro_manager_2(places: Mapping[str, Stages]) -> dict[str, Any]:
    """A `.pos` file of Micro-Manager 2."""

    def text(value: str) -> dict[str, Any]:
        return {"type": "STRING", "scalar": value}

    def maps(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "PROPERTY_MAP", "array": list(values)}

    def number(value: int) -> dict[str, Any]:
        return {"type": "INTEGER", "scalar": value}

    listed = [
        {
            "DefaultXYStage": text("Stage"),
            "DefaultZStage": text("Focus"),
            "DevicePositions": maps(
                [
                    {
                        "Device": text(label),
                        "Position_um": {"type": "DOUBLE", "array": list(at)},
                    }
                    for label, at in stages.items()
                ]
            ),
            "GridCol": number(0),
            "GridRow": number(0),
            "Label": text(name),
            "Properties": {"type": "PROPERTY_MAP", "scalar": {}},
        }
        for name, stages in places.items()
    ]
    return {
        "encoding": "UTF-8",
        "format": "Micro-Manager Property Map",
        "major_version": 2,
        "minor_version": 0,
        "map": {"StagePositions": maps(listed)},
    }


CELLS = {
    "Pos0": {"Focus": [3.5], "Stage": [10.0, -20.0], "Offset": [120.0]},
    "Zelle µ": {"Focus": [4.5], "Stage": [40.0, 25.5], "Offset": [130.0]},
    "Pos2": {"Focus": [4.0], "Stage": [15.0, -20.0], "Offset": [125.0]},
}
LAPSE: dict[str, Any] = {"plan": "timelapse", "timelapse": {"frames": 2, "interval_s": 0}}


def scope(fields: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A microscope with a camera, an XY stage, a focus and one more stage."""
    devices = {
        "Camera": faulty.device("FlakyCamera"),
        "Stage": faulty.device("Stage"),
        "Focus": faulty.device("Focus"),
        "Offset": faulty.device("Focus"),
        "Shutter": faulty.device("Shutter"),
    }
    whole = {"python_devices": devices, "settings": {}, "focus": "Focus", "fields": fields}
    return whole | keys


def config(folder: Path, fields: dict[str, Any], **keys: Any) -> Path:
    """A config's file; its microscope has these fields and keys."""
    whole = faulty.config(microscope=scope(fields, **keys), **LAPSE)
    return faulty.write(folder / "config.yaml", whole)


def written(folder: Path, data: Any, name: str = "cells.pos") -> Path:
    """A file with these data."""
    file = folder / name
    file.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return file


def places(loaded: RunConfig) -> list[tuple[Any, ...]]:
    """Name, x, y, z and other stages of each place of a config."""
    return [
        (one.name, one.x_um, one.y_um, one.z_um, dict(one.stages))
        for one in loaded.microscope.fields.places or ()
    ]
