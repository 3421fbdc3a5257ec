"""What a person may tell of the part of the camera's frames that a run takes, by mode.

    roi: {sted: [16, 32, 128, 96]}    x, y, width, height in pixels of the camera's frame
    roi: {sted: full}                 the camera's whole frame, also where the config has a `roi`

They hold for the frames that follow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import ROI
from devices.refusals import refused, shortened, unknown
from devices.region import beyond_frame
from models.quality.preparing import SMALLEST
from models.quality.resampling import PIXEL_SIZE_NM

FULL = "full"
_LARGEST = 2**20
"""Pixels that no side of a frame has."""


class ReadsRegions(Protocol):
    """What says whether a camera can read a part of its frame, as `devices.Microscope` does."""

    @property
    def has_stage(self) -> bool:
        """Whether the microscope has an XY stage."""
        ...

    def roi_refusal(self, mode: str, roi: Sequence[int], changing: Collection[str]) -> str:
        """Why it cannot, for frames of a mode; empty where it can."""
        ...


@dataclass(frozen=True, slots=True)
class RecordedCamera:
    """A camera by the size of its frames alone, as a session found it.

    Parameters
    ----------
    whole
        Rows and columns of its whole frames, by mode.
    """

    whole: Mapping[str, Sequence[int]]
    has_stage: bool = True

    def roi_refusal(self, mode: str, roi: Sequence[int], changing: Collection[str]) -> str:
        """Whether it is beyond the frame."""
        return beyond_frame(roi, self.whole[mode]) if mode in self.whole else ""


def regions(config: RunConfig, value: object, camera: ReadsRegions | None) -> dict[str, list[int]]:
    """The regions of interest that a person told, by mode; empty for the whole frame.

    Parameters
    ----------
    config
        The run's.
    value
        What was told.
    camera
        What has to take them; None: not known.

    Raises
    ------
    UserError
        One of them cannot be: names key, value and what is accepted.
    """
    if why := config.refuses_roi():
        raise UserError(f"`{ROI}`: is `plan: {config.plan}`, {why}")
    modes = config.section.modes()
    region = f"[x, y, width, height] in pixels, or {FULL}"
    if not isinstance(value, Mapping) or not value:
        accepted = f"a mode ({', '.join(modes)}) with {region}"
        raise UserError(f"`{ROI}`: {refused(value, accepted)}")
    found: dict[str, list[int]] = {}
    for mode, told in value.items():
        key = f"`{ROI}.{shortened(mode, quoted=False)}`"
        if mode not in modes:
            raise UserError(f"{key}: {unknown(str(mode), modes, 'mode')}")
        if mode in config.filtered_modes():
            raise UserError(f"{key}: its frames are filtered, for which all have one size")
        if told == FULL:
            found[mode] = []
            continue
        if not _is_region(told):
            raise UserError(f"{key}: {refused(told, region)}")
        found[mode] = [int(one) for one in told]
        least, side_nm = SMALLEST * PIXEL_SIZE_NM, min(told[2:]) * config.microscope.pixel_size_nm
        if mode in config.scored_modes() and side_nm < least:
            raise UserError(
                f"{key}: {refused(told, f'at least {least:g} nm on each side, as it is scored')}"
            )
        changing = config.adjustable()
        if camera is not None and (why := camera.roi_refusal(mode, found[mode], changing)):
            raise UserError(f"{key}: {why}")
    return found


def _is_region(value: object) -> bool:
    """Whether it is four whole numbers that can be a part of a frame."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    if not all(type(one) is int and 0 <= one < _LARGEST for one in value):
        return False
    return bool(value[2] and value[3])
