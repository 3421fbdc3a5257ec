"""Which interpolator suits a movie, and how its frames are adjusted to it.

Both are tried on frames that the movie has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.movies import MovieFile

if TYPE_CHECKING:
    from models.interpolation import Adjusted, Example, Interpolation

Pixels = NDArray[np.float64]
AUTO = "auto"
USUAL = "flow"
"""Where there is nothing to choose by: the one that takes the least time."""
LINEAR = "linear"
_CANDIDATES = (USUAL, "dain")
"""What `auto` tries. Zooming SlowMo won on no movie of the benchmark, and takes the longest."""
_TRIED = 12
# A second a frame or two on a core.
_SIDE = 192
# What another must gain (dB) to be worth its time.
_WORTH = 0.05


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and the figures it was chosen by.

    Parameters
    ----------
    model
        Its name or file.
    sha256
        Of its weights.
    judged
        For each model that was tried, and the linear blend, the PSNR (dB of the frames' range)
        at which it rebuilds measured frames from their two neighbours. Empty where the model was
        given, or the movie has too few frames.
    adjusted
        How rebuilt frames are adjusted to this movie; None where that was not asked for, or the
        movie has too few frames.
    """

    model: str
    sha256: str
    judged: dict[str, float] = field(default_factory=dict)
    adjusted: Adjusted | None = None


def opened_model(model: str, device: str) -> Interpolation:
    """A model.

    Raises
    ------
    UserError
        It or the device cannot be used.
    """
    from models.interpolation import Interpolation

    try:
        return Interpolation(model, device)
    except (OSError, ValueError) as error:
        option = "device" if str(error).startswith("device") else "model"
        raise UserError(f"--{option}: {str(error).removeprefix(f'{option}: ')}") from None


def choose(movie: MovieFile, model: str, device: str, *, fit: bool = True) -> Choice:
    """The model that is asked for; with `auto`, the bundled one that does best on this movie.

    Up to twelve measured frames, spread over the movie, are rebuilt from their neighbours in
    a window in the middle: by the model, or by each that `auto` tries. The usual one is taken
    unless another gains 0.05 dB.

    Parameters
    ----------
    movie
        Whose frames are to be rebuilt.
    model
        `auto`, a name of bundled weights, or a ``.safetensors`` file.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    fit
        Find how rebuilt frames are adjusted to this movie; see `models.interpolation.adjusting`.

    Raises
    ------
    UserError
        The model or the device cannot be used, or the memory is not enough for the model.
    """
    from models.interpolation import adjusted
    from models.interpolation.weights import shipped

    names = [model]
    if model == AUTO:
        names = [USUAL, *(one for one in _CANDIDATES if one != USUAL and one in shipped())]
    compares = len(names) > 1
    models = {name: opened_model(name, device) for name in names}
    made: dict[str, list[Example]] = {name: [] for name in names}
    if fit or compares:
        made = {name: _left_out(name, movie, found) for name, found in models.items()}
    judged = {name: _mean([_psnr(one) for one in examples]) for name, examples in made.items()}
    best, told = names[0], {}
    if compares and made[best]:
        best = max(judged, key=lambda name: judged[name] + (_WORTH if name == USUAL else 0))
        blends = [
            _decibels((one.before + one.after) / 2 - one.true, one.true) for one in made[best]
        ]
        judged |= {LINEAR: _mean(blends)}
        told = {name: round(value, 2) for name, value in judged.items()}
    found = adjusted(made[best]) if fit else None
    return Choice(best, models[best].weights_hash(), told, found)


def _left_out(name: str, movie: MovieFile, model: Interpolation) -> list[Example]:
    try:
        return left_out_frames(movie, model)
    except MemoryError as error:
        raise UserError(f"--model {name}: {error}") from None


def left_out_frames(movie: MovieFile, model: Interpolation) -> list[Example]:
    """Measured frames of a movie, and what a model makes of those around them.

    Raises
    ------
    MemoryError
        There is not enough for the model.
    """
    from models.interpolation import Example

    found = []
    for one in _triplets(movie):
        made = model.between(one.before, one.after, one.t)
        found.append(Example(*one, made.image, made.sd))
    return found


class _Triplet(NamedTuple):
    """A measured frame between two, and when between them it is."""

    before: Pixels
    true: Pixels
    after: Pixels
    t: float


def _triplets(movie: MovieFile) -> list[_Triplet]:
    """Frames before, between and after, all finite, with something to see in the one between."""
    from models.restoration.frame_filter import SMALLEST

    if min(movie.shape) < SMALLEST:
        return []
    middle = tuple(
        slice(max(0, (n - _SIDE) // 2), max(0, (n - _SIDE) // 2) + _SIDE) for n in movie.shape
    )
    numbers = range(movie.count) if movie.measured is None else movie.measured
    times = times_of(movie) or tuple(map(float, range(movie.count)))
    count = len(numbers)
    chosen = set(np.linspace(1, count - 2, _TRIED).round().astype(int).tolist())
    found: list[_Triplet] = []
    last: list[Pixels] = []
    for index, frame in enumerate(movie.frames() if count > 2 else ()):
        last = [*last[-2:], frame[middle].astype(np.float64)]
        if (
            index - 1 in chosen
            and len(last) == 3
            and all(np.isfinite(part).all() for part in last)
            and np.ptp(last[1]) > 0
            and not np.array_equal(last[0], last[1])
        ):
            start, at, end = (times[number] for number in numbers[index - 2 : index + 1])
            before, true, after = last
            found.append(_Triplet(before, true, after, (at - start) / (end - start)))
    return found


def times_of(movie: MovieFile) -> tuple[float, ...] | None:
    """When each frame was taken (s); None where the file does not say it of all, in their order."""
    times = movie.scale.times
    if times is None or len(times) != movie.count:
        return None
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        return None
    return tuple(map(float, times))


def _psnr(one: Example) -> float:
    return _decibels(one.image - one.true, one.true)


def _decibels(error: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    span = max(float(np.ptp(np.percentile(true, (0.1, 99.9)))), 1e-12)
    return -10 * math.log10(max(float(np.mean(np.square(error / span))), 1e-10))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
