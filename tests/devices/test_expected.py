"""Expected labels and bleaching against frames that are really drawn."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.offline.simulate.population import Chance
from agent.offline.simulate.sessions import even_tiles
from devices.sources import Structure
from devices.virtual.dyes import DYES
from devices.virtual.expected import Scanner, Spectrum
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan
from devices.virtual.sample import Sample
from devices.virtual.truth import quality_label

SHAPE = (224, 224)
BACKGROUND_HZ = 3000.0
SETTINGS = 10


@lru_cache
def optics(dye: str = "atto647n") -> Optics:
    return Optics(DYES[dye])


@lru_cache
def fields(structure: Structure) -> list[NDArray[np.int64]]:
    sample = Sample(structure, size_um=24.0, molecules_per_pixel=20.0, seed=3)
    reach = sample.reach_um(SHAPE, optics().margin)
    places = np.random.default_rng(1).uniform(-reach, reach, (3, 2))
    return [sample.window(x, y, 0.0, SHAPE, optics().margin).molecules for x, y in places]


def drawn_settings() -> list[dict[str, Any]]:
    """Settings all over the range, as long as half of the molecules survive."""
    rng = Chance(7)
    found: list[dict[str, Any]] = []
    while len(found) < SETTINGS:
        light: dict[str, Any] = {
            "excitation_w": rng.log_uniform(0.5e-6, 20e-6),
            "depletion_w": rng.log_uniform(10e-3, 300e-3),
            "dwell_s": rng.log_uniform(2e-6, 50e-6),
        }
        if Scanner(optics(), **light).bleaching < 0.5:
            found.append(light)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "even", "close"),
    [("mesh", False, 0.1), ("actin", True, 0.04), ("bundles", True, 0.08)],
)
def test_expected_label_is_the_mean_label_of_frames(
    structure: Structure, even: bool, close: float
) -> None:
    margin = optics().margin
    inner = np.s_[margin:-margin, margin:-margin]
    # Overlapping tiles, without which a sparse structure may lie where each is tapered away.
    tiles = [t for f in fields(structure) for t in even_tiles(f)] if even else fields(structure)
    spectrum = Spectrum(tiles)
    expected, seen, counts = [], [], []
    for at, light in enumerate(drawn_settings()):
        frames = [
            quick_scan(optics(), field, background_hz=BACKGROUND_HZ, seed=at + 1, **light)
            for field in fields(structure)
        ]
        found = Scanner(optics(), **light).look(spectrum, BACKGROUND_HZ)
        expected.append(found.quality)
        seen.append(
            np.mean(
                [quality_label(f[inner], i) for f, i in zip(fields(structure), frames, strict=True)]
            )
        )
        counts.append(found.counts / np.mean(frames))
    assert np.ptp(seen) > 0.4, "the settings must range from bad to good"
    assert np.sqrt(np.mean((np.array(expected) - seen) ** 2)) < close
    assert np.abs(np.array(counts) - 1).max() < 0.15


@pytest.mark.parametrize("passes", [1, 4])
def test_bleaching_is_that_of_all_the_light_a_molecule_meets(passes: int) -> None:
    light: dict[str, Any] = {"excitation_w": 4e-6, "depletion_w": 0.1, "dwell_s": 1e-5}
    found = Scanner(optics("fragile"), **light, passes=passes).bleaching
    exponent = optics("fragile").bleaching_exponent(**light, passes=passes).sum()
    assert found == pytest.approx(1 - np.exp(-exponent), rel=1e-12)
    # Where the whole focus passes by; pySTED's raster scan draws each molecule's fate.
    margin = optics("fragile").margin
    molecules = np.zeros((2 * margin + 66,) * 2, dtype=np.int64)
    molecules[2 * margin + 1 : 65, 2 * margin + 1 : 65] = 100
    assert molecules.sum() > 3000
    after = optics("fragile").scan(molecules, **light, passes=passes, seed=1).survivors
    assert 1 - after.sum() / molecules.sum() == pytest.approx(found, abs=0.025)


def test_no_bleaching_without_depletion() -> None:
    light: dict[str, Any] = {"excitation_w": 4e-6, "depletion_w": 0.0, "dwell_s": 1e-5}
    assert Scanner(optics(), **light).bleaching == 0.0


def test_a_field_smaller_than_a_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 160"):
        Spectrum([np.ones((159, 300), dtype=np.int64)])
