"""Calibrated from a few moves, a field is followed however the camera lies on its stage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from agent.config import RunConfig
from agent.config.rules import SCALED
from agent.plan import Frame, Note, Plan
from agent.plans.build import build_plan
from agent.plans.calibration import (
    MOST_PX,
    Calibration,
    NotCalibrated,
    calibration,
    found_in,
    places,
)
from devices.affine import Affine
from devices.shot import Shot
from devices.virtual.mounting import Mounting

SIDE, PIXEL_UM = 64, 0.02
MOUNTINGS = {
    "straight": Mounting(),
    "quarter": Mounting(90.0),
    "nearly over": Mounting(173.0),
    "mirrored": Mounting(0.0, mirrored=True),
    "mirrored and turned": Mounting(90.0, mirrored=True),
    "short": Mounting(173.0, scale=0.8),
    "long": Mounting(90.0, mirrored=True, scale=1.2),
}


def structure(seed: int = 0) -> NDArray[np.float64]:
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=(4 * SIDE, 4 * SIDE)), 2.5)
    return np.maximum(rough / rough.std(), 0.0)


@dataclass
class Scope:
    """A sample that drifts under a camera that lies on its stage somehow; a second a frame."""

    mounting: Mounting
    drift_px: tuple[float, float] = (0.0, 0.0)
    sample: NDArray[np.float64] = field(default_factory=structure)
    counts: float = 40.0
    moves: bool = True
    says_nm: float | None = None
    """Side of a pixel that its frames state."""
    away_px: list[float] = field(default_factory=list)
    """How far from the structure that it saw first each frame was."""

    def frame(self, index: int, shot: Shot) -> Frame:
        assert shot.field is not None
        place = (shot.field.x_um, shot.field.y_um) if self.moves else (0.0, 0.0)
        columns, rows = (at / PIXEL_UM for at in self.mounting.on_sample(*place))
        drifted = [index * by for by in self.drift_px]
        self.away_px.append(math.hypot(rows + drifted[0], columns + drifted[1]))
        centre = len(self.sample) / 2
        at = np.arange(SIDE) - (SIDE - 1) / 2 + centre
        where = np.meshgrid(at + rows + drifted[0], at + columns + drifted[1], indexing="ij")
        clean = 3.0 + self.counts * map_coordinates(self.sample, where, order=1)
        pixels = np.random.default_rng((7, index)).poisson(clean).astype(np.uint16)
        return Frame(
            index,
            shot,
            {},
            pixels,
            float(index),
            lambda: NotImplemented,
            pixel_size_nm=self.says_nm,
        )

    def led(self, plan: Plan) -> list[Note]:
        """Give a plan what it asks for; its notes."""
        notes: list[Note] = []
        answer: Any = None
        numbers = itertools.count()
        try:
            while True:
                step = plan.send(answer)
                answer = None
                if isinstance(step, Shot):
                    answer = self.frame(next(numbers), step)
                elif isinstance(step, Note):
                    notes.append(step)
        except StopIteration:
            return notes

    def calibrated(self) -> Calibration:
        moves = places(0.0, 0.0, (SIDE, SIDE), PIXEL_UM)
        assert len(moves) <= 7, "six moves at most"
        assert moves[-1] == moves[0], "it ends where it began"
        (note,) = self.led(calibration("sted", moves, PIXEL_UM))
        return found_in(note.data)


def lapse(affine: Affine | None, **scope: Any) -> RunConfig:
    """Forty frames of a field, followed with the stage."""
    return RunConfig.model_validate(
        {
            "plan": "timelapse",
            "timelapse": {
                "frames": 79,
                "acquire": "skip",
                "gap": 2,
                "interval_s": 0,
                "drift": "follow",
            },
            "microscope": {
                "cfg": "scope.cfg",
                "pixel_size_nm": PIXEL_UM * 1e3,
                "exposure": {"camera_ms": 10},
                "affine": affine and affine.six,
                **scope,
            },
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MOUNTINGS)
def test_a_field_is_followed_however_the_camera_lies(name: str) -> None:
    mounting = MOUNTINGS[name]
    # It drifts meanwhile, by four pixels in all.
    found = Scope(mounting, (0.5, -0.6)).calibrated()
    truth = mounting.affine(PIXEL_UM)
    assert found.residual_px < MOST_PX / 2
    assert found.affine.unlike(truth) < 0.05
    scope = Scope(mounting, (0.9, -0.7), structure(1))
    scope.led(build_plan(lapse(found.affine)))
    assert len(scope.away_px) == 40
    assert max(scope.away_px) < 3


@pytest.mark.slow
def test_a_stage_that_is_thought_to_lie_otherwise_loses_its_field() -> None:
    """What the calibration is for."""
    scope = Scope(MOUNTINGS["quarter"], (0.9, -0.7), structure(1))
    scope.led(build_plan(lapse(None)))
    assert max(scope.away_px) > 10


@pytest.mark.slow
def test_a_mode_of_other_pixels_is_followed_as_well() -> None:
    """Calibrated in pixels of four times the size: every move would be as much too far."""
    coarse = Affine.square(4 * PIXEL_UM)
    far = {}
    for rules in (SCALED - 1, SCALED):
        scope = Scope(Mounting(), (0.9, -0.7), structure(1), says_nm=PIXEL_UM * 1e3)
        config = lapse(coarse, pixel_size_nm=4 * PIXEL_UM * 1e3)
        scope.led(build_plan(config.model_copy(update={"rules": rules})))
        far[rules] = max(scope.away_px)
    assert far[SCALED] < 3 < far[SCALED - 1], "an old run decides as it did"


def scattered(scope: Scope) -> None:
    """A stage that goes elsewhere than it is told, each time."""
    straight, numbers = scope.mounting, itertools.count()

    class Loose(Mounting):
        def on_sample(self, x_um: float, y_um: float) -> tuple[float, float]:
            x, y = straight.on_sample(x_um, y_um)
            off = (0.0, 0.14, 0.0, 0.0, 0.12, 0.0)[next(numbers)]
            return x + off, y - off

    scope.mounting = Loose()


def empty(scope: Scope) -> None:
    scope.sample = np.zeros_like(scope.sample)


def stuck(scope: Scope) -> None:
    scope.moves = False


def half_stuck(scope: Scope) -> None:
    class OneWay(Mounting):
        def on_sample(self, x_um: float, y_um: float) -> tuple[float, float]:
            return x_um, 0.0

    scope.mounting = OneWay()


def far(scope: Scope) -> None:
    scope.mounting = Mounting(scale=5.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (empty, "no structure to see"),
        (stuck, "does not move with the stage's x: by 0.. px, where 13 px were expected"),
        (half_stuck, "does not move with the stage's y"),
        (far, "do not show the same structure"),
        (scattered, "no straight line leads from moves to pixels"),
    ],
)
def test_what_says_nothing_is_refused(spoil: Callable[[Scope], None], why: str) -> None:
    scope = Scope(Mounting())
    spoil(scope)
    with pytest.raises(NotCalibrated, match=why):
        scope.calibrated()


def test_the_affine_is_of_the_config_s_pixels() -> None:
    """Whatever those of the mode are that it was found in: each mode's own are known."""
    usual, coarse = Scope(Mounting()).calibrated(), Scope(Mounting(), says_nm=40).calibrated()
    assert usual.affine.pixel_um == pytest.approx(0.02, rel=0.02)
    assert coarse.affine.pixel_um == pytest.approx(usual.affine.pixel_um / 2)


def test_no_light_is_spent_where_the_first_frame_is_flat() -> None:
    scope = Scope(Mounting())
    moves = places(0.0, 0.0, (SIDE, SIDE), PIXEL_UM)
    plan = calibration("sted", moves, PIXEL_UM)
    shot = next(plan)
    assert isinstance(shot, Shot)
    pixels = np.full((SIDE, SIDE), 5, np.uint16)
    note = plan.send(Frame(0, shot, {}, pixels, 0.0, lambda: NotImplemented))
    assert isinstance(note, Note) and "same value" in note.data["refused"]
    assert scope.led(plan) == []
