"""The quality network: architecture, preparation of frames, shipped weights, training."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from agent.bench.quality import spoiled
from models import QualityNet, QualityScorer, train
from models.quality import scope
from models.quality.augmentation import blur, score_left
from models.quality.data import load, split
from models.quality.figures import calibrate, covered, whitening
from models.quality.heatmap import heatmap
from models.quality.network import PowerSpectrum, RatingNet, RobitailleNet
from models.quality.preparing import cover, normalize, prepare, resample
from models.quality.recipe import Recipe
from models.quality.score import Score
from models.quality.scorer import PAPERS, SHIPPED
from models.quality.table import Rating, read_ratings

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "sted"
REAL_FRAMES = sorted(REAL.glob("*.tif"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def scorer() -> QualityScorer:
    return QualityScorer()


def filaments(
    seed: int, pixel_nm: float = 20.0, width_nm: float = 60.0, size_um: float = 4.48
) -> NDArray[np.float64]:
    """Expected counts (arbitrary unit, peak about 1) of straight filaments seen by a Gaussian."""
    rng = np.random.default_rng(seed)
    n = round(size_um * 1000 / pixel_nm)
    y, x = (np.mgrid[:n, :n] + 0.5) * pixel_nm
    image = np.zeros((n, n))
    sigma = width_nm / 2.355
    for _ in range(16):
        angle, where = rng.uniform(0, np.pi), rng.uniform(0, size_um * 1000, 2)
        away = (x - where[0]) * np.sin(angle) - (y - where[1]) * np.cos(angle)
        # A filament of one width carries the same light however it is blurred.
        image += np.exp(-0.5 * (away / sigma) ** 2) * 60.0 / width_nm
    return image


class TestArchitecture:
    def test_robitailles_is_the_papers(self) -> None:
        kinds = [type(layer) for layer in RobitailleNet().modules()]
        assert kinds.count(nn.Conv2d) == 6
        assert kinds.count(nn.Linear) == 2
        assert kinds.count(nn.MaxPool2d) == 6
        assert kinds.count(nn.ELU) == 7
        assert kinds[-1] is nn.Sigmoid

    def test_batch_normalization_everywhere_but_in_the_first_layer(self) -> None:
        features = list(RobitailleNet().features)
        pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
        blocks = [features[a + 1 : b] for a, b in zip([-1, *pools], pools, strict=False)]
        normalized = [any(isinstance(m, nn.BatchNorm2d) for m in block) for block in blocks]
        assert normalized == [False, True, True, True, True, True]

    @pytest.mark.parametrize("kind", [RobitailleNet, QualityNet])
    def test_pools_two_by_two(self, kind: type[RatingNet]) -> None:
        pools = [m for m in kind().modules() if isinstance(m, nn.MaxPool2d)]
        assert {(pool.kernel_size, pool.stride) for pool in pools} == {(2, 2)}

    @pytest.mark.parametrize("kind", [RobitailleNet, QualityNet])
    def test_output_is_between_zero_and_one(self, kind: type[RatingNet]) -> None:
        generator = torch.Generator().manual_seed(0)
        frames = 50 * torch.randn(3, 1, 224, 224, generator=generator)
        scores = kind().eval()(frames)
        assert scores.value.shape == scores.sd.shape == scores.distance.shape == (3,)
        assert ((scores.value >= 0) & (scores.value <= 1)).all()
        assert (scores.sd > 0).all()

    @pytest.mark.parametrize("kind", [RobitailleNet, QualityNet])
    @pytest.mark.parametrize("shape", [(1, 1, 223, 224), (1, 3, 224, 224), (224, 224)])
    def test_other_input_is_refused(self, kind: type[RatingNet], shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"accepted is \(n, 1, 224, 224\)"):
            kind()(torch.zeros(shape))

    @pytest.mark.parametrize("kind", [RobitailleNet, QualityNet])
    def test_needs_six_convolutions(self, kind: type[RatingNet]) -> None:
        with pytest.raises(ValueError, match="accepted are 6"):
            kind(channels=(8, 8))  # type: ignore[call-arg]

    def test_spectrum_is_the_power_in_rings(self) -> None:
        spectrum = PowerSpectrum(48)
        x = np.indices((224, 224))[1]
        for period in (4, 8, 28):
            wave = torch.from_numpy(np.sin(2 * np.pi * x / period)).float()[None, None]
            ring = int(spectrum(wave)[0].argmax())
            assert ring == int(2 / period * 48)
        noise = torch.randn(1, 1, 224, 224, generator=torch.Generator().manual_seed(0))
        assert float(spectrum(noise)[0, 5:].std()) < 0.3  # white

    def test_sd_grows_with_the_heads_disagreement(self) -> None:
        network = QualityNet(heads=3).eval()
        frames = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
        value, sd, _ = network.judge(frames)
        expected = (sd.square().mean(0) + value.var(0, unbiased=False)).sqrt()
        torch.testing.assert_close(network(frames).sd, expected)
        network.calibration.fill_(2.0)
        torch.testing.assert_close(network(frames).sd, 2 * expected)


def test_importing_models_imports_no_torch() -> None:
    code = "import models, models.quality, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


class TestPreparation:
    def test_finer_pixels_are_averaged_by_area(self) -> None:
        fine = np.random.default_rng(0).random((60, 40)).astype(np.float32)
        binned = fine.reshape(30, 2, 20, 2).mean((1, 3))
        np.testing.assert_allclose(resample(fine, 10.0), binned, rtol=1e-5)

    @pytest.mark.parametrize("pixel_nm", [7.0, 15.0, 30.0, 47.0, 100.0])
    def test_resampling_keeps_place_and_scale_along_both_axes(self, pixel_nm: float) -> None:
        shape = (round(4000 / pixel_nm), round(9000 / pixel_nm))
        y, x = ((np.indices(shape) + 0.5) * pixel_nm).astype(np.float32)
        new_y, new_x = resample(y, pixel_nm), resample(x, pixel_nm)
        assert new_y.shape == pytest.approx((4000 / 20, 9000 / 20), rel=0.02)
        inner = np.s_[5:-5, 5:-5]
        place = (np.indices(new_y.shape) + 0.5) * 20.0
        np.testing.assert_allclose(new_y[inner], place[0][inner], atol=2)
        np.testing.assert_allclose(new_x[inner], place[1][inner], atol=2)

    def test_a_pixel_size_almost_right_is_left_alone(self) -> None:
        frame = np.eye(50, dtype=np.float32)
        assert resample(frame, 20.2) is frame

    @pytest.mark.parametrize("shape", [(224, 224), (225, 700), (512, 300), (1000, 1000)])
    def test_tiles_cover_every_pixel(self, shape: tuple[int, int]) -> None:
        frame = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        found = cover(frame, 224)
        assert all(tile.shape == (224, 224) for tile in found)
        assert len(np.unique(found)) == frame.size

    @pytest.mark.parametrize("shape", [(96, 96), (30, 500), (223, 16)])
    def test_small_frames_are_continued_with_their_own_pixels(self, shape: tuple[int, int]) -> None:
        frame = np.random.default_rng(0).random(shape).astype(np.float32)
        for tile in cover(frame, 224):
            assert tile.shape == (224, 224)
            assert set(np.unique(tile)) <= set(np.unique(frame))

    def test_normalization_knows_no_gain_and_offset(self) -> None:
        frame = np.random.default_rng(0).poisson(4, (224, 224)).astype(np.float32)
        np.testing.assert_allclose(normalize(7 * frame + 100), normalize(frame), atol=1e-5)

    def test_nearly_empty_and_constant_tiles_stay_finite(self) -> None:
        lone = np.zeros((224, 224), np.float32)
        lone[3, 4] = 1
        assert normalize(lone).max() == 1
        assert not normalize(np.full((224, 224), 7, np.float32)).any()

    def test_empty_parts_do_not_count(self) -> None:
        frame = np.zeros((224, 448))
        frame[:, :224] = filaments(0)
        _, weights = prepare(frame, 20.0)
        assert weights.tolist() == [1.0, 0.0]

    @pytest.mark.parametrize(
        ("frame", "pixel_nm", "message"),
        [
            (np.zeros((4, 224, 224)), 20.0, r"shape \(4, 224, 224\); accepted is one grey"),
            (np.zeros(224), 20.0, r"shape \(224,\); accepted is one grey"),
            (np.zeros((0, 0)), 20.0, "accepted are at least 320 nm"),
            (np.zeros((1, 1)), 20.0, "accepted are at least 320 nm"),
            (np.full((224, 224), np.nan), 20.0, "50176 values not finite"),
            (np.full((224, 224), np.inf), 20.0, "50176 values not finite"),
            (np.zeros((224, 224), complex), 20.0, "complex128; accepted are real"),
            (np.full((224, 224), "a"), 20.0, "accepted are real"),
            (np.zeros((224, 224)), 0.0, "accepted is a positive number"),
            (np.zeros((224, 224)), -20.0, "accepted is a positive number"),
            (np.zeros((224, 224)), float("nan"), "accepted is a positive number"),
        ],
    )
    def test_wrong_input_is_named(
        self, scorer: QualityScorer, frame: NDArray[Any], pixel_nm: float, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            scorer.score(frame, pixel_nm)


class TestShippedWeights:
    def test_card_tells_how_they_were_made(self, scorer: QualityScorer) -> None:
        card = scorer.card
        assert card["command"].startswith("stedfast train quality configs/quality/default.yaml")
        assert card["commit"]
        assert card["weights_sha256"] == scorer.weights_hash()
        assert card["metrics"]["actin"]["spearman"] >= 0.9
        for name in ("actin", "tubulin", "psd95", "dyes"):
            assert card["metrics"][name]["rmse"] <= 0.12
            assert card["metrics"][name]["coverage_90"] >= 0.8
        assert SHIPPED.stat().st_size < 5e6

    def test_the_papers_network_comes_along(self) -> None:
        papers = QualityScorer(PAPERS)
        assert papers.card["architecture"]["network"] == "robitaille"
        rng = np.random.default_rng(0)
        assert papers.score(rng.poisson(20 * filaments(0)), 20.0).value > 0.3

    @pytest.mark.parametrize("seed", range(4))
    def test_sharp_beats_noisy_and_blurred(self, scorer: QualityScorer, seed: int) -> None:
        rng = np.random.default_rng(seed)
        sharp = scorer.score(rng.poisson(20 * filaments(seed)), 20.0).value
        noisy = scorer.score(rng.poisson(0.3 * filaments(seed)), 20.0).value
        blurred = scorer.score(rng.poisson(20 * filaments(seed, width_nm=220)), 20.0).value
        assert sharp > noisy + 0.2
        assert sharp > blurred + 0.2

    def test_nothing_scores_nothing(self, scorer: QualityScorer) -> None:
        rng = np.random.default_rng(0)
        assert scorer.score(np.zeros((224, 224), np.uint16), 20.0).value == 0
        assert scorer.score(np.full((300, 90), 7.0), 20.0).value == 0
        for mean in (0.1, 1, 10, 100):
            assert scorer.score(rng.poisson(mean, (224, 224)), 20.0).value < 0.15
        assert scorer.score(rng.random((224, 224)), 20.0).value < 0.15

    @pytest.mark.parametrize("pixel_nm", [10.0, 15.0])
    def test_a_scene_scores_alike_at_other_pixel_sizes(
        self, scorer: QualityScorer, pixel_nm: float
    ) -> None:
        rng = np.random.default_rng(0)
        photons_per_nm2 = 20 / 20**2
        by_size = [
            scorer.score(rng.poisson(photons_per_nm2 * p**2 * filaments(1, p)), p).value
            for p in (20.0, pixel_nm)
        ]
        assert by_size[1] == pytest.approx(by_size[0], abs=0.1)

    def test_a_wide_frame_scores_as_its_halves(self, scorer: QualityScorer) -> None:
        frame = np.random.default_rng(0).poisson(5 * filaments(0))
        wide = np.concatenate([frame, frame], axis=1)
        one, two = scorer.score(frame, 20.0), scorer.score(wide, 20.0)
        assert (one.tiles, two.tiles) == (1, 2)
        assert two.value == pytest.approx(one.value, abs=1e-5)

    def test_gain_offset_and_type_do_not_matter(self, scorer: QualityScorer) -> None:
        frame = np.random.default_rng(0).poisson(5 * filaments(0)).astype(np.uint16)
        value = scorer.score(frame, 20.0).value
        assert scorer.score(frame * 4 + 400, 20.0).value == pytest.approx(value, abs=1e-4)
        assert scorer.score(frame.astype(np.uint8), 20.0).value == value
        assert scorer.score(frame.astype(float), 20.0).value == value

    def test_is_deterministic_and_batches_agree(self, scorer: QualityScorer) -> None:
        rng = np.random.default_rng(0)
        frames = [rng.poisson(5 * filaments(i, size_um=s)) for i, s in enumerate((4.48, 3, 7))]
        alone = [scorer.score(frame, 20.0) for frame in frames]
        assert alone == [QualityScorer().score(frame, 20.0) for frame in frames]
        together = scorer.score_batch(frames, 20.0)
        assert [s.tiles for s in together] == [s.tiles for s in alone] == [1, 1, 4]
        np.testing.assert_allclose([s.value for s in together], [s.value for s in alone], atol=1e-5)
        assert scorer.score_batch([], 20.0) == []

    @pytest.mark.skipif(not REAL_FRAMES, reason="real frames not here")
    @pytest.mark.parametrize("path", REAL_FRAMES, ids=lambda path: path.stem)
    def test_real_frames_beat_spoiled_copies(self, scorer: QualityScorer, path: Path) -> None:
        frame = tifffile.imread(path)
        original = scorer.score(frame, 20.0)
        assert original.flags == ()
        for kind, copies in spoiled(frame).items():
            values = [scorer.score(copy, 20.0).value for copy in copies]
            assert original.value > max(values) + 0.02, kind
            # Of blurred copies, the slightest may score below the next (see the README).
            worse = values if kind != "blurred" else values[1:]
            assert worse == sorted(worse, reverse=True), kind

    def test_says_how_sure_it_is(self, scorer: QualityScorer) -> None:
        score = scorer.score(np.random.default_rng(0).poisson(5 * filaments(0)), 20.0)
        assert 0.005 < score.sd < 0.2
        low, high = score.interval(0.9)
        assert high - low == pytest.approx(2 * 1.645 * score.sd, rel=1e-3)
        assert Score(0.98, 0.1).interval() == (pytest.approx(0.98 - 0.1645, abs=1e-4), 1.0)

    def test_heatmap_shows_where_the_structure_is(self, scorer: QualityScorer) -> None:
        rng = np.random.default_rng(0)
        mean = 8 * filaments(2)
        mean[:, :112] = 0
        heat = heatmap(scorer, rng.poisson(mean + 0.3), 20.0)
        assert heat.shape == (224, 224)
        assert heat[:, 140:].mean() > 0
        assert heat[:, 140:].max() > 3 * np.abs(heat[:, :84]).max()

    @pytest.mark.parametrize(("shape", "pixel_nm"), [((100, 300), 20.0), ((460, 230), 10.0)])
    def test_heatmap_has_the_shape_of_the_frame(
        self, scorer: QualityScorer, shape: tuple[int, int], pixel_nm: float
    ) -> None:
        frame = np.random.default_rng(0).poisson(3.0, shape)
        assert heatmap(scorer, frame, pixel_nm).shape == shape


class TestFlags:
    def test_a_good_frame_has_none(self, scorer: QualityScorer) -> None:
        frame = np.random.default_rng(0).poisson(8 * filaments(0) + 0.2).astype(np.uint16)
        assert scorer.score(frame, 20.0).flags == ()
        assert scope.flags(frame.astype(float), 20.0) == []

    @pytest.mark.parametrize("mean", [0.01, 0.3, 5, 400])
    def test_noise_is_blank(self, scorer: QualityScorer, mean: float) -> None:
        frame = np.random.default_rng(1).poisson(mean, (224, 224))
        assert "blank" in scorer.score(frame, 20.0).flags

    @pytest.mark.parametrize("value", [0, 7, 65535])
    def test_a_constant_is_blank_and_scores_nothing(
        self, scorer: QualityScorer, value: int
    ) -> None:
        score = scorer.score(np.full((100, 224), value, np.uint16), 20.0)
        assert score.value == 0 and "blank" in score.flags

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
    def test_a_detector_at_its_limit_is_saturated(self, dtype: type) -> None:
        counts = np.random.default_rng(0).poisson(60 * filaments(0) + 1)
        assert not scope.saturated(counts.astype(np.uint16))
        limit = np.percentile(counts, 99)
        assert scope.saturated(np.minimum(counts, limit).astype(dtype))
        full = np.minimum(counts * 6, 255).astype(np.uint8)
        assert scope.saturated(full)

    @pytest.mark.parametrize("mean", [0.02, 0.5, 3, 50])
    def test_few_counts_are_not_saturation(self, mean: float) -> None:
        for seed in range(5):
            counts = np.random.default_rng(seed).poisson(mean * filaments(seed))
            assert not scope.saturated(counts.astype(np.uint8))

    @pytest.mark.parametrize(
        ("pixel_nm", "flagged"), [(9.0, True), (10.0, False), (30.0, False), (65.0, True)]
    )
    def test_pixel_sizes_out_of_scope(
        self, scorer: QualityScorer, pixel_nm: float, flagged: bool
    ) -> None:
        frame = np.random.default_rng(0).poisson(8 * filaments(0, pixel_nm))
        assert ("pixel_size" in scorer.score(frame, pixel_nm).flags) is flagged

    def test_pictures_of_something_else_are_unfamiliar(self, scorer: QualityScorer) -> None:
        from skimage import data

        y, x = np.indices((224, 224))
        others = {
            "photograph": data.camera()[100:324, 150:374],
            "page": data.page()[:180, :224],
            "checkerboard": ((x // 16 + y // 16) % 2 * 200).astype(np.uint8),
            "ramp": (x + y).astype(np.uint16),
            "edge": ((x > 112) * 100 + y % 2).astype(np.uint8),
        }
        for name, picture in others.items():
            assert "unfamiliar" in scorer.score(picture, 20.0).flags, name


class TestWeightFiles:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        for suffix in (".safetensors", ".json"):
            shutil.copy(SHIPPED.with_suffix(suffix), tmp_path)
        return tmp_path / SHIPPED.name

    def test_missing_card_is_named(self, copy: Path) -> None:
        copy.with_suffix(".json").unlink()
        with pytest.raises(FileNotFoundError, match=r"quality\.json: no such file"):
            QualityScorer(copy)

    def test_a_card_of_other_weights_is_refused(self, copy: Path) -> None:
        copy.write_bytes(copy.read_bytes() + b"x")
        with pytest.raises(ValueError, match="accepted are weights and card of one training"):
            QualityScorer(copy)

    @pytest.mark.parametrize("content", ["not json", "[1, 2]", "3"])
    def test_a_card_that_is_none_is_refused(self, copy: Path, content: str) -> None:
        copy.with_suffix(".json").write_text(content)
        with pytest.raises(ValueError, match="not a model card"):
            QualityScorer(copy)

    def test_weights_of_another_network_are_refused(self, copy: Path) -> None:
        card = json.loads(copy.with_suffix(".json").read_text(encoding="utf-8"))
        card["architecture"]["heads"] = 7
        copy.with_suffix(".json").write_text(json.dumps(card))
        with pytest.raises(ValueError, match="not the weights of a quality network"):
            QualityScorer(copy)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames, good and bad, whose photon count alone decides which they are."""
    folder = tmp_path_factory.mktemp("rated")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(30):
        score = (0.1, 0.9)[i % 2]
        frame = rng.poisson(0.2 * 100**score * filaments(i, size_um=2.0)).astype(np.uint16)
        tifffile.imwrite(folder / f"{i:02d}.tif", frame)
        rows.append(f"{i:02d}.tif,{score},{'actin' if i < 15 else 'tubulin'}")
    (folder / "frames.csv").write_text("\n".join(["file,score,structure", *rows]) + "\n")
    return folder


def small(seed: int = 1, epochs: int = 1, network: str = "stedfast", **more: Any) -> Recipe:
    """A recipe for a network that is trained in no time."""
    architecture: dict[str, Any] = {
        "network": network,
        "channels": [4, 4, 4, 8, 8, 8],
        "hidden": 16,
    }
    if network == "stedfast":
        architecture |= {"heads": 2, "rings": 16}
    return Recipe(architecture=architecture, seed=seed, epochs=epochs, **more)


class TestTraining:
    def test_learns_and_writes_what_it_learned(self, rated: Path, tmp_path: Path) -> None:
        seen: list[tuple[int, int, dict[str, float]]] = []
        card = train(
            rated,
            tmp_path / "new" / "v1.2",
            small(seed=3, epochs=8),
            tests={"again": rated},
            command="stedfast train quality DATA",
            commit="abc",
            progress=lambda *told: seen.append(told),
        )
        assert [(epoch, epochs) for epoch, epochs, _ in seen] == [(i, 8) for i in range(1, 9)]
        losses = [figures["train_rmse"] for _, _, figures in seen]
        assert np.mean(losses[-3:]) < 0.8 * losses[0]
        written = json.loads((tmp_path / "new" / "v1.2.json").read_text(encoding="utf-8"))
        assert written == card
        assert (card["command"], card["commit"], card["recipe"]["seed"]) == (
            "stedfast train quality DATA",
            "abc",
            3,
        )
        assert card["data"]["split"] == {"training": 24, "validation": 3, "test": 3}
        assert card["data"]["structures"] == {"actin": 15, "tubulin": 15}
        assert {name: figures["frames"] for name, figures in card["metrics"].items()} == {
            "validation": 3,
            "test": 3,
            "again": 30,
        }
        assert card["metrics"]["again"]["rmse"] < card["metrics"]["again"]["rmse_random"]
        with (tmp_path / "new" / "v1.2.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 36
        assert not list((tmp_path / "new").glob("*.checkpoint*"))

    def test_same_seed_same_weights_in_any_order_of_rows(self, rated: Path, tmp_path: Path) -> None:
        header, *rows = (rated / "frames.csv").read_text().splitlines()
        shuffled = rated / "shuffled.csv"
        shuffled.write_text("\n".join([header, *rows[::-1]]))
        state = torch.get_rng_state()
        cards = [train(data, tmp_path / "w", small()) for data in (rated, shuffled)]
        assert torch.equal(state, torch.get_rng_state())
        assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"]
        assert cards[0]["data"]["sha256"] == cards[1]["data"]["sha256"]

    def test_reloaded_weights_score_as_the_card_says(self, rated: Path, tmp_path: Path) -> None:
        card = train(rated, tmp_path / "w", small())
        scorer = QualityScorer(tmp_path / "w.safetensors")
        assert scorer.weights_hash() == card["weights_sha256"]
        ratings = read_ratings(rated)
        errors = [
            scorer.score(tifffile.imread(ratings[i].path), 20.0).value - ratings[i].score
            for i in split(tuple(ratings), 1).test.tolist()
        ]
        rmse = float(np.sqrt(np.mean(np.square(errors))))
        assert card["metrics"]["test"]["rmse"] == pytest.approx(
            rmse, abs=1e-3
        )  # frames are kept in half precision

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, r"frames\.csv: no such file; accepted is a CSV"),
            ("", "found columns nothing; accepted is a CSV with a header"),
            ("file,score\n", "no rows below the header"),
            ("name,score\n00.tif,0.5\n", "found columns name, score; accepted"),
            ("file,score\nabsent.tif,0.5\n", r"line 2: file is 'absent\.tif', which does not"),
            ("file,score\n,0.5\n", "line 2: file is ''"),
            ("file,score\n00.tif,0.5\n00.tif,1.2\n", "line 3: score is '1.2'; accepted is a num"),
            ("file,score\n00.tif,-0.1\n", "line 2: score is '-0.1'; accepted is a number from 0"),
            ("file,score\n00.tif,good\n", "line 2: score is 'good'; accepted is a number"),
            ("file,score\n00.tif,nan\n", "line 2: score is 'nan'; accepted is a number"),
            ("file,score\n00.tif\n", "line 2: score is ''; accepted is a number"),
            ("file,score,pixel_size_nm\n00.tif,1,0\n", "line 2: pixel_size_nm is '0'; accepted"),
            ("file,score\n00.tif,0.5\n", r"1 frames; accepted are 10 or more"),
            ("file,score\n" + "text.tif,0.5\n" * 10, r"text\.tif: not a readable TIFF"),
            ("file,score\n" + "stack.tif,0.5\n" * 10, r"stack\.tif: .*\(2, 30, 30\); accepted"),
            (
                "file,score,split\n00.tif,0.5,train\n",
                "line 2: split is 'train'; accepted is training",
            ),
            ("file,score,split\n" + "00.tif,0.5,test\n" * 10, "column split has no `training`"),
            (b"\xff\xfe\x00\x01", "not a readable CSV"),
        ],
    )
    def test_wrong_tables_are_named(
        self, rated: Path, tmp_path: Path, content: str | bytes | None, message: str
    ) -> None:
        shutil.copy(rated / "00.tif", tmp_path)
        (tmp_path / "text.tif").write_text("no image")
        tifffile.imwrite(tmp_path / "stack.tif", np.zeros((2, 30, 30), np.uint8))
        if isinstance(content, bytes):
            (tmp_path / "frames.csv").write_bytes(content)
        elif content is not None:
            (tmp_path / "frames.csv").write_text(content)
        with pytest.raises(ValueError, match=message):
            train(tmp_path, tmp_path / "w", small())

    def test_no_epoch_is_refused(self, rated: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="epochs: 0; accepted is 1 or more"):
            train(rated, tmp_path / "w", small(epochs=0))

    @pytest.mark.parametrize("network", ["stedfast", "robitaille"])
    def test_a_stopped_training_goes_on_to_the_same_weights(
        self, rated: Path, tmp_path: Path, network: str
    ) -> None:
        recipe = small(epochs=3, network=network, augmentation="doubled")

        class Stopped(Exception):
            pass

        def stop(epoch: int, epochs: int, figures: dict[str, float]) -> None:
            if epoch == 2:
                raise Stopped

        whole = train(rated, tmp_path / "whole", recipe)
        with pytest.raises(Stopped):
            train(rated, tmp_path / "w", recipe, progress=stop)
        assert (tmp_path / "w.checkpoint").is_file()
        with pytest.raises(ValueError, match=r"w\.checkpoint: of a training with another recipe"):
            train(rated, tmp_path / "w", small(epochs=3, seed=9, network=network))
        seen: list[int] = []
        card = train(rated, tmp_path / "w", recipe, progress=lambda n, *_: seen.append(n))
        assert seen == [3]
        assert card["weights_sha256"] == whole["weights_sha256"]

    def test_a_damaged_checkpoint_is_named(self, rated: Path, tmp_path: Path) -> None:
        (tmp_path / "w.checkpoint").write_bytes(b"no zip")
        with pytest.raises(ValueError, match=r"w\.checkpoint: not a checkpoint; delete it"):
            train(rated, tmp_path / "w", small())

    def test_training_ends_when_nothing_gets_better(self, rated: Path, tmp_path: Path) -> None:
        card = train(rated, tmp_path / "w", small(epochs=30, patience=1, learning_rate=1e-7))
        assert card["training"]["epochs"] < 30

    def test_fine_tuning_learns_a_taste_and_leaves_the_convolutions(
        self, rated: Path, tmp_path: Path
    ) -> None:
        recipe = Recipe(
            architecture=None,
            start_from=SHIPPED,
            heads_only=True,
            epochs=25,
            patience=None,
            batch=8,
            learning_rate=1e-3,
            blurred=0.0,
            empty=0.0,
        )
        card = train(rated, tmp_path / "w", recipe)
        assert card["started_from"] == QualityScorer().weights_hash()
        before, after = load_file(SHIPPED), load_file(tmp_path / "w.safetensors")
        changed = {
            name.split(".")[0] for name in before if not torch.equal(before[name], after[name])
        }
        assert changed <= {"heads", "calibration", "familiar_mean", "familiar_whitening"}
        errors = []
        for scorer in (QualityScorer(), QualityScorer(tmp_path / "w.safetensors")):
            ratings = read_ratings(rated)
            scores = [scorer.score(tifffile.imread(r.path), 20.0).value for r in ratings]
            errors.append(np.mean(np.square(np.array(scores) - [r.score for r in ratings])))
        assert errors[1] < 0.5 * errors[0]


class TestSplits:
    def test_the_tables_own_is_kept(self, rated: Path, tmp_path: Path) -> None:
        names = ["training"] * 5 + ["validation"] * 2 + ["test"]
        ratings = tuple(Rating(Path(f"{i}.tif"), 0.5, split=n) for i, n in enumerate(names))
        parts = split(ratings, 1)
        assert [part.tolist() for part in parts] == [[0, 1, 2, 3, 4], [5, 6], [7]]

    def test_frames_of_one_field_stay_together(self) -> None:
        ratings = tuple(Rating(Path(f"{i}.tif"), 0.5, field=str(i // 4)) for i in range(80))
        parts = [{int(i) // 4 for i in part} for part in split(ratings, 3)]
        assert all(parts)
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])

    def test_another_column_can_be_learned(self, rated: Path, tmp_path: Path) -> None:
        table = rated / "tastes.csv"
        table.write_text("file,mine,yours\n00.tif,0.25,0.75\n")
        assert load(table, "yours").score.tolist() == [0.75]
        with pytest.raises(ValueError, match="at least the columns file, ours"):
            load(table, "ours")


class TestFigures:
    def test_calibrated_intervals_cover_what_they_say(self) -> None:
        generator = torch.Generator().manual_seed(0)
        sd = 0.02 + 0.1 * torch.rand(4000, generator=generator)
        target = torch.rand(4000, generator=generator)
        value = target + 3 * sd * torch.randn(4000, generator=generator)
        factor = calibrate(value[:2000], sd[:2000], target[:2000])
        assert factor == pytest.approx(3, rel=0.1)
        share = covered(value[2000:], factor * sd[2000:], target[2000:])
        assert share == pytest.approx(0.9, abs=0.025)

    def test_whitened_features_have_distance_one(self) -> None:
        generator = torch.Generator().manual_seed(0)
        mixed = torch.randn(5000, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
        mean, matrix = whitening(mixed + 3)
        away = ((mixed + 3 - mean) @ matrix).square().mean(1).sqrt()
        assert float(away.mean()) == pytest.approx(0.9, abs=0.15)  # less by the shrinkage
        outlier = (torch.full((6,), 40.0) - mean) @ matrix
        assert float(outlier.square().mean().sqrt()) > 3


def test_a_blur_keeps_the_light_and_takes_score() -> None:
    frame = np.zeros((61, 61), np.float32)
    frame[30, 30] = 1
    spot = blur(frame, 2.0)
    assert spot.sum() == pytest.approx(1, rel=1e-4)
    y = np.indices(spot.shape)[0]
    assert np.sqrt((spot * (y - 30) ** 2).sum()) == pytest.approx(2, rel=0.02)
    assert score_left(0) == 1
    assert score_left(1) > score_left(2) > score_left(4) > 0
