"""Training of interpolators, their weights, and what they make of a movie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from models.interpolation import (
    Interpolation,
    Movie,
    Recipe,
    movie,
    read_interpolator,
    read_movies,
    train,
)
from models.interpolation.calibration import Case, measured
from models.interpolation.interface import Interpolator, Staged
from models.interpolation.movies import Crops, triplets, whole
from models.interpolation.warping import backward
from models.restoration.calibration import COVERAGE
from models.restoration.network import Laplace
from models.restoration.normalization import Normalization

pytestmark = pytest.mark.usefixtures("one_thread")

_SIDE = 40
TINY = {"network": "flow", "widths": [4, 6], "hidden": 8, "synthesis": [4, 6]}


def drifting(seed: int, count: int = 9, noise: float = 20) -> tuple[NDArray[Any], NDArray[Any]]:
    """A measured movie (uint16, offset 100) of spots that drift, and the same without noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:_SIDE, :_SIDE]
    spots, angle = rng.uniform(0, _SIDE, (12, 2)), rng.uniform(0, 2 * np.pi)
    step = 1.5 * np.array([np.cos(angle), np.sin(angle)])
    clean = np.stack(
        [
            sum(
                np.exp(-((y - row - i * step[0]) ** 2 + (x - column - i * step[1]) ** 2) / 18)
                for row, column in spots
            )
            for i in range(count)
        ]
    )
    clean = 100 + 1000 * clean
    frames = clean + noise * rng.standard_normal(clean.shape)
    return np.rint(frames).astype(np.uint16), clean.astype(np.float32)


def small(**more: Any) -> Recipe:
    """A recipe for a training that takes no time."""
    values: dict[str, Any] = {
        "architecture": TINY,
        "epochs": 2,
        "steps_per_epoch": 3,
        "batch": 2,
        "patch": 32,
        "learning_rate": 1e-3,
        "validation_frames": 4,
    }
    return Recipe(**(values | more))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five movies, of all but one of which it is known what is noise."""
    folder = tmp_path_factory.mktemp("movies")
    (folder / "clean").mkdir()
    for i in range(5):
        frames, clean = drifting(i)
        tifffile.imwrite(folder / f"{i}.tif", frames)
        if i < 4:
            tifffile.imwrite(folder / "clean" / f"{i}.tif", clean)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "tiny"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(data, out, small(), command="stedfast train interpolation X")
    torch.set_num_threads(threads)
    return out.with_suffix(".safetensors")


class Stopped(Exception):
    """Somebody pressed Ctrl-C."""


class TestTraining:
    def test_card_says_what_it_is_and_how_it_was_made(self, trained: Path) -> None:
        card = json.loads(trained.with_suffix(".json").read_text())
        assert card["architecture"] == {**TINY, "reach": 2}
        assert card["command"] == "stedfast train interpolation X"
        assert card["trained_on"] == "4 movies with clean targets, 1 without"
        # A median of measured frames would be darker than their mean.
        assert card["loss"] == "mse"
        assert card["data"]["movies"] == 5
        assert card["data"]["frames"] == 45
        assert len(card["training"]["validation_db"]) == card["training"]["epochs"] == 2
        assert card["metrics"]["validation"]["frames"] == 4
        assert not list(trained.parent.glob("*.checkpoint"))

    def test_goes_on_where_it_was_stopped(self, data: Path, tmp_path: Path, trained: Path) -> None:
        def stop(epoch: int, _: int, __: dict[str, float]) -> None:
            if epoch == 1:
                raise Stopped

        out = tmp_path / "stopped"
        with pytest.raises(Stopped):
            train(data, out, small(), progress=stop)
        assert not out.with_suffix(".safetensors").exists()
        seen: list[int] = []
        train(data, out, small(), progress=lambda epoch, _, __: seen.append(epoch))
        assert seen == [2]
        first, again = load_file(trained), load_file(out.with_suffix(".safetensors"))
        assert all(torch.equal(first[key], again[key]) for key in first)

    def test_does_not_go_on_with_another_recipe(self, data: Path, tmp_path: Path) -> None:
        def stop(*_: Any) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            train(data, tmp_path / "one", small(), progress=stop)
        with pytest.raises(ValueError, match=r"one\.checkpoint: of a training with another recipe"):
            train(data, tmp_path / "one", small(seed=2))

    def test_a_pattern_that_moves_is_rebuilt_better_than_by_the_blend(self, tmp_path: Path) -> None:
        movies = [movie(*drifting(i, noise=5), name=str(i)) for i in range(8)]
        recipe = small(
            epochs=1, steps_per_epoch=100, batch=4, learning_rate=2e-3, stages=1.0, gaps=(2,)
        )
        card = train(movies, tmp_path / "more", recipe)
        figures = card["metrics"]["validation"]
        assert card["loss"] == "charbonnier"
        assert figures["psnr"] > figures["linear_psnr"] + 2
        assert figures["intensity"] == pytest.approx(1, abs=0.05)
        assert figures["coverage"]["0.9"] == pytest.approx(0.9, abs=0.01)
        # It is the motion that was learned, not only what to add.
        loaded = read_interpolator(tmp_path / "more.safetensors")
        _, validation = triplets(movies, recipe.gaps, recipe.seed)
        images, t = whole(movies, validation[0], loaded.normalization)
        before, after, target = (torch.from_numpy(image)[None, None] for image in images[:3])
        with torch.no_grad():
            moved = loaded.network.staged(before, after, t).stages[-1]
        warped = moved.share * backward(before, moved.to_before)
        warped = warped + (1 - moved.share) * backward(after, moved.to_after)
        blend = (before + after) / 2
        errors = [float((image - target).square().mean()) for image in (warped, blend)]
        assert errors[0] < 0.8 * errors[1]

    def test_fine_tuning_keeps_the_weights_if_none_are_better(
        self, trained: Path, tmp_path: Path
    ) -> None:
        own = [movie(drifting(9, count=20)[0])]
        wild = small(start_from=trained, learning_rate=0.3, epochs=1, schedule="constant")
        card = train(own, tmp_path / "tuned", wild)
        assert card["training"]["validation_db"][0] > card["training"]["started_db"]
        assert card["training"]["best_epoch"] == 0
        parent = load_file(trained)
        kept = load_file(tmp_path / "tuned.safetensors")
        assert all(torch.equal(parent[key], kept[key]) for key in parent)
        assert (
            card["started_from"]
            == json.loads(trained.with_suffix(".json").read_text())["weights_sha256"]
        )

    def test_fine_tuning_keeps_what_is_better(self, trained: Path, tmp_path: Path) -> None:
        own = tmp_path / "own.tif"
        tifffile.imwrite(own, drifting(9, count=20)[0])
        card = train(own, tmp_path / "tuned", small(start_from=trained, steps_per_epoch=25))
        history = card["training"]
        assert min(history["validation_db"]) < history["started_db"]
        assert history["best_epoch"] > 0
        # Never worse on the validation part than the best epoch; perhaps weights on the way there.
        assert (
            -card["metrics"]["validation"]["one_way_psnr"] <= min(history["validation_db"]) + 0.01
        )
        parent, kept = load_file(trained), load_file(tmp_path / "tuned.safetensors")
        assert history["share"] in (0.25, 0.5, 0.75, 1.0)
        assert any(not torch.equal(parent[key], kept[key]) for key in parent)
        assert card["data"]["name"] == "own.tif"

    def test_uneven_motion_is_told_as_another_time(self, data: Path) -> None:
        movies = read_movies(data)
        training, _ = triplets(movies, (2,), 1)

        def told(wobble: float) -> list[float]:
            rng = np.random.default_rng(0)
            crops = Crops(movies, training, Normalization(1, 99.8), 32, 0.5, 0.1, wobble)
            return [crops.draw(rng).t for _ in range(60)]

        assert set(told(0)) == {0.5}
        uneven = told(0.1)
        assert np.mean(uneven) == pytest.approx(0.5, abs=0.04)
        assert np.std(uneven) == pytest.approx(0.1, abs=0.03)
        assert min(uneven) >= 0.1 and max(told(1.0)) <= 0.9

    def test_examples_are_shown(self, data: Path, tmp_path: Path) -> None:
        shown: list[Any] = []
        train(data, tmp_path / "shown", small(epochs=1, steps_per_epoch=1), examples=shown.extend)
        assert len(shown) == 4
        assert shown[0].keys() == {"before", "after", "rebuilt", "target", "sd"}
        assert {image.shape for image in shown[0].values()} == {(_SIDE, _SIDE)}


class TestRecipe:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"gaps": (1,)}, r"gaps: found \[1\]"),
            ({"patch": 8}, "patch: 8"),
            ({"epochs": 0}, "epochs: 0"),
            ({"learning_rate": 0}, "learning_rate: 0"),
            ({"jitter": 1.0}, "jitter: 1.0"),
            ({"low": 99.9}, "low, high: found 99.9 and 99.8"),
        ],
    )
    def test_values_that_cannot_be_are_refused(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            small(**values)


class TestMovies:
    def test_parts_share_no_frame(self) -> None:
        many = [movie(*drifting(i), name=str(i)) for i in range(6)]
        training, validation = triplets(many, (2, 4), 1)
        aside = {found.movie for found in validation}
        assert aside
        assert aside.isdisjoint(found.movie for own in training for found in own)
        training, validation = triplets(many[:1], (2, 4), 1)
        seen = {
            n for own in training for found in own for n in range(found.before, found.after + 1)
        }
        judged = {n for found in validation for n in (found.before, found.target, found.after)}
        assert judged
        assert seen.isdisjoint(judged)

    def test_longer_gaps_have_their_times(self) -> None:
        training, _ = triplets([movie(*drifting(0, count=12))], (2, 3, 4), 1)
        assert {found.t for found in training[0]} == {1 / 2, 1 / 3, 2 / 3, 1 / 4, 3 / 4}

    def test_copies_and_blends_are_left_out_of_measured_movies(self) -> None:
        frames, clean = drifting(0, count=12)
        frames[4] = frames[3]
        one = movie(frames)
        assert one.kept == (0, 1, 2, 3, *range(5, 12))
        training, _ = triplets([one], (2, 3), 1)
        used = {n for found in training[0] for n in (found.before, found.target, found.after)}
        assert 4 not in used
        assert movie(frames, clean).kept == movie(frames, screened=False).kept == tuple(range(12))

    def test_crops_show_one_place_at_three_times(self) -> None:
        clean = drifting(0)[1]
        # Rows, columns and times can be told from the brightness alone.
        y, x = np.mgrid[:_SIDE, :_SIDE]
        frames = np.stack([10_000.0 * i + 100 * y + x for i in range(9)])
        one = Movie("ramp", frames, None, tuple(range(9)))
        training, _ = triplets([one], (2, 3), 1)
        crops = Crops([one], training, Normalization(0, 100), 16, 0.5, 0.0)
        rng = np.random.default_rng(0)
        for _ in range(10):
            images, t = crops.draw(rng)
            assert images.shape == (5, 16, 16)
            before, after, target = images[:3].astype(np.float64)
            assert np.allclose(target, (1 - t) * before + t * after, atol=1e-5)
            assert np.array_equal(images[3:], images[:2])
        noisy = Movie("clean", frames, np.repeat(clean[:1], 9, 0), tuple(range(9)))
        sample = whole([noisy], training[0][0], Normalization(0, 100))
        assert np.array_equal(sample.images[2], sample.images[3])

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            (np.zeros((5, 8, 8, 3)), r"mine: found an array of shape \(5, 8, 8, 3\)"),
            (np.zeros((2, 8, 8)), "mine: found 2 frames"),
            (np.zeros((5, 8, 8), complex), "pixels of type complex128"),
            (np.full((5, 8, 8), np.nan), "frame 0 has pixels that are not finite"),
            (np.ones((5, 8, 8)), "mine: 1 frames are neither copies nor blends"),
        ],
    )
    def test_other_movies_are_refused(self, frames: NDArray[Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            movie(frames, name="mine")

    def test_folders_without_movies_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no such folder or file"):
            read_movies(tmp_path / "none")
        with pytest.raises(ValueError, match="no movies; accepted are"):
            read_movies(tmp_path)
        (tmp_path / "bad.tif").write_bytes(b"II*\0 no")
        with pytest.raises(ValueError, match=r"bad\.tif: not a readable TIFF"):
            read_movies(tmp_path)

    def test_too_few_frames_and_too_large_patches_are_refused(self, tmp_path: Path) -> None:
        frames = drifting(0)[0]
        with pytest.raises(ValueError, match="too few frames to learn from"):
            train([movie(frames[:4])], tmp_path / "few", small())
        with pytest.raises(ValueError, match="40 × 40 pixels; accepted are 64 × 64"):
            train([movie(frames)], tmp_path / "large", small(patch=64))
        with pytest.raises(ValueError, match="movies: found none"):
            train([], tmp_path / "none", small())


class Oracle(Interpolator):
    """Knows the blend, and that its error is so much."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def estimate(self, before: torch.Tensor, after: torch.Tensor, t: torch.Tensor) -> Staged:
        blend = (1 - t) * before + t * after
        return Staged(Laplace(blend, torch.full_like(blend, self.scale)), [])


def test_calibration_finds_the_factor_that_a_scale_is_off_by() -> None:
    torch.manual_seed(0)
    noise = torch.distributions.Laplace(0.0, 0.2).sample((1, 1, 200, 200))
    before, after = torch.rand(2, 1, 1, 200, 200)
    case = Case(before, after, (before + after) / 2 + noise, 0.5)
    factors, figures = measured(Oracle(0.1), [case])
    assert factors == pytest.approx((2, 2), rel=0.03)
    coverage = figures["coverage"]
    assert isinstance(coverage, dict)
    assert coverage["0.9"] == pytest.approx(COVERAGE, abs=0.01)
    assert coverage["0.5"] == pytest.approx(0.5, abs=0.02)


class TestWeights:
    def test_come_back_as_they_were(self, trained: Path) -> None:
        loaded = read_interpolator(trained)
        assert loaded.network.architecture == loaded.card["architecture"]
        assert loaded.normalization == Normalization(1.0, 99.8)
        assert min(loaded.calibration) > 0
        assert not loaded.network.training

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("architecture", {"network": "zs"}),
            ("architecture", {**TINY, "hidden": 9}),
            ("calibration", {"one_way": 1.0, "both_ways": -1.0}),
            ("normalization", {"low": 5}),
        ],
    )
    def test_of_another_network_are_refused(
        self, trained: Path, tmp_path: Path, key: str, value: Any
    ) -> None:
        card = json.loads(trained.with_suffix(".json").read_text())
        if key == "normalization":
            value = {"low": 101.0, "high": 5.0}
        (tmp_path / "w.json").write_text(json.dumps(card | {key: value}))
        (tmp_path / "w.safetensors").write_bytes(trained.read_bytes())
        with pytest.raises(ValueError, match="not the weights of an interpolator"):
            read_interpolator(tmp_path / "w.safetensors")

    def test_unknown_names_are_refused(self) -> None:
        with pytest.raises(ValueError, match="model: found 'nobody'; accepted are what comes"):
            read_interpolator("nobody")


@pytest.fixture(scope="module")
def rebuild(trained: Path) -> Interpolation:
    return Interpolation(trained, "cpu")


class TestBetween:
    def test_has_the_frames_units(self, rebuild: Interpolation) -> None:
        frames = drifting(0)[0]
        found = rebuild.between(frames[0], frames[2])
        blend = (frames[0].astype(float) + frames[2]) / 2
        assert found.image.shape == found.sd.shape == (_SIDE, _SIDE)
        assert np.abs(found.image - blend).mean() < 100
        assert found.image.mean() == pytest.approx(blend.mean(), rel=0.1)
        assert found.sd.min() > 0
        # What is twice as bright on another offset is the same, in those units.
        again = rebuild.between(2.0 * frames[0] + 5000, 2.0 * frames[2] + 5000)
        assert np.allclose(again.image, 2 * found.image + 5000, rtol=1e-4)
        assert np.allclose(again.sd, 2 * found.sd, rtol=1e-2)
        assert again.uncertainty == pytest.approx(found.uncertainty, rel=1e-3)

    def test_does_not_depend_on_where_time_begins(self, rebuild: Interpolation) -> None:
        frames = drifting(0)[0]
        there = rebuild.between(frames[0], frames[2], 0.25)
        back = rebuild.between(frames[2], frames[0], 0.75)
        assert np.allclose(there.image, back.image, rtol=1e-4)

    def test_both_ways_doubt_where_the_two_differ(self, trained: Path) -> None:
        frames = drifting(0)[0]
        one_way = Interpolation(trained, "cpu", both_ways=False).between(frames[0], frames[2])
        assert np.isfinite(one_way.sd).all()
        card = json.loads(trained.with_suffix(".json").read_text())
        assert card["calibration"]["both_ways"] != card["calibration"]["one_way"]

    def test_tiles_leave_no_seam(self, trained: Path) -> None:
        rng = np.random.default_rng(0)
        before, after = rng.random((2, 300, 330))
        whole_ = Interpolation(trained, "cpu").between(before, after)
        tiled = Interpolation(trained, "cpu", tile=288).between(before, after)
        assert np.allclose(tiled.image, whole_.image, atol=1e-4)
        assert np.allclose(tiled.sd, whole_.sd, rtol=1e-3)

    @pytest.mark.parametrize(
        ("before", "after", "t", "message"),
        [
            (np.ones((1, 16, 16)), np.ones((16, 16)), 0.5, r"before of shape \(1, 16, 16\)"),
            (np.ones((16, 16)), np.ones((16, 17)), 0.5, "after has 16 × 17 pixels"),
            (np.ones((16, 16)), np.full((16, 16), np.nan), 0.5, "after with 256 values not finite"),
            (np.ones((4, 16)), np.ones((4, 16)), 0.5, "before of 4 × 16 pixels"),
            (np.ones((16, 16), complex), np.ones((16, 16)), 0.5, "pixels of type complex128"),
            (np.ones((16, 16)), np.ones((16, 16)), 1.0, "t: found 1.0"),
        ],
    )
    def test_other_frames_are_refused(
        self, rebuild: Interpolation, before: Any, after: Any, t: float, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            rebuild.between(before, after, t)

    def test_blank_frames_stay_blank(self, rebuild: Interpolation) -> None:
        blank = np.full((16, 16), 700, np.uint16)
        found = rebuild.between(blank, blank)
        assert np.abs(found.image - 700).max() < 1
        assert np.isfinite(found.uncertainty)

    def test_unknown_devices_are_refused(self, trained: Path) -> None:
        with pytest.raises(ValueError, match="device: found 'tpu'; accepted here are auto, cpu"):
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


def test_a_recipe_keeps_its_gaps_whatever_they_came_in() -> None:
    assert replace(small(), gaps=[2, 3]).gaps == (2, 3)  # type: ignore[arg-type]
