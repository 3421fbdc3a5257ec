"""Methods that rebuild frames: the networks, and simpler ones that they must surpass."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from agent.bench.interpolation.measures import Judge

Frame = NDArray[Any]

NETWORKS = ("zs", "dain", "flow")
REPEAT, LINEAR, BLURRED = "repeat", "linear", "blurred blend"
FARNEBACK, DIS, BAR = "Farneback", "DIS", "DIS, σ 0.8"
"""Optical flow by OpenCV; the last one behind a blur that is the same for all movies."""
_BAR_BLUR_PX = 0.8
# Widths from which the blend's best is chosen, by the truth: a bound that no blur can pass.
_BLURS_PX = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)


class Told(NamedTuple):
    """A rebuilt frame, and the standard deviation of its error where the method says one."""

    image: Frame
    sd: Frame | None = None


Method = Callable[[Frame, Frame, float], Told]
"""Takes the frame before, the one after and when between them, 0 to 1."""


def classical(judge: Judge) -> dict[str, Method]:
    """What needs no training, by name, for one movie."""
    found: dict[str, Method] = {
        REPEAT: lambda before, after, t: Told(before if t <= 0.5 else after),
        LINEAR: lambda before, after, t: Told(_blend(before, after, t)),
    }
    if find_spec("cv2") is not None:
        flow = _OpticalFlow(DIS, judge)
        found |= {FARNEBACK: _OpticalFlow(FARNEBACK, judge), DIS: flow, BAR: _blurring(flow)}
    return found


def _blurring(method: Method) -> Method:
    def rebuild(before: Frame, after: Frame, t: float) -> Told:
        return Told(gaussian_filter(method(before, after, t).image, _BAR_BLUR_PX))

    return rebuild


def left_out() -> list[str]:
    """Methods that are not there, for want of OpenCV."""
    return [] if find_spec("cv2") is not None else [FARNEBACK, DIS, BAR]


class NetworkMethod:
    """A network, asked both ways, as `stedfast reconstruct` asks it without fitting it.

    Parameters
    ----------
    model
        The name of bundled weights, or a file.
    """

    def __init__(self, model: str | Path) -> None:
        from models.interpolation import Interpolation

        self._engine = Interpolation(model, "cpu")

    def __call__(self, before: Frame, after: Frame, t: float) -> Told:
        """See `Method`."""
        found = self._engine.between(before, after, t)
        return Told(found.image, found.sd)

    def fitted(self, kept: Frame) -> Method:
        """The same fitted to a movie of which these frames were kept, and no other is known."""
        from agent.offline.files.model_choice import left_out_frames
        from agent.offline.files.movies import MovieFile
        from devices.recorded import Scale
        from models.interpolation import LIT, adjusted

        movie = MovieFile(len(kept), kept.shape[1:], kept.dtype, lambda: iter(kept), Scale())
        found = adjusted(left_out_frames(movie, self._engine))
        adjustment = LIT if found is None else found.adjustment

        def rebuild(before: Frame, after: Frame, t: float) -> Told:
            made = self._engine.between(before, after, t)
            image = adjustment.image(made.image, before, after, t)
            return Told(image, adjustment.sd(image, made.sd, t))

        return rebuild


def fitted(name: str) -> str:
    """What a network is called that was fitted to the movie's kept frames.

    Examples
    --------
    >>> fitted("flow")
    'flow, fitted'
    """
    return f"{name}, fitted"


def blurred_blends(before: Frame, after: Frame, t: float) -> list[Frame]:
    """Linear blends, each blurred by another Gaussian."""
    blend = _blend(before, after, t)
    return [gaussian_filter(blend, sigma) for sigma in _BLURS_PX]


def _blend(before: Frame, after: Frame, t: float) -> Frame:
    return (1 - t) * np.asarray(before, np.float64) + t * np.asarray(after, np.float64)


class _OpticalFlow:
    """Dense optical flow of OpenCV, both ways: each frame warped to the time, and blended.

    The flow is taken for that of the missing frame; it is found in 8-bit frames between the
    movie's percentiles, as the library asks for, and warps the frames themselves.
    """

    def __init__(self, name: str, judge: Judge) -> None:
        import cv2

        self._cv2: Any = cv2
        self._judge = judge
        dis: Any = None
        if name == DIS:
            dis = self._cv2.DISOpticalFlow_create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis = dis

    def __call__(self, before: Frame, after: Frame, t: float) -> Told:
        first, second = self._bytes(before), self._bytes(after)
        ahead, back = self._flow(first, second), self._flow(second, first)
        # What moves by `back` from after to before was that far on its way at t.
        return Told(
            (1 - t) * self._warped(before, t * back) + t * self._warped(after, (1 - t) * ahead)
        )

    def _bytes(self, frame: Frame) -> NDArray[np.uint8]:
        return np.rint(255 * self._judge.scaled(frame)).astype(np.uint8)

    def _flow(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._dis is not None:
            found: NDArray[np.float32] = self._dis.calc(first, second, None)
        else:
            # Pyramid of halves, 3 levels, window of 15, 3 iterations: the library's example.
            sizes = (None, 0.5, 3, 15, 3, 5, 1.2, 0)
            found = self._cv2.calcOpticalFlowFarneback(first, second, *sizes)
        return found

    def _warped(self, frame: Frame, flow: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = np.indices(frame.shape, dtype=np.float32)
        warped: NDArray[np.float32] = self._cv2.remap(
            np.asarray(frame, np.float32),
            columns + flow[..., 0].astype(np.float32),
            rows + flow[..., 1].astype(np.float32),
            self._cv2.INTER_LINEAR,
            borderMode=self._cv2.BORDER_REPLICATE,
        )
        return warped
