"""The runs that faults strike: live, a search, and an adaptive time-lapse with filter and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.bench import lit


@dataclass(frozen=True, slots=True)
class Struck:
    """A run: its name, what its config has, and what follows the command."""

    name: str
    parts: dict[str, Any]
    arguments: Sequence[str] = ()
    simulated: bool = False
    """Its sample is simulated, and so is its clock: it is set instead of waited for."""

    @property
    def has_workers(self) -> bool:
        """Whether there is a process beside it, of a network."""
        return bool(self.parts["analysis"]["score"]) or "filter" in self.parts


PLANS = (
    Struck(
        "live",
        {
            "plan": "live",
            "live": {"frames": 40},
            "analysis": {"score": False},
        },
    ),
    Struck(
        "optimize",
        {
            "plan": "optimize",
            "analysis": {"score": True},
            "optimize": {
                "trials": 6,
                "initial": 4,
                "engine": "random",
                "retest_fields": 1,
                "search": {"depletion_power": [10, 200]},
            },
        },
    ),
    Struck(
        "timelapse",
        {
            "plan": "timelapse",
            "analysis": {"score": False},
            "timelapse": {
                "frames": 13,
                "interval_s": 0.1,
                "fields": 1,
                "gap": 4,
                "acquire": "adaptive",
            },
            "filter": {"model": "actin-small"},
        },
        ("--view",),
    ),
)
"""All of them."""


NIGHT = Struck(
    "night",
    {
        "plan": "timelapse",
        "analysis": {"score": False},
        "timelapse": {
            "frames": 193,
            "interval_s": 150,
            "fields": 1,
            "gap": 4,
            "acquire": "adaptive",
        },
        "filter": {"model": "actin-small"},
    },
    ("--view",),
    simulated=True,
)
"""Eight hours."""


def config(struck: Struck, place: Path) -> dict[str, Any]:
    """The config of a run in a folder, whose devices write `devices.log` and heed `fault`."""
    log, fault = str(place / "devices.log"), str(place / "fault")
    data: dict[str, Any] = lit.config(Path(log), guard=True, timeout_s=1.0)
    devices = data["microscope"]["python_devices"]
    kind = "agent.bench.faults.devices"
    devices["Camera"] = {
        "class": f"{kind}:{'SpotsCamera' if struck.simulated else 'FailingCamera'}",
        "options": {"serial": log, "fault": fault},
    }
    for name in ("Excitation", "Depletion"):
        devices[name] = {
            "class": f"{kind}:FailingLaser",
            "options": {"log": log, "name": name.lower(), "fault": fault},
        }
    data["microscope"]["modes"] = {"sted": {}, "confocal": {"depletion_power": 0}}
    if struck.simulated:
        devices["Clock"] = {"class": f"{kind}:Clock", "options": {"serial": log}}
        data["microscope"]["clock"] = {"device": "Clock", "property": "Clock_s"}
    data["microscope"]["fields"] = {"rows": 3, "columns": 4}
    return data | struck.parts
