"""Scores over a GPU's way, emulated: tiles, percentiles and flags are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from models.online import Online
from models.quality import QualityScorer
from models.quality.on_gpu import OnGpu
from tests.doubles.late import Late
from tests.helpers.filaments import filaments

pytestmark = pytest.mark.usefixtures("one_thread")

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "sted"


def structure(rows: int, columns: int, mean: float = 8) -> NDArray[np.uint16]:
    whole = filaments(2, size_um=4.0)
    wide = np.tile(whole, (-(-rows // len(whole)), -(-columns // len(whole))))
    return np.random.default_rng(1).poisson(mean * wide[:rows, :columns]).astype(np.uint16)


def hot(value: int) -> NDArray[np.uint16]:
    frame = structure(90, 100)
    frame[30, 40] = value
    return frame


NOISE = np.random.default_rng(0)
FRAMES = {
    "one tile": structure(224, 224),
    "several tiles": structure(300, 250),
    "smaller than a tile": structure(40, 61),
    "much smaller than a tile": structure(16, 130),
    "saturated": np.minimum(structure(100, 120, 60), 40).astype(np.uint8),
    "at the end of its type": np.minimum(structure(64, 64, 900), 255).astype(np.uint8),
    "a hot pixel": hot(60_000),
    "a bright pixel": hot(60),
    "noise": NOISE.poisson(5, (96, 96)).astype(np.uint16),
    "few counts": NOISE.poisson(0.01, (64, 64)).astype(np.int16),
    "constant": np.full((40, 50), 7, np.uint8),
    "32 bits": structure(64, 64).astype(np.uint32),
    "single precision": 1.5 * structure(64, 64).astype(np.float32) - 3,
    "double precision": 1.5 * structure(64, 64) - 3,
    "yes and no": structure(64, 64) > 8,
    **{file.stem: tifffile.imread(file) for file in sorted(REAL.glob("*.tif"))},
}


@pytest.fixture(scope="module")
def scorers() -> tuple[QualityScorer, QualityScorer]:
    return QualityScorer(), QualityScorer(device=Late())


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMES)
def test_any_frame_is_scored_as_on_the_cpu(
    scorers: tuple[QualityScorer, QualityScorer], name: str
) -> None:
    expected, found = (scorer.score(FRAMES[name]) for scorer in scorers)
    assert found.flags == expected.flags and found.tiles == expected.tiles
    assert found.value == pytest.approx(expected.value, abs=1e-5)
    assert found.sd == pytest.approx(expected.sd, abs=1e-5)


@pytest.mark.slow
def test_the_frames_show_every_flag(scorers: tuple[QualityScorer, QualityScorer]) -> None:
    seen = {flag for frame in FRAMES.values() for flag in scorers[1].score(frame).flags}
    assert seen == {"blank", "saturated", "unfamiliar"}


@pytest.mark.slow
def test_a_batch_of_frames_of_either_way_keeps_its_order(
    scorers: tuple[QualityScorer, QualityScorer],
) -> None:
    frames = [FRAMES[name] for name in ("smaller than a tile", "a hot pixel", "32 bits", "noise")]
    expected, found = (scorer.score_batch(frames) for scorer in scorers)
    assert [one.value for one in found] == pytest.approx([e.value for e in expected], abs=1e-5)


@pytest.mark.slow
def test_other_pixel_sizes_are_cut_by_the_cpu(
    scorers: tuple[QualityScorer, QualityScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnGpu, "look", lambda *_: pytest.fail("it cannot resample"))
    expected, found = (scorer.score(FRAMES["one tile"], 26.0) for scorer in scorers)
    assert found.value == pytest.approx(expected.value, abs=1e-5)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.full((64, 64), np.nan), "4096 values not finite"),
        (np.zeros((15, 64), np.uint16), "accepted: at least 320 nm"),
        (np.zeros((2, 64, 64)), "accepted: one grey image"),
    ],
)
def test_bad_frames_are_refused(
    scorers: tuple[QualityScorer, QualityScorer], frame: NDArray[np.float64], says: str
) -> None:
    for scorer in scorers:
        with pytest.raises(ValueError, match=says):
            scorer.score(frame)


def test_filter_and_score_share_a_gpu() -> None:
    online = Online("actin-small", device=Late())
    frame = structure(48, 64)
    seen = online.see(frame)
    assert online.scorer.device == seen.restored.device == "emulated"
    assert seen.score.value == pytest.approx(QualityScorer().score(frame).value, abs=1e-5)
