"""A set of labelled frames on disk: TIFFs and a table, made in parallel, taken up again."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import tifffile

from agent.offline.simulate.frames import LabelledFrame, draw_frame
from agent.offline.simulate.population import SetName

TABLE = "frames.csv"


def _make(folder: Path, name: SetName, seed: int, index: int) -> LabelledFrame:
    frame, row = draw_frame(name, seed, index)
    tifffile.imwrite(folder / row.file, frame, resolution=(5e5, 5e5), resolutionunit="CENTIMETER")
    return row


def read_table(folder: Path) -> list[dict[str, str]]:
    """Rows of a data set's table; empty where there is none yet.

    A last line without an end, which a killed process may leave, is not one.
    """
    path = folder / TABLE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))


def simulate_quality(
    folder: Path, frames: int, seed: int, workers: int | None = None, name: SetName = "training"
) -> Iterator[int]:
    """Make `frames` labelled frames in `folder`, going on where an earlier call stopped.

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
        Which set: `training` (with a share for validation), or a test set of held-out
        `actin` fields, of `tubulin` or `psd95`, or of `dyes` that training never draws; or
        `robitaille`, frames of actin alone to train the paper's recipe on.

    Yields
    ------
    int
        How many frames are done, after each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_table(folder) if (folder / row["file"]).exists()]
    done = {row["file"] for row in rows}
    missing = [i for i in range(frames) if f"{i:05d}.tif" not in done]
    with (
        (folder / TABLE).open("w", newline="") as file,
        ProcessPoolExecutor(workers or os.cpu_count()) as pool,
    ):
        table = csv.DictWriter(file, [field.name for field in fields(LabelledFrame)])
        table.writeheader()
        table.writerows(rows)
        file.flush()
        made = len(done)
        make = partial(_make, folder, name, seed)
        for future in as_completed([pool.submit(make, i) for i in missing]):
            table.writerow(asdict(future.result()))
            file.flush()
            made += 1
            yield made
