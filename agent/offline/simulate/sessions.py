"""A library of simulated sessions: what any settings give, for many dyes and structures.

No photon is drawn (`devices.virtual.expected`). Of pySTED's real maps only those of the training
population take part, so that the others can tell how the library serves for unknown samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.simulate.population import POPULATIONS, REAL_SHARE, Chance, draw_dye
from agent.optimizer.memory.store import AXES, PIXEL_NM, Sessions, log_exponent
from agent.record.folder import commit_of_this_code
from devices.virtual.dyes import Dye
from devices.virtual.expected import Scanner, Spectrum
from devices.virtual.optics import Optics
from devices.virtual.sample import Sample

GRID = {
    "excitation_w": np.geomspace(0.2e-6, 40e-6, 7),
    "depletion_w": np.geomspace(8e-3, 400e-3, 7),
    "dwell_s": np.geomspace(0.7e-6, 80e-6, 6),
    "passes": np.geomspace(1, 16, 5),
}
"""Settings that each sample is imaged at (W, W, s, line passes): all combinations; chosen to reach
from frames without signal to bleached fields."""
_DENSITY, _BACKGROUND_HZ = (4.0, 60.0), (300.0, 20_000.0)
"""Ranges of molecules in a pixel and of the background (counts/s); chosen."""
_WIDER = {"sigma_ste": (0.5, 2.0), "bleach_k1": (0.4, 2.5), "quantum_yield": (0.4, 1.25)}
"""By what a dye is varied further than a labelled frame's: others' dyes are less well known."""
_MOST_YIELD = 0.95
"""Largest quantum yield of a dye that is drawn; chosen."""
_SAMPLES_PER_DYE = 3
"""Samples that are drawn with each dye; chosen."""
_BLEACHING, _QUALITY = 0.3, 0.35
"""A sample is kept if it reaches this quality with at most this bleaching; chosen."""
_SIZE_UM, _FIELDS, _SHAPE = 16.0, 3, (224, 224)
"""Side of a sample (µm), its fields, and rows and columns of each (pixels); chosen."""
_TILE = 160
"""Side of the tiles whose evenness is judged (pixels); chosen."""


@dataclass(frozen=True, slots=True)
class _Session:
    about: dict[str, Any]
    quality: NDArray[np.float64]
    log_exponent: NDArray[np.float64]


def simulate_sessions(file: Path, sessions: int, seed: int) -> Iterator[int]:
    """Make a library of simulated sessions, and a card that describes it.

    Parameters
    ----------
    file
        Gets the library (safetensors); the card goes beside it, with the ending .json.
    sessions
        How many; sessions without any good settings are left out and not counted.
    seed
        Of all of them.

    Yields
    ------
    int
        How many sessions are done, after each.

    Raises
    ------
    UserError
        `file` has another ending, or no folder to lie in.
    """
    if file.suffix != ".safetensors" or not file.parent.is_dir():
        raise UserError(f"{file}: a file NAME.safetensors in a folder that exists is needed")
    # What takes hours is not begun where its end cannot be written.
    partial = file.with_name(f"{file.name}.partial")
    partial.touch()
    partial.unlink()
    kept: list[_Session] = []
    dye = 0
    while len(kept) < sessions:
        for session in _of_one_dye(seed, dye):
            if len(kept) < sessions:
                kept.append(session)
                yield len(kept)
        dye += 1
    library = Sessions(
        GRID,
        np.stack([session.quality for session in kept]).astype(np.float32),
        np.stack([session.log_exponent for session in kept]).astype(np.float32),
        tuple(session.about for session in kept),
    )
    library.write(file)
    card = _card(file, library, seed, drawn=dye * _SAMPLES_PER_DYE)
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    file.with_suffix(".json").write_text(text, encoding="utf-8")


def _of_one_dye(seed: int, number: int) -> list[_Session]:
    """Some samples with one dye: a scan's transfer is the same for all of them."""
    rng = Chance(seed, number)
    dye = _wider(draw_dye(rng, False), rng)
    optics = Optics(dye, PIXEL_NM)
    samples = [_draw_sample(rng, optics) for _ in range(_SAMPLES_PER_DYE)]
    shape = tuple(len(GRID[axis]) for axis in AXES)
    quality = np.zeros((len(samples), *shape))
    bleaching = np.zeros(shape)
    for at in product(*map(range, shape)):
        excitation, depletion, dwell, passes = (
            float(GRID[axis][place]) for axis, place in zip(AXES, at, strict=True)
        )
        scanner = Scanner(
            optics,
            excitation_w=excitation,
            depletion_w=depletion,
            dwell_s=dwell,
            passes=round(passes),
        )
        bleaching[at] = scanner.bleaching
        for which, (about, fields) in enumerate(samples):
            background = about["background_hz"]
            labels = [scanner.look(field, background).quality for field in fields]
            quality[(which, *at)] = np.mean(labels)
    allowed = bleaching <= _BLEACHING
    return [
        _Session({"dye": asdict(dye), **about}, found, log_exponent(bleaching))
        for (about, _), found in zip(samples, quality, strict=True)
        if found[allowed].max(initial=0.0) >= _QUALITY
    ]


def _wider(dye: Dye, rng: Chance) -> Dye:
    factors = {name: rng.log_uniform(*by) for name, by in _WIDER.items()}
    return replace(
        dye,
        sigma_ste=dye.sigma_ste * factors["sigma_ste"],
        bleach_k1=dye.bleach_k1 * factors["bleach_k1"],
        quantum_yield=min(dye.quantum_yield * factors["quantum_yield"], _MOST_YIELD),
    )


def _draw_sample(rng: Chance, optics: Optics) -> tuple[dict[str, Any], list[Spectrum]]:
    structures = POPULATIONS["training"].structures
    real = [name for name, maps in structures.items() if maps is not None]
    drawn = [name for name, maps in structures.items() if maps is None]
    names = real if rng.happens(REAL_SHARE) else drawn
    structure = names[int(rng.integers(len(names)))]
    about: dict[str, Any] = {
        "structure": structure,
        "maps": structures[structure],
        "molecules_per_pixel": rng.log_uniform(*_DENSITY),
        "background_hz": rng.log_uniform(*_BACKGROUND_HZ),
        "seed": int(rng.integers(2**31)),
    }
    sample = Sample(
        structure,
        size_um=_SIZE_UM,
        molecules_per_pixel=about["molecules_per_pixel"],
        maps=about["maps"],
        seed=about["seed"],
    )
    reach = sample.reach_um(_SHAPE, optics.margin)
    fields = [
        sample.window(x, y, 0.0, _SHAPE, optics.margin).molecules
        for x, y in rng.uniform(-reach, reach, (_FIELDS, 2))
    ]
    # One spectrum a field: the label of sparse fields is not that of their mean spectrum.
    return about, [Spectrum(even_tiles(field), PIXEL_NM) for field in fields]


def even_tiles(field: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """Overlapping tiles that give every pixel of a field the same weight in its `Spectrum`.

    A spectrum's tiles are tapered, so that of a sparse structure side by side ones may miss all;
    three in each direction over every pixel, and the field mirrored at its edges, miss nothing.
    """
    step = _TILE // 3
    padded = np.pad(field, 2 * step, mode="reflect")
    rows, cols = (range(0, size - _TILE + 1, step) for size in padded.shape)
    return [padded[row : row + _TILE, col : col + _TILE] for row in rows for col in cols]


def _card(file: Path, library: Sessions, seed: int, drawn: int) -> dict[str, Any]:
    count = len(library)
    spans = {
        name: [min(values), max(values)]
        for name in ("sigma_ste", "bleach_k1", "quantum_yield", "lifetime", "sigma_abs")
        if (values := [about["dye"][name] for about in library.about])
    }
    structures = [about["structure"] for about in library.about]
    return {
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "what": "Expected quality label and bleached share of simulated STED sessions over a grid "
        "of physical settings; the default optimizer's hypotheses about an unknown sample.",
        "command": f"stedfast simulate sessions {file.name} --sessions {count} --seed {seed}",
        "seed": seed,
        "commit": commit_of_this_code(),
        "sessions": count,
        "samples_drawn": drawn,
        "kept": f"quality of at least {_QUALITY} somewhere with bleaching up to {_BLEACHING}",
        "tensors": {
            "quality": "sessions × excitation × depletion × dwell × passes, float16 in [0, 1]",
            "log_exponent": "as large, float16: log(−log(surviving share))",
            **dict.fromkeys(AXES, "grid"),
        },
        "axes": {axis: [float(value) for value in library.axes[axis]] for axis in AXES},
        "pixel_nm": PIXEL_NM,
        "structures": {name: structures.count(name) for name in sorted(set(structures))},
        "maps": "of pySTED's real structures actin 0, 1 and 2 alone; actin 3, 4, 5, tubulin and "
        "PSD95 are kept aside for tests",
        "dyes": {"varied from": "the named dyes of devices.virtual.dyes", "spans": spans},
        "molecules_per_pixel": list(_DENSITY),
        "background_hz": list(_BACKGROUND_HZ),
        "limits": [
            "One optical setup (635 nm excitation, 750 nm pulsed depletion, in focus); powers are "
            "those on the sample, whose calibration on a real microscope may be off.",
            "Expected labels from power spectra, right within about 0.05 (0.08 for sparse "
            "structures) of simulated frames where less than half is bleached; nothing was "
            "measured on a real sample.",
            "Outside the grid the value at its edge is used.",
        ],
    }
