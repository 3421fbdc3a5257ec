"""Rated frames from a folder: a table ``frames.csv`` and the TIFFs that it names."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from models.refusals import refused

Reader = Callable[[Path], tuple[NDArray[np.generic], float | None]]
"""Reads one frame, rows × columns, and its pixel size (nm) where the file says it."""

TABLE = "frames.csv"
_ACCEPTED = "accepted: a CSV with a header and at least the columns file, {}"
_SPLITS = ("", "training", "validation", "test")


@dataclass(frozen=True, slots=True)
class Rating:
    """One row of the table.

    Parameters
    ----------
    path
        The frame's TIFF.
    score
        In [0, 1].
    structure
        The labelled structure, "" where the table does not say.
    pixel_size_nm
        Pixel size (nm); None where the table does not say it: then it is the file's, or 20.
    split
        `training`, `validation` or `test`; "" where the table leaves that to chance.
    field
        Name of the field of view: frames of one field stay in one part of a random split.
    simulated
        Whether frame and score come from `stedfast simulate quality` (the column `scan` says so).
    """

    path: Path
    score: float
    structure: str = ""
    pixel_size_nm: float | None = None
    split: str = ""
    field: str = ""
    simulated: bool = False


def _number(table: Path, line: int, column: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        accepted = f"a number from {low:g} to {high:g}"
        raise ValueError(f"{table}, line {line}: {column}: found {text!r}; accepted: {accepted}")
    return value


def _size(table: Path, line: int, text: str) -> float | None:
    return _number(table, line, "pixel_size_nm", text, 1, 1000) if text.strip() else None


def _split(table: Path, line: int, text: str) -> str:
    if text not in _SPLITS:
        raise ValueError(f"{table}, line {line}: split: {refused(text, _SPLITS[1:])}")
    return text


def read_ratings(data: Path, column: str = "score") -> list[Rating]:
    """Rows of a rated set, sorted by file name so that their order in the table is no matter.

    Parameters
    ----------
    data
        A folder with a `frames.csv`, or any CSV; files are relative to the CSV's folder.
        Columns: `file`, `score` (in [0, 1]) and, if present, `structure`, `pixel_size_nm`,
        `split` (training, validation, test) and `field`.
    column
        Another name of the column with the scores.

    Raises
    ------
    ValueError
        For a missing or empty table, missing columns, files that do not exist and values out
        of range; names table, line and value.
    """
    table = data / TABLE if data.is_dir() else data
    accepted = _ACCEPTED.format(column)
    if not table.is_file():
        raise ValueError(f"{table}: no such file; {accepted}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: not a readable CSV ({error}); {accepted}") from None
    if not {"file", column} <= set(columns):
        raise ValueError(f"{table}: found columns {', '.join(columns) or 'nothing'}; {accepted}")
    if not rows:
        raise ValueError(f"{table}: no rows below the header; {accepted}")
    ratings: list[Rating] = []
    for line, row in enumerate(rows, start=2):
        path = table.parent / (row["file"] or "")
        if not row["file"] or not path.is_file():
            raise ValueError(
                f"{table}, line {line}: file is {row['file']!r}, which does not exist;"
                f" accepted: the path of a TIFF below {table.parent}"
            )
        ratings.append(
            Rating(
                path=path,
                score=_number(table, line, column, row[column] or "", 0, 1),
                structure=row.get("structure") or "",
                pixel_size_nm=_size(table, line, row.get("pixel_size_nm") or ""),
                split=_split(table, line, row.get("split") or ""),
                field=row.get("field") or "",
                simulated=bool(row.get("scan")),
            )
        )
    _check_splits(table, ratings)
    return sorted(ratings, key=lambda rating: rating.path.name)


def _check_splits(table: Path, ratings: list[Rating]) -> None:
    """A frame that several rows rate is in one part only."""
    parts: dict[Path, str] = {}
    for line, rating in enumerate(ratings, start=2):
        part = parts.setdefault(rating.path.resolve(), rating.split)
        if part != rating.split:
            raise ValueError(
                f"{table}, line {line}: {rating.path.name} is in {rating.split!r} here and in"
                f" {part!r} above; accepted: one split for all rows of a file"
            )


def read_plain(path: Path) -> tuple[NDArray[np.generic], float | None]:
    """The frame of a plain TIFF; its pixel size is not read."""
    return read_frame(path), None


def read_frame(path: Path) -> NDArray[np.generic]:
    """One frame, rows × columns, of a plain TIFF.

    Raises
    ------
    ValueError
        For a file that is no TIFF or holds no single grey image; names file and shape.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     tifffile.imwrite(Path(folder) / "00.tif", np.zeros((8, 8), np.uint16))
    ...     frame = read_frame(Path(folder) / "00.tif")
    >>> frame.shape
    (8, 8)
    """
    try:
        frame: NDArray[np.generic] = tifffile.imread(path)
    except Exception as error:  # anything that a damaged file leads to
        raise ValueError(f"{path}: not a readable TIFF ({error})") from None
    if frame.ndim != 2:
        raise ValueError(
            f"{path}: found an image of shape {frame.shape}; accepted: one grey image (y, x)"
        )
    return frame
