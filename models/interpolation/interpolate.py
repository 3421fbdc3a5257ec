"""Rebuilds frames between measured ones with trained weights, one by one or for a whole movie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.accelerator import Accelerator
from models.attempts import Attempts
from models.cuda import accelerator_of
from models.interpolation.adjusting import Adjustment
from models.interpolation.compute import LEAST, Compute, Made
from models.interpolation.interpolated import Interpolated, MovieFrame
from models.interpolation.normalization import as_type
from models.interpolation.on_cpu import OnCpu
from models.interpolation.on_gpu import OnGpu
from models.interpolation.weights import read_interpolator
from models.restoration.frame_filter import SMALLEST


class Interpolation:
    """Rebuilds frames with one model.

    What fails on a GPU is tried again, in tiles that get smaller where memory is short, and then on
    the CPU from there on (see `Attempts`); the frame on which it happened says so
    (`Interpolated.fault`). Not for several threads at once.

    Parameters
    ----------
    model
        The name of bundled weights, or a ``.safetensors`` file with its card.
    device
        `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`; or what takes a GPU's place.
    both_ways
        Ask the network twice, the second time with time running backwards: takes twice as long,
        is nearer to the truth, and surer of how near.
    tile
        Longest side (pixels) of a tile that goes through the network; by default 1024 on a CPU,
        and on a GPU what its free memory is enough for.

    Attributes
    ----------
    card
        The model card.
    adjustment
        What is done to every rebuilt frame, as its movie asks for it (see `adjusting`); nothing, to
        begin with.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If they cannot be used, or there is no such device.

    Examples
    --------
    >>> before, after = np.random.default_rng(0).poisson(3, (2, 64, 64)).astype(np.uint16)
    >>> Interpolation("flow", device="cpu").between(before, after, t=0.5).image.shape
    (64, 64)
    """

    def __init__(
        self,
        model: str | Path,
        device: str | Accelerator = "auto",
        *,
        both_ways: bool = True,
        tile: int | None = None,
    ) -> None:
        loaded = read_interpolator(model)
        if tile is not None and tile < LEAST:
            raise ValueError(f"tile: found {tile}; accepted: {LEAST} pixels and more")
        self.card = loaded.card
        self.adjustment = Adjustment()
        places: list[Compute] = [OnCpu(loaded, both_ways=both_ways)]
        if (accelerator := accelerator_of(device)) is not None:
            places.insert(0, OnGpu(loaded, accelerator, both_ways=both_ways))
        self._attempts = Attempts(places, tile)

    @property
    def computes(self) -> list[Compute]:
        """Where it is computed, the first first; shorter after a failure."""
        return self._attempts.places

    @property
    def device(self) -> str:
        """Where it is computed; the CPU after a failure of the GPU."""
        return self._attempts.places[0].device

    def weights_hash(self) -> str:
        """SHA-256 of the weights file, in hexadecimal."""
        found: str = self.card["weights_sha256"]
        return found

    def between(self, before: NDArray[Any], after: NDArray[Any], t: float = 0.5) -> Interpolated:
        """The frame between two.

        Parameters
        ----------
        before, after
            Rows × columns, any real number types, of one shape, 8 × 8 pixels or more.
        t
            When between them, above 0 and below 1.

        Raises
        ------
        ValueError
            For frames that are not 2-D, not of one shape, not of real numbers, not finite or
            too small, and for another time.
        """
        if not 0 < t < 1:
            raise ValueError(
                f"t: found {t}; accepted: times above 0 and below 1, between the frames"
            )
        first, second = np.asanyarray(before), np.asanyarray(after)
        _shaped(first, "before")
        _shaped(second, "after")
        if first.shape != second.shape:
            raise ValueError(
                f"after has {_size(second)} pixels; accepted: the size of before, {_size(first)}"
            )
        made = self._attempts.run(
            lambda compute, side: compute.rebuild(first, second, t, side), first.shape, LEAST
        )
        compute = self._attempts.places[0]
        for note in compute.notes():
            self._attempts.note(compute, note)
        if self.adjustment != Adjustment():
            made = self._adjusted(made, first, second, t)
        return Interpolated(*made, compute.device, self._attempts.fault())

    def _adjusted(self, made: Made, before: NDArray[Any], after: NDArray[Any], t: float) -> Made:
        image = self.adjustment.image(made.image, before, after, t)
        sd = self.adjustment.sd(image, made.sd, t)
        mean = float(np.mean(made.sd, dtype=np.float64))
        more = float(sd.mean(dtype=np.float64)) / mean if mean > 0 else 1.0
        return Made(image, sd, more * made.uncertainty)

    def movie(
        self,
        frames: Iterable[NDArray[Any] | None],
        factor: int = 2,
        times: Sequence[float] | None = None,
    ) -> Iterator[MovieFrame]:
        """A movie with `factor` times the frame rate: T frames become (T − 1) · factor + 1.

        Measured frames pass unchanged, as soon as they and all frames before them are there. A
        frame that is not finite passes marked; frames beside it are rebuilt from the next usable
        ones, and marked, too. A frame without variation, or one that repeats the one before, is
        used and marked.

        Parameters
        ----------
        frames
            Each rows × columns; all of one shape and type. None for one that was not measured:
            it is rebuilt like those between frames.
        factor
            2 and more.
        times
            When each frame was taken, in any unit, each later than the one before; the new frames
            divide each interval evenly. By default all intervals are the same.

        Raises
        ------
        ValueError
            While it runs: for fewer than two frames, frames that are not 2-D, too small, not of
            real numbers, or not of the first one's shape and type, and if none can be used.
        """
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
            raise ValueError(f"factor: found {factor!r}; accepted: whole numbers from 2")
        known = None if times is None else np.asarray(times, float)
        if known is not None and not (np.isfinite(known).all() and (np.diff(known) > 0).all()):
            raise ValueError("times: accepted: finite numbers, each later than the one before")
        return self._movie(frames, factor, known)

    def _movie(
        self,
        frames: Iterable[NDArray[Any] | None],
        factor: int,
        times: NDArray[np.float64] | None,
    ) -> Iterator[MovieFrame]:
        first: NDArray[Any] | None = None
        usable: _Known | None = None
        # Frames since the last usable one, up to this one, with their peculiarities.
        waiting: list[tuple[NDArray[Any] | None, str | None]] = []
        count = 0
        for number, given in enumerate(frames):
            if times is not None and number >= len(times):
                raise ValueError(f"times: found {len(times)}; accepted: one for each frame")
            if given is None:
                count += 1
                waiting.append((None, None))
                continue
            frame = np.asanyarray(given)
            fault = _oddity(frame, number, first)
            first = frame if first is None else first
            count += 1
            waiting.append((frame, fault))
            if not np.isfinite(frame).all():
                continue
            if usable is not None and np.array_equal(frame, usable.frame):
                waiting[-1] = (frame, f"repeats frame {usable.number}")
            after = _Known(number, frame)
            yield from self._since(usable, waiting, after, number, factor, times)
            usable, waiting = after, []
        if count < 2:
            raise ValueError(f"movie: found {count} frames; accepted: 2 and more")
        if usable is None:
            raise ValueError(
                f"movie: none of the {count} frames is finite; accepted: at least one that is"
            )
        if waiting:
            yield from self._since(usable, waiting, None, count - 1, factor, times)

    def _since(
        self,
        before: _Known | None,
        waiting: list[tuple[NDArray[Any] | None, str | None]],
        after: _Known | None,
        last: int,
        factor: int,
        times: NDArray[np.float64] | None,
    ) -> Iterator[MovieFrame]:
        """Frames after `before` up to number `last`, the measured ones among them `waiting`."""
        start = last - len(waiting)
        # Over a frame that was measured and cannot be used, which is worth a word.
        over = any(frame is not None for frame, _ in waiting[:-1])
        for number, (frame, fault) in enumerate(waiting, start + 1):
            for part in range(1, factor) if number > 0 else ():
                yield self._one(before, after, number - 1 + part / factor, over, times)
            if frame is None:
                yield self._one(before, after, float(number), over, times)
            else:
                yield MovieFrame(frame, True, float(number), fault=fault)

    def _one(
        self,
        before: _Known | None,
        after: _Known | None,
        time: float,
        over: bool,
        times: NDArray[np.float64] | None,
    ) -> MovieFrame:
        if before is None or after is None:
            near = before or after
            assert near is not None
            nothing = np.full(near.frame.shape, np.nan, np.float32)
            fault = f"frame {near.number} again: no usable frame on the other side"
            return MovieFrame(near.frame.copy(), False, time, nothing, float("nan"), fault)
        start, at, end = float(before.number), time, float(after.number)
        if times is not None:
            start, at, end = np.interp([start, at, end], np.arange(len(times)), times).tolist()
        found = self.between(before.frame, after.frame, (at - start) / (end - start))
        far = f"rebuilt from frames {before.number} and {after.number}" if over else None
        image = as_type(found.image, before.frame.dtype)
        odd = "; ".join(filter(None, (far, found.fault))) or None
        return MovieFrame(image, False, time, found.sd, found.uncertainty, odd)


class _Known(NamedTuple):
    """A usable frame, and its number."""

    number: int
    frame: NDArray[Any]


def _oddity(frame: NDArray[Any], number: int, first: NDArray[Any] | None) -> str | None:
    """A frame's peculiarity that lets it pass.

    Raises
    ------
    ValueError
        It does not let it pass.
    """
    name = f"frame {number}"
    _shaped(frame, name)
    if first is not None and frame.shape != first.shape:
        raise ValueError(
            f"{name} has {_size(frame)} pixels; accepted: the size of the first frame,"
            f" {_size(first)}"
        )
    if first is not None and frame.dtype != first.dtype:
        raise ValueError(
            f"{name} has pixels of type {frame.dtype}; accepted: that of the first frame,"
            f" {first.dtype}"
        )
    if missing := int((~np.isfinite(frame)).sum()):
        return f"{missing} values not finite"
    return "blank" if frame.min() == frame.max() else None


def _shaped(frame: NDArray[Any], name: str) -> None:
    if frame.ndim != 2:
        raise ValueError(f"{name} of shape {frame.shape}; accepted: grey frames (rows × columns)")
    if frame.dtype.kind not in "uif":
        raise ValueError(f"{name} with pixels of type {frame.dtype}; accepted: real numbers")
    if min(frame.shape) < SMALLEST:
        raise ValueError(
            f"{name} of {_size(frame)} pixels; accepted: at least {SMALLEST} × {SMALLEST}"
        )


def _size(frame: NDArray[Any]) -> str:
    return " × ".join(str(length) for length in frame.shape)
