"""Labelled frames from the virtual microscope, for training the quality network.

Every frame is drawn from (seed, index) alone, so that a set can be made in parallel, taken up
again after an interruption, and made anew bit for bit on one platform.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from devices.virtual.dyes import DYES
from devices.virtual.optics import Optics
from devices.virtual.sample import Sample, Structure
from devices.virtual.truth import detail_recovered, quality_label

_SHAPE = (224, 224)
_CANVAS_UM = 9.0
STRUCTURES: tuple[Structure, ...] = ("actin", "tubulin", "psd95")
TABLE = "frames.csv"


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One row of the table beside the images: every parameter of the frame, and its label."""

    file: str
    score: float
    detail: float
    structure: str
    dye: str
    molecules_per_pixel: float
    background_hz: float
    excitation_uw: float
    depletion_mw: float
    dwell_us: float
    line_accumulations: int
    bleached_before: float
    seed: int


@lru_cache(maxsize=len(DYES))
def _optics(dye: str) -> Optics:
    return Optics(DYES[dye])


def draw_frame(seed: int, index: int) -> tuple[NDArray[np.uint16], LabelledFrame]:
    """One random frame (rows × columns, counts) with its row of the table."""
    rng = np.random.default_rng((seed, index))

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    structure = STRUCTURES[rng.integers(len(STRUCTURES))]
    dye = str(rng.choice(sorted(DYES)))
    density = log_uniform(4, 60)
    optics = _optics(dye)
    sample = Sample(
        structure,
        size_um=_CANVAS_UM,
        molecules_per_pixel=density,
        seed=int(rng.integers(2**31)),
    )
    reach = sample.reach_um(_SHAPE, optics.margin)
    # Whole pixels, so that the truth is the canvas itself.
    x, y = np.round(rng.uniform(-reach, reach, 2) / 0.02) * 0.02
    molecules = sample.window(x, y, 0.0, _SHAPE, optics.margin).molecules
    bleached = float(rng.uniform(0, 0.9)) if rng.random() < 0.25 else 0.0
    molecules = rng.binomial(molecules, 1 - bleached)
    row = LabelledFrame(
        file=f"{index:05d}.tif",
        score=0.0,
        detail=0.0,
        structure=structure,
        dye=dye,
        molecules_per_pixel=density,
        background_hz=log_uniform(100, 30_000),
        excitation_uw=log_uniform(0.2, 20),
        depletion_mw=0.0 if rng.random() < 0.05 else float(rng.uniform(5, 350)),
        dwell_us=log_uniform(1, 60),
        line_accumulations=int(rng.choice((1, 1, 2, 4, 8))),
        bleached_before=bleached,
        seed=int(rng.integers(1, 2**31)),
    )
    scan = optics.scan(
        molecules,
        excitation_w=row.excitation_uw * 1e-6,
        depletion_w=row.depletion_mw * 1e-3,
        dwell_s=row.dwell_us * 1e-6,
        passes=row.line_accumulations,
        background_hz=row.background_hz,
        seed=row.seed,
    )
    frame = np.minimum(scan.counts, np.iinfo(np.uint16).max).astype(np.uint16)
    inner = np.s_[optics.margin : -optics.margin, optics.margin : -optics.margin]
    label = {
        "score": quality_label(molecules[inner], frame),
        "detail": detail_recovered(molecules[inner], frame),
    }
    return frame, LabelledFrame(**{**asdict(row), **label})


def _make(folder: Path, seed: int, index: int) -> LabelledFrame:
    frame, row = draw_frame(seed, index)
    tifffile.imwrite(folder / row.file, frame, resolution=(5e5, 5e5), resolutionunit="CENTIMETER")
    return row


def read_table(folder: Path) -> list[dict[str, str]]:
    """Rows of a data set's table; empty where there is none yet."""
    path = folder / TABLE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def simulate_quality(
    folder: Path, frames: int, seed: int, workers: int | None = None
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

    Yields
    ------
    int
        How many frames are done, after each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = {row["file"] for row in read_table(folder) if (folder / row["file"]).exists()}
    missing = [i for i in range(frames) if f"{i:05d}.tif" not in done]
    names = [field.name for field in fields(LabelledFrame)]
    fresh = not (folder / TABLE).exists()
    with (
        (folder / TABLE).open("a", newline="") as file,
        ProcessPoolExecutor(workers or os.cpu_count()) as pool,
    ):
        table = csv.DictWriter(file, names)
        if fresh:
            table.writeheader()
        made = len(done)
        for future in as_completed([pool.submit(partial(_make, folder, seed), i) for i in missing]):
            table.writerow(asdict(future.result()))
            file.flush()
            made += 1
            yield made
