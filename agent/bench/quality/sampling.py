"""One sample scanned with pixels of several sizes, and frames that something happened to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, median_filter, uniform_filter

from agent.offline.simulate.population import Chance, draw_dye
from devices.config import Structure
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_mean
from devices.virtual.sample import Sample

SIZES_NM = (12.0, 15.0, 18.0, 19.5, 20.5, 22.0, 25.0, 30.0)
"""Pixel sizes that are compared with 20 nm (nm)."""
_FINE_NM = 10.0
"""Grid on which the mean image is computed (nm)."""
_SIDE_NM = 4480.0
_STRUCTURES: tuple[tuple[Structure, tuple[int, ...] | None], ...] = (
    ("actin", (4, 5)),
    ("tubulin", None),
    ("actin", (4, 5)),
    ("psd95", None),
)
_WORTH = 0.2
"""Score of a frame from which it is asked whether what happened to it is named; chosen."""

Frame = NDArray[Any]
Change = Callable[[Frame, Frame, np.random.Generator], Frame]
"""Of a frame, one of another sample, and chance."""


@dataclass(frozen=True, slots=True)
class ExpectedImage:
    """The image that a scan has on average (photons in each pixel of 10 nm)."""

    mean: NDArray[np.float64]

    def frame(self, pixel_nm: float, seed: Sequence[int]) -> Frame:
        """Counts of a scan with pixels of this size, with the same light on each area."""
        count = int(_SIDE_NM / pixel_nm + 1e-6)
        at = (np.arange(count) + 0.5) * pixel_nm / _FINE_NM - 0.5
        light = map_coordinates(self.mean, np.meshgrid(at, at, indexing="ij"), mode="nearest")
        photons = np.maximum(light, 0) * (pixel_nm / _FINE_NM) ** 2
        counts: Frame = np.random.default_rng(seed).poisson(photons).astype(np.uint16)
        return counts


def draw_scene(seed: int, index: int) -> ExpectedImage:
    """A held-out sample under random settings, which mostly show something."""
    rng = Chance(seed, index)
    structure, maps = _STRUCTURES[index % len(_STRUCTURES)]
    optics = Optics(draw_dye(rng, unknown=False), _FINE_NM)
    sample = Sample(
        structure,
        size_um=9.0,
        molecules_per_pixel=rng.log_uniform(8, 60),
        maps=maps,
        seed=int(rng.integers(2**31)),
    )
    margin = -(-optics.margin // 2)
    shape = (round(_SIDE_NM / sample.pixel_size_nm),) * 2
    x, y = rng.uniform(-1, 1, 2) * sample.reach_um(shape, margin)
    molecules = sample.window(x, y, 0.0, shape, margin).molecules
    # Each molecule in one of the four quarters of its pixel.
    upper = rng.binomial(molecules, 0.5)
    fine = np.empty([2 * n for n in molecules.shape], np.int64)
    for row, part in enumerate((upper, molecules - upper)):
        fine[row::2, ::2] = left = rng.binomial(part, 0.5)
        fine[row::2, 1::2] = part - left
    cut = 2 * margin - optics.margin
    within = slice(cut, len(fine) - cut)
    mean = quick_mean(
        optics,
        fine[within, within],
        excitation_w=rng.log_uniform(1, 20) * 1e-6,
        depletion_w=float(rng.uniform(20, 350)) * 1e-3,
        dwell_s=rng.log_uniform(4, 200) * 1e-6 * (_FINE_NM / sample.pixel_size_nm) ** 2,
        background_hz=rng.log_uniform(100, 30_000),
    )
    return ExpectedImage(mean)


def _every_other(frame: Frame, lines: Frame) -> Frame:
    mixed = frame.copy()
    mixed[1::2] = lines[1::2]
    return mixed


def _analog(frame: Frame, rng: np.random.Generator) -> Frame:
    """Pulses of random height (a quarter more variance), gain 14, offset 100, read noise 3."""
    pulses = rng.gamma(4.0 * np.maximum(frame, 1e-9)) / 4
    return 14 * pulses + 100 + rng.normal(0, 3, frame.shape)


CHANGES: Mapping[str, tuple[str, Change]] = MappingProxyType(
    {
        "smoothed, σ 0.7": ("smoothed", lambda f, g, rng: gaussian_filter(f.astype(float), 0.7)),
        "median of 3 × 3": ("smoothed", lambda f, g, rng: median_filter(f, 3)),
        "neighbours averaged": (
            "smoothed",
            lambda f, g, rng: uniform_filter(f.astype(float), (1, 2)),
        ),
        "lines displaced by 1": ("phase", lambda f, g, rng: _every_other(f, np.roll(f, 1, 1))),
        "lines displaced by 2": ("phase", lambda f, g, rng: _every_other(f, np.roll(f, 2, 1))),
        "lines interleaved": ("interleaved", lambda f, g, rng: _every_other(f, g)),
        "8 bits": ("", lambda f, g, rng: np.round(f * (200 / max(f.max(), 1))).astype(np.uint8)),
        "analog, gain 14": ("", lambda f, g, rng: _analog(f, rng)),
    }
)
"""What happened to a frame, and the flag that says so."""
_NAMED = ("smoothed", "phase", "interleaved")


def by_pixel_size(
    scorer: Any, scenes: Sequence[ExpectedImage], seed: int
) -> dict[str, dict[str, float]]:
    """Scores at other pixel sizes against that at 20 nm; `another draw` is 20 nm again."""
    usual = [scorer.score(scene.frame(20.0, (seed, i)), 20.0) for i, scene in enumerate(scenes)]
    found = {}
    for name, size in (("another draw", 20.0), *((f"{size:g} nm", size) for size in SIZES_NM)):
        scores = [
            scorer.score(scene.frame(size, (seed, i, round(10 * size))), size)
            for i, scene in enumerate(scenes)
        ]
        found[name] = _compared(usual, scores)
    return found


def after_changes(
    scorer: Any, scenes: Sequence[ExpectedImage], seed: int
) -> dict[str, dict[str, float]]:
    """Scores of changed frames against those of the frames themselves; `none`: of those, flags."""
    frames = [scene.frame(20.0, (seed, i)) for i, scene in enumerate(scenes)]
    usual = [scorer.score(frame, 20.0) for frame in frames]
    worth = [score.value >= _WORTH for score in usual]
    found = {"none": _compared(usual, usual) | {"named": _named(usual, _NAMED)}}
    for name, (flag, change) in CHANGES.items():
        rng = np.random.default_rng(seed)
        others = [*frames[1:], frames[0]]
        scores = [
            scorer.score(change(frame, other, rng), 20.0)
            for frame, other in zip(frames, others, strict=True)
        ]
        asked = [score for score, yes in zip(scores, worth, strict=True) if yes or not flag]
        found[name] = _compared(usual, scores) | {
            "named": _named(asked, (flag,) if flag else _NAMED)
        }
    return found


def _named(scores: Sequence[Any], flags: Sequence[str]) -> float:
    """Share of scores that have one of the flags."""
    return fmean(any(flag in score.flags for flag in flags) for score in scores) if scores else 0.0


def _compared(usual: Sequence[Any], scores: Sequence[Any]) -> dict[str, float]:
    import torch

    from models.quality.figures import rmse, spearman

    one, other = (torch.tensor([s.value for s in some]) for some in (usual, scores))
    return {
        "frames": len(scores),
        "rmse": rmse(one, other),
        "shift": float((other - one).mean()),
        "spearman": spearman(one, other),
        "coverage_90": float("nan"),
        "flagged": fmean(bool(score.flags) for score in scores),
    }
