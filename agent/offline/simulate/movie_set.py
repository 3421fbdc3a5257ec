"""A set of generated movies on disk: TIFFs and a table, made in parallel, taken up again.

Folder layout: `<name>.tif`, the movie as it is measured (frames × rows × columns, uint16
counts); `clean/<name>.tif`, the mean of every frame (float32 counts); and `movies.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tifffile

from agent.config.reading import UserError
from agent.offline.simulate.data_set import read_rows, simulate_set
from agent.offline.simulate.movie_scenes import MOVIE_SETS, MovieSet
from agent.offline.simulate.movies import COLUMNS, draw_movie
from devices.refusals import unknown

MOVIES = "movies.csv"
CLEAN = "clean"


def parse_set(name: str) -> MovieSet:
    """The set of this name.

    Raises
    ------
    UserError
        There is none.
    """
    for known in MOVIE_SETS:
        if known == name:
            return known
    raise UserError(f"--set {name}: {unknown(name, MOVIE_SETS, 'set')}")


def read_movies(folder: Path) -> list[dict[str, str]]:
    """Rows of a data set's table; empty where there is none yet."""
    return read_rows(folder / MOVIES)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    """Noisy and clean file of a movie."""
    return folder / f"{name}.tif", folder / CLEAN / f"{name}.tif"


def _make(folder: Path, name: MovieSet, seed: int, index: int) -> dict[str, Any]:
    clean, noisy, row = draw_movie(name, seed, index)
    measured, truth = _files(folder, row["name"])
    tifffile.imwrite(measured, noisy, photometric="minisblack", metadata={"axes": "TYX"})
    tifffile.imwrite(truth, clean, photometric="minisblack", metadata={"axes": "TYX"})
    return row


def simulate_movies(
    folder: Path, name: MovieSet, number: int, seed: int, workers: int | None = None
) -> Iterator[int]:
    """Make `number` movies in `folder`, continuing where an earlier call stopped.

    Parameters
    ----------
    folder
        Gets the movies, their truth in `clean`, and `movies.csv` (see `movies.Movie`,
        `movies.Exposure` and `movie_facts.Facts`).
    name
        Which set: `training` (with a share for validation) or `test`.
    number
        How many movies the finished set has.
    seed
        Of the whole set.
    workers
        Processes; by default one a core.

    Yields
    ------
    int
        How many movies are done, after each.

    Raises
    ------
    UserError
        The folder holds movies of another set or seed.
    """
    (folder / CLEAN).mkdir(parents=True, exist_ok=True)
    yield from simulate_set(
        folder / MOVIES,
        COLUMNS,
        number,
        partial(_make, folder, name, seed),
        complete=lambda row: all(file.exists() for file in _files(folder, row["name"])),
        asked={"set": name, "seed": str(seed)},
        workers=workers,
    )
