"""What a time-lapse expects of every interpolator.

Add an interpolator to `NAMES`, and it goes through all of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.config.own_code import INTERPOLATOR as PART
from agent.workers.own_code import open_own
from models.interpolation import Interpolation
from models.interpolation.weights import shipped
from tests.helpers.own_code import INTERPOLATOR

OWN = "fade:fade"
NAMES = (*shipped(), OWN)
Frame = NDArray[Any]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name == "zs" else name for name in NAMES],
)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Any]]:
    """Makes the interpolator as its process does."""
    folder = tmp_path_factory.mktemp("interpolator")
    (folder / "fade.py").write_text(INTERPOLATOR, encoding="utf-8")
    path = list(sys.path)
    if request.param == OWN:
        yield lambda: open_own(PART, OWN, folder, {"sharpness": 2.0}, "cpu")
    else:
        yield lambda: Interpolation(request.param, "cpu")
    sys.path[:] = path
    sys.modules.pop("fade", None)


@pytest.fixture(scope="module")
def interpolator(make: Callable[[], Any]) -> Any:
    return make()


def bundled(interpolator: Any) -> None:
    """Of others, a run asks only for what it needs."""
    if not isinstance(interpolator, Interpolation):
        pytest.skip("what it refuses is its own affair")


def blobs(columns: float = 0.0, shape: tuple[int, int] = (16, 24), dtype: Any = np.uint16) -> Frame:
    """A smooth structure that was moved by some columns (pixels)."""
    y, x = np.indices(shape)
    x = x - columns
    return np.rint(500 + 300 * np.sin(x / 4) * np.cos(y / 5)).astype(dtype)


@pytest.mark.parametrize(("shape", "t"), [((16, 24), 0.5), ((17, 9), 0.25), ((8, 31), 0.9)])
def test_a_rebuilt_frame_has_the_size_of_the_measured_ones(
    interpolator: Any, shape: tuple[int, int], t: float
) -> None:
    found = interpolator.between(blobs(shape=shape), blobs(1, shape), t)
    assert found.image.shape == shape and found.image.dtype == np.float32
    assert np.isfinite(found.image).all()
    assert np.isfinite(found.uncertainty) and found.uncertainty >= 0
    if isinstance(interpolator, Interpolation):  # which tells more than a run needs
        assert found.sd.shape == shape and np.isfinite(found.sd).all() and (found.sd >= 0).all()
        assert (found.device, found.fault) == ("cpu", None)


@pytest.mark.parametrize("t", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_only_times_between_the_frames_are_rebuilt(interpolator: Any, t: float) -> None:
    bundled(interpolator)
    with pytest.raises(ValueError, match="t: found"):
        interpolator.between(blobs(), blobs(1), t)


def test_next_to_a_measured_frame_it_is_that_frame(interpolator: Any) -> None:
    """So the movie does not jump where a measured frame is followed by a rebuilt one."""
    before, after = blobs(), blobs(2)
    for t, measured in ((1e-4, before), (1 - 1e-4, after)):
        found = interpolator.between(before, after, t)
        assert np.abs(found.image - measured).max() < 0.01 * np.ptp(before.astype(float))


def test_of_two_that_are_alike_it_is_the_same(interpolator: Any) -> None:
    found = interpolator.between(blobs(), blobs(), 0.5)
    assert np.abs(found.image - blobs()).mean() < 0.1 * np.ptp(blobs().astype(float))
    blank = np.full((16, 16), 700, np.uint16)
    found = interpolator.between(blank, blank, 0.5)
    assert np.abs(found.image - 700).max() < 1 and np.isfinite(found.uncertainty)


def test_more_change_is_less_certain(interpolator: Any) -> None:
    little, much = (interpolator.between(blobs(), blobs(by), 0.5) for by in (0.5, 6.0))
    assert little.uncertainty < much.uncertainty


@pytest.mark.parametrize("dtype", [np.float64, ">u2"])
def test_the_type_of_the_pixels_changes_nothing(interpolator: Any, dtype: Any) -> None:
    plain = interpolator.between(blobs(), blobs(1), 0.5)
    other = interpolator.between(blobs(dtype=dtype), blobs(1, dtype=dtype), 0.5)
    np.testing.assert_allclose(other.image, plain.image, rtol=1e-5)


def test_the_same_frames_give_the_same_in_any_order(
    make: Callable[[], Any], interpolator: Any
) -> None:
    """`resume` rebuilds what is left, in a process of its own."""
    first = interpolator.between(blobs(), blobs(1), 0.25)
    interpolator.between(blobs(3), blobs(4), 0.75)
    elsewhere = make()
    for one in (interpolator, elsewhere):
        found = one.between(blobs(), blobs(1), 0.25)
        np.testing.assert_array_equal(found.image, first.image)
        assert found.uncertainty == first.uncertainty
    assert elsewhere.weights_hash() == interpolator.weights_hash()
    assert len(interpolator.weights_hash()) == 64


def test_measured_frames_stay_as_they_are(interpolator: Any) -> None:
    before, after = blobs(), blobs(1)
    for frame in (before, after):
        frame.setflags(write=False)
    interpolator.between(before, after, 0.5)
    np.testing.assert_array_equal(before, blobs())
    np.testing.assert_array_equal(after, blobs(1))


def test_counts_keep_their_offset_and_gain(interpolator: Any) -> None:
    plain = interpolator.between(blobs(), blobs(1), 0.5)
    moved = interpolator.between(2.0 * blobs() + 5000, 2.0 * blobs(1) + 5000, 0.5)
    atol = 1e-3 * np.ptp(plain.image)
    np.testing.assert_allclose((moved.image - 5000) / 2, plain.image, atol=atol)
    assert moved.uncertainty == pytest.approx(plain.uncertainty, rel=1e-2)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (np.ones((1, 16, 16)), np.ones((16, 16)), r"before of shape \(1, 16, 16\)"),
        (np.ones((16, 16)), np.ones((16, 17)), "after has 16 × 17 pixels"),
        (np.ones((16, 16)), np.full((16, 16), np.nan), "after with 256 values not finite"),
        (np.ones((4, 16)), np.ones((4, 16)), "before of 4 × 16 pixels"),
        (np.ones((16, 16), complex), np.ones((16, 16)), "pixels of type complex128"),
    ],
)
def test_other_frames_are_refused(interpolator: Any, before: Any, after: Any, message: str) -> None:
    bundled(interpolator)
    with pytest.raises(ValueError, match=message):
        interpolator.between(before, after, 0.5)
