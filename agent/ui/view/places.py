"""Where on the stage a point of a shown frame is, and where in it the places of others are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import PLACE
from agent.steering.instructions import place_axes
from agent.ui.view.run_state import FrameState
from devices.affine import Affine

_DIGITS = 3
"""Decimals of a position (µm)."""
Share = tuple[float, float]
"""A point of a frame: how far across it and how far down it is, each from 0 to 1."""


def place_of(config: RunConfig, shown: FrameState, point: Share | None) -> list[float]:
    """The coordinates of a place (µm) as `tell` takes them.

    Parameters
    ----------
    config
        The run's.
    shown
        A frame of it.
    point
        Where in the frame; None: where the stage was for it.

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
        across, down = _from_centre(shown, point)
        right, up = mounting.stage_um((down, across))
        x, y = x + right, y + up
    at = [x, y]
    if "z" in axes:
        if field["z_um"] is None:
            raise UserError(f"frame {shown.index} was taken at no focus of its own; type its place")
        at.append(field["z_um"])
    return [round(one, _DIGITS) for one in at]


def marks(
    config: RunConfig, shown: FrameState, added: Iterable[Mapping[str, Any]]
) -> list[tuple[int, float, float]]:
    """Places that were added and lie in a frame: number of the field, and where in the frame.

    Nothing where nobody knows how the camera lies on the stage. A frame's own place is none.

    Parameters
    ----------
    config, shown
        As of `place_of`.
    added
        The plan's notes on them.
    """
    field = shown.shot.get("field")
    if field is None:
        return []
    try:
        mounting = _mounting(config, shown)
    except UserError:
        return []
    rows, columns = shown.shape
    found = []
    for place in added:
        if place["field"] == field["index"]:
            continue
        away = (place["x_um"] - field["x_um"], place["y_um"] - field["y_um"])
        down, across = mounting.image_px(away)
        at = 0.5 + across / columns, 0.5 + down / rows
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
            "nobody knows how the camera lies on the stage; `stedfast calibrate CONFIG` finds it, "
            "for the next run"
        )
    mode = shown.shot.get("mode")
    if mode in scope.roi:
        raise UserError(f"frames of {mode!r} are a part of the camera's; point in those of a whole")
    scale = (shown.pixel_size_nm or scope.pixel_size_nm) / scope.pixel_size_nm
    return mounting.times(scale)


def _from_centre(shown: FrameState, point: Share) -> Share:
    """How far across and down a point is from a frame's centre (px)."""
    rows, columns = shown.shape
    across, down = point
    return (across - 0.5) * columns, (down - 0.5) * rows
