"""Stages as people have them: how well a calibration finds how the camera lies on each.

Cameras that are turned, mirrored, on a stage that goes too far or not far enough. Frames are
those of the virtual STED microscope (`devices.virtual.quick`), with photon noise and bleaching;
the sample drifts all the time. Each stage is calibrated by the plan of `stedfast calibrate`, and
then a field of another sample is followed by the plan of a time-lapse, as a run would lead them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.measurement import Check, Figures
from agent.config import RunConfig
from agent.plan import Frame, Note, Plan
from agent.plans.build import build_plan
from agent.plans.calibration import MOST_PX, NotCalibrated, calibration, found_in, places
from devices.affine import Affine
from devices.shot import Shot
from devices.virtual.dyes import DYES
from devices.virtual.label import Light
from devices.virtual.mounting import Mounting
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan, quick_survivors
from devices.virtual.sample import Sample

_SIDE = 128
_PIXEL_UM = 0.02
_FRAMES = 40
_DRIFT_PX = 1.0
"""Of the sample, from one frame to the next (pixels); chosen."""
_LIGHT: Light = {"excitation_w": 6e-6, "depletion_w": 40e-3, "dwell_s": 1e-5, "passes": 1}
_MOUNTINGS = {
    "straight": Mounting(),
    "turned by 90°": Mounting(90.0),
    "turned by 173°": Mounting(173.0),
    "mirrored": Mounting(mirrored=True),
    "mirrored, turned by 90°": Mounting(90.0, mirrored=True),
    "turned by 173°, scale 0.8": Mounting(173.0, scale=0.8),
    "mirrored, turned by 90°, scale 1.2": Mounting(90.0, mirrored=True, scale=1.2),
}
_FOLLOWED_PX = 3.0


def measure(seeds: Sequence[int], *, quick: bool) -> Figures:
    """Every stage with the sample of each seed."""
    found = {
        name: [_tried(mounting, seed) for seed in seeds] for name, mounting in _MOUNTINGS.items()
    }
    every = [one for tried in found.values() for one in tried]
    calibrated = [one for one in every if one.refused is None]
    return Figures(
        rows=[(name, _row(tried)) for name, tried in found.items()],
        checks=[
            Check("calibrations that are refused", len(every) - len(calibrated), "<=", 0),
            Check(
                "largest residual of a calibration",
                max((one.residual_px for one in calibrated), default=math.inf),
                "<=",
                MOST_PX,
                "px",
            ),
            Check(
                f"farthest from its field in {_FRAMES} frames",
                max((one.away_px for one in calibrated), default=math.inf),
                "<=",
                _FOLLOWED_PX,
                "px",
            ),
        ],
        raw={name: [one.as_dict() for one in tried] for name, tried in found.items()},
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """A stage and a sample: what a calibration found, and how well it was followed then."""

    residual_px: float = math.nan
    off: float = math.nan
    away_px: float = math.nan
    refused: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "residual_px": self.residual_px,
            "affine_off": self.off,
            "away_px": self.away_px,
            "refused": self.refused,
        }


def _row(tried: Sequence[_Tried]) -> str:
    fine = [one for one in tried if one.refused is None]
    said = f"{len(fine)} of {len(tried)} calibrated"
    if not fine:
        return said
    return (
        f"{said}, residual up to {max(one.residual_px for one in fine):.2f} px, affine off by "
        f"{100 * fmean(one.off for one in fine):.2f}%, up to "
        f"{max(one.away_px for one in fine):.2f} px away"
    )


def _tried(mounting: Mounting, seed: int) -> _Tried:
    moves = places(0.0, 0.0, (_SIDE, _SIDE), _PIXEL_UM)
    plan = calibration("sted", moves, _PIXEL_UM)
    (note,) = _Scope(mounting, seed).led(plan)
    try:
        found = found_in(note.data)
    except NotCalibrated as error:
        return _Tried(refused=str(error))
    scope = _Scope(mounting, seed + 1000)
    scope.led(build_plan(_lapse(found.affine)))
    off = mounting.affine(_PIXEL_UM).unlike(found.affine)
    return _Tried(found.residual_px, off, max(scope.away_px))


def _lapse(affine: Affine) -> RunConfig:
    return RunConfig.model_validate(
        {
            "plan": "timelapse",
            "timelapse": {
                "frames": 2 * _FRAMES - 1,
                "acquire": "skip",
                "gap": 2,
                "interval_s": 0,
                "drift": "follow",
            },
            "microscope": {
                "virtual_sted": {},
                "pixel_size_nm": _PIXEL_UM * 1e3,
                "exposure": {"camera_ms": 1},
                "affine": affine.six,
            },
        }
    )


@cache
def _optics() -> Optics:
    return Optics(DYES["robust"])


@dataclass(slots=True)
class _Scope:
    """A sample that drifts under a camera on a stage; a second from frame to frame."""

    mounting: Mounting
    seed: int
    away_px: list[float] = field(default_factory=list)
    """How far each frame was from where the first was on the sample."""
    _sample: Sample = field(init=False)
    _drift_um: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._sample = Sample("tubulin", size_um=16.0, molecules_per_pixel=15.0, seed=self.seed)
        angle = np.random.default_rng(self.seed).uniform(0, 2 * np.pi)
        step_um = _DRIFT_PX * _PIXEL_UM
        self._drift_um = step_um * math.cos(angle), step_um * math.sin(angle)

    def led(self, plan: Plan) -> list[Note]:
        """Give a plan what it asks for; its notes."""
        return list(self._led(plan))

    def _led(self, plan: Plan) -> Iterator[Note]:
        answer: Frame | None = None
        numbers = itertools.count()
        while True:
            try:
                step = plan.send(answer)
            except StopIteration:
                return
            answer = self._frame(next(numbers), step) if isinstance(step, Shot) else None
            if isinstance(step, Note):
                yield step

    def _frame(self, index: int, shot: Shot) -> Frame:
        assert shot.field is not None
        place = self.mounting.on_sample(shot.field.x_um, shot.field.y_um)
        x, y = (at + index * by for at, by in zip(place, self._drift_um, strict=True))
        self.away_px.append(math.hypot(x, y) / _PIXEL_UM)
        pixels = self._taken(
            x, y, int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0])
        )
        return Frame(index, shot, {}, pixels, float(index), lambda: NotImplemented)

    def _taken(self, x_um: float, y_um: float, seed: int) -> NDArray[np.uint16]:
        optics = _optics()
        window = self._sample.window(x_um, y_um, 0.0, (_SIDE, _SIDE), optics.margin)
        counts = quick_scan(optics, window.molecules, **_LIGHT, background_hz=3000.0, seed=seed)
        left = quick_survivors(optics, window.molecules, **_LIGHT, seed=seed)
        self._sample.bleach(window, left)
        return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)
