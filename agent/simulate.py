"""Labelled frames from the virtual microscope, for the quality network.

Every frame is drawn from (set, seed, index) alone, so that a set can be made in parallel, taken
up again after an interruption, and made anew bit for bit on one platform.

No sample of one set or split is in another: pySTED's six maps of actin are divided between
training, validation and test, its maps of tubulin and PSD95 are for tests only. What training
lacks in real structures it gets from drawn ones (`devices.virtual.structures`).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from devices.config import Structure
from devices.virtual.dyes import DYES, Dye
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan
from devices.virtual.sample import Sample
from devices.virtual.structures import SYNTHETIC
from devices.virtual.truth import detail_recovered, quality_from_detail

_SHAPE = (224, 224)
_CANVAS_UM = 9.0
_VALIDATION = 0.03
"""Share of a training set that goes into its validation part."""
_RATER_SD = 0.08
TABLE = "frames.csv"

SetName = Literal["training", "actin", "tubulin", "psd95", "dyes", "robitaille"]
_Maps = dict[Structure, tuple[int, ...] | None]


@dataclass(frozen=True, slots=True)
class Population:
    """What the frames of one split are drawn from.

    Parameters
    ----------
    structures
        With which of pySTED's maps; None for all of them or where there are none.
    unknown_dyes
        Dyes outside the range that training draws from.
    quick
        Scanned by convolution rather than pixel by pixel, and fewer of the worst frames.
    """

    structures: _Maps
    unknown_dyes: bool = False
    quick: bool = False


_SYNTHETIC: _Maps = dict.fromkeys(SYNTHETIC)  # type: ignore[arg-type]
_REAL_SHARE = 0.35
"""Of the frames of a population that has real and drawn structures."""
POPULATIONS = MappingProxyType(
    {
        "training": Population({"actin": (0, 1, 2), **_SYNTHETIC}, quick=True),
        "validation": Population({"actin": (3,), **_SYNTHETIC}),
        "actin": Population({"actin": (4, 5)}),
        "tubulin": Population({"tubulin": None}),
        "psd95": Population({"psd95": None}),
        "dyes": Population({"actin": (4, 5)}, unknown_dyes=True),
        "robitaille": Population({"actin": (0, 1, 2)}, quick=True),
    }
)
SETS: tuple[SetName, ...] = ("training", "actin", "tubulin", "psd95", "dyes", "robitaille")


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One row of the table beside the images: every parameter of the frame, and its label.

    Parameters
    ----------
    file
        TIFF, relative to the table.
    score
        Reference label (`devices.virtual.truth.quality_label`).
    rating
        The label as a simulated rater gives it, with normal noise of 0.08.
    detail
        What the label is a function of (`truth.detail_recovered`).
    split
        `training`, `validation` or `test`; "" where training is to split at random.
    structure, maps
        What is labelled, and which of pySTED's maps of it the sample was made of.
    dye, sigma_abs_m2, sigma_ste_m2, lifetime_ns, quantum_yield, bleach_k1
        The named dye that this one was varied from, and its properties.
    molecules_per_pixel
        Labelling density where the structure is densest.
    background_hz
        Counted background (1/s).
    excitation_uw, depletion_mw, dwell_us, line_accumulations
        Settings; powers on the sample.
    bleached_before
        Share of the molecules that earlier scans had bleached.
    drift_nm
        Distance that the sample moved during the scan.
    defocus_um
        Distance of the sample from the focal plane.
    saturation
        Counts above which the detector shows no more; 0 for a detector without a limit.
    scan
        `raster` (pySTED) or `quick` (`devices.virtual.quick`).
    seed
        Of the scan's noise.
    """

    file: str
    score: float
    rating: float
    detail: float
    split: str
    structure: str
    maps: str
    dye: str
    sigma_abs_m2: float
    sigma_ste_m2: float
    lifetime_ns: float
    quantum_yield: float
    bleach_k1: float
    molecules_per_pixel: float
    background_hz: float
    excitation_uw: float
    depletion_mw: float
    dwell_us: float
    line_accumulations: int
    bleached_before: float
    drift_nm: float
    defocus_um: float
    saturation: int
    scan: str
    seed: int


class _Chance(np.random.Generator):
    """numpy's generator, and draws that are even on a logarithmic scale."""

    def __init__(self, *entropy: int) -> None:
        super().__init__(np.random.PCG64(entropy))

    def log_uniform(self, low: float, high: float) -> float:
        return float(np.exp(self.uniform(np.log(low), np.log(high))))

    def happens(self, probability: float) -> bool:
        return bool(self.random() < probability)


def _draw_dye(rng: _Chance, unknown: bool) -> Dye:
    """One of the named dyes varied by a quarter or so; or one that none of these reaches."""
    dye = DYES[str(rng.choice(sorted(DYES)))]
    if unknown:
        return replace(
            dye,
            sigma_ste=rng.log_uniform(
                *((6.5e-22, 9e-22) if rng.happens(0.5) else (0.8e-22, 1.3e-22))
            ),
            bleach_k1=rng.log_uniform(*((5.5e-15, 9e-15) if rng.happens(0.5) else (1e-16, 3e-16))),
            lifetime=rng.log_uniform(*((4.5e-9, 5.5e-9) if rng.happens(0.5) else (1.2e-9, 2.0e-9))),
            quantum_yield=float(rng.uniform(0.1, 0.25)),
        )
    return replace(
        dye,
        sigma_abs=dye.sigma_abs * rng.log_uniform(0.8, 1.25),
        sigma_ste=dye.sigma_ste * rng.log_uniform(0.8, 1.25),
        bleach_k1=dye.bleach_k1 * rng.log_uniform(1 / 1.6, 1.6),
        lifetime=dye.lifetime * rng.log_uniform(1 / 1.15, 1.15),
        quantum_yield=dye.quantum_yield * rng.log_uniform(0.8, 1.25),
    )


def draw_frame(name: SetName, seed: int, index: int) -> tuple[NDArray[np.uint16], LabelledFrame]:
    """One random frame (rows × columns, counts) with its row of the table."""
    rng = _Chance(SETS.index(name), seed, index)
    split = {"training": "training", "robitaille": ""}.get(name, "test")
    if name == "training" and rng.happens(_VALIDATION):
        split = "validation"
    population = POPULATIONS[split if name == "training" else name]
    while True:
        frame, row = _draw(rng, population, split, index)
        # Random settings mostly spoil the frame, and there is little to learn from the
        # hundredth that shows nothing.
        if not population.quick or row.score > 0.15 or rng.happens(0.5):
            return frame, row


def _draw(
    rng: _Chance, population: Population, split: str, index: int
) -> tuple[NDArray[np.uint16], LabelledFrame]:
    structures = list(population.structures)
    real = [s for s in structures if s not in SYNTHETIC]
    among = (
        real
        if len(real) == len(structures) or rng.happens(_REAL_SHARE)
        else structures[len(real) :]
    )
    structure = among[int(rng.integers(len(among)))]
    maps = population.structures[structure]
    dye = _draw_dye(rng, population.unknown_dyes)
    optics = Optics(dye)
    dwell_us, lines = rng.log_uniform(1, 60), int(rng.choice((1, 1, 2, 4, 8)))
    line_s = _SHAPE[1] * dwell_us * 1e-6 * lines
    density = rng.log_uniform(4, 60)
    drift_nm_per_s = rng.log_uniform(0.5, 50) if rng.happens(0.5) else 0.0
    sample = Sample(
        structure,
        size_um=_CANVAS_UM,
        molecules_per_pixel=density,
        drift_nm_per_s=drift_nm_per_s,
        maps=maps,
        seed=int(rng.integers(2**31)),
    )
    reach = sample.reach_um(_SHAPE, optics.margin)
    x, y = np.round(rng.uniform(-reach, reach, 2) / 0.02) * 0.02
    # The sample moves on from line to line: what the beam meets is sheared. A frame cannot
    # show that, so that the label asks for the structure as the beam met it.
    times = (np.arange(_SHAPE[0] + 2 * optics.margin)[:, None] - optics.margin) * line_s
    molecules = sample.window(x, y, times, _SHAPE, optics.margin).molecules
    bleached = float(rng.uniform(0, 0.9)) if rng.happens(0.25) else 0.0
    molecules = rng.binomial(molecules, 1 - bleached)
    row = LabelledFrame(
        file=f"{index:05d}.tif",
        score=0.0,
        rating=0.0,
        detail=0.0,
        split=split,
        structure=structure,
        maps=" ".join(map(str, maps or ())),
        dye=dye.name,
        sigma_abs_m2=dye.sigma_abs,
        sigma_ste_m2=dye.sigma_ste,
        lifetime_ns=dye.lifetime * 1e9,
        quantum_yield=dye.quantum_yield,
        bleach_k1=dye.bleach_k1,
        molecules_per_pixel=density,
        background_hz=rng.log_uniform(100, 30_000),
        excitation_uw=rng.log_uniform(0.2, 20),
        depletion_mw=0.0 if rng.happens(0.05) else float(rng.uniform(5, 350)),
        dwell_us=dwell_us,
        line_accumulations=lines,
        bleached_before=bleached,
        drift_nm=drift_nm_per_s * line_s * _SHAPE[0],
        defocus_um=float(rng.normal(0, 0.25)) if rng.happens(0.25) else 0.0,
        saturation=0,
        scan="quick" if population.quick else "raster",
        seed=int(rng.integers(1, 2**31)),
    )
    counts = _scan(optics, molecules, row)
    if rng.happens(0.08) and counts.max() > 8:
        row = replace(row, saturation=int(counts.max() * rng.uniform(0.15, 0.8)))
        counts = np.minimum(counts, row.saturation)
    frame = np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)
    inner = np.s_[optics.margin : -optics.margin, optics.margin : -optics.margin]
    detail = detail_recovered(molecules[inner], frame)
    score = quality_from_detail(detail)
    rating = float(np.clip(score + rng.normal(0, _RATER_SD), 0, 1))
    return frame, replace(row, detail=detail, score=score, rating=rating)


def _scan(optics: Optics, molecules: NDArray[np.int64], row: LabelledFrame) -> NDArray[np.int64]:
    scan = quick_scan if row.scan == "quick" else _raster_scan
    return scan(
        optics,
        molecules,
        excitation_w=row.excitation_uw * 1e-6,
        depletion_w=row.depletion_mw * 1e-3,
        dwell_s=row.dwell_us * 1e-6,
        passes=row.line_accumulations,
        z_um=row.defocus_um,
        background_hz=row.background_hz,
        seed=row.seed,
    )


def _raster_scan(
    optics: Optics, molecules: NDArray[np.int64], **settings: Any
) -> NDArray[np.int64]:
    return optics.scan(molecules, **settings).counts


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
