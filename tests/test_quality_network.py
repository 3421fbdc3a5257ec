"""The quality network: architecture, preparation of frames, shipped weights, training."""

from __future__ import annotations

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
from torch import nn

from models import QualityNet, QualityScorer, train
from models.quality.augmentation import blur, score_left
from models.quality.preparing import cover, normalize, prepare, resample
from models.quality.scorer import SHIPPED
from models.quality.table import read_ratings

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
    def test_is_the_papers(self) -> None:
        kinds = [type(layer) for layer in QualityNet().modules()]
        assert kinds.count(nn.Conv2d) == 6
        assert kinds.count(nn.Linear) == 2
        assert kinds.count(nn.MaxPool2d) == 6
        assert kinds.count(nn.ELU) == 7
        assert kinds[-1] is nn.Sigmoid

    def test_batch_normalization_everywhere_but_in_the_first_layer(self) -> None:
        features = list(QualityNet().features)
        pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
        blocks = [features[a + 1 : b] for a, b in zip([-1, *pools], pools, strict=False)]
        normalized = [any(isinstance(m, nn.BatchNorm2d) for m in block) for block in blocks]
        assert normalized == [False, True, True, True, True, True]

    def test_pools_two_by_two(self) -> None:
        pools = [m for m in QualityNet().modules() if isinstance(m, nn.MaxPool2d)]
        assert {(pool.kernel_size, pool.stride) for pool in pools} == {(2, 2)}

    def test_output_is_between_zero_and_one(self) -> None:
        generator = torch.Generator().manual_seed(0)
        frames = 50 * torch.randn(3, 1, 224, 224, generator=generator)
        scores = QualityNet().eval()(frames)
        assert scores.shape == (3,)
        assert ((scores >= 0) & (scores <= 1)).all()

    @pytest.mark.parametrize("shape", [(1, 1, 223, 224), (1, 3, 224, 224), (224, 224)])
    def test_other_input_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"accepted is \(n, 1, 224, 224\)"):
            QualityNet()(torch.zeros(shape))

    def test_needs_six_convolutions(self) -> None:
        with pytest.raises(ValueError, match="accepted are 6"):
            QualityNet(channels=(8, 8))


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
        assert card["command"].startswith("stedfast train quality")
        assert card["commit"]
        assert card["weights_sha256"] == scorer.weights_hash()
        assert card["metrics"]["test"]["spearman"] >= 0.9
        assert card["metrics"]["test"]["rmse"] <= 0.10
        assert SHIPPED.stat().st_size < 5e6

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
    def test_real_frames_beat_blurred_and_thinned_copies(
        self, scorer: QualityScorer, path: Path
    ) -> None:
        frame = tifffile.imread(path).astype(np.float32)
        photons = frame.astype(int)
        rng = np.random.default_rng(0)
        # A slight blur may raise the score of a noisy frame; one to a confocal's width may not.
        blurred = [scorer.score(blur(frame, 4.0), 20.0).value]
        thinned = [scorer.score(rng.binomial(photons, p), 20.0).value for p in (0.5, 0.25, 0.1)]
        original = scorer.score(frame, 20.0).value
        for worse in (blurred, thinned):
            assert [original, *worse] == sorted([original, *worse], reverse=True)


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
        card["architecture"]["hidden"] += 1
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


class TestTraining:
    def test_learns_and_writes_what_it_learned(self, rated: Path, tmp_path: Path) -> None:
        seen: list[tuple[int, int, dict[str, float]]] = []
        card = train(
            rated,
            tmp_path / "new" / "v1.2",
            seed=3,
            epochs=8,
            command="stedfast train quality DATA",
            commit="abc",
            progress=lambda *told: seen.append(told),
        )
        assert [(epoch, epochs) for epoch, epochs, _ in seen] == [(i, 8) for i in range(1, 9)]
        losses = [figures["train_rmse"] for _, _, figures in seen]
        assert np.mean(losses[-3:]) < 0.8 * losses[0]
        written = json.loads((tmp_path / "new" / "v1.2.json").read_text(encoding="utf-8"))
        assert written == card
        assert (card["command"], card["commit"], card["seed"]) == (
            "stedfast train quality DATA",
            "abc",
            3,
        )
        assert card["data"]["split"] == {"train": 24, "validation": 3, "test": 3}
        assert card["data"]["structures"] == {"actin": 15, "tubulin": 15}
        assert set(card["metrics"]["test"]) == {
            "frames",
            "rmse",
            "spearman",
            "spearman_good",
            "rmse_random",
            "rmse_mean",
        }

    def test_same_seed_same_weights_in_any_order_of_rows(self, rated: Path, tmp_path: Path) -> None:
        header, *rows = (rated / "frames.csv").read_text().splitlines()
        shuffled = rated / "shuffled.csv"
        shuffled.write_text("\n".join([header, *rows[::-1]]))
        state = torch.get_rng_state()
        cards = [train(data, tmp_path / "w", seed=1, epochs=1) for data in (rated, shuffled)]
        assert torch.equal(state, torch.get_rng_state())
        assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"]
        assert cards[0]["data"]["sha256"] == cards[1]["data"]["sha256"]

    def test_reloaded_weights_score_as_the_card_says(self, rated: Path, tmp_path: Path) -> None:
        card = train(rated, tmp_path / "w", epochs=1)
        scorer = QualityScorer(tmp_path / "w.safetensors")
        assert scorer.weights_hash() == card["weights_sha256"]
        ratings = read_ratings(rated)
        order = np.random.default_rng(1).permutation(len(ratings))
        errors = [
            scorer.score(tifffile.imread(ratings[i].path), 20.0).value - ratings[i].score
            for i in order[3:6]
        ]
        rmse = float(np.sqrt(np.mean(np.square(errors))))
        assert card["metrics"]["test"]["rmse"] == pytest.approx(rmse, abs=1e-5)

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
            train(tmp_path, tmp_path / "w", epochs=1)

    def test_no_epoch_is_refused(self, rated: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="epochs: 0; accepted is 1 or more"):
            train(rated, tmp_path / "w", epochs=0)


def test_a_blur_keeps_the_light_and_takes_score() -> None:
    frame = np.zeros((61, 61), np.float32)
    frame[30, 30] = 1
    spot = blur(frame, 2.0)
    assert spot.sum() == pytest.approx(1, rel=1e-4)
    y = np.indices(spot.shape)[0]
    assert np.sqrt((spot * (y - 30) ** 2).sum()) == pytest.approx(2, rel=0.02)
    assert score_left(0) == 1
    assert score_left(1) > score_left(2) > score_left(4) > 0
