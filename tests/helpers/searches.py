"""Configs of `plan: optimize` with faulty devices, for tests that tell it something."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests import faulty

PARTS: dict[str, Any] = {
    "plan": "optimize",
    "analysis": {"score": True},
    "optimize": {
        "trials": 4,
        "initial": 4,
        "retest_fields": 1,
        "search": {
            "excitation_power": [1, 20],
            "depletion_power": [10, 200],
            "lines": [1, 4],
            "filter": ["red", "far red"],
        },
    },
}


def config_data() -> dict[str, Any]:
    data = faulty.config(**deepcopy(PARTS))
    scope = data["microscope"]
    scope["fields"] = {"rows": 3, "columns": 4}
    scope["modes"] = {"sted": {}, "confocal": {"depletion_power": 0}}
    return data


def config_data_of_a_run() -> dict[str, Any]:
    data = config_data()
    data["optimize"] = PARTS["optimize"] | {
        "search": {"excitation_power": [1, 20], "depletion_power": [10, 200]}
    }
    return data
