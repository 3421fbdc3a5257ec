"""Bleaching and resolution, measured from frames, against ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from skimage.filters import threshold_otsu

from agent.bench.measurement import Check, Measurement
from agent.optimizer.objectives.bleaching import bleaching
from agent.optimizer.objectives.resolution import resolution_nm
from devices.sources import Structure
from devices.virtual.dyes import DYES
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan
from devices.virtual.sample import Sample

_FIRST_SEED = 3001
_SEEDS = 4
_STRUCTURES: tuple[Structure, ...] = get_args(Structure)
_CONFOCAL_W = 5e-6
"""Excitation power of the confocal frames (W); chosen."""

_COUNTS = (1.4, 2.5, 5.0, 10.0, 20.0, 50.0)
_BLEACHED = (0.0, 0.1, 0.4)
_BLEACHED_STRUCTURES: tuple[Structure, ...] = ("actin", "tubulin", "psd95", "filaments", "spots")
_BLEACHED_SIDE = 160
_REPEATS = 25
_BACKGROUND = 0.5
"""Of the frames (counts); chosen."""
# A confocal sees molecules beyond the field that the scan never reached; how much was lost
# is asked where it sees none of them.
_BORDER = 10

_SIDES = (160, 224)
_DEPLETION_W = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_LEVELS = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0, float("inf"))
_GOOD_COUNTS = 10.0
"""Counts on the structure from which the resolution is to be answered; chosen."""
_CLOSE = 0.2
"""Relative error within which an answer counts as right; chosen."""


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Several fields of every structure; quick: one seed."""
    used = [_FIRST_SEED + i for i in range(seeds or (1 if quick else _SEEDS))]
    lost = [result for seed in used for result in _bleach(seed)]
    resolved = [result for seed in used for result in _resolve(seed)]
    bias, bleaching_rows = _bleaching_table(lost)
    answers = [r for r in resolved if r.answer is not None]
    good = [r for r in resolved if r.counts >= _GOOD_COUNTS]
    spread = float(np.std([r.error / r.sd for r in lost]))
    return Measurement(
        columns=("measured", "of", "frames", "answered", "bias, or median error", "within 20%"),
        rows=[*bleaching_rows, *_resolution_table(resolved)],
        checks=[
            Check("bleaching: largest |bias|", max(map(abs, bias)), "<=", 0.01),
            Check("bleaching: error / reported sd, at most", spread, "<=", 1.5),
            Check("bleaching: error / reported sd, at least", spread, ">=", 1 / 1.5),
            Check("resolution: answers within 20%", _share(answers), ">=", 0.9),
            Check(
                f"resolution: frames of {_GOOD_COUNTS:g} or more counts answered",
                fmean(r.answer is not None for r in good),
                ">=",
                0.3,
            ),
        ],
        raw={
            "bleaching": [[r.counts, r.true, r.error, r.sd] for r in lost],
            "resolution": [
                [r.structure, r.counts, r.depletion_w, r.true_nm, r.answer] for r in resolved
            ],
        },
        seeds=used,
    )


@dataclass(frozen=True, slots=True)
class _Lost:
    """One estimate of bleaching: nominal counts and share, its error, its sd."""

    counts: float
    true: float
    error: float
    sd: float


def _bleach(seed: int) -> Iterator[_Lost]:
    """Confocal pairs around a bleaching that a STED scan of the field would have caused."""
    optics = Optics(DYES["atto647n"])
    margin, side = optics.margin, _BLEACHED_SIDE
    focus = optics.psf(_CONFOCAL_W, 0.0)
    exposure = optics.bleaching_exponent(5e-6, 0.1, dwell_s=1e-5)
    scanned = np.zeros((side + 2 * margin,) * 2)
    scanned[margin:-margin, margin:-margin] = 1
    reached = np.clip(fftconvolve(scanned, exposure, mode="same") / exposure.sum(), 0, 1)

    def seen(molecules: NDArray[np.int64]) -> NDArray[np.float64]:
        light: NDArray[np.float64] = fftconvolve(molecules, focus, mode="valid")
        return np.maximum(light, 0)

    inner = np.s_[_BORDER:-_BORDER, _BORDER:-_BORDER]
    for number, structure in enumerate(_BLEACHED_STRUCTURES):
        rng = np.random.default_rng((seed, number))
        molecules = _molecules(structure, side, margin, rng)
        first = seen(molecules)
        bright = first > threshold_otsu(first)
        scale = 1 / (first[bright].mean() - np.quantile(first, 0.02))
        for share in _BLEACHED:
            second = seen(rng.binomial(molecules, (1 - share) ** reached))
            true = 1 - second[inner][bright[inner]].sum() / first[inner][bright[inner]].sum()
            for counts in _COUNTS:
                for _ in range(_REPEATS):
                    before, after = (
                        rng.poisson(counts * scale * light + _BACKGROUND)
                        for light in (first, second)
                    )
                    found = bleaching(before, after)
                    yield _Lost(counts, share, found.value - true, found.sd)


@dataclass(frozen=True, slots=True)
class _Resolved:
    """One frame: its mean counts on the structure, its PSF's width (nm) and the objectives."""

    structure: Structure
    counts: float
    depletion_w: float
    true_nm: float
    answer: float | None

    @property
    def error(self) -> float:
        """Of the answer, relative."""
        return float("nan") if self.answer is None else self.answer / self.true_nm - 1


def _resolve(seed: int) -> Iterator[_Resolved]:
    """Bleaching scans of every structure with every dye, at random excitation and dwell time."""
    for number, name in enumerate(sorted(DYES)):
        optics = Optics(DYES[name])
        for kind, structure in enumerate(_STRUCTURES):
            rng = np.random.default_rng((seed, number, kind))
            for side in _SIDES:
                molecules = _molecules(structure, side, optics.margin, rng)
                for depletion_w in _DEPLETION_W:
                    excitation_w = float(np.exp(rng.uniform(*np.log([1e-6, 12e-6]))))
                    frame = quick_scan(
                        optics,
                        molecules,
                        excitation_w=excitation_w,
                        depletion_w=depletion_w,
                        dwell_s=float(np.exp(rng.uniform(*np.log([3e-6, 30e-6])))),
                        background_hz=3000.0,
                        seed=int(rng.integers(1, 2**31)),
                    )
                    light = fftconvolve(molecules, optics.psf(excitation_w, depletion_w), "valid")
                    bright = light > threshold_otsu(light)
                    if not bright.any():
                        continue
                    yield _Resolved(
                        structure,
                        float(frame[bright].mean() - frame[~bright].mean()),
                        depletion_w,
                        optics.psf_fwhm_nm(excitation_w, depletion_w),
                        resolution_nm(frame, optics.pixel_size_nm),
                    )


def _molecules(
    structure: Structure, side: int, margin: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A field of a fresh sample, labelled at random."""
    sample = Sample(
        structure,
        size_um=7.5,
        molecules_per_pixel=float(np.exp(rng.uniform(*np.log([10, 50])))),
        seed=int(rng.integers(2**31)),
    )
    return sample.window(0, 0, 0.0, (side, side), margin).molecules


def _bleaching_table(lost: Sequence[_Lost]) -> tuple[list[float], list[tuple[Any, ...]]]:
    biases, rows = [], []
    for counts in _COUNTS:
        for share in _BLEACHED:
            errors = [r.error for r in lost if r.counts == counts and r.true == share]
            biases.append(fmean(errors))
            shown = f"{biases[-1]:+.4f} ± {stdev(errors) / len(errors) ** 0.5:.4f}"
            what = f"{share:.0%}, {counts:g} counts"
            rows.append(("bleaching", what, len(errors), "", shown, ""))
    return biases, rows


def _resolution_table(resolved: Sequence[_Resolved]) -> Iterator[tuple[Any, ...]]:
    groups: list[tuple[str, list[_Resolved]]] = [
        (structure, [r for r in resolved if r.structure == structure]) for structure in _STRUCTURES
    ]
    for low, high in pairwise(_LEVELS):
        within = [r for r in resolved if low <= r.counts < high]
        groups.append((f"{low:g} to {high:g} counts", within))
    for power in _DEPLETION_W:
        within = [r for r in resolved if r.depletion_w == power]
        groups.append((f"{power * 1e3:g} mW", within))
    for name, frames in groups:
        answers = [r for r in frames if r.answer is not None]
        answered = f"{len(answers) / len(frames):.2f}" if frames else "-"
        error = f"{median(r.error for r in answers):+.3f}" if answers else "-"
        close = f"{_share(answers):.2f}" if answers else "-"
        yield ("resolution", name, len(frames), answered, error, close)


def _share(answers: Sequence[_Resolved]) -> float:
    return fmean(abs(r.error) < _CLOSE for r in answers) if answers else 0.0
