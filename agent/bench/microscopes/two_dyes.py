"""Two dyes in a sample with depth, at several places: how each frame is stored, and its light.

Whole runs on the virtual STED microscope: channels of two dyes × planes × places × time points.
Each place has an OME-Zarr image of its own, which another library validates, and the dose that the
ledger counts, by laser and channel, is compared with the light that fell on the sample.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaozarrs
import zarr

from agent.bench.measurement import Check, Figures
from agent.config import RunConfig
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.folder import new_folder
from agent.record.layout import RAW
from agent.record.load import read
from agent.run import Session, open_microscope

_POINTS, _PLACES, _PLANES = 6, 3, 5
_QUICK = 1
"""Time points."""
_SIDE = 48
_CHANNELS = {
    "red": {"red_power": 8, "far_red_power": 0, "depletion_power": 0},
    "far_red": {"red_power": 0, "far_red_power": 5, "depletion_power": 30},
}
_LASERS = {"red": "Excitation", "far_red": "Excitation2", "depletion": "Depletion"}
_PLANE_UM = 0.5
_LIGHT = 0.01
"""Relative difference that is allowed between the light that is counted and the one that fell."""


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run.

    Parameters
    ----------
    status
        As the ledger has it.
    frames, distinct
        That were taken, and how many of them differ from one another.
    valid
        Places whose image is valid, and has the names, axes and sizes that it should have.
    off
        Largest relative difference between counted and fallen light, of a laser in a channel.
    """

    status: str
    frames: int
    distinct: int
    valid: int
    off: float


def measure(seeds: Sequence[int], *, quick: bool) -> Figures:
    """A run for each seed, each with a sample of its own; quick: of one time point."""
    points = _QUICK if quick else _POINTS
    ran = {seed: _run(seed, points) for seed in seeds}
    every = [*ran.values()]
    asked = points * _PLACES * _PLANES * len(_CHANNELS)
    return Figures(
        rows=[
            (
                f"two dyes, seed {seed}",
                f"{one.status}, {one.distinct} of {asked} frames, {one.valid} of {_PLACES} places "
                f"valid, light off by {100 * one.off:.2g}%",
            )
            for seed, one in ran.items()
        ],
        checks=[
            Check("two dyes: frames of their own", min(one.distinct for one in every), ">=", asked),
            Check("two dyes: places valid", min(one.valid for one in every), ">=", _PLACES),
            Check(
                "two dyes: light counted and light that fell",
                100 * max(one.off for one in every),
                "<=",
                100 * _LIGHT,
                "%",
            ),
        ],
        raw={str(seed): asdict(one) for seed, one in ran.items()},
    )


def _run(seed: int, points: int) -> _Ran:
    config = RunConfig.model_validate(_config(seed, points))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "two_dyes.yaml"
        run = new_folder(config, Path(folder), Path(folder) / "run")
        fell: dict[tuple[str, str], float] = defaultdict(float)
        with open_microscope(config, source) as microscope:
            scan: Any = microscope.core._pydevices["Scan"]

            def watched(config: RunConfig) -> Plan:
                """The plan; before and after each frame, the light that fell until then."""
                steps = build_plan(config)
                answer = None
                while True:
                    try:
                        step = steps.send(answer)
                    except StopIteration:
                        return
                    before = scan.light_j()
                    answer = yield step
                    mode = getattr(step, "mode", None)
                    if mode is not None:
                        for laser, device in _LASERS.items():
                            now = scan.light_j().get(device, 0.0)
                            fell[mode, laser] += now - before.get(device, 0.0)

            session = Session(config, source, run, microscope=microscope, make_plan=watched)
            status = session.run().status
        _, recording = read(run)
        counted: dict[tuple[str, str], float] = defaultdict(float)
        for taken in recording.taken.values():
            for laser, joules in taken.frame["dose_J"].items():
                counted[taken.shot["mode"], laser] += joules
        most = max(fell.values())
        off = max(abs(counted[key] - fell[key]) / (fell[key] or most) for key in fell)
        frames = {taken.frame["crc32"] for taken in recording.taken.values()}
        valid = sum(_is_valid(run / RAW / str(place), points) for place in range(_PLACES))
        return _Ran(status, len(recording.taken), len(frames), valid, off)


def _is_valid(image: Path, points: int) -> bool:
    """Whether an image is OME-Zarr, with all channels, planes and time points, by name."""
    with suppress(Exception):  # whatever a wrong image leads to
        yaozarrs.validate_zarr_store(str(image))
        ome: Any = zarr.open_group(image, mode="r").attrs["ome"]
        axes = [axis["name"] for axis in ome["multiscales"][0]["axes"]]
        labels = [channel["label"] for channel in ome["omero"]["channels"]]
        shape = zarr.open_array(image / "0", mode="r").shape
        whole = (points, len(_CHANNELS), _PLANES, _SIDE, _SIDE)
        return axes == [*"tczyx"] and labels == [*_CHANNELS] and shape == whole
    return False


def _config(seed: int, points: int) -> dict[str, Any]:
    def power(device: str, prop: str, unit: str, laser: str) -> Mapping[str, Any]:
        bound = {"device": device, "property": prop, "unit": unit, "laser": laser}
        return {**bound, "range": [0, 40], "start": 0, "safe": 0}

    dwell = {"device": "Scan", "property": "DwellTime_us", "unit": "µs"}
    return {
        "plan": "timelapse",
        "seed": seed,
        "timelapse": {
            "frames": points,
            "interval_s": 10,
            "fields": _PLACES,
            "channels": [*_CHANNELS],
            "z": {"range": _PLANE_UM * (_PLANES - 1), "step": _PLANE_UM},
        },
        "microscope": {
            "virtual_sted": {
                "structure": "mesh",
                "size_um": 16,
                "width_px": _SIDE,
                "height_px": _SIDE,
                "planes": 3,
                "second_dye": {"structure": "patches", "crosstalk": 0.05},
            },
            "pixel_size_nm": 20,
            "timeout_s": 120,
            "clock": {"device": "Scan", "property": "Clock_s"},
            "exposure": {"dwell_time": "dwell"},
            "fields": {"rows": 1, "columns": _PLACES, "pitch_um": 2},
            "settings": {
                "red_power": power("Excitation", "Power_uW", "µW", "red"),
                "far_red_power": power("Excitation2", "Power_uW", "µW", "far_red"),
                "depletion_power": power("Depletion", "Power_mW", "mW", "depletion"),
                "dwell": {**dwell, "range": [1, 100], "start": 10},
            },
            "modes": _CHANNELS,
        },
    }
