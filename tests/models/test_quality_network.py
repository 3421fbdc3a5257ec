"""The quality network: architecture, preparation of frames, shipped weights, training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter
from torch import nn

from agent.bench.quality import spoiled
from models import QualityNet, QualityScorer
from models.quality import scope
from models.quality.blurring import blur, score_left
from models.quality.heatmap import heatmap
from models.quality.hot import without_hot_pixels
from models.quality.network import RatingNet
from models.quality.preparing import prepare
from models.quality.processing import _CHANGES
from models.quality.raster import raster_flags
from models.quality.resampling import resample
from models.quality.robitaille import RobitailleNet
from models.quality.score import DOUBTFUL_SD, FLAGS, REMEDIES, Score
from models.quality.scorer import PAPERS, SHIPPED
from models.quality.spectral import PowerSpectrum
from models.quality.tiles import cover, normalize
from tests.helpers.filaments import filaments

pytestmark = pytest.mark.usefixtures("one_thread")

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "sted"
REAL_FRAMES = sorted(REAL.glob("*.tif"))


@pytest.fixture(scope="module")
def scorer() -> QualityScorer:
    return QualityScorer()


class TestHotPixels:
    def test_they_change_neither_score_nor_flags(self, scorer: QualityScorer) -> None:
        frame = np.random.default_rng(1).poisson(8 * filaments(2, size_um=2.0)).astype(np.uint16)
        hot = frame.copy()
        hot[30, 40] = 65535
        hot[60, 10:12] = 1000
        plain, with_hot = scorer.score(frame), scorer.score(hot)
        assert "blank" not in with_hot.flags and with_hot.flags == plain.flags
        assert with_hot.value == pytest.approx(plain.value, abs=0.02)
        assert with_hot.sd == pytest.approx(plain.sd, abs=0.02)

    def test_other_frames_stay_as_they_are(self) -> None:
        rng = np.random.default_rng(2)
        frames = [rng.poisson(lam, (96, 96)) for lam in (0.001, 0.01, 0.1, 1, 30)]
        frames += [filaments(3, size_um=2.0), np.zeros((40, 40)), np.zeros((2, 2))]
        frames += [tifffile.imread(file) for file in REAL_FRAMES]
        spot = np.exp(-np.square(np.indices((96, 96)) - 48).sum(0) / (2 * 1.2**2))
        frames.append(rng.poisson(0.2 + 500 * spot))
        for frame in frames:
            assert without_hot_pixels(frame) is frame

    def test_no_score_is_less_sure_than_not_knowing(self, scorer: QualityScorer) -> None:
        frame = np.zeros((64, 64), np.float32)
        frame[30:33, 30:33] = 1e6
        assert scorer.score(frame).sd <= 0.5

    def test_pixels_of_a_metre_are_refused(self, scorer: QualityScorer) -> None:
        with pytest.raises(ValueError, match=r"pixels of 1e\+09 nm; accepted: up to"):
            scorer.score(np.zeros((64, 64)), 1e9)


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
        with pytest.raises(ValueError, match=r"accepted: \(n, 1, 224, 224\)"):
            kind()(torch.zeros(shape))

    @pytest.mark.parametrize("kind", [RobitailleNet, QualityNet])
    def test_needs_six_convolutions(self, kind: type[RatingNet]) -> None:
        with pytest.raises(ValueError, match="accepted: 6"):
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

    @pytest.mark.slow
    def test_sd_grows_with_the_heads_disagreement(self) -> None:
        network = QualityNet(heads=3).eval()
        frames = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
        value, sd, _ = network.judge(frames)
        expected = (sd.square().mean(0) + value.var(0, unbiased=False)).sqrt()
        torch.testing.assert_close(network(frames).sd, expected)
        network.calibration.fill_(2.0)
        torch.testing.assert_close(network(frames).sd, 2 * expected)

    @pytest.mark.slow
    def test_ordered_sums_are_the_sums(self) -> None:
        """A GPU adds in this way, as its own is another each time."""
        spectrum = PowerSpectrum(48)
        power = torch.rand(3, 224 * 113, generator=torch.Generator().manual_seed(1)) * 1e4
        with torch.inference_mode():
            found, expected = (spectrum.summed(power, ordered=how) for how in (True, False))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_scores_are_computed_with_all_digits(
    scorer: QualityScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, convolutions would be rounded to ten bits unless told otherwise."""
    seen: list[tuple[bool, bool, bool]] = []
    forward = scorer.network.forward

    def watched(frames: Any) -> Any:
        cudnn = torch.backends.cudnn
        seen.append((cudnn.allow_tf32, cudnn.deterministic, torch.backends.cuda.matmul.allow_tf32))
        return forward(frames)

    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    monkeypatch.setattr(scorer.network, "forward", watched)
    scorer.score(np.eye(64))
    assert seen == [(False, True, False)]
    assert before == (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic)


@pytest.mark.process
@pytest.mark.slow
def test_importing_models_imports_no_torch() -> None:
    code = "import models, models.quality, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


class TestPreparation:
    @pytest.mark.parametrize("pixel_nm", [10.0, 12.0, 15.0, 19.5, 20.5, 22.0, 25.0, 30.0])
    def test_noise_stays_white_and_as_strong_as_of_the_same_light(self, pixel_nm: float) -> None:
        """Averages of neighbours made a frame of other pixels look less noisy than it is."""
        light = 9 * (pixel_nm / 20) ** 2
        frame = np.random.default_rng(1).poisson(light, (448, 448)).astype(np.float32)
        found = resample(frame, pixel_nm)
        found -= found.mean()
        assert found.var() / light**2 * 9 == pytest.approx(1, abs=0.05)
        power = np.abs(np.fft.fft2(found)) ** 2
        at = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in found.shape), indexing="ij"))
        rings = [power[(at >= low) & (at < low + 0.1)].mean() for low in np.arange(0, 0.7, 0.1)]
        np.testing.assert_allclose(np.array(rings) / power.mean(), 1, atol=0.1)

    def test_noise_that_is_filled_in_is_as_strong_as_that_around(self) -> None:
        light = 1 + 99 / (1 + np.exp((60 - np.arange(120)) / 2))
        frame = np.random.default_rng(0).poisson(light, (120, 120)).astype(np.float32)
        found = resample(frame, 30.0)
        dark, bright = (found[:, part].var() for part in (np.s_[10:80], np.s_[100:170]))
        assert 50 < bright / dark < 200
        assert np.array_equal(found, resample(frame, 30.0)), "drawn anew"

    @pytest.mark.parametrize("pixel_nm", [7.0, 15.0, 30.0, 47.0, 100.0])
    def test_resampling_keeps_place_and_scale_along_both_axes(self, pixel_nm: float) -> None:
        shape = (round(4000 / pixel_nm), round(9000 / pixel_nm))
        y, x = ((np.indices(shape) + 0.5) * pixel_nm).astype(np.float32)
        new_y, new_x = resample(y, pixel_nm), resample(x, pixel_nm)
        assert new_y.shape == pytest.approx((4000 / 20, 9000 / 20), rel=0.02)
        inner = np.s_[5:-5, 5:-5]
        place = (np.indices(new_y.shape) + 0.5) * 20.0
        # Within a pixel of the frame, up to the far edge.
        np.testing.assert_allclose(new_y[inner], place[0][inner], atol=0.6 * pixel_nm)
        np.testing.assert_allclose(new_x[inner], place[1][inner], atol=0.6 * pixel_nm)

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
            (np.zeros((4, 224, 224)), 20.0, r"shape \(4, 224, 224\); accepted: one grey"),
            (np.zeros(224), 20.0, r"shape \(224,\); accepted: one grey"),
            (np.zeros((0, 0)), 20.0, "accepted: at least 320 nm"),
            (np.zeros((1, 1)), 20.0, "accepted: at least 320 nm"),
            (np.full((224, 224), np.nan), 20.0, "50176 values not finite"),
            (np.full((224, 224), np.inf), 20.0, "50176 values not finite"),
            (np.zeros((224, 224), complex), 20.0, "complex128; accepted: real"),
            (np.full((224, 224), "a"), 20.0, "accepted: real"),
            (np.zeros((224, 224)), 0.0, "accepted: a positive number"),
            (np.zeros((224, 224)), -20.0, "accepted: a positive number"),
            (np.zeros((224, 224)), float("nan"), "accepted: a positive number"),
        ],
    )
    def test_wrong_input_is_named(
        self, scorer: QualityScorer, frame: NDArray[Any], pixel_nm: float, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            scorer.score(frame, pixel_nm)


class Contrast:
    """A scorer whose scores differ much from one tile to the next."""

    def score_tiles(self, tiles: Any) -> Any:
        return np.asarray(tiles).std((1, 2)) ** 3


class TestShippedWeights:
    def test_card_tells_how_they_were_made(self, scorer: QualityScorer) -> None:
        card = scorer.card
        assert card["command"].startswith("stedfast train quality configs/quality/default.yaml")
        assert card["commit"]
        assert card["weights_sha256"] == scorer.weights_hash()
        assert card["metrics"]["actin"]["spearman"] >= 0.9
        for name, rmse in (("actin", 0.08), ("tubulin", 0.12), ("psd95", 0.10), ("dyes", 0.08)):
            assert card["metrics"][name]["rmse"] <= rmse
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

    @pytest.mark.parametrize("pixel_nm", [10.0, 12.0, 15.0, 19.5, 20.5, 25.0, 30.0])
    def test_a_scene_scores_alike_at_other_pixel_sizes(
        self, scorer: QualityScorer, pixel_nm: float
    ) -> None:
        rng = np.random.default_rng(0)
        by_size = [
            scorer.score(rng.poisson((p / 20) ** 2 * (8 * filaments(1, p) + 0.2)), p)
            for p in (20.0, pixel_nm)
        ]
        assert by_size[1].value == pytest.approx(by_size[0].value, abs=0.05)
        assert by_size[0].flags == by_size[1].flags == ()

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

    @pytest.mark.slow
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

    @pytest.mark.slow
    def test_heatmap_shows_where_the_structure_is(self, scorer: QualityScorer) -> None:
        rng = np.random.default_rng(0)
        mean = 8 * filaments(2)
        mean[:, :112] = 0
        heat = heatmap(scorer, rng.poisson(mean + 0.3), 20.0)
        assert heat.shape == (224, 224)
        assert heat[:, 140:].mean() > 0
        assert heat[:, 140:].max() > 3 * np.abs(heat[:, :84]).max()

    @pytest.mark.slow
    def test_heatmap_has_no_seam_between_overlapping_tiles(self) -> None:
        mean = np.ones((224, 336))
        mean[:, :112] *= 20
        mean *= 1 + np.sin(np.arange(336) / 3) ** 2
        frame = np.random.default_rng(0).poisson(mean)
        steps = np.abs(np.diff(heatmap(Contrast(), frame, 20.0), axis=1)).max(axis=0)  # type: ignore[arg-type]
        seams = [111, 223]
        assert steps[seams].max() < 1.5 * np.delete(steps, seams).max()

    @pytest.mark.slow
    @pytest.mark.parametrize(("shape", "pixel_nm"), [((100, 300), 20.0), ((460, 230), 10.0)])
    def test_heatmap_has_the_shape_of_the_frame(
        self, shape: tuple[int, int], pixel_nm: float
    ) -> None:
        frame = np.random.default_rng(0).poisson(3.0, shape)
        assert heatmap(Contrast(), frame, pixel_nm).shape == shape  # type: ignore[arg-type]


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

    @pytest.mark.slow
    @pytest.mark.parametrize("pixel_nm", [12.0, 20.0, 30.0])
    def test_what_happened_to_a_frame_is_named(
        self, scorer: QualityScorer, pixel_nm: float
    ) -> None:
        rng = np.random.default_rng(0)
        dye, other = (
            rng.poisson(8 * (pixel_nm / 20) ** 2 * (filaments(seed, pixel_nm) + 0.1))
            for seed in range(2)
        )
        back, turns = dye.copy(), dye.copy()
        back[1::2] = np.roll(dye[1::2], 2, axis=1)
        turns[1::2] = other[1::2]
        scaled = np.minimum(dye * 3, 255).astype(np.uint8)
        # Bright, so that grey levels are coarser than the noise.
        light = rng.poisson(8000 * (filaments(0, pixel_nm) + 0.1))
        few = (light * (200 / light.max())).astype(np.uint8)
        changed = {
            "smoothed": [
                gaussian_filter(dye.astype(float), 0.7),
                (dye[:, 1:] + dye[:, :-1]) / 2,
                median_filter(dye, 3),
                median_filter(14.3 * dye + 100, 3),
            ],
            "phase": [back],
            "interleaved": [turns],
            "": [dye, scaled, few, dye * 14.3 + 100, dye.T],
        }
        for flag, frames in changed.items():
            for frame in frames:
                score = scorer.score(frame, pixel_nm)
                assert [f for f in score.flags if f in ("smoothed", "phase", "interleaved")] == (
                    [flag] if flag else []
                )
                assert not flag or score.sd >= DOUBTFUL_SD

    def test_smoothed_noise_is_no_structure(self, scorer: QualityScorer) -> None:
        noise = np.random.default_rng(0).poisson(9.0, (224, 224)).astype(float)
        assert scorer.score(noise, 20.0).flags[0] == "blank"
        assert "smoothed" in scorer.score(gaussian_filter(noise, 0.7), 20.0).flags

    @pytest.mark.parametrize("shape", [(16, 16), (20, 300), (300, 20), (64, 64)])
    def test_little_says_nothing_of_lines_and_noise(self, shape: tuple[int, int]) -> None:
        for seed in range(20):
            rng = np.random.default_rng(seed)
            assert raster_flags(rng.poisson(rng.choice([0.02, 1, 50]), shape), 20.0) == []
        assert raster_flags(np.zeros(shape, np.uint8), 20.0) == []

    def test_every_flag_says_what_to_do(self) -> None:
        assert set(REMEDIES) == set(FLAGS)

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
        with pytest.raises(ValueError, match="accepted: weights and card of one training"):
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


@pytest.mark.parametrize("change", _CHANGES, ids=lambda change: change.__name__)
def test_what_exports_do_takes_no_more_than_the_score(change: Any) -> None:
    tile = filaments(0).astype(np.float32)
    changed, share = change(tile, np.random.default_rng(0))
    assert changed.shape == tile.shape and changed.dtype == np.float32
    assert 0 <= share <= 1
    assert np.corrcoef(changed.ravel(), tile.ravel())[0, 1] > 0.3
    assert (changed != tile).any()


def test_a_blur_keeps_the_light_and_takes_score() -> None:
    frame = np.zeros((61, 61), np.float32)
    frame[30, 30] = 1
    spot = blur(frame, 2.0)
    assert spot.sum() == pytest.approx(1, rel=1e-4)
    y = np.indices(spot.shape)[0]
    assert np.sqrt((spot * (y - 30) ** 2).sum()) == pytest.approx(2, rel=0.02)
    assert score_left(0) == 1
    assert score_left(1) > score_left(2) > score_left(4) > 0
