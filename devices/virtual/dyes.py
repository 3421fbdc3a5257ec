"""Fluorophores of the virtual microscope: photophysics as pySTED wants it.

Cross-sections are in m², lifetimes in s. ``k1`` and ``b`` are the photobleaching rate's
coefficient and exponent (Oracz et al., Sci. Rep. 7, 11354, 2017), as pySTED 0.0.4 reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

EXCITATION_NM = 635
DEPLETION_NM = 750
EMISSION_NM = 690
"""Wavelengths of both lasers and of the light that is detected (nm); for dyes like ATTO 647N."""


@dataclass(frozen=True, slots=True)
class Dye:
    """One fluorophore.

    Parameters
    ----------
    name
        What the config calls it.
    sigma_abs, sigma_abs_depletion
        Absorption cross-section at the excitation and the depletion wavelength (m²).
    sigma_ste
        Stimulated-emission cross-section at the depletion wavelength (m²).
    lifetime
        Fluorescence lifetime (s).
    quantum_yield
        Fluorescence quantum yield (ratio).
    bleach_k1, bleach_b
        Coefficient and exponent of the bleaching rate in the depletion intensity.
    triplet_fraction
        Share of the bleaching that builds up through the triplet state during one dwell,
        so that several short passes bleach less than one long one (ratio).
    """

    name: str
    sigma_abs: float = 2.14e-20
    sigma_abs_depletion: float = 3.5e-25
    sigma_ste: float = 3.0e-22
    lifetime: float = 3.5e-9
    quantum_yield: float = 0.65
    bleach_k1: float = 1.3e-15
    bleach_b: float = 1.6
    triplet_fraction: float = 0.5


# The first is ATTO 647N-like; the others keep its spectrum and vary what differs between
# dyes at the bench: how hard they are to deplete, how bright, how quickly they bleach.
_DYES = (
    Dye("atto647n"),
    Dye("robust", sigma_ste=4.8e-22, bleach_k1=0.5e-15, lifetime=3.8e-9),
    Dye("fragile", sigma_ste=3.6e-22, bleach_k1=3.2e-15, quantum_yield=0.55),
    Dye("dim", sigma_abs=1.2e-20, quantum_yield=0.35, lifetime=2.6e-9),
    Dye("stubborn", sigma_ste=1.8e-22, bleach_k1=1.0e-15),
)
DYES = MappingProxyType({dye.name: dye for dye in _DYES})
