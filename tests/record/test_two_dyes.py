"""Two dyes in a sample with depth: stored by name and place, and their light counted."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaozarrs
import zarr

from agent.config import RunConfig
from agent.record.folder import new_folder
from agent.run import Session, open_microscope
from devices.virtual.devices import ScanEngine
from tests.helpers.runs import recorded


def laser(device: str, prop: str, unit: str, name: str) -> dict[str, Any]:
    bound = {"device": device, "property": prop, "unit": unit, "laser": name}
    return {**bound, "range": [0, 40], "start": 0, "safe": 0}


CONFIG = {
    "plan": "timelapse",
    "timelapse": {
        "frames": 1,
        "interval_s": 0,
        "fields": 2,
        "channels": ["red", "far_red"],
        "z": {"range": 1.0, "step": 0.5},
    },
    "microscope": {
        "virtual_sted": {
            "structure": "mesh",
            "size_um": 12,
            "width_px": 16,
            "height_px": 16,
            "planes": 3,
            "second_dye": {"structure": "patches", "crosstalk": 0},
        },
        "pixel_size_nm": 20,
        "clock": {"device": "Scan", "property": "Clock_s"},
        "exposure": {"dwell_time": "dwell"},
        "fields": {"rows": 1, "columns": 2, "pitch_um": 2},
        "settings": {
            "red_power": laser("Excitation", "Power_uW", "µW", "red"),
            "far_red_power": laser("Excitation2", "Power_uW", "µW", "far_red"),
            "depletion_power": laser("Depletion", "Power_mW", "mW", "depletion"),
            "dwell": {
                "device": "Scan",
                "property": "DwellTime_us",
                "unit": "µs",
                "range": [1, 100],
                "start": 10,
            },
        },
        "modes": {
            "red": {"red_power": 8, "depletion_power": 0},
            "far_red": {"far_red_power": 5, "dwell": 20, "depletion_power": 2},
        },
    },
}


@pytest.mark.slow
def test_light_of_each_laser_and_channel_is_what_fell_on_the_sample(tmp_path: Path) -> None:
    config = RunConfig.model_validate(CONFIG)
    source = tmp_path / "dyes.yaml"
    run = new_folder(config, tmp_path, tmp_path / "run")
    with open_microscope(config, source) as microscope:
        scan = microscope.core._pydevices["Scan"]
        assert isinstance(scan, ScanEngine)
        result = Session(config, source, run, microscope=microscope).run()
    assert result.status == "completed", result.reason
    taken = recorded(run).taken
    assert len(taken) == 2 * 2 * 3
    spent: defaultdict[str, float] = defaultdict(float)
    for one in taken.values():
        dose = one.frame["dose_J"]
        # A channel is lit by its own lasers alone.
        lit = {"red": {"red"}, "far_red": {"far_red", "depletion"}}[one.shot["mode"]]
        assert {name for name, joules in dose.items() if joules} == lit
        for name, joules in dose.items():
            spent[name] += joules
    fell = scan.light_j()
    assert dict(spent) == pytest.approx(
        {
            "red": fell["Excitation"],
            "far_red": fell["Excitation2"],
            "depletion": fell["Depletion"],
        },
        rel=0.01,
    )
    for field in ("0", "1"):
        yaozarrs.validate_zarr_store(run / "raw.ome.zarr" / field)
        image = zarr.open_group(run / "raw.ome.zarr" / field, mode="r")
        labels = [channel["label"] for channel in image.attrs["ome"]["omero"]["channels"]]
        assert labels == ["red", "far_red"]
        frames = zarr.open_array(run / "raw.ome.zarr" / field / "0", mode="r")[0]
        assert frames.shape == (2, 3, 16, 16)
        planes = {plane.tobytes() for channel in frames for plane in channel}
        assert len(planes) == 6
