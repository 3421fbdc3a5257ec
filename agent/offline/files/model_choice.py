"""Which interpolator suits a movie: tried on frames that it has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.movies import MovieFile

if TYPE_CHECKING:
    from models.interpolation import Interpolation

AUTO = "auto"
USUAL = "flow"
"""Where there is nothing to choose by: the one that takes the least time."""
LINEAR = "linear"
_TRIED = 6
# Zooming SlowMo takes four seconds for a frame of this side on a core.
_SIDE = 160
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
    """

    model: str
    sha256: str
    judged: dict[str, float] = field(default_factory=dict)


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


def choose(movie: MovieFile, model: str, device: str) -> Choice:
    """The model that is asked for; with `auto`, the shipped one that does best on this movie.

    Up to six measured frames, spread over the movie, are rebuilt from their neighbours in
    a window in the middle, by every bundled model. The usual one is taken unless another gains
    0.05 dB.

    Raises
    ------
    UserError
        The model or the device cannot be used.
    """
    from models.interpolation.weights import shipped

    if model != AUTO:
        return Choice(model, opened_model(model, device).weights_hash())
    names = [USUAL, *(name for name in shipped() if name != USUAL)]
    triplets = _triplets(movie) if len(names) > 1 else []
    models = {name: opened_model(name, device) for name in (names if triplets else names[:1])}
    judged = {
        name: _mean([_psnr(found, *one) for one in triplets]) for name, found in models.items()
    }
    if not triplets:
        return Choice(USUAL, models[USUAL].weights_hash())
    blends = [_decibels((first + last) / 2 - true, true) for first, true, last in triplets]
    best = max(judged, key=lambda name: judged[name] + (_WORTH if name == USUAL else 0))
    judged |= {LINEAR: _mean(blends)}
    judged = {name: round(value, 2) for name, value in judged.items()}
    return Choice(best, models[best].weights_hash(), judged)


def _triplets(movie: MovieFile) -> list[tuple[NDArray[np.float64], ...]]:
    """Frames before, between and after, all finite, with something to see in the one between."""
    middle = tuple(
        slice(max(0, (n - _SIDE) // 2), max(0, (n - _SIDE) // 2) + _SIDE) for n in movie.shape
    )
    count = movie.count if movie.measured is None else len(movie.measured)
    chosen = set(np.linspace(1, count - 2, _TRIED).round().astype(int).tolist())
    found: list[tuple[NDArray[np.float64], ...]] = []
    last: list[NDArray[np.float64]] = []
    for number, frame in enumerate(movie.frames() if count > 2 else ()):
        last = [*last[-2:], frame[middle].astype(np.float64)]
        if (
            number - 1 in chosen
            and len(last) == 3
            and all(np.isfinite(part).all() for part in last)
            and np.ptp(last[1]) > 0
            and not np.array_equal(last[0], last[1])
        ):
            found.append(tuple(last))
    return found


def _psnr(
    model: Any,
    before: NDArray[np.float64],
    true: NDArray[np.float64],
    after: NDArray[np.float64],
) -> float:
    return _decibels(model.between(before, after).image - true, true)


def _decibels(error: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    span = max(float(np.ptp(np.percentile(true, (0.1, 99.9)))), 1e-12)
    return -10 * math.log10(max(float(np.mean(np.square(error / span))), 1e-10))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
