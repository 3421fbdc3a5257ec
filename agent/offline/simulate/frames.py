"""One labelled frame: drawn, scanned, and compared with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from agent.offline.simulate.population import (
    POPULATIONS,
    REAL_SHARE,
    SETS,
    VALIDATION,
    Chance,
    Population,
    SetName,
    draw_dye,
)
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_light, quick_scan
from devices.virtual.sample import Sample
from devices.virtual.structures import SYNTHETIC
from devices.virtual.truth import detail_recovered, quality_from_detail

_SHAPE = (224, 224)
"""Rows and columns of a frame (pixels); the networks' tile."""
_CANVAS_UM = 9.0
"""Side of the sample that a frame is cut from (µm); chosen."""
_PIXEL_NM = 20.0
_SIZES_NM = (10.0, 30.0)
"""Range of other pixel sizes in training (nm): those that are scored without a flag."""
_OTHER_SIZE = 0.2
"""Share of the training frames that have another pixel size; chosen."""
_RATER_SD = 0.08
"""Standard deviation of the simulated rater beside the label; chosen."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One row of the table beside the images: every parameter of the frame, and its label.

    A frame of another pixel size has the label of the same scan with pixels of 20 nm and as much
    light on each area: what is to be seen does not depend on how it is cut.

    Parameters
    ----------
    file
        TIFF, relative to the table.
    pixel_size_nm
        Side of its pixels (nm).
    score
        Reference label (`devices.virtual.truth.quality_label`).
    rating
        The label as a simulated rater gives it, with normal noise of 0.08.
    detail
        What the label is a function of (`truth.detail_recovered`).
    split
        `training`, `validation` or `test`; "" where training is to split at random.
    structure, maps
        The labelled structure, and which of pySTED's maps of it the sample was made of.
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
    pixel_size_nm: float
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


def draw_frame(name: SetName, seed: int, index: int) -> tuple[NDArray[np.uint16], LabelledFrame]:
    """One random frame (rows × columns, counts) with its row of the table."""
    rng = Chance(SETS.index(name), seed, index)
    split = {"training": "training", "robitaille": ""}.get(name, "test")
    if name == "training" and rng.happens(VALIDATION):
        split = "validation"
    population = POPULATIONS[split if name == "training" else name]
    # Sizes of pixels have chance of their own, so that the rest is drawn as without them.
    sizes = Chance(SETS.index(name), seed, index, 1)
    pixel_nm = _PIXEL_NM
    if split == "training" and sizes.happens(_OTHER_SIZE):
        pixel_nm = round(sizes.log_uniform(*_SIZES_NM), 1)
    while True:
        frame, row, optics, molecules = _draw(rng, population, split, index)
        # Random settings mostly spoil the frame, and there is little to learn from the
        # hundredth that shows nothing.
        if not population.quick or row.score > 0.15 or rng.happens(0.5):
            break
    if pixel_nm == _PIXEL_NM:
        return frame, row
    row = replace(row, pixel_size_nm=pixel_nm)
    return cut_otherwise(optics, molecules, row), row


def _draw(
    rng: Chance, population: Population, split: str, index: int
) -> tuple[NDArray[np.uint16], LabelledFrame, Optics, NDArray[np.int64]]:
    structures = list(population.structures)
    real = [s for s in structures if s not in SYNTHETIC]
    among = (
        real if len(real) == len(structures) or rng.happens(REAL_SHARE) else structures[len(real) :]
    )
    structure = among[int(rng.integers(len(among)))]
    maps = population.structures[structure]
    dye = draw_dye(rng, population.unknown_dyes)
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
        pixel_size_nm=_PIXEL_NM,
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
    return frame, replace(row, detail=detail, score=score, rating=rating), optics, molecules


def cut_otherwise(
    optics: Optics, molecules: NDArray[np.int64], row: LabelledFrame
) -> NDArray[np.uint16]:
    """The same scan with pixels of another size, the same light on each area, other noise."""
    light = quick_light(optics, molecules, **_settings(row))
    size = row.pixel_size_nm / _PIXEL_NM
    at = ((np.arange(int(n / size + 1e-6)) + 0.5) * size - 0.5 for n in light.shape)
    # Cubic: a focus is two or three pixels wide, and straight lines between them would blur it.
    between = map_coordinates(light, np.meshgrid(*at, indexing="ij"), order=3, mode="nearest")
    counts = np.random.default_rng(row.seed).poisson(np.maximum(between, 0) * size**2)
    most = max(1, round(row.saturation * size**2)) if row.saturation else np.iinfo(np.uint16).max
    cut: NDArray[np.uint16] = np.minimum(counts, most).astype(np.uint16)
    return cut


def _scan(optics: Optics, molecules: NDArray[np.int64], row: LabelledFrame) -> NDArray[np.int64]:
    scan = quick_scan if row.scan == "quick" else _raster_scan
    return scan(optics, molecules, **_settings(row))


def _settings(row: LabelledFrame) -> dict[str, Any]:
    return {
        "excitation_w": row.excitation_uw * 1e-6,
        "depletion_w": row.depletion_mw * 1e-3,
        "dwell_s": row.dwell_us * 1e-6,
        "passes": row.line_accumulations,
        "z_um": row.defocus_um,
        "background_hz": row.background_hz,
        "seed": row.seed,
    }


def _raster_scan(
    optics: Optics, molecules: NDArray[np.int64], **settings: Any
) -> NDArray[np.int64]:
    return optics.scan(molecules, **settings).counts
