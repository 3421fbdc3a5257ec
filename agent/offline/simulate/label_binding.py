"""Where labels bind: at sites of their structure, and elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from agent.offline.simulate.label_population import (
    SimulatedLabel,
)
from agent.offline.simulate.off_target import PIXEL_NM, diffuse, smooth_field, spots
from agent.offline.simulate.population import Chance
from devices.virtual.optics import Optics

Map = NDArray[np.float64]
_ONE_UW = 1e-6
"""Excitation power at which the PSF is computed (W): brightness is scaled later."""
_MOST_DEPLETION_W = 0.4
"""Largest depletion power that is looked for (W); chosen."""


@dataclass(frozen=True, slots=True)
class MeasuredLabel:
    """A label in one field.

    Parameters
    ----------
    excitation_uw, depletion_mw
        Powers on the sample that give the brightness and the resolution; no more than 400 mW.
    psf_fwhm_nm
        Full width of the effective PSF at that depletion.
    spots
        How many.
    energy_share
        Energy of the off-target signal over the bound structure's: sums of squares of both mean
        images.
    """

    excitation_uw: float
    depletion_mw: float
    psf_fwhm_nm: float
    spots: int
    energy_share: float


def _energy(image: Map) -> float:
    return float((image**2).sum())


def _depletion(optics: Optics, fwhm_nm: float) -> float:
    """Depletion power (W) that gives the effective PSF this full width; or the most there is."""
    low, high = 0.0, _MOST_DEPLETION_W
    for _ in range(12):
        middle = (low + high) / 2
        if optics.psf_fwhm_nm(_ONE_UW, middle) > fwhm_nm:
            low = middle
        else:
            high = middle
    return high


def _dyes(bound: NDArray[np.int64], label: SimulatedLabel, rng: Chance) -> Map:
    """Dye molecules on the bound sites: each site carries some, or by chance none."""
    return rng.poisson(bound * label.dyes_per_site).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Bound:
    """A label's mean images (counts in a full exposure), field of view, no background."""

    structure: Map
    off_target: Map
    clean: Map
    measured: MeasuredLabel

    def without_structure(self) -> Bound:
        """The same field where the structure is not."""
        return replace(self, structure=0 * self.structure, clean=0 * self.clean)


def bind(label: SimulatedLabel, optics: Optics, density: Map, rng: Chance) -> Bound:
    """Bind one label to the structure and beside it, and look at it through the microscope."""
    depletion_w = _depletion(optics, label.resolution_nm)
    # Counts that one molecule gives in a full exposure at 1 µW, by its offset from the beam.
    per_uw = optics.photons_counted(optics.psf(_ONE_UW, depletion_w)) * label.dwell_us * 1e-6

    def seen(molecules: Map) -> Map:
        """Mean image (counts) of molecules per pixel, at 1 µW."""
        image: Map = fftconvolve(molecules, per_uw[::-1, ::-1], mode="valid")
        return np.maximum(image, 0.0)

    sites = density * label.sites_per_pixel
    full = seen(sites * label.dyes_per_site)
    inner = density[optics.margin : -optics.margin, optics.margin : -optics.margin]
    bright = float((full * inner).sum() / inner.sum()) * label.efficiency
    uneven = smooth_field(len(density), label.uneven_nm / PIXEL_NM, rng)
    reachable = np.exp(label.unevenness * uneven - label.unevenness**2 / 2)
    bound = rng.binomial(
        np.floor(sites + rng.random(sites.shape)).astype(np.int64),
        np.minimum(label.efficiency * reachable, 1.0),
    )
    structure = seen(_dyes(bound, label, rng))
    besides, number = bind_elsewhere(label, density, structure, bright, seen, rng)
    off_target = seen(besides)
    excitation_uw = label.brightness / bright
    measured = MeasuredLabel(
        excitation_uw=excitation_uw,
        depletion_mw=depletion_w * 1e3,
        psf_fwhm_nm=optics.psf_fwhm_nm(_ONE_UW, depletion_w),
        spots=number,
        energy_share=_energy(off_target) / _energy(structure),
    )
    return Bound(
        structure * excitation_uw, off_target * excitation_uw, full * excitation_uw, measured
    )


def bind_elsewhere(
    label: SimulatedLabel,
    density: Map,
    structure: Map,
    bright: float,
    seen: Callable[[Map], Map],
    rng: Chance,
) -> tuple[Map, int]:
    """Off-target molecules per pixel, and how many spots they make.

    Parameters
    ----------
    label
        What kinds, and how much of the energy of `structure`.
    density
        Of the structure, with margins; spots lie beside it within the field of view.
    structure, bright
        Mean image of the bound structure, and its brightness.
    seen
        What makes a mean image of molecules per pixel; it takes a margin off.
    rng
        Where chance comes from.
    """
    energy = label.off_target_share * _energy(structure)
    margin = (len(density) - len(structure)) // 2
    inner = density[margin:-margin, margin:-margin]
    punctate, spread = np.zeros_like(density), np.zeros_like(density)

    def brought_to(pattern: Map, wanted: float) -> Map:
        """The pattern at the strength at which its mean image has this energy."""
        have = _energy(seen(pattern))
        return pattern * float(np.sqrt(wanted / have)) if have > 0 else pattern

    number = 0
    if label.punctate_share > 0:
        wanted = label.punctate_share * energy
        drawn, number = spots(label, inner, wanted / bright**2, rng)
        punctate = brought_to(np.pad(drawn, margin), wanted)
    if label.punctate_share < 1:
        spread = brought_to(diffuse(label, len(density), rng), (1 - label.punctate_share) * energy)
    # Both together have more energy where they lie on each other.
    both = punctate + spread
    strength = float(brought_to(both, energy).sum() / both.sum())
    punctate, spread = strength * punctate, strength * spread
    # What fills the cytosol lies at all depths: half of it is out of focus, and not grainy.
    molecules: Map = (
        _dyes(rng.poisson(punctate / label.dyes_per_site), label, rng)
        + rng.poisson(spread / 2)
        + spread / 2
    )
    return molecules, number
