"""Movies to learn from: checked, screened, divided, and cut into crops of three frames and more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from models.interpolation.normalization import Image, Normalization, levels
from models.interpolation.screen import screen_movie

CLEAN = "clean"
"""Folder beside the movies with the same movies without noise, under the same names."""
ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.zarr", ".zarr")
_VALIDATION = 0.15
# Fewer movies than this are divided by time, each: one of three would be a third of all there is.
_FEW = 4
_LAST_PART = 0.2
_SPREAD = 3
# At the measured frames themselves, a network can say nothing of its own.
_TOLD = (0.1, 0.9)

Reader = Callable[[Path], NDArray[Any]]
"""Reads one movie, T × rows × columns."""


@dataclass(frozen=True, slots=True)
class Movie:
    """One movie.

    Parameters
    ----------
    name
        Of its file, without ending.
    frames
        T × rows × columns, as they were measured, in any real type.
    clean
        The same without noise, in the same units; None if unknown.
    kept
        Numbers of the frames to learn from; the others are copies or blends.
    """

    name: str
    frames: NDArray[Any]
    clean: NDArray[Any] | None
    kept: tuple[int, ...]


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


def checked(frames: NDArray[Any], name: str) -> NDArray[Any]:
    """A movie that can be learned from.

    Raises
    ------
    ValueError
        It is no grey movie of three frames or more, of no real numbers, or has pixels that are
        not finite; says `name`.

    Examples
    --------
    >>> checked(np.zeros((3, 8, 8), np.uint16), "movie").shape
    (3, 8, 8)
    """
    if frames.ndim != 3 or 0 in frames.shape:
        raise ValueError(
            f"{name}: found an array of shape {frames.shape}; accepted: a grey movie (t, y, x)"
        )
    if len(frames) < 3:
        raise ValueError(f"{name}: found {len(frames)} frames; accepted: 3 and more")
    if frames.dtype.kind not in "uif":
        raise ValueError(f"{name}: found pixels of type {frames.dtype}; accepted: real numbers")
    # Frame by frame: of a long movie no second copy is made.
    for number, frame in enumerate(frames):
        if not np.isfinite(frame).all():
            raise ValueError(
                f"{name}: frame {number} has pixels that are not finite; accepted: finite numbers"
            )
    return frames


def movie(
    frames: NDArray[Any],
    clean: NDArray[Any] | None = None,
    name: str = "movie",
    *,
    screened: bool = True,
) -> Movie:
    """A movie from arrays.

    Parameters
    ----------
    frames, clean
        T × rows × columns.
    name
        For messages and the card.
    screened
        Leave out copies and blends. Movies with clean targets are generated, and not screened.

    Raises
    ------
    ValueError
        They cannot be used, or too few frames are left.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (5, 32, 32))
    >>> movie(frames, name="cell").kept
    (0, 1, 2, 3, 4)
    """
    frames = checked(np.asanyarray(frames), name)
    if clean is not None:
        clean = checked(np.asanyarray(clean), f"{name}, {CLEAN}")
        if clean.shape != frames.shape:
            raise ValueError(
                f"{name}: its clean movie has the shape {clean.shape}; accepted: that of the"
                f" measured one, {frames.shape}"
            )
    kept = tuple(range(len(frames)))
    if screened and clean is None:
        kept = screen_movie(frames).kept
    if len(kept) < 3:
        raise ValueError(
            f"{name}: {len(kept)} frames are neither copies nor blends of others; accepted: 3"
            " and more"
        )
    return Movie(name, frames, clean, kept)


def read_movies(source: Path, *, screened: bool = True, read: Reader | None = None) -> list[Movie]:
    """Movies of a folder, sorted by name, or of one file.

    Parameters
    ----------
    source
        A file, or a folder with a file for each movie and perhaps a folder `clean` with those of
        the same names without noise.
    screened
        See `movie`.
    read
        Reads a file; by default a plain TIFF, which stays on disk where it is not compressed.

    Raises
    ------
    ValueError
        There is none, or one cannot be used; names the file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> frames = np.random.default_rng(0).poisson(9, (4, 32, 32)).astype(np.uint16)
    >>> with TemporaryDirectory() as folder:
    ...     tifffile.imwrite(Path(folder) / "cell.tif", frames, photometric="minisblack")
    ...     movies = read_movies(Path(folder))
    >>> len(movies), movies[0].frames.shape
    (1, (4, 32, 32))
    """
    read = read or read_tiff
    if source.is_file() or (source.is_dir() and source.name.lower().endswith(".zarr")):
        return [movie(read(source), name=source.name, screened=screened)]
    if not source.is_dir():
        raise ValueError(f"{source}: no such folder or file; accepted: a movie or a folder")
    found = []
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(ENDINGS):
            continue
        beside = source / CLEAN / path.name
        clean = read(beside) if beside.exists() else None
        found.append(movie(read(path), clean, str(path), screened=screened))
    if not found:
        raise ValueError(f"{source}: no movies; accepted: {', '.join(ENDINGS)}")
    return found


def read_tiff(path: Path) -> NDArray[Any]:
    """The frames of a TIFF.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        try:
            mapped: NDArray[Any] = tifffile.memmap(path, mode="r")
        except ValueError:  # compressed, or in pieces
            mapped = tifffile.imread(path)
    except Exception as error:  # anything that a damaged file leads to
        raise ValueError(f"{path}: not a readable TIFF ({error})") from None
    return mapped


def digest(movies: Sequence[Movie]) -> str:
    """SHA-256 of all frames.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (5, 32, 32))
    >>> digest([movie(frames)]) == digest([movie(frames.copy())])
    True
    """
    made = hashlib.sha256()
    for one in movies:
        made.update(f"{Path(one.name).name} {one.frames.shape} {one.frames.dtype}".encode())
        made.update(repr(one.kept).encode())
        for frames in (one.frames, one.clean):
            if frames is not None:
                for frame in frames:
                    made.update(np.ascontiguousarray(frame).data)
    return made.hexdigest()


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
