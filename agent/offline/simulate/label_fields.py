"""One field with two labels: structure, binding, off-target signal and exposures.

Each label binds its sites on the structure at random, has a dye, a brightness, a background and
off-target signal of its own (`label_population`, `off_target`), and is seen through the virtual
STED microscope's light path. Light is gentle here and bleaching left out, so that two exposures
of a label see the same molecules.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from agent.offline.simulate.label_binding import Map, bind
from agent.offline.simulate.label_population import (
    LABEL_SETS,
    REAL_SHARE,
    SOURCES,
    LabelSet,
    SimulatedLabel,
    Source,
    draw_label,
    draw_resolution,
)
from agent.offline.simulate.off_target import ON_STRUCTURE
from agent.offline.simulate.population import Chance
from devices.sources import Structure
from devices.virtual.optics import Optics
from devices.virtual.sample import canvas
from devices.virtual.structures import SYNTHETIC

Image = NDArray[np.uint16] | NDArray[np.float32]
FIELD_PX = 256
"""Side of a field (pixels); chosen: four training patches."""
VALIDATION_EVERY = 8
"""One field in so many of a training set is for validation."""
BARE_EVERY = 10
"""One field in so many of a training set shows no structure: so that none is seen where none is."""
LOW_LIGHT = 0.1
"""Share of the light in `label_a_low`; chosen."""
_CANVAS_PX = 460
"""Side of the structure that a field is cut from (pixels); chosen."""
_LEAST_STRUCTURE = 0.01
"""Share of the pixels on the structure below which a cut is drawn again; chosen."""
_HAZE = 0.05
"""Density of a datamap that is taken for background; chosen."""


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
    bound_a = bind(label_a, optics_a, density, rng)
    bound_b = bind(label_b, optics_b, density, rng)
    bare = name == "training" and index % BARE_EVERY == BARE_EVERY // 2
    if bare:
        bound_a, bound_b = bound_a.without_structure(), bound_b.without_structure()
    all_a = bound_a.structure + bound_a.off_target
    images: dict[str, Image] = {
        "label_a": _expose(label_a, optics_a, all_a, rng),
        "label_a_again": _expose(label_a, optics_a, all_a, rng),
        "label_a_low": _expose(label_a, optics_a, all_a, rng, LOW_LIGHT),
        "label_b": _expose(label_b, optics_b, bound_b.structure + bound_b.off_target, rng),
        "mean_a": _mean(label_a, all_a).astype(np.float32),
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


def _mean(label: SimulatedLabel, mean: Map) -> Map:
    """What exposures of `mean` counts scatter about, with background and the camera's offset."""
    offset = label.offset if label.read_sd > 0 else 0.0
    expected: Map = mean + label.background_share * label.brightness + offset
    return expected


def _expose(
    label: SimulatedLabel, optics: Optics, mean: Map, rng: Chance, light: float = 1.0
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
