"""Position lists as Micro-Manager writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
