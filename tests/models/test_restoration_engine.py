"""The engine that filters frames: the same as the network, at any size, also after failures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.restoration import RestorationNet, Restorer
from models.restoration.compute import Answer, Wait
from models.restoration.folded import Folded
from models.restoration.frame_filter import SMALLEST
from models.restoration.normalization import Normalization
from models.restoration.on_cpu import OnCpu
from models.restoration.tiles import cut, smallest
from models.restoration.weights import save

pytestmark = pytest.mark.usefixtures("one_thread")

CALIBRATION = 1.5
ODD = (301, 517)


def networks(count: int = 1, **architecture: Any) -> list[RestorationNet]:
    torch.manual_seed(5)
    made = [
        RestorationNet(**{"depth": 2, "kernel": 3, "first": 4, **architecture}).eval()
        for _ in range(count)
    ]
    for parameter in itertools.chain(*(network.parameters() for network in made)):
        if parameter.ndim == 1:  # biases start as zeros, which would hide that one is forgotten
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def saved(folder: Path, made: list[RestorationNet]) -> Path:
    card = {
        "architecture": made[0].architecture,
        "normalization": {"low": 2.0, "high": 99.8},
        "calibration": CALIBRATION,
    }
    return save(folder / "weights", made, card)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("engine"), networks())


@pytest.fixture(scope="module")
def frame() -> NDArray[np.uint16]:
    rng = np.random.default_rng(1)
    y, x = np.indices(ODD)
    return rng.poisson(60 + 40 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint16)


def spread(image: NDArray[Any]) -> float:
    return float(np.ptp(image))


class TestFolded:
    @pytest.mark.parametrize("kernel", [1, 3, 5, 7])
    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_is_the_network(self, kernel: int, depth: int) -> None:
        network = networks(kernel=kernel, depth=depth)[0]
        image = torch.rand(2, 1, 40, 56, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for found, expected in zip(Folded(network)(image), network(image), strict=True):
                range_ = float(expected.max() - expected.min())
                # Where an untrained network's answers are all alike, rounding is all there is.
                torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5 * range_)

    def test_adds_the_input_only_where_the_network_does(self) -> None:
        network = networks(residual=False)[0]
        image = 1000 * torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            found, expected = Folded(network)(image).location, network(image)[0]
        range_ = float(expected.max() - expected.min())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * range_)

    def test_half_size_numbers_err_by_less_than_a_hundredth(self) -> None:
        network = networks(first=16)[0]
        image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            exact = network(image)[0]
            found = Folded(network).narrowed(torch.bfloat16)(image).location
        assert found.dtype == torch.float32
        error = float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())
        assert 1e-6 < error < 0.01


class TestRestored:
    def test_is_the_networks_answer_in_the_frames_units(
        self, tmp_path: Path, frame: NDArray[np.uint16]
    ) -> None:
        made = networks(3)
        found = Restorer(saved(tmp_path, made), "cpu").restore(frame[:64, :80])
        normalization = Normalization()
        offset, scale = normalization.of(frame[:64, :80])
        image = torch.from_numpy(normalization.normalize(frame[:64, :80]))[None, None]
        with torch.inference_mode():
            answers = [network(image) for network in made]
            location, width = (torch.cat(part) for part in zip(*answers, strict=True))
        expected = location.mean(0)[0].numpy() * scale + offset
        variance = 2 * (CALIBRATION * width.numpy()) ** 2
        sd = np.sqrt(variance.mean(0)[0] + location.numpy().var(0)[0]) * scale
        np.testing.assert_allclose(found.image, expected, atol=1e-5 * spread(expected))
        np.testing.assert_allclose(found.sd, sd, rtol=1e-4)
        assert found.image.dtype == found.sd.dtype == np.float32
        assert found.uncertainty == pytest.approx(
            sd.mean() / np.abs(expected - offset).mean(), 1e-4
        )
        assert (found.device, found.fault) == ("cpu", None)

    def test_a_stream_gives_the_same_in_order(self, file: Path, frame: NDArray[np.uint16]) -> None:
        restorer = Restorer(file, "cpu")
        frames = [frame[:40, :50], frame[100:140, :50], frame[:70, 60:90]]
        found = list(restorer.stream(iter(frames)))
        for one, part in zip(found, frames, strict=True):
            np.testing.assert_array_equal(one.image, restorer.restore(part).image)

    @pytest.mark.parametrize(
        ("bad", "says"),
        [
            (np.zeros((3, 20, 20)), r"shape \(3, 20, 20\); accepted: one grey image"),
            (np.zeros((20, 20, 3), np.uint8), "accepted: one grey image"),
            (np.zeros(400), "accepted: one grey image"),
            (np.zeros((20, 20), complex), "complex128; accepted: real numbers"),
            (np.full((20, 20), "a"), "accepted: real numbers"),
            (np.zeros((7, 20)), "7 × 20 pixels; accepted: at least 8 × 8"),
            (np.full((20, 20), np.nan), "400 values not finite"),
            (np.where(np.eye(20), np.inf, 0.0), "20 values not finite"),
            (np.full((20, 20), 1e300), "400 values not finite"),
        ],
    )
    def test_a_bad_frame_is_refused(self, file: Path, bad: NDArray[Any], says: str) -> None:
        restorer = Restorer(file, "cpu")
        with pytest.raises(ValueError, match=says):
            restorer.restore(bad)
        assert restorer.restore(np.eye(SMALLEST)).fault is None


class TestEmptyFrames:
    @pytest.mark.parametrize("counts", [0, 1, 4])
    def test_gain_no_haze(self, file: Path, counts: int) -> None:
        frame = np.full((64, 64), 3, np.uint16)
        frame.flat[7 : 7 + 600 * counts : 600] += 1
        found = Restorer(file, "cpu").restore(frame)
        np.testing.assert_array_equal(found.image, frame)
        assert found.image.dtype == found.sd.dtype == np.float32
        assert found.sd[0, 0] == pytest.approx(frame.std())
        assert np.isfinite(found.uncertainty) and (found.uncertainty > 1) == (counts > 0)

    def test_frames_with_more_in_them_are_filtered(self, file: Path) -> None:
        frame = np.random.default_rng(3).poisson(0.02, (64, 64))
        assert not np.array_equal(Restorer(file, "cpu").restore(frame).image, frame)


class TestTiles:
    @pytest.mark.slow
    @pytest.mark.parametrize("side", [112, 160, 300])
    def test_tiled_is_untiled(self, file: Path, frame: NDArray[np.uint16], side: int) -> None:
        whole = Restorer(file, "cpu").restore(frame)
        tiled = Restorer(file, "cpu", tile=side).restore(frame)
        for name in ("image", "sd"):
            expected = getattr(whole, name)
            difference = np.abs(getattr(tiled, name) - expected)
            # Everywhere, so at the seams, too.
            assert difference.max() < 1e-4 * spread(expected), name

    def test_without_overlap_there_would_be_seams(
        self, file: Path, frame: NDArray[np.uint16]
    ) -> None:
        whole = Restorer(file, "cpu").restore(frame)
        tiled = Restorer(file, "cpu", tile=160)
        tiled.computes[0]._reach = 0  # type: ignore[attr-defined]
        difference = np.abs(tiled.restore(frame).image - whole.image)
        assert difference.max() > 1e-2 * spread(whole.image)

    @pytest.mark.parametrize("reach", [0, 23, 43])
    @pytest.mark.parametrize("shape", [(304, 520), (64, 2048), (1000, 204)])
    def test_cover_every_pixel_once_far_from_what_they_cannot_see(
        self, shape: tuple[int, int], reach: int
    ) -> None:
        side = smallest(reach, 4) + 20
        seen = np.zeros(shape, int)
        windows = set()
        for tile in cut(shape, side, reach, 4):
            seen[tile.core] += 1
            windows.add(tuple(part.stop - part.start for part in tile.window))
            for window, core, length in zip(tile.window, tile.core, shape, strict=True):
                assert window.start % 4 == 0 and 0 <= window.start < window.stop <= length
                assert window.start == 0 or core.start - window.start >= reach
                assert window.stop == length or window.stop - core.stop >= reach
        assert (seen == 1).all()
        assert len(windows) == 1 and max(*windows.pop()) <= side

    def test_too_small_a_tile_is_refused(self, file: Path) -> None:
        with pytest.raises(ValueError, match="tile: found 64; accepted: 112 pixels and more"):
            Restorer(file, "cpu", tile=64)


class Failing(OnCpu):
    """A device that computes as the CPU does, until it does not.

    Parameters
    ----------
    error
        What it raises from then on.
    side
        Images longer than this (pixels) make it fail.
    late
        Only when the result is waited for.
    """

    device = "cuda:0"
    ahead = 1

    def __init__(self, error: Exception, side: int = 0, *, late: bool = False) -> None:
        super().__init__(networks(), CALIBRATION, Normalization())
        self.error, self.side, self.late = error, side, late
        self.tried: list[int] = []
        self.released = 0

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        side = min(side, max(frame.shape))
        self.tried.append(side)
        if side <= self.side:
            return super().submit(frame, side)
        if not self.late:
            raise self.error

        def wait() -> Answer:
            raise self.error

        return wait

    def release(self) -> None:
        self.released += 1


def with_device(file: Path, device: Failing) -> Restorer:
    restorer = Restorer(file, "cpu")
    restorer.computes.insert(0, device)
    return restorer


class TestFaults:
    @pytest.mark.slow
    @pytest.mark.parametrize("late", [False, True])
    def test_out_of_memory_goes_on_in_smaller_tiles(
        self, file: Path, frame: NDArray[np.uint16], late: bool
    ) -> None:
        expected = Restorer(file, "cpu").restore(frame)
        device = Failing(torch.OutOfMemoryError("CUDA out of memory"), side=200, late=late)
        restorer = with_device(file, device)
        found = restorer.restore(frame)
        # Of the three failures the first may be of what others held: it is tried once more.
        assert found.device == "cuda:0" and device.released == 3
        assert found.fault == (
            "cuda:0: out of memory; in tiles of 258 pixels from here on;"
            " cuda:0: out of memory; in tiles of 129 pixels from here on"
        )
        np.testing.assert_allclose(found.image, expected.image, atol=1e-5 * spread(expected.image))
        device.tried.clear()
        assert restorer.restore(frame).fault is None
        assert max(device.tried) <= 129, "what did not fit is not tried again"

    def test_out_of_memory_for_good_goes_on_on_the_cpu(
        self, file: Path, frame: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        restorer = with_device(file, Failing(torch.OutOfMemoryError("CUDA out of memory")))
        cpu = restorer.computes[-1]
        submit, sides = cpu.submit, []

        def noted(frame: NDArray[Any], side: int) -> Wait:
            sides.append(side)
            return submit(frame, side)

        monkeypatch.setattr(cpu, "submit", noted)
        found = restorer.restore(frame)
        assert found.device == "cpu" and found.fault is not None
        assert found.fault.endswith("cuda:0: out of memory; on cpu from here on")
        assert sides == [2048], "the GPU's small tiles are not for the CPU"
        expected = Restorer(file, "cpu").restore(frame).image
        np.testing.assert_array_equal(found.image, expected)
        assert restorer.restore(frame).fault is None

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
            MemoryError(),
        ],
    )
    def test_want_of_memory_is_known_by_all_its_names(
        self, file: Path, frame: NDArray[np.uint16], error: Exception
    ) -> None:
        found = with_device(file, Failing(error, side=160)).restore(frame[:300, :300])
        assert found.fault == "cuda:0: out of memory; in tiles of 150 pixels from here on"
        assert found.device == "cuda:0"

    @pytest.mark.parametrize("late", [False, True])
    def test_a_failed_gpu_goes_on_on_the_cpu(
        self, file: Path, frame: NDArray[np.uint16], late: bool
    ) -> None:
        error = RuntimeError("CUDA error: an illegal memory access\nCompile with …")
        part = frame[:64, :64]
        found = with_device(file, Failing(error, late=late)).restore(part)
        assert found.device == "cpu"
        assert found.fault == "cuda:0: CUDA error: an illegal memory access; on cpu from here on"
        np.testing.assert_array_equal(found.image, Restorer(file, "cpu").restore(part).image)

    @pytest.mark.parametrize("late", [False, True])
    def test_a_stream_loses_no_frame_to_a_fault(
        self, file: Path, frame: NDArray[np.uint16], late: bool
    ) -> None:
        frames = [frame[:64, 10 * i : 10 * i + 40 + 40 * (i == 2)] for i in range(5)]
        device = Failing(RuntimeError("CUDA error: launch failed"), side=64, late=late)
        found = list(with_device(file, device).stream(frames))
        assert [one.device for one in found] == ["cuda:0"] * 2 + ["cpu"] * 3
        assert [one.fault is None for one in found] == [True, True, False, True, True]
        plain = Restorer(file, "cpu")
        for one, part in zip(found, frames, strict=True):
            np.testing.assert_array_equal(one.image, plain.restore(part).image)

    def test_a_fault_at_warm_up_is_told_with_the_first_frame(
        self, file: Path, frame: NDArray[np.uint16]
    ) -> None:
        restorer = with_device(file, Failing(RuntimeError("no kernel image")))
        restorer.warm_up((64, 64))
        assert restorer.restore(frame[:64, :64]).fault == (
            "cuda:0: no kernel image; on cpu from here on"
        )

    def test_a_gpu_that_fails_once_is_tried_again(
        self, file: Path, frame: NDArray[np.uint16]
    ) -> None:
        class Once(Failing):
            def release(self) -> None:
                self.side = 4096

        restorer = with_device(file, Once(RuntimeError("CUDA error: launch failed")))
        found = restorer.restore(frame[:64, :64])
        assert (found.device, found.fault) == (
            "cuda:0",
            "cuda:0: CUDA error: launch failed; tried again",
        )
        assert restorer.restore(frame[:64, :64]).fault is None

    def test_where_no_memory_is_left_says_so(self, file: Path, frame: NDArray[np.uint16]) -> None:
        restorer = Restorer(file, "cpu")
        restorer.computes[:] = [Failing(MemoryError())]
        with pytest.raises(MemoryError, match="301 × 517 pixels needs more memory than there is"):
            restorer.restore(frame)

    def test_a_mistake_of_ours_is_no_fault(self, file: Path) -> None:
        restorer = Restorer(file, "cpu")
        restorer.computes[:] = [Failing(RuntimeError("sizes do not match"))]
        with pytest.raises(RuntimeError, match="sizes do not match"):
            restorer.restore(np.eye(16))


class TestDevices:
    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    @pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", ""])
    def test_one_that_is_not_there_is_refused(self, file: Path, device: str) -> None:
        with pytest.raises(ValueError, match=f"device: found '{device}'; accepted: auto"):
            Restorer(file, device)

    def test_auto_takes_what_there_is(self, file: Path) -> None:
        expected = "cuda:0" if torch.cuda.is_available() else "cpu"
        restorer = Restorer(file)
        restorer.warm_up((32, 32))
        assert restorer.restore(np.eye(32)).device == expected

    def test_several_channels_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="takes 2 channels"):
            Restorer(saved(tmp_path, networks(channels_in=2)), "cpu")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_a_gpu_agrees_with_the_cpu(self, tmp_path: Path, frame: NDArray[np.uint16]) -> None:
        file = saved(tmp_path, networks(2, first=16))
        gpu, cpu = Restorer(file, "cuda"), Restorer(file, "cpu")
        frames = [frame, frame[::-1], frame[:200], frame[:, :100], frame[50:], frame[:64, :64]]
        for one, part in zip(gpu.stream(frames), frames, strict=True):
            exact = cpu.restore(part)
            assert one.device == "cuda:0" and one.fault is None
            error = np.sqrt(np.mean((one.image - exact.image) ** 2))
            assert error < 0.01 * np.sqrt(np.mean((exact.image - frame.min()) ** 2))
