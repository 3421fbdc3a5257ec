"""Filter and score together: what each says alone, and what a failing GPU leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.online import Online
from models.quality import QualityScorer
from models.restoration import Restorer
from models.restoration.cost import cost

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(4)
    y, x = np.indices((224, 224))
    return [
        rng.poisson(5 + 20 * (np.sin((x + shift) / 5 + y / 11) > 0.6)).astype(np.uint16)
        for shift in (0, 3, 6)
    ]


@pytest.fixture(scope="module")
def online() -> Online:
    made = Online("actin-small", device="cpu")
    made.warm_up((224, 224))
    return made


@pytest.mark.slow
def test_says_what_filter_and_scorer_say(online: Online, frames: list[NDArray[np.uint16]]) -> None:
    restorer, scorer = Restorer("actin-small", "cpu"), QualityScorer()
    seen = list(online.stream(frames))
    assert len(seen) == len(frames)
    for frame, one in zip(frames, seen, strict=True):
        np.testing.assert_array_equal(one.restored.image, restorer.restore(frame).image)
        assert one.score == scorer.score(frame)
        assert one.restored.fault is None
    assert online.see(frames[1]).score == seen[1].score


@pytest.mark.slow
def test_pixel_size_reaches_the_score(frames: list[NDArray[np.uint16]]) -> None:
    wide = Online("actin-small", pixel_size_nm=30, device="cpu")
    assert wide.see(frames[0]).score == QualityScorer().score(frames[0], 30)


@pytest.mark.slow
def test_scores_on_the_cpu_after_a_failed_gpu(
    frames: list[NDArray[np.uint16]], monkeypatch: pytest.MonkeyPatch
) -> None:
    online = Online("actin-small", device="cpu")

    def fails(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(online.scorer, "score", fails)
    online.scorer.device = "cuda:0"
    first, second = online.stream(frames[:2])
    assert first.restored.fault == (
        "cuda:0: CUDA out of memory. Tried to allocate 2.00 GiB; scores on cpu from here on"
    )
    assert first.score == QualityScorer().score(frames[0])
    assert second.restored.fault is None


def test_a_frame_that_nobody_can_use_is_refused(online: Online) -> None:
    with pytest.raises(ValueError, match="not finite"):
        online.see(np.full((64, 64), np.nan))
    with pytest.raises(ValueError, match="accepted: one grey image"):
        online.see(np.zeros((2, 64, 64)))


def test_cost_is_that_of_the_published_network() -> None:
    # 121 GFLOP for 512 × 512 (two 5 × 5 convolutions a level, 32 filters, counted by hand below).
    found = cost({"depth": 2, "kernel": 5, "first": 32}, (512, 512))
    pixels, taps = 512 * 512, 25
    by_level = [
        (1, (1, 32), (32, 32), (64, 32), (32, 32)),
        (4, (32, 64), (64, 64), (128, 64), (64, 32)),
        (16, (64, 128), (128, 64)),
    ]
    multiplied = sum(
        pixels // smaller * taps * before * after
        for smaller, *pairs in by_level
        for before, after in pairs
    )
    assert found.operations == 2 * (multiplied + pixels * 32 * 2)
    assert cost({"depth": 2, "kernel": 5, "first": 32}, (512, 512), width=2).moved * 2 == (
        found.moved
    )
    assert found.compulsory == 4 * (3 * pixels + 922_977 + 33)
