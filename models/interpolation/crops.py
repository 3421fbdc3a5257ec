"""Normalized images of triplets: random crops to learn from, and whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.interpolation.movies import Movie
from models.interpolation.normalization import Image, Normalization, levels
from models.interpolation.triplets import Triplet

# At the measured frames themselves, a network can say nothing of its own.
_TOLD = (0.1, 0.9)
_SPREAD = 3
"""Crops of which the most eventful is taken; chosen."""


class Sample(NamedTuple):
    """Normalized images of one triplet.

    Parameters
    ----------
    images
        5 × rows × columns: before, after and target, and the first two without noise where
        that is known.
    t
        When between the two the target is.
    """

    images: Image
    t: float


class Crops:
    """Draws normalized crops of triplets.

    Units are those of the two whole frames before and after. Crops are turned by quarters,
    mirrored, reversed in time and changed in brightness at random.

    Parameters
    ----------
    movies, training
        See `triplets`.
    normalization
        Percentiles.
    side
        Pixels on a side.
    anywhere
        Share of crops drawn anywhere; of the others, the most eventful of three is taken.
    jitter
        Brightness is multiplied by 1 ± so much, at most, and shifted by half of that.
    wobble
        Standard deviation by which the time that is told differs from the target's, as a share of
        the gap. Living structure does not move evenly: its place in between is not known exactly,
        and a network that has seen none of that is too sure of it.

    Examples
    --------
    >>> from models.interpolation.movies import movie
    >>> from models.interpolation.triplets import triplets
    >>> one = movie(np.random.default_rng(0).poisson(9, (10, 32, 32)))
    >>> training = triplets([one], (2,), seed=0).training
    >>> crops = Crops([one], training, Normalization(), 16, anywhere=1.0, jitter=0.0, wobble=0.0)
    >>> crops.draw(np.random.default_rng(0)).images.shape
    (5, 16, 16)
    """

    def __init__(
        self,
        movies: Sequence[Movie],
        training: Sequence[Sequence[Triplet]],
        normalization: Normalization,
        side: int,
        anywhere: float,
        jitter: float,
        wobble: float = 0.0,
    ) -> None:
        for one in movies:
            if min(one.frames.shape[1:]) < side:
                rows, columns = one.frames.shape[1:]
                raise ValueError(
                    f"{one.name}: {rows} × {columns} pixels; accepted: {side} × {side} or more,"
                    " or a smaller `patch`"
                )
        self._movies, self._training = movies, training
        self._normalization = normalization
        self._side, self._anywhere = side, anywhere
        self._jitter, self._wobble = jitter, wobble
        self._known: dict[tuple[int, int, int], tuple[float, float]] = {}

    def draw(self, rng: np.random.Generator) -> Sample:
        """One crop; any movie is as likely as another."""
        own = self._training[int(rng.integers(len(self._training)))]
        chosen = own[int(rng.integers(len(own)))]
        corner = self._corner(chosen, rng)
        window = tuple(slice(start, start + self._side) for start in corner)
        images = stacked(self._movies[chosen.movie], chosen, window)
        images = Normalization.apply(images, *self._levels(chosen))
        sample = _varied(Sample(images, chosen.t), self._jitter, rng)
        return unevenly(sample, self._wobble, rng) if self._wobble else sample

    def _corner(self, chosen: Triplet, rng: np.random.Generator) -> tuple[int, int]:
        frames = self._movies[chosen.movie].frames
        free = np.array(frames.shape[1:]) - self._side
        corners = [tuple(int(value) for value in rng.integers(0, free + 1)) for _ in range(_SPREAD)]
        if rng.random() < self._anywhere:
            row, column = corners[0]
            return row, column

        def happens(corner: tuple[int, ...]) -> float:
            rows, columns = (slice(start, start + self._side) for start in corner)
            first, second = (
                frames[number, rows, columns].astype(np.float32)
                for number in (chosen.before, chosen.after)
            )
            return float(np.mean(np.square(second - first)))

        row, column = max(corners, key=happens)
        return row, column

    def _levels(self, chosen: Triplet) -> tuple[float, float]:
        key = (chosen.movie, chosen.before, chosen.after)
        if key not in self._known:
            frames = self._movies[chosen.movie].frames
            self._known[key] = levels(
                self._normalization, frames[chosen.before], frames[chosen.after]
            )
        return self._known[key]


def whole(movies: Sequence[Movie], chosen: Triplet, normalization: Normalization) -> Sample:
    """The whole frames of a triplet, normalized.

    Examples
    --------
    >>> from models.interpolation.movies import movie
    >>> frames = np.random.default_rng(0).poisson(9, (5, 32, 32))
    >>> sample = whole([movie(frames)], Triplet(0, 0, 1, 2), Normalization())
    >>> sample.images.shape, sample.t
    ((5, 32, 32), 0.5)
    """
    one = movies[chosen.movie]
    images = stacked(one, chosen, (slice(None), slice(None)))
    return Sample(Normalization.apply(images, *levels(normalization, *images[:2])), chosen.t)


def unevenly(sample: Sample, wobble: float, rng: np.random.Generator) -> Sample:
    """The same images, told of another time; see `Crops`.

    Examples
    --------
    >>> sample = Sample(np.zeros((5, 8, 8), np.float32), 0.5)
    >>> told = unevenly(sample, 0.1, np.random.default_rng(0))
    >>> told.images is sample.images, told.t == sample.t
    (True, False)
    """
    told = sample.t + wobble * rng.standard_normal()
    return Sample(sample.images, float(np.clip(told, *_TOLD)))


def stacked(one: Movie, chosen: Triplet, window: tuple[slice, ...]) -> Image:
    """The five images of a triplet (see `Sample`), in the movie's units.

    Examples
    --------
    >>> from models.interpolation.movies import movie
    >>> one = movie(np.random.default_rng(0).poisson(9, (5, 32, 32)))
    >>> stacked(one, Triplet(0, 0, 1, 2), (slice(8), slice(8))).shape
    (5, 8, 8)
    """
    frames, truth = one.frames, one.frames if one.clean is None else one.clean
    rows, columns = window
    return np.stack(
        [
            frames[chosen.before, rows, columns],
            frames[chosen.after, rows, columns],
            truth[chosen.target, rows, columns],
            truth[chosen.before, rows, columns],
            truth[chosen.after, rows, columns],
        ]
    ).astype(np.float32)


def _varied(sample: Sample, jitter: float, rng: np.random.Generator) -> Sample:
    images, t = sample
    images = np.rot90(images, int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        images = images[:, :, ::-1]
    if rng.random() < 0.5:
        images, t = images[[1, 0, 2, 4, 3]], 1 - t
    factor = 1 + jitter * rng.uniform(-1, 1)
    shift = jitter * rng.uniform(-0.5, 0.5)
    return Sample(np.ascontiguousarray(images * factor + shift, dtype=np.float32), t)
