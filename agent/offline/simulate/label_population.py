"""What dual-label fields are drawn from: structures, and the ranges of the labels' parameters.

Training and test share neither a map of pySTED's nor a value of the parameters in `RANGES`: each
of them has intervals of its own, most of the test's between two of training's, some a little
beyond, so that a network meets labels that it never saw and could still be expected to handle.
The test's dyes are outside training's (`population.draw_dye`), its diffuse off-target signal
has another shape, and its spots come as irregular aggregates, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from agent.offline.simulate.population import Chance, draw_dye
from devices.sources import Structure
from devices.virtual.dyes import Dye

LabelSet = Literal["training", "test"]
LABEL_SETS: tuple[LabelSet, ...] = get_args(LabelSet)

_Intervals = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What the fields of one structure and set are made of.

    Parameters
    ----------
    maps
        Which of pySTED's six maps of the structure.
    drawn
        Drawn structures (`devices.virtual.structures`) that are like it. Not those that can come
        out as scattered dots: nothing about these tells structure from punctate off-target signal.
    """

    maps: tuple[int, ...]
    drawn: tuple[Structure, ...] = ()


REAL_SHARE = 0.5
"""Share of real maps among the fields of a source that has drawn structures, too; chosen."""

SOURCES: MappingProxyType[tuple[Structure, LabelSet], Source] = MappingProxyType(
    {
        ("actin", "training"): Source((0, 1, 2, 3), ("axons", "filaments", "bundles")),
        ("actin", "test"): Source((4, 5)),
        ("tubulin", "training"): Source((0, 1, 2, 3), ("filaments", "bundles")),
        ("tubulin", "test"): Source((4, 5)),
        ("psd95", "test"): Source((4, 5)),
    }
)
"""Of each structure and set; chosen: no map is in both sets."""

RANGES: MappingProxyType[str, MappingProxyType[LabelSet, _Intervals]] = MappingProxyType(
    {
        name: MappingProxyType({"training": training, "test": test})
        for name, training, test in (
            ("resolution_nm", ((65, 80), (100, 130)), ((80, 100),)),
            ("sites_per_pixel", ((6, 12), (20, 40)), ((12, 20), (40, 50))),
            ("efficiency", ((0.5, 0.65), (0.75, 0.9)), ((0.45, 0.5), (0.65, 0.75))),
            ("unevenness", ((0.02, 0.15), (0.25, 0.35)), ((0.15, 0.25),)),
            ("uneven_nm", ((100, 250), (400, 800)), ((250, 400),)),
            ("dyes_per_site", ((1, 2), (3, 5)), ((2, 3),)),
            ("brightness", ((4, 12), (22, 50)), ((12, 22), (50, 60))),
            ("background_share", ((0.02, 0.08), (0.15, 0.3)), ((0.08, 0.15), (0.3, 0.35))),
            ("diffuse_um", ((0.5, 0.9), (1.5, 2.5)), ((0.9, 1.5),)),
            ("spot_nm", ((20, 80), (140, 220)), ((80, 140), (220, 300))),
        )
    }
)
"""Intervals of parameters, even on a logarithmic scale within them.

`resolution_nm` is the field's: full width of the effective PSF that both labels' depletion is set
for, to within a few percent. The others are each label's own (`SimulatedLabel`).
"""

_OFF_TARGET_SHARE = (0.05, 0.6)
"""Range of the share of off-target signal; chosen. The same for both sets: it need not differ."""
_DWELL_US = (10.0, 60.0)
"""Range of the dwell time (µs); chosen."""
_RESOLUTIONS_DIFFER = (0.95, 1.05)
"""Range of the factor between the resolutions of the two labels; chosen."""
_COVERAGE = (0.2, 0.45)
"""Range of the share of a field with diffuse off-target signal; chosen."""
_SPOT_CONTRAST = (0.8, 2.5)
"""Range of the brightness of off-target spots, relative to the structure; chosen."""
_ONE_KIND = 0.15
"""Share of the labels whose off-target signal is diffuse only, and as many punctate only."""
_AGGREGATE = 0.5
"""Share of the test's labels whose spots are aggregates."""
_CAMERA = 0.25
"""Share of the labels seen by a detector with offset and read noise; chosen."""
_OFFSET, _READ_SD = (10.0, 60.0), (0.2, 0.6)
"""Ranges of that detector's offset and read noise (counts); chosen."""


@dataclass(frozen=True, slots=True)
class SimulatedLabel:
    """One label of a structure: what binds where, how bright it is, and what it binds besides.

    Parameters
    ----------
    dye, sigma_ste_m2
        Named dye that this label's was varied from, and its depletion cross-section.
    dwell_us
        Pixel dwell time of the exposure.
    resolution_nm
        Full width of the effective PSF that the depletion is set for; some dyes need more than
        there is (`label_fields.Measured`).
    sites_per_pixel
        Binding sites in a 20 nm pixel where the structure is densest.
    efficiency
        Share of the sites that are bound, at random for each label.
    unevenness, uneven_nm
        Standard deviation of the logarithm of that share over the field, and the length over
        which it changes: how well an epitope can be reached differs from place to place.
    dyes_per_site
        Dyes that a bound site carries, on average.
    brightness
        Counts, without background, where the structure is (mean of the image weighted with the
        structure's density).
    background_share
        Even background (counts over brightness).
    offset, read_sd
        What a camera adds: counts without light, and standard deviation of its read-out noise;
        0 for a detector that counts photons.
    off_target_share
        Energy asked for of the off-target signal over the bound structure's (sums of squares of
        the mean images, no background); which molecules there are by chance moves it a little.
    punctate_share
        Of the off-target energy; the rest is diffuse.
    diffuse
        `cytosol`: soft-edged regions; `halo`: around a nucleus, fading outwards.
    diffuse_um, diffuse_coverage
        Length over which it changes; for `cytosol` the share of the field that it covers.
    punctate
        `round` spots or irregular `aggregate`s of some.
    spot_nm_low, spot_nm_high
        Full widths at half maximum (of aggregates: extents) of the spots lie between these.
    spot_contrast
        Peak of a typical spot over the brightness.
    """

    dye: str
    sigma_ste_m2: float
    dwell_us: float
    resolution_nm: float
    sites_per_pixel: float
    efficiency: float
    unevenness: float
    uneven_nm: float
    dyes_per_site: float
    brightness: float
    background_share: float
    offset: float
    read_sd: float
    off_target_share: float
    punctate_share: float
    diffuse: str
    diffuse_um: float
    diffuse_coverage: float
    punctate: str
    spot_nm_low: float
    spot_nm_high: float
    spot_contrast: float


def draw_resolution(rng: Chance, name: LabelSet) -> float:
    """Resolution (nm) that a field is taken at."""
    return rng.log_uniform(*_interval(rng, RANGES["resolution_nm"][name]))


def draw_label(rng: Chance, name: LabelSet, resolution_nm: float) -> tuple[SimulatedLabel, Dye]:
    """A random label of one set's population for a field of this resolution, and its dye."""

    def draw(parameter: str) -> float:
        return rng.log_uniform(*_interval(rng, RANGES[parameter][name]))

    dye = draw_dye(rng, unknown=name == "test")
    camera = rng.happens(_CAMERA)
    kind = rng.random()
    spots = _interval(rng, RANGES["spot_nm"][name])
    low, high = sorted(rng.log_uniform(*spots) for _ in range(2))
    label = SimulatedLabel(
        dye=dye.name,
        sigma_ste_m2=dye.sigma_ste,
        dwell_us=rng.log_uniform(*_DWELL_US),
        resolution_nm=resolution_nm * rng.log_uniform(*_RESOLUTIONS_DIFFER),
        sites_per_pixel=draw("sites_per_pixel"),
        efficiency=draw("efficiency"),
        unevenness=draw("unevenness"),
        uneven_nm=draw("uneven_nm"),
        dyes_per_site=draw("dyes_per_site"),
        brightness=draw("brightness"),
        background_share=draw("background_share"),
        offset=float(np.rint(rng.uniform(*_OFFSET))) if camera else 0.0,
        read_sd=float(rng.uniform(*_READ_SD)) if camera else 0.0,
        off_target_share=rng.log_uniform(*_OFF_TARGET_SHARE),
        punctate_share=(
            0.0
            if kind < _ONE_KIND
            else 1.0
            if kind > 1 - _ONE_KIND
            else float(rng.uniform(0.2, 0.9))
        ),
        diffuse="cytosol" if name == "training" else "halo",
        diffuse_um=draw("diffuse_um"),
        diffuse_coverage=float(rng.uniform(*_COVERAGE)),
        punctate="aggregate" if name == "test" and rng.happens(_AGGREGATE) else "round",
        spot_nm_low=low,
        spot_nm_high=high,
        spot_contrast=rng.log_uniform(*_SPOT_CONTRAST),
    )
    return label, dye


def _interval(rng: Chance, intervals: _Intervals) -> tuple[float, float]:
    """One of them, the wider on a logarithmic scale the likelier."""
    widths = np.array([np.log(high / low) for low, high in intervals])
    return intervals[int(rng.choice(len(intervals), p=widths / widths.sum()))]
