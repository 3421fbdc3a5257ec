"""Points of a shown frame as places on the stage, and places on the stage as points of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.ui.view.places import marks, place_of, region_of
from agent.ui.view.run_state import FrameState
from devices.affine import Affine
from tests import faulty


def config(tmp_path: Path, plan: str = "timelapse", **scope: Any) -> RunConfig:
    return load(faulty.write(tmp_path / "config.yaml", faulty.config(plan=plan, microscope=scope)))


def frame(z_um: float | None = None, **more: Any) -> FrameState:
    field = {"index": 1, "x_um": 10.0, "y_um": -5.0, "z_um": z_um}
    shot = {"mode": "sted", "settings": {}, "field": field}
    return FrameState(7, "measured", "", 0.0, shot, (64, 32), **more)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turned", [0, 90, 173])
def test_a_point_is_where_the_stage_brings_it_to_the_centre(
    tmp_path: Path, turned: float, mirrored: bool
) -> None:
    mounting = Affine.mounted(0.02, rotation_deg=turned, mirrored=mirrored)
    run = config(tmp_path, affine=list(mounting.six))
    for shown in (frame(), frame(pixel_size_nm=40.0)):
        scale = (shown.pixel_size_nm or 20) / 20
        x, y = place_of(run, shown, (0.75, 0.25), {})
        # 8 columns to the right of the centre and 16 rows above it.
        right, up = mounting.stage_um((-16.0 * scale, 8.0 * scale))
        assert (x, y) == pytest.approx((10 + right, -5 + up), abs=1e-3)
        ((number, across, down),) = marks(run, shown, [{"field": 4, "x_um": x, "y_um": y}], {})
        assert number == 4
        assert (across, down) == pytest.approx((0.75, 0.25), abs=2e-3)


def test_points_and_parts_of_a_part_are_those_of_the_whole_frame(tmp_path: Path) -> None:
    mounting = Affine.mounted(0.02, rotation_deg=90)
    run, whole = config(tmp_path, affine=list(mounting.six)), {"sted": [100, 200]}
    part = frame()  # 64 rows of 32 columns
    part.shot["roi"] = [120, 10, 32, 64]
    x, y = place_of(run, part, (0.5, 0.25), whole)
    right, up = mounting.stage_um((10 + 16 - 50, 120 + 16 - 100))
    assert (x, y) == pytest.approx((10 + right, -5 + up), abs=1e-3)
    ((_, across, down),) = marks(run, part, [{"field": 4, "x_um": x, "y_um": y}], whole)
    assert (across, down) == pytest.approx((0.5, 0.25), abs=2e-3)
    corners = (0.75, 0.5), (0.25, 0.2)
    assert region_of(run, part, corners, whole) == [128, 10 + 12, 16, 20]
    assert region_of(run, frame(), corners, whole) == [8, 12, 16, 20], "drawn to whole pixels"
    part.shot["roi"] = []
    assert region_of(run, part, corners, {}) == [8, 12, 16, 20], "told to be the whole frame"


def test_only_other_places_within_the_frame_are_marked(tmp_path: Path) -> None:
    run = config(tmp_path, affine=[0.02, 0, 0, 0, 0.02, 0])
    places = [
        {"field": 1, "x_um": 10.0, "y_um": -5.0},
        {"field": 5, "x_um": 10.4, "y_um": -5.0},
        {"field": 6, "x_um": 10.2, "y_um": -4.5},
    ]
    assert [field for field, *_ in marks(run, frame(), places, {})] == [6]
    assert not marks(config(tmp_path), frame(), places, {}), "nobody knows where they are in it"


def test_what_cannot_be_pointed_at_is_refused_with_the_reason(tmp_path: Path) -> None:
    def why(run: RunConfig, shown: FrameState, point: Any = (0.5, 0.5)) -> str:
        with pytest.raises(UserError) as refused:
            place_of(run, shown, point, {})
        return str(refused.value)

    run = config(tmp_path)
    assert place_of(run, frame(), None, {}) == [10, -5], "where the stage was needs no calibration"
    assert "`stedfast calibrate" in why(run, frame())
    whole = {"affine": [0.02, 0, 0, 0, 0.02, 0]}
    assert "not recorded how large that is" in why(
        config(tmp_path, **whole, roi={"sted": [0, 0, 8, 8]}), frame()
    )
    assert "which stays where the stage is" in why(config(tmp_path, plan="live", **whole), frame())
    deep = {"fields": {"places": [{"x_um": 0, "y_um": 0, "z_um": 1}]}}
    deep["python_devices"] = faulty.config()["microscope"]["python_devices"] | {
        "Focus": faulty.device("Focus")
    }
    run = config(tmp_path, **whole, **deep)
    assert place_of(run, frame(z_um=1.5), (0.5, 0.5), {}) == [10, -5, 1.5]
    assert "no focus of its own" in why(run, frame())
