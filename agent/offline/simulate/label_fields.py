"""One field with two labels: structure, binding, off-target signal and exposures.

Each label binds its sites on the structure at random, has a dye, a brightness, a background and
off-target signal of its own (`label_population`, `off_target`), and is seen through the virtual
STED microscope's light path. Light is gentle here and bleaching left out, so that two exposures
of a label see the same molecules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from agent.offline.simulate.label_population import (
    LABEL_SETS,
    REAL_SHARE,
    SOURCES,
    Label,
    LabelSet,
    Source,
    draw_label,
    draw_resolution,
)
from agent.offline.simulate.off_target import ON_STRUCTURE, PIXEL_NM, diffuse, smooth_field, spots
from agent.offline.simulate.population import Chance
from devices.config import Structure
from devices.virtual.optics import Optics
from devices.virtual.sample import canvas
from devices.virtual.structures import SYNTHETIC

Map = NDArray[np.float64]
Image = NDArray[np.uint16] | NDArray[np.float32]

FIELD_PX = 256
VALIDATION_EVERY = 8
"""One field in so many of a training set is for validation."""
BARE_EVERY = 10
"""One field in so many of a training set shows no structure: so that none is seen where none is."""
LOW_LIGHT = 0.1
_CANVAS_PX = 460
_LEAST_STRUCTURE = 0.01
_HAZE = 0.05
_ONE_UW = 1e-6
_MOST_DEPLETION_W = 0.4


@dataclass(frozen=True, slots=True)
class LabelledField:
    """One row of the table beside the images; those of the labels follow as `a_…` and `b_…`.

    Parameters
    ----------
    name
        File in every channel, without its ending.
    field
        Fields are never divided between splits; here each image is one of its own.
    split
        `training`, `validation` or `test`.
    set, structure, seed
        What was asked for.
    shown, maps
        What the structure really is, and of which of pySTED's maps.
    bare
        The structure is left out: both labels show their off-target signal alone.
    """

    name: str
    field: str
    split: str
    set: str
    structure: str
    seed: int
    shown: str
    maps: str
    bare: bool


@dataclass(frozen=True, slots=True)
class Measured:
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


@dataclass(frozen=True, slots=True)
class _Bound:
    """A label's mean images (counts in a full exposure), field of view, no background."""

    structure: Map
    off_target: Map
    clean: Map
    measured: Measured

    def without_structure(self) -> _Bound:
        """The same field where the structure is not."""
        return replace(self, structure=0 * self.structure, clean=0 * self.clean)


def draw_field(
    structure: Structure, name: LabelSet, seed: int, index: int
) -> tuple[dict[str, Image], dict[str, Any]]:
    """One random field: its images by channel, and its row of the table.

    Parameters
    ----------
    structure, name
        The labelled structure, and which set; a key of `SOURCES`.
    seed, index
        Of the set, and of the field in it.
    """
    rng = Chance(get_args(Structure).index(structure), LABEL_SETS.index(name), seed, index)
    source = SOURCES[structure, name]
    resolution_nm = draw_resolution(rng, name)
    label_a, dye_a = draw_label(rng, name, resolution_nm)
    label_b, dye_b = draw_label(rng, name, resolution_nm)
    optics_a, optics_b = Optics(dye_a), Optics(dye_b)
    size_px = FIELD_PX + 2 * optics_a.margin
    density, shown = _structure(structure, source, size_px, rng)
    bound_a = _bind(label_a, optics_a, density, rng)
    bound_b = _bind(label_b, optics_b, density, rng)
    bare = name == "training" and index % BARE_EVERY == BARE_EVERY // 2
    if bare:
        bound_a, bound_b = bound_a.without_structure(), bound_b.without_structure()
    all_a = bound_a.structure + bound_a.off_target
    images: dict[str, Image] = {
        "label_a": _expose(label_a, optics_a, all_a, rng),
        "label_a_again": _expose(label_a, optics_a, all_a, rng),
        "label_a_low": _expose(label_a, optics_a, all_a, rng, LOW_LIGHT),
        "label_b": _expose(label_b, optics_b, bound_b.structure + bound_b.off_target, rng),
        "clean": bound_a.clean.astype(np.float32),
        "off_target_a": bound_a.off_target.astype(np.float32),
        "empty_a": _expose(label_a, optics_a, bound_a.off_target, rng),
    }
    validation = name == "training" and index % VALIDATION_EVERY == VALIDATION_EVERY - 1
    number = f"{index:05d}"
    row = asdict(
        LabelledField(
            name=number,
            field=number,
            split="validation" if validation else name,
            set=name,
            structure=structure,
            seed=seed,
            shown=shown,
            maps=" ".join(map(str, source.maps)) if shown == structure else "",
            bare=bare,
        )
    )
    for prefix, label, bound in (("a", label_a, bound_a), ("b", label_b, bound_b)):
        parameters = asdict(label) | asdict(bound.measured)
        row |= {f"{prefix}_{key}": value for key, value in parameters.items()}
    return images, row


def _structure(
    structure: Structure, source: Source, size_px: int, rng: Chance
) -> tuple[Map, Structure]:
    """Density in [0, 1] of a field that has something to show, and its structure."""
    real = not source.drawn or rng.happens(REAL_SHARE)
    shown = structure if real else source.drawn[int(rng.integers(len(source.drawn)))]
    margin = (size_px - FIELD_PX) // 2
    seen = slice(margin, margin + FIELD_PX)
    while True:
        whole = canvas(shown, _CANVAS_PX, rng, source.maps) if real else _drawn(shown, rng)
        row, col = rng.integers(0, _CANVAS_PX - size_px + 1, 2)
        part = whole[row : row + size_px, col : col + size_px].astype(np.float64)
        # A haze of a few percent, which some of the maps have, is no structure.
        density = np.clip((part - _HAZE) / (1 - _HAZE), 0, 1)
        if np.mean(density[seen, seen] > ON_STRUCTURE) > _LEAST_STRUCTURE:
            return density, shown


def _drawn(kind: Structure, rng: Chance) -> NDArray[np.float64]:
    """A drawn structure, without the scattered labels that `structures.draw` may add to it.

    Both labels would share them, so that they would count as structure.
    """
    density = gaussian_filter(SYNTHETIC[kind](_CANVAS_PX, rng), rng.log_uniform(0.3, 1.2))
    top = float(np.percentile(density[density > 0], 99)) if (density > 0).any() else 1.0
    scaled: NDArray[np.float64] = np.clip(density / top, 0, 1)
    return scaled


def _bind(label: Label, optics: Optics, density: Map, rng: Chance) -> _Bound:
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
    besides, number = _bind_elsewhere(label, density, structure, bright, seen, rng)
    off_target = seen(besides)
    excitation_uw = label.brightness / bright
    measured = Measured(
        excitation_uw=excitation_uw,
        depletion_mw=depletion_w * 1e3,
        psf_fwhm_nm=optics.psf_fwhm_nm(_ONE_UW, depletion_w),
        spots=number,
        energy_share=_energy(off_target) / _energy(structure),
    )
    return _Bound(
        structure * excitation_uw, off_target * excitation_uw, full * excitation_uw, measured
    )


def _bind_elsewhere(
    label: Label,
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


def _dyes(bound: NDArray[np.int64], label: Label, rng: Chance) -> Map:
    """Dye molecules on the bound sites: each site carries some, or by chance none."""
    return rng.poisson(bound * label.dyes_per_site).astype(np.float64)


def _expose(
    label: Label, optics: Optics, mean: Map, rng: Chance, light: float = 1.0
) -> NDArray[np.uint16]:
    """One exposure with a share of the light: `mean` counts without background, and noise."""
    dwell_s = label.dwell_us * 1e-6
    rate = mean / dwell_s
    power = rate / optics.photons_counted(np.array(1.0))
    background_hz = label.background_share * label.brightness / dwell_s
    seed = int(rng.integers(1, 2**31))
    counts = optics.detect(power, light * dwell_s, background_hz, seed).astype(np.float64)
    if label.read_sd > 0:
        counts += label.offset + rng.normal(0, label.read_sd, counts.shape)
    return np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max).astype(np.uint16)
