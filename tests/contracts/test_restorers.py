"""What a run expects of every filter: bundled ones, one of another package, one of the zoo.

Add a filter to `NAMES`, and it goes through all of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.config.own_code import FILTER as PART
from agent.workers.own_code import open_own
from models.restoration import Restorer, open_filter
from models.restoration.weights import shipped
from tests.helpers.own_code import FILTER
from tests.helpers.zoo import Smooth, described, files_of, scripted, zipped

OWN = "times:times"
ZOO = "zoo"
NAMES = (*shipped(), OWN, *([ZOO] if find_spec("bioimageio") else []))
Frame = NDArray[Any]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=NAMES)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Any]]:
    """Makes the filter as its process does."""
    folder = tmp_path_factory.mktemp("filter")
    (folder / "times.py").write_text(FILTER, encoding="utf-8")
    path = list(sys.path)
    if request.param == ZOO:
        package = zipped(folder / "m.zip", files_of(described(), scripted(Smooth())))
        yield lambda: open_filter(package, "cpu")
    elif request.param == OWN:
        yield lambda: open_own(PART, OWN, folder, {"factor": 3.0}, "cpu")
    else:
        yield lambda: Restorer(request.param, "cpu")
    sys.path[:] = path
    sys.modules.pop("times", None)


@pytest.fixture(scope="module")
def restorer(make: Callable[[], Any]) -> Any:
    return make()


def counts(shape: tuple[int, int] = (24, 32), dtype: Any = np.uint16) -> Frame:
    """A few photons on a smooth structure."""
    y, x = np.indices(shape)
    mean = 6 + 5 * np.sin(x / 4) * np.cos(y / 5)
    return np.random.default_rng(1).poisson(mean).astype(dtype)


@pytest.mark.parametrize("shape", [(24, 32), (17, 23), (8, 41)])
def test_a_frame_of_any_size_keeps_it_and_becomes_a_float(
    restorer: Any, shape: tuple[int, int]
) -> None:
    restorer.warm_up(shape)
    found = restorer.restore(counts(shape))
    for part in (found.image, found.sd):
        assert part.shape == shape and part.dtype == np.float32 and np.isfinite(part).all()
    assert (found.sd >= 0).all() and np.isfinite(found.uncertainty) and found.uncertainty >= 0
    assert (found.device, found.fault) == ("cpu", None)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, ">u2"])
def test_the_type_of_the_pixels_changes_nothing(restorer: Any, dtype: Any) -> None:
    plain, other = restorer.restore(counts()), restorer.restore(counts(dtype=dtype))
    np.testing.assert_allclose(other.image, plain.image, rtol=1e-6)
    np.testing.assert_allclose(other.sd, plain.sd, rtol=1e-6)


def test_the_same_frame_gives_the_same_in_any_order(make: Callable[[], Any], restorer: Any) -> None:
    """A frame must not depend on those before it: they may have been passed over."""
    first = restorer.restore(counts())
    restorer.restore(counts()[::-1])
    again, elsewhere = restorer.restore(counts()), make()
    for found in (again, elsewhere.restore(counts())):
        np.testing.assert_array_equal(found.image, first.image)
        np.testing.assert_array_equal(found.sd, first.sd)
        assert found.uncertainty == first.uncertainty
    assert elsewhere.weights_hash() == restorer.weights_hash()
    assert len(restorer.weights_hash()) == 64


def test_the_raw_frame_stays_as_it_is(restorer: Any) -> None:
    frame = counts()
    frame.setflags(write=False)
    restorer.restore(frame)
    np.testing.assert_array_equal(frame, counts())
    view = counts((24, 64))[:, ::2]
    np.testing.assert_array_equal(
        restorer.restore(view).image, restorer.restore(np.ascontiguousarray(view)).image
    )


def test_a_dark_frame_stays_dark(restorer: Any) -> None:
    found = restorer.restore(np.zeros((16, 16), np.uint16))
    np.testing.assert_array_equal(found.image, 0)
    assert np.isfinite(found.sd).all() and np.isfinite(found.uncertainty)


def test_a_hot_pixel_stays_where_it_is(restorer: Any) -> None:
    """Its surroundings are as without it; what is far away knows nothing of it."""
    frame = counts((64, 64))
    hot = frame.copy()
    hot[6, 6] = 60000
    plain, found = restorer.restore(frame), restorer.restore(hot)
    assert np.isfinite(found.image).all() and np.isfinite(found.sd).all()
    away = np.abs(found.image - plain.image)[56:, 56:]
    assert away.max() <= 0.05 * np.ptp(plain.image)


def test_counts_keep_their_offset_and_gain(request: pytest.FixtureRequest, restorer: Any) -> None:
    if not isinstance(restorer, Restorer):
        pytest.skip("its unit is its own")
    plain, moved = restorer.restore(counts()), restorer.restore(3.0 * counts() + 1000)
    atol = 1e-3 * np.ptp(plain.image)
    np.testing.assert_allclose((moved.image - 1000) / 3, plain.image, atol=atol)
    np.testing.assert_allclose(moved.sd / 3, plain.sd, rtol=1e-2)
    assert moved.uncertainty == pytest.approx(plain.uncertainty, rel=1e-2)
