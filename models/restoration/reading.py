"""Reads inputs and targets from folders."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality.table import read_frame
from models.refusals import refused
from models.restoration.pairs import SPLITS, Frame, Pairs, check_matched, checked

TABLE = "fields.csv"
ENDINGS = (
    *(".ome.tif", ".ome.tiff", ".tif", ".tiff", ".lsm", ".ome.zarr", ".zarr"),
    *(".msr", ".obf", ".lif"),
)
# Columns that only `stedfast simulate labels` writes together.
_SIMULATED = {"set", "seed", "maps"}
Reader = Callable[[Path], Sequence[NDArray[Any]]]
"""Reads the frames of a file, each rows × columns."""


def read_pairs(
    folder: Path,
    source: str,
    target: str,
    *,
    paired: bool = True,
    read: Reader = lambda path: [read_frame(path)],
) -> Pairs:
    """Frames of two channels of a folder, sorted by name; those of a stack are one field.

    Parameters
    ----------
    folder
        Has a folder for each channel, with one file for each frame, and perhaps a `fields.csv`
        with the columns name, field and split.
    source, target
        Folders of inputs and targets; may be the same, or paths of their own.
    paired
        Whether the frames of one name must be a pair.
    read
        Reads a file; by default a plain TIFF of one frame.

    Raises
    ------
    ValueError
        A folder or a partner is missing, a file cannot be used, shapes differ, or the table is
        wrong; names file and value.
    """
    table = _table(folder / TABLE)
    simulated = any(row.keys() >= _SIMULATED for row in table.values())
    inputs = _frames(folder / source, table, read)
    targets = inputs if target == source else _frames(folder / target, table, read)
    if paired:
        check_matched(folder, source, target, inputs, targets)
    for name, frames in ((source, inputs), (target, targets)):
        if all(np.ptp(frame.image) == 0 for frame in frames):
            raise ValueError(
                f"{folder / name}: every frame is constant; accepted: frames that show something"
            )
    return Pairs(
        tuple(inputs), tuple(targets), paired, folder.name, (source, target), (), simulated
    )


def _table(file: Path) -> dict[str, dict[str, str]]:
    """Rows of the table by name; none where there is no table."""
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: not a readable CSV ({error})") from None
    if "name" not in columns:
        raise ValueError(
            f"{file}: found columns {', '.join(columns) or 'nothing'}; accepted: a CSV with a"
            " header, the column name and perhaps field and split"
        )
    table: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        split = row.get("split") or ""
        if split and split not in SPLITS:
            raise ValueError(f"{file}, line {line}: split: {refused(split, SPLITS)}")
        if row["name"] in table:
            raise ValueError(f"{file}, line {line}: {row['name']!r} stands here twice")
        table[row["name"]] = row
    return table


def _frames(folder: Path, table: dict[str, dict[str, str]], read: Reader) -> list[Frame]:
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; accepted: two folders with frames of the same names"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((end for end in ENDINGS if path.name.lower().endswith(end)), None)
        if ending is None or path.name.startswith("."):
            continue
        name = path.name[: -len(ending)]
        if name in files:
            raise ValueError(f"{path}: the same name as {files[name].name}; one of them must go")
        files[name] = path
    if not files:
        raise ValueError(f"{folder}: no frames; accepted: {', '.join(ENDINGS)}")
    frames = []
    for name, path in files.items():
        if table and name not in table:
            raise ValueError(f"{path}: has no row in {TABLE}; accepted: one for every frame")
        row = table.get(name, {})
        field, part = row.get("field") or name, row.get("split") or ""
        images = read(path)
        for number, image in enumerate(images):
            of_stack = f"{name}[{number}]" if len(images) > 1 else name
            frames.append(Frame(of_stack, checked(image, str(path)), field, part))
    return frames
