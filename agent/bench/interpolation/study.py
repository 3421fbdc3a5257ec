"""Movies of the interpolation benchmark, and what every method makes of their dropped frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from agent.bench.interpolation.measures import Judge, foreground_of, ranked
from agent.bench.interpolation.methods import (
    BLURRED,
    Method,
    NetworkMethod,
    blurred_blends,
    classical,
    fitted,
)
from agent.offline.simulate.movie_scenes import MovieSet
from agent.offline.simulate.movie_set import CLEAN, simulate_movies
from models.restoration.calibration import COVERAGE, half_width

REAL_FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "movies"
"""Real movies that developers have beside the project; not part of it."""
REAL = ("mitosis_C1", "mitocheck_h2b", "golgi_bfa")
GENERATED, JUMPING = "generated", "jumping nuclei"
"""Sets of movies of the generator; in the second nuclei leap by up to 20 pixels a frame."""
GENERATED_SEED = 17
# Every kind of scene twice; and as many jumping ones as leave the spread of a mean small.
MOVIES: Mapping[str, int] = MappingProxyType({GENERATED: 34, JUMPING: 12})
_SETS: Mapping[str, MovieSet] = MappingProxyType({GENERATED: "test", JUMPING: "jumping"})

Row = dict[str, float]
"""Figures of one rebuilt frame: those of `measures.Score`, and of the uncertainty if there is one:
`sd` (root mean square, of the movie's range), `pixels` (its rank correlation with the error) and
`covered` (share of the true pixels in their 90% interval)."""


@dataclass(frozen=True, slots=True)
class StudiedMovie:
    """One movie.

    Parameters
    ----------
    name
        Of its file.
    real
        Whether it was measured; the truth is then the measured movie.
    frames, truth
        T × rows × columns each.
    group
        Line of the table in which a generated movie counts.
    """

    name: str
    real: bool
    frames: NDArray[Any]
    truth: NDArray[Any]
    group: str = GENERATED


class DroppedFrame(NamedTuple):
    """A dropped frame and its neighbours that were kept, by their numbers."""

    before: int
    target: int
    after: int

    @property
    def t(self) -> float:
        """When between the two it is, 0 to 1."""
        return (self.target - self.before) / (self.after - self.before)


def gaps(frames: int, step: int) -> list[DroppedFrame]:
    """Frames that are dropped where one in `step` is kept, with kept ones on both sides."""
    return [
        DroppedFrame(before, target, before + step)
        for before in range(0, frames - step, step)
        for target in range(before + 1, before + step)
    ]


def generated_movies(
    folder: Path,
    number: int,
    group: str = GENERATED,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[StudiedMovie]:
    """Test movies of the generator, made where they are missing; no network has seen them."""
    for _ in simulate_movies(folder, _SETS[group], number, GENERATED_SEED):
        progress()
    for file in sorted(folder.glob("*.tif"))[:number]:
        yield StudiedMovie(
            f"{group} {file.stem}",
            False,
            tifffile.imread(file),
            tifffile.imread(folder / CLEAN / file.name),
            group,
        )


def real_movies() -> list[StudiedMovie]:
    """The real movies; none where they are not there."""
    files = [REAL_FOLDER / f"{name}.tif" for name in REAL]
    if not all(file.exists() for file in files):
        return []
    found = [tifffile.imread(file) for file in files]
    return [StudiedMovie(n, True, frames, frames) for n, frames in zip(REAL, found, strict=True)]


def compared(
    movie: StudiedMovie, networks: Mapping[str, Method], step: int, judge: Judge | None = None
) -> dict[str, list[Row]]:
    """Figures of every dropped frame, by method.

    Of the blurred blends, the width is taken that is nearest to the truth on this movie.

    Parameters
    ----------
    movie
        What is dropped from, all of it.
    networks
        More methods; of one that is a `Network`, also what it is when fitted to the kept
        frames. All get the frames as they were measured: only the judge clips.
    step
        One frame in so many is kept.
    judge
        By default one for this movie.
    """
    judge = judge or Judge(movie.truth)
    methods = classical(judge) | dict(networks)
    for name, network in networks.items():
        if isinstance(network, NetworkMethod):
            methods[fitted(name)] = network.fitted(movie.frames[::step])
    rows: dict[str, list[Row]] = {}
    blurred: list[list[Row]] = []
    for gap in gaps(len(movie.frames), step):
        true = movie.truth[gap.target]
        foreground = foreground_of(list(movie.truth[gap.target - 1 : gap.target + 2]))

        def row(
            image: NDArray[Any],
            sd: NDArray[Any] | None = None,
            *,
            true: NDArray[Any] = true,
            foreground: NDArray[np.bool_] = foreground,
        ) -> Row:
            figures: Row = asdict(judge.score(image, true, foreground))
            if sd is not None:
                figures["sd"] = float(np.sqrt(np.mean(np.square(sd, dtype=float)))) / judge.span
                error = np.abs(image - true.astype(np.float64))
                figures["pixels"] = ranked(sd, error)
                figures["covered"] = float(np.mean(error <= half_width(COVERAGE) * sd))
            return figures

        pair = movie.frames[gap.before], movie.frames[gap.after]
        for name, method in methods.items():
            rows.setdefault(name, []).append(row(*method(*pair, gap.t)))
        blurred.append([row(image) for image in blurred_blends(*pair, gap.t)])
    widths = [list(own) for own in zip(*blurred, strict=True)]
    rows[BLURRED] = max(widths, key=lambda own: mean_of(own, "psnr"))
    return rows


def mean_of(rows: Sequence[Row], key: str) -> float:
    """Mean of a figure over frames; those that have none do not count."""
    values = [row[key] for row in rows if key in row and np.isfinite(row[key])]
    return float(np.mean(values)) if values else float("nan")
