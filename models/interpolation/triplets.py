"""Two frames and one between them, and which of them are learned from and judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.interpolation.movies import Movie

_VALIDATION = 0.15
"""Share of many movies that validates; chosen."""
# Fewer movies than this are divided by time, each: one of three would be a third of all there is.
_FEW = 4
_LAST_PART = 0.2
"""Share of each of few movies that validates, at its end; chosen."""


class Triplet(NamedTuple):
    """Two frames and one between them, by movie and frame numbers.

    Parameters
    ----------
    time
        When between the two the target is, where its number does not say it.

    Examples
    --------
    >>> Triplet(movie=0, before=4, target=5, after=8).t
    0.25
    """

    movie: int
    before: int
    target: int
    after: int
    time: float | None = None

    @property
    def t(self) -> float:
        """When between the two the target is, 0 to 1."""
        if self.time is not None:
            return self.time
        return (self.target - self.before) / (self.after - self.before)


class Division(NamedTuple):
    """What to learn from, by movie, and what to judge by."""

    training: Sequence[Sequence[Triplet]]
    validation: Sequence[Triplet]


def triplets(movies: Sequence[Movie], gaps: Sequence[int], seed: int) -> Division:
    """What to learn from, by movie, and what to judge by.

    Of many movies some are kept aside whole; of few, the last fifth of each, or a third of short
    ones: one noisy frame does not say which is better. No frame is in both
    parts. Only a frame in the middle of the smallest gap is judged.

    Parameters
    ----------
    gaps
        How many frames lie from the one before to the one after, 2 and more.
    seed
        Of the choice of movies.

    Raises
    ------
    ValueError
        There are too few frames.

    Examples
    --------
    >>> from models.interpolation.movies import movie
    >>> frames = np.random.default_rng(0).poisson(9, (10, 32, 32))
    >>> parts = triplets([movie(frames)], gaps=(2,), seed=0)
    >>> [(one.before, one.target, one.after) for one in parts.validation]
    [(7, 8, 9)]
    """
    aside: set[int] = set()
    if len(movies) >= _FEW:
        order = np.random.default_rng(seed).permutation(len(movies))
        aside = {int(i) for i in order[: max(1, round(_VALIDATION * len(movies)))]}
    training: list[list[Triplet]] = []
    validation: list[Triplet] = []
    for index, one in enumerate(movies):
        length = len(one.frames)
        # So many that there is a frame to judge, and three of them if it is not too short for that.
        last = max(3, min(5, length // 3), round(_LAST_PART * length))
        divide = 0 if index in aside else length if aside else length - last
        own = [
            found
            for gap in sorted(gaps)
            for found in _between(index, one, gap)
            if found.after < divide
        ]
        if own:
            training.append(own)
        validation += [found for found in _between(index, one, min(gaps)) if found.before >= divide]
    if not training or not validation:
        missing = "to learn from" if not training else "to judge by"
        raise ValueError(
            f"{', '.join(one.name for one in movies[:3])}: too few frames {missing}; accepted:"
            f" movies of 6 frames and more that are neither copies nor blends, or {_FEW} movies"
        )
    return Division(training, validation)


def _between(index: int, one: Movie, gap: int) -> list[Triplet]:
    """Every frame between two kept ones that are a gap apart."""
    kept = set(one.kept)
    return [
        Triplet(index, before, target, before + gap)
        for before in one.kept
        if before + gap in kept
        for target in range(before + 1, before + gap)
        if target in kept
    ]
