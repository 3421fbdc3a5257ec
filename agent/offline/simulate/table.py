"""A set of labelled frames on disk: TIFFs and a table, made in parallel, taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import tifffile

from agent.offline.simulate.data_set import read_rows, simulate_set
from agent.offline.simulate.frames import LabelledFrame, draw_frame
from agent.offline.simulate.population import SetName

TABLE = "frames.csv"


def _make(folder: Path, name: SetName, seed: int, index: int) -> dict[str, Any]:
    frame, row = draw_frame(name, seed, index)
    per_cm = 1e7 / row.pixel_size_nm
    tifffile.imwrite(
        folder / row.file, frame, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER"
    )
    return asdict(row)


def read_table(folder: Path) -> list[dict[str, str]]:
    """Rows of a data set's table; empty where there is none yet."""
    return read_rows(folder / TABLE)


def simulate_quality(
    folder: Path, frames: int, seed: int, workers: int | None = None, name: SetName = "training"
) -> Iterator[int]:
    """Make `frames` labelled frames in `folder`, continuing where an earlier call stopped.

    Parameters
    ----------
    folder
        Gets one TIFF a frame and `frames.csv` (see `LabelledFrame`).
    frames
        How many the finished set has.
    seed
        Of the whole set.
    workers
        Processes; by default one a core.
    name
        Which set: `training` (half of it with pixels of 10 to 30 nm, the rest of 20 nm, and a
        share for validation), or a test set of held-out
        `actin` fields, of `tubulin` or `psd95`, or of `dyes` that training never draws; or
        `robitaille`, frames of actin alone to train the paper's recipe on.

    Yields
    ------
    int
        How many frames are done, after each.
    """
    yield from simulate_set(
        folder / TABLE,
        [field.name for field in fields(LabelledFrame)],
        frames,
        partial(_make, folder, name, seed),
        complete=lambda row: (folder / row["file"]).exists(),
        named="file",
        workers=workers,
    )
