"""Rebuilt frames, one by one and for a whole movie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.interpolation import Interpolation, on_cpu, read_interpolator
from tests.doubles.drifting import drifting, train_tiny, write_movies

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_movies(tmp_path_factory.mktemp("movies"))
    return train_tiny(data, tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def rebuild(trained: Path) -> Interpolation:
    return Interpolation(trained, "cpu")


class TestBetween:
    @pytest.mark.slow
    def test_does_not_depend_on_where_time_begins(self, rebuild: Interpolation) -> None:
        frames = drifting(0)[0]
        there = rebuild.between(frames[0], frames[2], 0.25)
        back = rebuild.between(frames[2], frames[0], 0.75)
        assert np.allclose(there.image, back.image, rtol=1e-4)

    @pytest.mark.slow
    def test_both_ways_doubt_where_the_two_differ(self, trained: Path) -> None:
        frames = drifting(0)[0]
        one_way = Interpolation(trained, "cpu", both_ways=False).between(frames[0], frames[2])
        assert np.isfinite(one_way.sd).all()
        card = json.loads(trained.with_suffix(".json").read_text())
        assert card["calibration"]["both_ways"] != card["calibration"]["one_way"]

    @pytest.mark.slow
    def test_tiles_leave_no_seam(self, trained: Path) -> None:
        rng = np.random.default_rng(0)
        before, after = rng.random((2, 300, 330))
        whole_ = Interpolation(trained, "cpu").between(before, after)
        tiled = Interpolation(trained, "cpu", tile=288).between(before, after)
        assert np.allclose(tiled.image, whole_.image, atol=1e-4)
        assert np.allclose(tiled.sd, whole_.sd, rtol=1e-3)

    @pytest.mark.slow
    def test_where_memory_is_short_tiles_are_smaller(
        self, trained: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, after = np.random.default_rng(0).random((2, 300, 330))
        expected = Interpolation(trained, "cpu", tile=288).between(before, after)
        engine = Interpolation(trained, "cpu")
        needed = 2 * read_interpolator(trained).network.bytes_a_pixel
        monkeypatch.setattr(on_cpu, "free_memory", lambda: int(2 * 288.5**2 * needed))
        found = engine.between(before, after)
        assert engine.computes[0].largest == 288
        np.testing.assert_array_equal(found.image, expected.image)

    @pytest.mark.slow
    def test_where_there_is_too_little_memory_for_any_tile_it_says_so(
        self, trained: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, after = np.random.default_rng(0).random((2, 64, 64))
        monkeypatch.setattr(on_cpu, "free_memory", lambda: 2**20)
        says = "64 × 64 pixels needs more memory than there is.*GB needed, 0.0 GB free"
        with pytest.raises(MemoryError, match=says):
            Interpolation(trained, "cpu").between(before, after)
        monkeypatch.setattr(on_cpu, "free_memory", lambda: None)
        assert Interpolation(trained, "cpu").computes[0].largest == 1024

    def test_unknown_devices_are_refused(self, trained: Path) -> None:
        with pytest.raises(ValueError, match="device: found 'tpu'; accepted: auto, cpu"):
            Interpolation(trained, "tpu")
        with pytest.raises(ValueError, match="tile: found 64"):
            Interpolation(trained, "cpu", tile=64)


class TestMovie:
    @pytest.mark.parametrize("factor", [2, 3, 4])
    def test_measured_frames_are_the_same_and_rebuilt_ones_marked(
        self, rebuild: Interpolation, factor: int
    ) -> None:
        frames = drifting(0)[0][:4]
        found = list(rebuild.movie(frames, factor))
        assert len(found) == 3 * factor + 1
        assert [one.measured for one in found] == [i % factor == 0 for i in range(len(found))]
        assert np.allclose([one.time for one in found], np.arange(len(found)) / factor)
        for i, frame in enumerate(frames):
            assert np.array_equal(found[factor * i].image, frame)
        assert {one.image.dtype for one in found} == {np.dtype(np.uint16)}
        assert all((one.sd is None) == one.measured for one in found)
        assert [one.fault for one in found] == [None] * len(found)

    def test_comes_as_soon_as_it_can(self, rebuild: Interpolation) -> None:
        shown: list[int] = []

        def acquired() -> Any:
            for i, frame in enumerate(drifting(0)[0][:3]):
                shown.append(i)
                yield frame

        made = rebuild.movie(acquired())
        next(made)
        assert shown == [0]
        assert not next(made).measured
        assert shown == [0, 1]

    def test_a_frame_that_is_not_finite_is_marked_and_not_used(
        self, rebuild: Interpolation
    ) -> None:
        frames = drifting(0)[1][:5].copy()
        frames[0, 3, 3] = frames[2, 5, 5] = frames[4, 1, 1] = np.nan
        found = list(rebuild.movie(frames))
        assert len(found) == 9
        assert np.array_equal(found[4].image, frames[2], equal_nan=True)
        assert found[4].fault == "1 values not finite"
        # At either side of it, from the frames around.
        assert found[3].fault == found[5].fault == "rebuilt from frames 1 and 3"
        expected = rebuild.between(frames[1], frames[3], 0.25)
        assert np.array_equal(found[3].image, expected.image)
        for edge, near in ((found[1], 1), (found[7], 3)):
            assert edge.fault is not None
            assert f"frame {near} again" in edge.fault
            assert np.array_equal(edge.image, frames[near])
            assert edge.sd is not None
            assert np.isnan(edge.sd).all()

    def test_frames_lie_where_their_times_are(self, rebuild: Interpolation) -> None:
        frames = drifting(0)[1][:4]
        taken = [frames[0], None, frames[2], frames[3]]
        found = list(rebuild.movie(taken, times=[0.0, 1.0, 4.0, 9.0]))
        for number, t in ((1, 0.125), (2, 0.25), (3, 0.625)):
            expected = rebuild.between(frames[0], frames[2], t)
            assert np.array_equal(found[number].image, expected.image)
        # Between two that follow each other, the middle is the middle.
        expected = rebuild.between(frames[2], frames[3], 0.5)
        assert np.array_equal(found[5].image, expected.image)
        for times in ([0, 1, 1, 2], [0, 1, np.nan, 3]):
            with pytest.raises(ValueError, match="times: accepted: finite numbers, each later"):
                rebuild.movie(taken, times=times)
        with pytest.raises(ValueError, match="times: found 2; accepted: one for each frame"):
            list(rebuild.movie(frames, times=[0, 1]))

    def test_copies_and_blank_frames_are_marked(self, rebuild: Interpolation) -> None:
        frames = drifting(0)[0][:4].copy()
        frames[2] = frames[1]
        frames[3] = 0
        faults = [one.fault for one in rebuild.movie(frames)]
        assert faults == [None, None, None, None, "repeats frame 1", None, "blank"]

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            ([np.ones((16, 16))], "movie: found 1 frames"),
            ([], "movie: found 0 frames"),
            ([np.ones((16, 16)), np.ones((16, 18))], "frame 1 has 16 × 18 pixels"),
            ([np.ones((16, 16)), np.ones((16, 16), np.uint8)], "frame 1 has pixels of type uint8"),
            (np.ones((3, 2, 16, 16)), r"frame 0 of shape \(2, 16, 16\)"),
            (np.full((2, 16, 16), np.nan), "none of the 2 frames is finite"),
        ],
    )
    def test_other_movies_are_refused(
        self, rebuild: Interpolation, frames: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            list(rebuild.movie(frames))

    @pytest.mark.parametrize("factor", [1, 2.5, True])
    def test_other_factors_are_refused(self, rebuild: Interpolation, factor: Any) -> None:
        with pytest.raises(ValueError, match="factor: found"):
            rebuild.movie(np.ones((3, 16, 16)), factor)
