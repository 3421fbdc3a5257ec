"""What a movie's own frames ask of rebuilt ones, where it is known what they should."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from models.interpolation import LIT, Adjustment, Example, adjusted
from models.interpolation.adjusting import BLENDS, BLURS_PX

Frame = NDArray[np.float64]
SIDE = 64


def structure(seed: int) -> Frame:
    rough = np.random.default_rng(seed).random((SIDE, SIDE)) ** 6
    smooth: Frame = gaussian_filter(rough, 2.0, mode="wrap")
    return 200 * smooth / smooth.max()


def examples(
    count: int = 8, *, wander_px: float = 0.0, noise: float = 1.0, made_noise: float = 0.0
) -> list[Example]:
    """Frames of a structure that lies elsewhere each time, rebuilt where it would be without."""
    rng = np.random.default_rng(1)
    found = []
    for number in range(count):
        truth = structure(number)
        moved = shift(truth, rng.normal(0, wander_px, 2), order=3, mode="grid-wrap")
        before, true, after = (
            frame + rng.normal(0, noise, truth.shape) for frame in (truth, moved, truth)
        )
        image = truth + rng.normal(0, made_noise, truth.shape)
        found.append(Example(before, true, after, 0.5, image, np.full(truth.shape, 0.1)))
    return found


def test_few_frames_ask_for_nothing() -> None:
    assert adjusted(examples(3)) is None
    assert adjusted(examples(4)) is not None


def test_noise_of_rebuilt_frames_is_blurred_and_none_is_left_alone() -> None:
    noisy = adjusted(examples(made_noise=20.0))
    calm = adjusted(examples())
    assert noisy is not None and calm is not None
    assert noisy.adjustment.blur_px > 0 and noisy.gain_db > 3
    assert calm.adjustment.blur_px == 0 and calm.gain_db == pytest.approx(0, abs=0.05)
    one = examples()[0]
    assert calm.adjustment.sd(one.image, one.sd, 0.5).mean() == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize(("wander_px", "noise"), [(0.0, 2.0), (1.5, 0.5), (0.7, 4.0)])
def test_intervals_cover_frames_that_were_not_learned_from(wander_px: float, noise: float) -> None:
    cases = examples(40, wander_px=wander_px, noise=noise)
    found = adjusted(cases[:20])
    assert found is not None and found.covered_before < 0.3 and found.frames == 20
    assert 0.85 <= found.covered <= 0.95
    bright, inside = [], []
    for one in cases[20:]:
        image = found.adjustment.image(one.image, one.before, one.after, one.t)
        sd = found.adjustment.sd(image, one.sd, one.t)
        within = np.abs(image - one.true) <= -np.log(0.1) / np.sqrt(2) * sd
        inside.append(within.mean())
        bright.append(within[one.true > 50].mean())
    assert 0.85 <= np.mean(inside) <= 0.95
    # Not where nothing is alone: there it is easy.
    assert np.mean(bright) > 0.8


def test_a_blend_takes_little_of_the_foregrounds_intensity() -> None:
    found = adjusted(examples(wander_px=6.0))
    assert found is not None
    taken = [found.adjustment.image(*_given(one)) for one in examples(wander_px=6.0)]
    plain = [one.image for one in examples(wander_px=6.0)]
    bright = structure(0) > 60
    assert taken[0][bright].sum() > 0.97 * plain[0][bright].sum()


def _given(one: Example) -> tuple[Frame, Frame, Frame, float]:
    return one.image, one.before, one.after, one.t


def test_measured_frames_are_led_to_without_a_jump() -> None:
    before, after = structure(1), structure(2)
    adjustment = Adjustment(blur_px=max(BLURS_PX), blend=max(BLENDS), factor=1.0, wander_px=2.0)
    near = adjustment.image(before, before, after, 1e-6)
    np.testing.assert_allclose(near, before, atol=0.01)
    sd = np.full(before.shape, 0.5)
    np.testing.assert_allclose(adjustment.sd(near, sd, 1e-9), sd, atol=0.01)
    middle = adjustment.image(before, before, after, 0.5)
    assert np.abs(middle - before).max() > 10
    assert (adjustment.sd(middle, sd, 0.5) >= sd).all()


def test_an_adjustment_of_nothing_changes_nothing() -> None:
    frame, sd = structure(3).astype(np.float32), np.full((SIDE, SIDE), 0.5, np.float32)
    assert Adjustment().image(frame, frame + 1, frame + 2, 0.5) is frame
    assert Adjustment().sd(frame, sd, 0.5) is sd


def test_light_that_a_network_left_out_is_put_back_where_the_blend_has_it() -> None:
    before, after = np.zeros((2, 48, 48))
    before[10:18, 8:16] = after[10:18, 32:40] = 100.0
    before[30:40, 20:30] = after[30:40, 20:30] = 60.0
    # What leaps is in neither place.
    left_out = np.zeros((48, 48))
    left_out[30:40, 20:30] = 60.0
    image = LIT.image(left_out, before, after, 0.5)
    assert image.sum() == pytest.approx(((before + after) / 2).sum(), rel=1e-3)
    assert image[10:18, 8:16].sum() == pytest.approx(image[10:18, 32:40].sum(), rel=1e-3)
    assert image[13, 12] > 20
    np.testing.assert_allclose(image[30:40, 20:30], 60, atol=0.1)
    # One that has all of it, wherever that is, is left as it is.
    there = left_out.copy()
    there[10:18, 20:28] = 100.0
    np.testing.assert_allclose(LIT.image(there, before, after, 0.5), there, atol=0.5)
