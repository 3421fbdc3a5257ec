"""Where on the stage a point of a shown frame is, where in it places are, and parts of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import PLACE
from agent.steering.instructions import place_axes
from agent.ui.view.run_state import FrameState
from devices.affine import Affine

_DIGITS = 3
"""Decimals of a position (µm)."""
Sizes = Mapping[str, Sequence[int]]
Share = tuple[float, float]
"""A point of a frame: how far across it and how far down it is, each from 0 to 1."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A frame within the camera's whole frame (px)."""

    left: int
    top: int
    rows: int
    columns: int
    whole: tuple[int, int]

    def from_centre(self, point: Share) -> Share:
        """How far across and down a point is from the whole frame's centre."""
        across, down = point
        rows, columns = self.whole
        x, y = self.left + across * self.columns, self.top + down * self.rows
        return x - columns / 2, y - rows / 2

    def point(self, across: float, down: float) -> Share:
        """The inverse."""
        rows, columns = self.whole
        x, y = across + columns / 2, down + rows / 2
        return (x - self.left) / self.columns, (y - self.top) / self.rows


def place_of(
    config: RunConfig, shown: FrameState, point: Share | None, whole: Sizes
) -> list[float]:
    """The coordinates of a place (µm) as `tell` takes them.

    Parameters
    ----------
    config
        The run's.
    shown
        A frame of it.
    point
        Where in the frame; None: where the stage was for it.
    whole
        Rows and columns of the camera's whole frames, by mode.

    Raises
    ------
    UserError
        It is not known where that is on the stage.
    """
    axes = place_axes(config)
    if not axes:
        raise UserError(f"`{PLACE}`: {config.refuses_places() or 'this run takes none'}")
    field = shown.shot.get("field")
    if field is None:
        raise UserError(f"frame {shown.index} was taken where the stage was, which is not recorded")
    x, y = field["x_um"], field["y_um"]
    if point is not None:
        mounting = _mounting(config, shown)
        across, down = _window(config, shown, whole).from_centre(point)
        right, up = mounting.stage_um((down, across))
        x, y = x + right, y + up
    at = [x, y]
    if "z" in axes:
        if field["z_um"] is None:
            raise UserError(f"frame {shown.index} was taken at no focus of its own; type its place")
        at.append(field["z_um"])
    return [round(one, _DIGITS) for one in at]


def marks(
    config: RunConfig, shown: FrameState, added: Iterable[Mapping[str, Any]], whole: Sizes
) -> list[tuple[int, float, float]]:
    """Places that were added and lie in a frame: number of the field, and where in the frame.

    Nothing where it is not known how the camera lies on the stage. A frame's own place is none.

    Parameters
    ----------
    config, shown, whole
        As of `place_of`.
    added
        The plan's notes on them.
    """
    field = shown.shot.get("field")
    if field is None:
        return []
    try:
        mounting, window = _mounting(config, shown), _window(config, shown, whole)
    except UserError:
        return []
    found = []
    for place in added:
        if place["field"] == field["index"]:
            continue
        away = (place["x_um"] - field["x_um"], place["y_um"] - field["y_um"])
        down, across = mounting.image_px(away)
        at = window.point(across, down)
        if all(0 <= one <= 1 for one in at):
            found.append((place["field"], *at))
    return found


def _mounting(config: RunConfig, shown: FrameState) -> Affine:
    """How the pixels of a frame lie on the stage.

    Raises
    ------
    UserError
        Nobody knows.
    """
    scope = config.microscope
    mounting = scope.mounting
    if mounting is None:
        raise UserError(
            "it is not known how the camera lies on the stage; `stedfast calibrate CONFIG` finds "
            "it, for the next run"
        )
    scale = (shown.pixel_size_nm or scope.pixel_size_nm) / scope.pixel_size_nm
    return mounting.times(scale)


def _window(config: RunConfig, shown: FrameState, whole: Sizes) -> _Window:
    """Where a frame is within the camera's whole frame.

    Raises
    ------
    UserError
        It is a part of one whose size is not recorded.
    """
    mode = str(shown.shot.get("mode"))
    rows, columns = shown.shape
    told = shown.shot.get("roi")
    roi = config.microscope.roi.get(mode) if told is None else told
    if not roi:
        return _Window(0, 0, rows, columns, (rows, columns))
    if mode not in whole:
        what = f"frame {shown.index} is a part of the camera's"
        raise UserError(f"{what}, and it is not recorded how large that is")
    down, across = whole[mode]
    return _Window(roi[0], roi[1], rows, columns, (down, across))


def region_of(
    config: RunConfig, shown: FrameState, corners: tuple[Share, Share], whole: Sizes
) -> list[int]:
    """The region of interest that a part of a frame is: x, y, width, height (px).

    Parameters
    ----------
    config, shown, whole
        As of `place_of`.
    corners
        Two that are opposite, in the frame.

    Raises
    ------
    UserError
        It is not known where that is in the camera's frame.
    """
    window = _window(config, shown, whole)
    (first, above), (last, below) = corners
    xs, ys = sorted((first, last)), sorted((above, below))
    left, right = (part(one * window.columns) for part, one in zip(_OUTWARDS, xs, strict=True))
    top, bottom = (part(one * window.rows) for part, one in zip(_OUTWARDS, ys, strict=True))
    return [window.left + left, window.top + top, right - left, bottom - top]


_OUTWARDS = (math.floor, math.ceil)
