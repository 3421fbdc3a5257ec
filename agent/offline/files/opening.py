"""Files of images as the commands ask for them: which part is meant, and its pixel size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from agent.config.reading import UserError
from agent.record.layout import RAW
from devices.recorded import Frames, ImageError, Part, open_frames

DEFAULT_NM = 20.0
"""Where no pixel size is given."""
# Closer than this, sides of a pixel differ by rounding.
_SQUARE = 0.02


def part_of(
    series: str | None = None, channel: int | None = None, axes: Sequence[str] = ()
) -> Part:
    """What `--series`, `--channel` and `--axis` say.

    Parameters
    ----------
    series
        Name of an image, or its number, from 0.
    channel
        Number, from 0.
    axes
        `z=3`: the fourth plane; `z`: frames run along z.

    Raises
    ------
    UserError
        An axis is neither.
    """
    at: dict[str, int] = {} if channel is None else {"c": channel}
    along = None
    for text in axes:
        axis, _, place = text.strip().lower().partition("=")
        if len(axis) != 1 or not axis.isalpha() or (place and not place.isdigit()):
            raise UserError(f"--axis: found {text}; accepted: an axis (z), or a place on it (z=3)")
        if "=" in text:
            at[axis] = int(place or 0)
        else:
            along = axis
    return Part(series, at, along)


@contextmanager
def opened(file: Path, part: Part | None = None) -> Iterator[Frames]:
    """The grey frames of a file.

    Raises
    ------
    UserError
        They cannot be read, also while they are; or it is not clear which are meant.
    """
    try:
        with open_frames(file, part) as frames:
            yield frames
    except ImageError as error:
        frames_of_run = file / RAW
        hint = f"; a run's frames are in {frames_of_run}" if frames_of_run.is_dir() else ""
        raise UserError(f"{error}{hint}") from None


def check_pixel_size(given: float | None) -> None:
    """`UserError` if a pixel size (nm) is given that is none."""
    if given is not None and not 0 < given < 1e5:
        raise UserError(f"--pixel-size {given:g}: a pixel size in nm above 0 is needed")


def check_interval(given: float | None) -> None:
    """`UserError` if a time between frames (s) is given that is none."""
    if given is not None and not 0 < given < 1e9:
        raise UserError(f"--interval {given:g}: a time in s above 0 is needed")


def pixel_size_of(
    frames: Frames, given: float | None
) -> tuple[float, Literal["given", "file", "assumed"]]:
    """Side of a pixel (nm), and where that is from.

    Raises
    ------
    UserError
        The given value is no pixel size, or pixels are not square.
    ImageError
        The file states it in a way that cannot be used.
    """
    check_pixel_size(given)
    if given is not None:
        return given, "given"
    scale = frames.scale(interval_s=1.0)
    sides = [side.nm for side in (scale.y, scale.x) if side is not None]
    if not sides:
        return DEFAULT_NM, "assumed"
    if max(sides) > min(sides) * (1 + _SQUARE):
        raise UserError(
            f"{frames.file}: pixels of {sides[0]:g} × {sides[1]:g} nm (rows × columns); accepted:"
            " square ones, or --pixel-size"
        )
    return sides[-1], "file"
