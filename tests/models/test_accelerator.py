"""The GPU's way through the engines, on the CPU: what goes up, what is kept, what comes down."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.cuda import Lent
from models.devices import short_of_memory
from models.emulated import Emulated
from models.program import Programs, affordable
from models.raw_frames import mirrored, raw_bits, single, sorted_levels
from models.restoration import Restored, Restorer
from models.restoration.normalization import Normalization
from models.restoration.on_gpu import OnGpu
from tests.doubles.late import Late
from tests.models.test_restoration_engine import networks, saved, spread

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("gpu"), networks(2, depth=1))


@pytest.fixture(scope="module")
def exact(file: Path) -> Restorer:
    return Restorer(file, "cpu")


def frame_of(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    y, x = np.indices((rows, columns))
    return rng.poisson(60 + 40 * np.sin(x / 9 + seed) * np.cos(y / 7)).astype(np.uint16)


def assert_alike(found: Restored, expected: Restored) -> None:
    """As near as half-size numbers let it be."""
    range_ = spread(expected.image)
    assert np.abs(found.image - expected.image).max() < 0.03 * range_
    assert np.sqrt(np.mean((found.image - expected.image) ** 2)) < 0.005 * range_
    np.testing.assert_allclose(found.sd.astype(np.float32), expected.sd, rtol=0.1)
    assert found.uncertainty == pytest.approx(expected.uncertainty, rel=0.01)


class TestRestorer:
    @pytest.mark.parametrize(
        "dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "i4", "i8", "f2", "f4", "f8", "?"]
    )
    @pytest.mark.parametrize("shape", [(64, 80), (61, 75)])
    def test_any_frame_is_as_on_the_cpu(
        self, file: Path, exact: Restorer, dtype: str, shape: tuple[int, int]
    ) -> None:
        frame = frame_of(*shape)
        frame = (frame > 60) if dtype == "?" else frame.astype(dtype)
        if frame.dtype.kind == "u":
            # The highest bit, which a signed number takes for its sign.
            frame = frame + frame.dtype.type(np.iinfo(frame.dtype).max - 200)
        if dtype == "i8":
            frame = frame + 10**12
        found = Restorer(file, Late()).restore(frame)
        assert (found.device, found.fault) == ("emulated", None)
        expected = exact.restore(frame)
        if dtype == "i8":  # single precision has no digits left, there as here
            assert found.image.shape == expected.image.shape
            return
        assert_alike(found, expected)
        assert found.image.dtype == np.float32
        small = frame.dtype.kind in "uib" and frame.dtype.itemsize <= 2
        assert found.sd.dtype == (np.float16 if small else np.float32)

    @pytest.mark.slow
    def test_frames_of_several_sizes_in_one_stream_stay_apart(
        self, file: Path, exact: Restorer
    ) -> None:
        """Sizes of which one is that of the other's tiles, as they once overwrote each other."""
        accelerator = Late()
        restorer = Restorer(file, accelerator, tile=96)
        shapes = [(96, 96), (220, 96), (96, 96), (96, 96), (100, 180), (64, 64), (96, 96)]
        frames = [frame_of(*shape, seed) for seed, shape in enumerate(shapes)]
        found = list(restorer.stream(iter(frames)))
        for one, frame in zip(found, frames, strict=True):
            assert one.fault is None
            assert_alike(one, exact.restore(frame))

    def test_results_that_are_kept_stay_as_they_are(self, file: Path) -> None:
        restorer = Restorer(file, Late())
        frames = [frame_of(64, 64, seed) for seed in range(6)]
        kept = list(restorer.stream(iter(frames)))
        copies = [one.image.copy() for one in kept]
        list(restorer.stream(iter(frames[::-1])))
        for one, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(one.image, copy)

    def test_a_shape_is_captured_once(self, file: Path) -> None:
        accelerator = Late()
        restorer = Restorer(file, accelerator)
        restorer.warm_up((64, 64))
        assert accelerator.captured == 1
        for seed in range(3):
            restorer.restore(frame_of(64, 64, seed))
        assert accelerator.captured == 1
        for columns in range(20, 20 + 9 * 2, 2):
            restorer.restore(frame_of(20, columns))
            restorer.restore(frame_of(20, 20))
        assert accelerator.captured == 10, "one in use was dropped"
        restorer.restore(frame_of(64, 64))
        assert accelerator.captured == 11, "all are kept for ever"

    def test_tiles_are_joined_on_the_gpu(self, file: Path, exact: Restorer) -> None:
        accelerator = Late()
        restorer = Restorer(file, accelerator, tile=96)
        frame = frame_of(151, 117)
        assert_alike(restorer.restore(frame), exact.restore(frame))
        assert accelerator.captured == 1, "all tiles have one shape"

    def test_a_frame_that_is_not_finite_is_refused(self, file: Path) -> None:
        restorer = Restorer(file, Late())
        frame = frame_of(64, 64).astype(np.float32)
        frame[3, 4:6] = np.nan, np.inf
        with pytest.raises(ValueError, match="frame with 2 values not finite"):
            restorer.restore(frame)
        with pytest.raises(ValueError, match="frame with 1 values not finite"):
            restorer.restore(np.where(np.eye(32) * np.arange(32) == 5, 1e300, 1.0))
        assert restorer.restore(frame_of(64, 64)).fault is None

    @pytest.mark.slow
    def test_memory_that_runs_out_in_a_capture_is_known(self, file: Path, exact: Restorer) -> None:
        accelerator = Late(spoils=20_000)
        restorer = Restorer(file, accelerator)
        frame = frame_of(180, 180)
        found = restorer.restore(frame)
        assert (found.device, found.fault) == (
            "emulated",
            "emulated: out of memory; in tiles of 90 pixels from here on",
        )
        assert accelerator.released == 2
        assert_alike(found, exact.restore(frame))

    def test_memory_is_given_back_when_the_exception_is_gone(self, file: Path) -> None:
        """A traceback holds all that was made on the way to where memory ran out."""
        alive: list[int] = []

        class Watched(Late):
            def up(self, array: NDArray[Any]) -> torch.Tensor:
                tensor = super().up(array)
                marker.append(tensor)
                return tensor

            def release(self) -> None:
                super().release()
                # Of each tensor only the list's own reference may be left, and those of this line.
                alive.append(max(sys.getrefcount(one) for one in marker))

        marker: list[torch.Tensor] = []
        Restorer(file, Watched(spoils=0)).restore(frame_of(64, 64))
        assert alive and max(alive) <= 3, "somebody still holds what went up"

    def test_after_a_failure_the_cpu_is_asked(self, file: Path, exact: Restorer) -> None:
        class Lost(Late):
            def up(self, array: NDArray[Any]) -> torch.Tensor:
                raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel …")

            def release(self) -> None:
                raise RuntimeError("CUDA error: device-side assert triggered")

        restorer = Restorer(file, Lost())
        frame = frame_of(64, 64)
        found = restorer.restore(frame)
        assert found.fault == (
            "emulated: CUDA error: device-side assert triggered; on cpu from here on"
        )
        np.testing.assert_array_equal(found.image, exact.restore(frame).image)

    def test_what_was_got_around_is_told(self, file: Path) -> None:
        accelerator = Late()
        restorer = Restorer(file, accelerator)
        accelerator.notes.append("operation not permitted; without a captured graph")
        found = restorer.restore(frame_of(64, 64))
        assert found.fault == "emulated: operation not permitted; without a captured graph"
        assert restorer.restore(frame_of(64, 64)).fault is None

    def test_cards_without_half_size_numbers_compute_in_single(
        self, file: Path, exact: Restorer
    ) -> None:
        accelerator = Late()
        accelerator.narrow = torch.float32
        frame = frame_of(61, 75)
        found, expected = Restorer(file, accelerator).restore(frame), exact.restore(frame)
        assert np.abs(found.image - expected.image).max() < 1e-5 * spread(expected.image)

    @pytest.mark.parametrize(("memory", "side"), [(1 << 40, 4096), (1 << 27, 560), (1 << 10, 112)])
    def test_the_tile_is_what_the_memory_is_enough_for(
        self, tmp_path: Path, memory: int, side: int
    ) -> None:
        # 128 × 128 pixels take 4 MiB: 256 bytes a pixel.
        compute = OnGpu(networks(), 1.0, Normalization(), Emulated(memory, 1 << 22))
        assert compute.largest == side
        assert compute.largest % 4 == 0


class TestParts:
    @pytest.mark.parametrize("shape", [(8, 8), (31, 57), (64, 64)])
    def test_sorted_levels_are_the_percentiles(self, shape: tuple[int, int]) -> None:
        rng = np.random.default_rng(4)
        empty = np.zeros(shape)
        empty[0, 0] = 9
        for frame in (rng.random(shape), rng.poisson(3, shape), empty, empty * 0 + 4):
            values = frame.astype(np.float32)
            for normalization in (Normalization(), Normalization(0, 100)):
                low, high = normalization.low, normalization.high
                found = [float(one) for one in sorted_levels(torch.from_numpy(values), low, high)]
                assert found == pytest.approx(normalization.of(values), rel=1e-5, abs=1e-6)

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "i4", "f4", "f8", "?"])
    def test_every_number_goes_up_as_it_is(self, dtype: str) -> None:
        kind = np.dtype(dtype)
        ends = [0, 1] if kind.kind in "?bf" else [np.iinfo(kind).min, np.iinfo(kind).max, 7, 100]
        frame = np.array([ends, ends], kind)[:, ::-1]
        up = raw_bits(frame)
        assert up.dtype.itemsize <= 4
        found = single(torch.from_numpy(up.copy()), frame.dtype).numpy()
        np.testing.assert_array_equal(found, frame.astype(np.float32))

    @pytest.mark.parametrize("shape", [(8, 8), (9, 13), (8, 30)])
    def test_frames_are_continued_as_numpy_does_it(self, shape: tuple[int, int]) -> None:
        for multiple in (4, 16, 32):
            places = mirrored(shape, multiple)
            gaps = [(0, -length % multiple) for length in shape]
            frame = np.arange(shape[0] * shape[1]).reshape(shape)
            expected = np.pad(frame, gaps, mode="reflect")
            found = frame if places is None else frame[np.ix_(*places)]
            np.testing.assert_array_equal(found, expected)

    def test_a_program_s_results_are_its_own(self) -> None:
        programs = Programs(Emulated())
        with torch.inference_mode():
            first = programs("twice", lambda: lambda x: (2 * x,), torch.ones(3))[0]
            second = programs("twice", lambda: lambda x: (2 * x,), torch.zeros(3))[0]
        assert first.tolist() == [2, 2, 2] and second.tolist() == [0, 0, 0]

    @pytest.mark.slow
    def test_what_a_graph_reads_is_kept_as_long_as_it_is(self) -> None:
        """A graph holds nothing: memory that its work alone held would be given to others."""

        class Forgets(Emulated):
            def capture(self, work: Any) -> Any:
                outputs = work()
                return (lambda: None), outputs

        held: list[weakref.ref[torch.Tensor]] = []

        def make() -> Any:
            table = torch.arange(3)
            held.append(weakref.ref(table))
            return lambda x: (x.index_select(0, table),)

        programs = Programs(Forgets())
        with torch.inference_mode():
            programs("table", make, torch.ones(3))
            gc.collect()
            assert held[0]() is not None, "the graph would read another's memory"
            programs("table", make, torch.ones(3))
        assert len(held) == 1, "made once a key"
        programs.clear()
        gc.collect()
        assert held[0]() is None

    @pytest.mark.slow
    def test_page_locked_memory_is_lent_and_comes_back(self) -> None:
        lent = Lent(2)
        arrays = [np.zeros(9) for _ in range(3)]
        out = [lent.out(array) for array in arrays]
        assert [one is array for one, array in zip(out, arrays, strict=True)] == [True, True, False]
        view = out[0][3:]
        del arrays, out
        gc.collect()
        assert lent.count == 1, "a view holds what it is of"
        del view
        gc.collect()
        assert lent.count == 0

    def test_want_of_memory_is_known_behind_other_errors(self) -> None:
        def chained(first: Exception) -> RuntimeError:
            try:
                try:
                    raise first
                finally:
                    raise RuntimeError("operation failed due to a previous error during capture")
            except RuntimeError as error:
                return error

        assert short_of_memory(chained(torch.OutOfMemoryError("CUDA out of memory")))
        assert not short_of_memory(chained(ValueError("sizes do not match")))
        assert not short_of_memory(None)

    def test_affordable_looks_at_what_the_work_takes(self) -> None:
        sides: list[int] = []
        found = affordable(Emulated(1 << 30, 1 << 22), sides.append, 64, 4096, 16)
        assert sides == [128]
        assert found == 1584
