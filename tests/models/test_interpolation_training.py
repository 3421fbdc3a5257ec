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
from torch.nn import functional

from models.interpolation import (
    Movie,
    movie,
    read_interpolator,
    read_movies,
    train,
)
from models.interpolation.calibration import ValidationFrame, measured, rebuilt
from models.interpolation.crops import Crops, whole
from models.interpolation.interface import Interpolator, Staged
from models.interpolation.losses import decibels
from models.interpolation.triplets import triplets
from models.interpolation.warping import backward
from models.restoration.calibration import COVERAGE
from models.restoration.network import Laplace
from models.restoration.normalization import Normalization
from tests.doubles.drifting import SIDE, TINY, drifting, small, train_tiny, write_movies

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movies(tmp_path_factory.mktemp("movies"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(data, tmp_path_factory.mktemp("weights") / "tiny")


class Stopped(Exception):
    """As after Ctrl-C."""


class TestTraining:
    @pytest.mark.slow
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

    @pytest.mark.slow
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

    @pytest.mark.slow
    def test_does_not_go_on_with_another_recipe(self, data: Path, tmp_path: Path) -> None:
        def stop(*_: Any) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            train(data, tmp_path / "one", small(), progress=stop)
        with pytest.raises(ValueError, match=r"one\.checkpoint: of a training with another recipe"):
            train(data, tmp_path / "one", small(seed=2))

    @pytest.mark.slow
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

    @pytest.mark.slow
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

    @pytest.mark.slow
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

    @pytest.mark.slow
    def test_examples_are_shown(self, data: Path, tmp_path: Path) -> None:
        shown: list[Any] = []
        train(data, tmp_path / "shown", small(epochs=1, steps_per_epoch=1), examples=shown.extend)
        assert len(shown) == 4
        assert shown[0].keys() == {"before", "after", "rebuilt", "target", "sd"}
        assert {image.shape for image in shown[0].values()} == {(SIDE, SIDE)}


class TestRecipe:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"gaps": (1,)}, r"gaps: found \[1\]"),
            ({"patch": 8}, "patch: found 8"),
            ({"epochs": 0}, "epochs: found 0"),
            ({"learning_rate": 0}, "learning_rate: found 0"),
            ({"jitter": 1.0}, "jitter: found 1.0"),
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
        y, x = np.mgrid[:SIDE, :SIDE]
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
        with pytest.raises(ValueError, match="no movies; accepted:"):
            read_movies(tmp_path)
        (tmp_path / "bad.tif").write_bytes(b"II*\0 no")
        with pytest.raises(ValueError, match=r"bad\.tif: not a readable TIFF"):
            read_movies(tmp_path)

    def test_too_few_frames_and_too_large_patches_are_refused(self, tmp_path: Path) -> None:
        frames = drifting(0)[0]
        with pytest.raises(ValueError, match="too few frames to learn from"):
            train([movie(frames[:4])], tmp_path / "few", small())
        with pytest.raises(ValueError, match="40 × 40 pixels; accepted: 64 × 64"):
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
    case = ValidationFrame(before, after, (before + after) / 2 + noise, 0.5)
    factors, figures = measured(Oracle(0.1), [case])
    assert factors == pytest.approx((2, 2, 0), rel=0.03)
    coverage = figures["coverage"]
    assert isinstance(coverage, dict)
    assert coverage["0.9"] == pytest.approx(COVERAGE, abs=0.01)
    assert coverage["0.5"] == pytest.approx(0.5, abs=0.02)


class Guess(Oracle):
    """Knows no motion, and adds what is not there."""

    def estimate(self, before: torch.Tensor, after: torch.Tensor, t: torch.Tensor) -> Staged:
        made = (1 - t) * before + t * after + 0.3 * torch.randn_like(before)
        return Staged(Laplace(made, torch.full_like(made, self.scale)), [])


def test_what_a_network_cannot_foresee_is_met_half_way() -> None:
    torch.manual_seed(0)
    smooth = functional.interpolate(torch.rand(2, 1, 12, 12), size=96, mode="bicubic")
    case = ValidationFrame(smooth[:1], smooth[1:], smooth.mean(0, keepdim=True), 0.5)
    found, figures = measured(Guess(0.1), [case, case])
    assert found.blend >= 0.2
    alone, _ = rebuilt(Guess(0.1), *case[:2], 0.5, both_ways=True)
    met, _ = rebuilt(Guess(0.1), *case[:2], 0.5, both_ways=True, blend=found.blend)
    assert decibels(met, case.target) < decibels(alone, case.target) - 1
    assert figures["psnr"] == pytest.approx(-decibels(met, case.target), abs=0.2)


class TestWeights:
    @pytest.mark.slow
    def test_come_back_as_they_were(self, trained: Path) -> None:
        loaded = read_interpolator(trained)
        assert loaded.network.architecture == loaded.card["architecture"]
        assert loaded.normalization == Normalization(1.0, 99.8)
        assert min(loaded.calibration[:2]) > 0
        assert not loaded.network.training

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("architecture", {"network": "zs"}),
            ("architecture", {**TINY, "hidden": 9}),
            ("calibration", {"one_way": 1.0, "both_ways": -1.0}),
            ("calibration", {"one_way": 1.0, "both_ways": 1.0, "blend": 1.0}),
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
        with pytest.raises(ValueError, match="model: found 'nobody'; accepted: dain, flow, zs"):
            read_interpolator("nobody")


def test_a_recipe_keeps_its_gaps_whatever_they_came_in() -> None:
    assert replace(small(), gaps=[2, 3]).gaps == (2, 3)  # type: ignore[arg-type]
