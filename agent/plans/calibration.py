"""How the camera lies on the stage: found from a few small moves.

The stage goes up and down its x, then its y, and back to where it was. How far the structure went
in each frame is found by correlation, and a straight line is laid through all of it: pixels per
move, and per time, as the sample may drift meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation

from agent.plan import Frame, Note, Plan
from agent.plans.adaptive.drift_tracking import times_as_large
from agent.plans.adaptive.motion import drift
from devices.affine import Affine
from devices.shot import Field, Shot

TOPIC = "stage calibration"
"""Of the note that says what was found."""
MOST_PX = 2.0
"""Farthest that a frame may be from where the affine has it (pixels)."""
_MOST = 0.1
"""The same as a share of a move: in small frames moves are of few pixels."""
_MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0))
"""Steps from the first place, along x and y; the last one shows what moved by itself; chosen."""
_SHARE = 5
"""A move is this part of the frame's shorter side, by the config's pixel size."""
_ALIKE = 0.4
"""Correlation of two frames that show the same structure; several times what chance gives."""
_COARSE_PX = 128
"""A shift is first looked for in frames whose side is up to twice that (pixels)."""
_OVERLAP = 0.3
"""Least part of a frame that another one shows as well."""
_TURNS = 3
"""Times that it is then found in what two frames both show."""
_BLUR_PX = 2.0
"""Sigma of the blur before frames are compared: noise is finer than that (pixels)."""
_LEAST = 0.2
"""Share of the expected distance that a move is seen by at least."""


class NotCalibrated(ValueError):
    """The frames do not say how the camera lies on the stage; the message says why."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found.

    Parameters
    ----------
    affine
        How the camera lies on the stage.
    residual_px
        Farthest that a frame is from where the affine has it.
    """

    affine: Affine
    residual_px: float

    def in_words(self) -> str:
        """Rotation, mirror, scale and residual."""
        return f"{self.affine.in_words()}; residual {self.residual_px:.2g} px"


def places(x_um: float, y_um: float, shape: Sequence[int], pixel_um: float) -> list[Field]:
    """Where the frames are taken: the first and the last where the stage is.

    Parameters
    ----------
    x_um, y_um
        Where the stage is.
    shape
        Rows × columns of a frame.
    pixel_um
        Side of a pixel, as far as one knows.

    Examples
    --------
    >>> [(place.x_um, place.y_um) for place in places(1.0, 0.0, (50, 90), 0.1)]
    [(1.0, 0.0), (2.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, -1.0), (1.0, 0.0)]
    """
    step = round(min(shape) * pixel_um / _SHARE, 3)
    moves = ((0, 0), *_MOVES)
    return [Field(0, x_um + along * step, y_um + across * step) for along, across in moves]


def calibration(mode: str, fields: Sequence[Field], pixel_um: float) -> Plan:
    """Take a frame at each place, and note what was found.

    Parameters
    ----------
    mode
        Of the frames.
    fields
        See `places`.
    pixel_um
        Side of a pixel, as far as one knows.

    Examples
    --------
    >>> plan = calibration("confocal", places(1.0, 0.0, (50, 90), 0.1), 0.1)
    >>> shot = next(plan)
    >>> shot.mode, shot.field.x_um, shot.purpose
    ('confocal', 1.0, 'where the stage is')
    """
    frames = []
    for number, field in enumerate(fields):
        purpose = f"move {number} of {len(fields) - 1}" if number else "where the stage is"
        frame = yield Shot(mode, {}, field, purpose=purpose)
        assert isinstance(frame, Frame)
        frames.append(frame)
        if np.ptp(frames[0].pixels) == 0:
            yield Note(TOPIC, {"refused": "every pixel of the first frame has the same value"})
            return
    try:
        found = fitted(
            [(field.x_um, field.y_um) for field in fields],
            [frame.pixels for frame in frames],
            [frame.time_s for frame in frames],
            pixel_um,
        )
    except NotCalibrated as error:
        yield Note(TOPIC, {"refused": str(error)})
    else:
        # Of the config's pixels, whatever those of this mode are: drift is followed in any.
        times = times_as_large(frames[0].pixel_size_nm, pixel_um * 1e3)
        six = [number / times for number in found.affine.six]
        yield Note(TOPIC, {"affine": six, "residual_px": found.residual_px})


def found_in(note: Mapping[str, Any]) -> Calibration:
    """The result that a note has.

    Raises
    ------
    NotCalibrated
        It has none.

    Examples
    --------
    >>> found_in({"affine": [0, 0.02, 0, 0.02, 0, 0], "residual_px": 0.1}).in_words()
    'turned by 90.0° against the stage, mirrored; 20 nm a pixel; residual 0.1 px'
    """
    if "refused" in note:
        raise NotCalibrated(note["refused"])
    a, b, at_x, c, d, at_y = map(float, note["affine"])
    return Calibration(Affine((a, b, at_x, c, d, at_y)), float(note["residual_px"]))


def fitted(
    places_um: Sequence[tuple[float, float]],
    frames: Sequence[NDArray[Any]],
    times_s: Sequence[float],
    pixel_um: float,
) -> Calibration:
    """Find the affine from frames at several places, the first and the last of them the same.

    Parameters
    ----------
    places_um
        Of the stage (x, y).
    frames
        Rows × columns each.
    times_s
        When each was taken.
    pixel_um
        Side of a pixel, as far as one knows.

    Raises
    ------
    NotCalibrated
        There is nothing to see, nothing moves, or one line does not fit all frames.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sample = gaussian_filter(rng.normal(size=(96, 96)), 3.0)
    >>> where = [(0, 0), (8, 0), (-8, 0), (0, 8), (0, -8), (0, 0)]
    >>> frames = [sample[16 + y : 80 + y, 16 + x : 80 + x] for x, y in where]
    >>> found = fitted([(x * 0.1, y * 0.1) for x, y in where], frames, range(6), 0.1)
    >>> found.in_words().split(";")[0], found.residual_px < 0.2
    ('turned by 0.0° against the stage, not mirrored', True)
    """
    first = frames[0]
    shifts = [(0.0, 0.0), *(_shift(first, frame) for frame in frames[1:])]
    alike = [_alike(first, frame, shift) for frame, shift in zip(frames, shifts, strict=True)]
    if alike[-1] < _ALIKE:
        raise NotCalibrated(
            "there is no structure to see: two frames of the same place have a correlation of "
            f"{alike[-1]:.2f}, not {_ALIKE:g} or more"
        )
    went = np.asarray(places_um, float) - places_um[0]
    seen = np.asarray(shifts)
    length = np.hypot(*seen.T)
    expected = np.hypot(*went.T) / pixel_um
    for axis, name in enumerate("xy"):
        moves = np.flatnonzero(went[:, axis])
        if length[moves].max() < _LEAST * expected[moves].max():
            raise NotCalibrated(
                f"the image does not move with the stage's {name}: by {length[moves].max():.1f} px,"
                f" where {expected[moves].max():.0f} px were expected of `pixel_size_nm`"
            )
    if min(alike) < _ALIKE:
        raise NotCalibrated(
            "frames before and after a move do not show the same structure: their correlation is "
            f"{min(alike):.2f}, not {_ALIKE:g} or more"
        )
    times = np.asarray(times_s, float) - times_s[0]
    by = np.column_stack([went, times])
    line, *_ = np.linalg.lstsq(by, seen, rcond=None)
    residual = float(np.hypot(*(by @ line - seen).T).max())
    accepted = min(MOST_PX, _MOST * float(length.max()))
    if residual >= accepted:
        raise NotCalibrated(
            f"no straight line leads from moves to pixels: a frame is {residual:.1f} px off; "
            f"accepted: less than {accepted:.2g} px"
        )
    # What the stage goes towards comes nearer: structure runs against the move.
    per_px = -np.linalg.inv(line[:2][:, ::-1])
    (a, c), (b, d) = per_px.tolist()
    return Calibration(Affine((a, b, 0.0, c, d, 0.0)), residual)


def _shift(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    """How far the structure went from one frame to the other (rows, columns; px).

    First to a few pixels, by normalized correlation of what two frames share at each shift, which
    may be far (Padfield, IEEE Trans. Image Process. 21, 2706 (2012)). What they do not share would
    pull a finer estimate towards zero; so that is made of what both show.
    """
    every = max(1, min(before.shape) // _COARSE_PX)
    small = [
        gaussian_filter(np.asarray(one, np.float64), max(_BLUR_PX, every))[::every, ::every]
        for one in (before, after)
    ]
    masks = [np.ones(one.shape, bool) for one in small]
    coarse, _, _ = phase_cross_correlation(
        small[1], small[0], reference_mask=masks[1], moving_mask=masks[0], overlap_ratio=_OVERLAP
    )
    found = float(coarse[0] * every), float(coarse[1] * every)
    for _ in range(_TURNS):
        if (parts := _shared(before, after, found)) is None:
            return found
        whole = np.rint(found)
        rest = drift(*parts)
        found = float(whole[0] + rest[0]), float(whole[1] + rest[1])
    return found


def _alike(before: NDArray[Any], after: NDArray[Any], shift: tuple[float, float]) -> float:
    """Correlation of what two frames both show, the one moved by (rows, columns; px)."""
    first, second = (
        gaussian_filter(np.asarray(one, np.float64), _BLUR_PX) for one in (before, after)
    )
    parts = _shared(first, second, shift)
    if parts is None or min(float(part.std()) for part in parts) == 0:
        return 0.0
    return float(np.corrcoef(parts[0].ravel(), parts[1].ravel())[0, 1])


def _shared(
    before: NDArray[Any], after: NDArray[Any], shift: tuple[float, float]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """What both frames show, in the pixels of each; None where that is less than a quarter."""
    whole = np.rint(shift).astype(int)
    if (abs(whole) > np.asarray(before.shape) // 2).any():
        return None
    parts = []
    for frame, by in ((before, whole), (after, -whole)):
        rows, columns = (
            slice(max(0, -at), side - max(0, at)) for at, side in zip(by, frame.shape, strict=True)
        )
        parts.append(frame[rows, columns])
    return parts[0], parts[1]
