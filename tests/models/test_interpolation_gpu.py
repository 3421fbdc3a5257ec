"""The interpolators' way over a GPU, on the CPU, and what they do when it fails."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from agent.offline.files.reconstruction import reconstruct_file
from agent.plan import Rebuild
from agent.record.journal import Journal
from agent.record.ledger import Ledger
from agent.workers.rebuild_process import Done
from agent.workers.recorders import rebuild_recorder
from models.interpolation import Interpolated, Interpolation, build
from models.interpolation.weights import save, shipped
from tests.doubles.late import Late

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network whose motion is not zero."""
    torch.manual_seed(3)
    network = build(
        {"network": "flow", "widths": [4, 6], "hidden": 8, "synthesis": [4, 6], "reach": 1}
    )
    for name, parameter in network.named_parameters():
        if "head" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    card: dict[str, Any] = {
        "architecture": network.architecture,
        "normalization": {"low": 2.0, "high": 99.8},
        "calibration": {"one_way": 1.2, "both_ways": 1.1, "blend": 0.1},
    }
    return save(tmp_path_factory.mktemp("interpolator") / "weights", network, card)


def pair(rows: int, columns: int, dtype: str = "u2") -> list[NDArray[Any]]:
    rng = np.random.default_rng(1)
    y, x = np.indices((rows, columns))
    means = [100 + 80 * np.sin((x - shift) / 9) * np.cos((y + shift) / 7) for shift in (0, 3)]
    frames = [rng.poisson(mean).astype(dtype) for mean in means]
    if dtype == "u2":
        # The highest bit, which a signed number takes for its sign.
        frames = [frame + np.uint16(60_000) for frame in frames]
    return frames


def assert_alike(found: Interpolated, expected: Interpolated) -> None:
    """As near as half-size numbers let it be."""
    range_ = float(np.ptp(expected.image))
    assert np.sqrt(np.mean((found.image - expected.image) ** 2)) < 0.01 * range_
    np.testing.assert_allclose(found.sd.astype(np.float32), expected.sd, rtol=0.2)
    assert found.uncertainty == pytest.approx(expected.uncertainty, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "u2", ">i4", "f8"])
def test_any_pair_is_as_on_the_cpu(file: Path, dtype: str, both_ways: bool) -> None:
    first, second = pair(61, 75, dtype)
    gpu = Interpolation(file, Late(), both_ways=both_ways)
    cpu = Interpolation(file, "cpu", both_ways=both_ways)
    for t in (0.25, 0.7):
        found = gpu.between(first, second, t)
        assert (found.device, found.fault) == ("emulated", None)
        assert found.image.dtype == np.float32
        assert found.sd.dtype == (np.float16 if dtype in ("u1", "u2") else np.float32)
        assert_alike(found, cpu.between(first, second, t))


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_shipped_networks_stand_half_size_numbers(name: str) -> None:
    first, second = pair(32, 40)
    found = Interpolation(name, Late()).between(first, second, 0.4)
    assert found.fault is None, "on the CPU after all"
    assert_alike(found, Interpolation(name, "cpu").between(first, second, 0.4))


def test_one_graph_serves_all_times_of_a_shape(file: Path) -> None:
    accelerator = Late()
    rebuild = Interpolation(file, accelerator)
    first, second = pair(32, 40)
    found = [rebuild.between(first, second, t).image for t in (0.1, 0.5, 0.9)]
    assert accelerator.captured == 1
    # Nearer in time is nearer in brightness: the time is not that of the capture.
    away = [float(np.abs(image - first).mean()) for image in found]
    assert away == sorted(away) and away[0] < 0.7 * away[2]


@pytest.mark.slow
def test_out_of_memory_goes_on_in_tiles(file: Path) -> None:
    accelerator = Late(spoils=11_900)
    rebuild = Interpolation(file, accelerator, both_ways=False)
    first, second = pair(20, 600)
    found = rebuild.between(first, second)
    assert (found.device, found.fault) == (
        "emulated",
        "emulated: out of memory; in tiles of 300 pixels from here on",
    )
    expected = Interpolation(file, "cpu", both_ways=False, tile=300).between(first, second)
    assert_alike(found, expected)


def test_a_gpu_that_fails_leaves_it_to_the_cpu(file: Path) -> None:
    class Lost(Late):
        def capture(self, work: Any) -> Any:
            raise RuntimeError("CUDA error: unspecified launch failure")

    rebuild = Interpolation(file, Lost())
    first, second = pair(32, 40)
    assert rebuild.device == "emulated"
    found = rebuild.between(first, second)
    assert found.fault == "emulated: CUDA error: unspecified launch failure; on cpu from here on"
    assert rebuild.device == found.device == "cpu"
    expected = Interpolation(file, "cpu").between(first, second)
    np.testing.assert_array_equal(found.image, expected.image)
    movie = list(Interpolation(file, Lost()).movie([first, second, first]))
    assert [frame.fault is None for frame in movie] == [True, False, True, True, True]
    assert movie[1].fault == found.fault


@pytest.mark.parametrize("name", ["before", "after"])
def test_frames_that_are_not_finite_are_refused(file: Path, name: str) -> None:
    frames = dict(zip(("before", "after"), pair(32, 40, "f4"), strict=True))
    frames[name][2, 3:5] = np.nan
    with pytest.raises(ValueError, match=f"{name} with 2 values not finite"):
        Interpolation(file, Late()).between(**frames)


def test_a_movie_s_file_of_errors_is_as_from_the_cpu(file: Path, tmp_path: Path) -> None:
    """From a GPU they come in half precision, and are written in single."""
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(movie, np.stack([*pair(32, 40)]), photometric="minisblack")
    found = []
    for name, device in (("cpu", "cpu"), ("gpu", Late())):
        out, errors = tmp_path / f"{name}.tif", tmp_path / f"{name}-sd.tif"
        reconstruct_file(movie, out, model=str(file), uncertainty=errors, device=cast(str, device))
        found.append(tifffile.imread(errors))
    assert found[1].dtype == np.float32
    np.testing.assert_allclose(found[1], found[0], rtol=0.2)


def test_a_fault_that_was_got_around_is_in_the_ledger(tmp_path: Path) -> None:
    told: list[Any] = []
    with closing(Ledger(tmp_path)) as ledger:
        for index in range(2):
            ledger.add("shot", {}, index)
            ledger.add("frame", {}, index)
        done = Done((0.1,), (), "cpu", 1.0, "0" * 64, "cuda:0: out of memory; on cpu from here on")
        request = Rebuild(0, before=(0, 0), after=(1, 2), points=(1,))
        journal = Journal(ledger, lambda kind, data: told.append(kind))
        rebuild_recorder(journal)(0, request, done)
        fault, rebuilt = (next(ledger.entries(kind)).data for kind in told)
    assert told == ["fault", "rebuilt"]
    assert fault == {"what": done.fault, "policy": "go on", "part": "rebuild"}
    assert rebuilt["failed"] is None and rebuilt["uncertainty"] == [0.1]
