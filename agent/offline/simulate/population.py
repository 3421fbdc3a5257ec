"""What labelled frames are drawn from: structures, fields and dyes of each set.

No sample of one set or split is in another: pySTED's six maps of actin are divided between
training, validation and test, its maps of tubulin and PSD95 are for tests only. What training
lacks in real structures it gets from drawn ones (`devices.virtual.structures`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from devices.sources import Structure
from devices.virtual.dyes import DYES, Dye
from devices.virtual.structures import SYNTHETIC

VALIDATION = 0.03
"""Share of a training set that goes into its validation part."""

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


_SYNTHETIC: _Maps = dict.fromkeys(SYNTHETIC)
REAL_SHARE = 0.35
"""Share of real maps among the frames of a population that has drawn structures, too; chosen."""

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
"""Of each set; chosen: pySTED's maps of actin in training, validation and tests are others."""
SETS: tuple[SetName, ...] = get_args(SetName)


class Chance(np.random.Generator):
    """numpy's generator, and draws that are even on a logarithmic scale."""

    def __init__(self, *entropy: int) -> None:
        super().__init__(np.random.PCG64(entropy))

    def log_uniform(self, low: float, high: float) -> float:
        """Draw a number whose logarithm is even between those of `low` and `high`."""
        return float(np.exp(self.uniform(np.log(low), np.log(high))))

    def happens(self, probability: float) -> bool:
        """Toss a coin that comes up with this probability."""
        return bool(self.random() < probability)


def draw_dye(rng: Chance, unknown: bool) -> Dye:
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
