"""Movies to learn from: what can be used, and how it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from models.interpolation.screen import screen_movie

CLEAN = "clean"
"""Folder beside the movies with the same movies without noise, under the same names."""
ENDINGS = (
    *(".ome.tif", ".ome.tiff", ".tif", ".tiff", ".lsm", ".ome.zarr", ".zarr"),
    *(".msr", ".obf", ".lif"),
)
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
