"""The reference label and the frames that carry it: properties that training relies on."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from agent.offline.simulate import POPULATIONS, SETS, draw_frame, read_table, simulate_quality
from agent.offline.simulate.frames import LabelledFrame, cut_otherwise
from devices.sources import Structure
from devices.virtual.dyes import DYES
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_light, quick_scan
from devices.virtual.sample import Sample
from devices.virtual.structures import SYNTHETIC, draw
from devices.virtual.truth import detail_recovered, quality_from_detail, quality_label
from models.quality.blurring import blur
from models.quality.resampling import resample

REAL: tuple[Structure, ...] = ("actin", "tubulin", "psd95")
GOOD = {"excitation_w": 6e-6, "depletion_w": 0.15, "dwell_s": 2e-5}
SIDE = 120


@lru_cache
def optics(dye: str = "atto647n") -> Optics:
    return Optics(DYES[dye])


def inner(molecules: NDArray[np.int64]) -> NDArray[np.int64]:
    margin = optics().margin
    return molecules[margin:-margin, margin:-margin]


@lru_cache
def molecules(
    structure: Structure, seed: int = 0, density: float = 25.0, side: int = SIDE
) -> NDArray[np.int64]:
    sample = Sample(structure, size_um=9.0, molecules_per_pixel=density, seed=seed)
    found: NDArray[np.int64] = sample.window(0, 0, 0.0, (side, side), optics().margin).molecules
    return found


@contextmanager
def small_frames() -> Iterator[None]:
    """For what is drawn beside the pixels, of which there are a tenth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.offline.simulate.frames._SHAPE", (72, 72))
        yield


@lru_cache
def drawn_rows() -> list[LabelledFrame]:
    with small_frames():
        return [draw_frame("robitaille", 2, index)[1] for index in range(40)]


def label(structure: Structure, seed: int = 0, **settings: Any) -> float:
    sample = molecules(structure, seed)
    chosen = {**GOOD, "background_hz": 1000.0, "seed": seed + 1, **settings}
    return quality_label(inner(sample), quick_scan(optics(), sample, **chosen))


class TestLabel:
    @pytest.mark.slow
    @pytest.mark.parametrize("structure", REAL)
    def test_confocal_frames_average_below(self, structure: Structure) -> None:
        found = [
            label(structure, seed, depletion_w=0.0, excitation_w=power, dwell_s=dwell)
            for seed in range(4)
            for power in (0.5e-6, 2e-6, 10e-6)
            for dwell in (3e-6, 10e-6, 30e-6)
        ]
        assert np.mean(found) < 0.15

    @pytest.mark.slow
    @pytest.mark.parametrize("structure", REAL)
    @pytest.mark.parametrize(
        ("setting", "values"),
        [
            ("depletion_w", [0.0, 0.03, 0.07, 0.15, 0.25, 0.5]),
            ("excitation_w", [0.05e-6, 0.2e-6, 1e-6, 3e-6, 10e-6, 40e-6, 200e-6]),
            ("dwell_s", [0.2e-6, 1e-6, 3e-6, 8e-6, 20e-6, 60e-6, 200e-6]),
        ],
    )
    def test_each_setting_has_its_best_value_inside_the_range(
        self, structure: Structure, setting: str, values: list[float]
    ) -> None:
        curve = [
            np.mean([label(structure, seed, **{setting: value}) for seed in range(3)])
            for value in values
        ]
        best = int(np.argmax(curve))
        assert 0 < best < len(values) - 1
        assert curve[best] > max(curve[0], curve[-1]) + 0.05

    @pytest.mark.slow
    @pytest.mark.parametrize("structure", REAL)
    def test_more_photons_never_lower_it(self, structure: Structure) -> None:
        sample = molecules(structure)
        focus = optics().psf(GOOD["excitation_w"], GOOD["depletion_w"])
        from scipy.signal import fftconvolve

        light = fftconvolve(sample, focus[::-1, ::-1], mode="valid")
        light = np.maximum(light, 0) / light.mean()
        rng = np.random.default_rng(0)
        curve = [
            np.mean([quality_label(inner(sample), rng.poisson(mean * light)) for _ in range(5)])
            for mean in 4.0 ** np.arange(-3, 5)
        ]
        # The last steps gain less than the noise of five draws.
        assert (np.diff(curve) > -0.002).all()
        assert curve[-1] > curve[0] + 0.5

    @pytest.mark.slow
    def test_it_knows_no_direction_brightness_or_offset(self) -> None:
        sample = molecules("actin")
        truth, frame = inner(sample), quick_scan(optics(), sample, **GOOD, seed=1)
        plain = quality_label(truth, frame)
        for k in range(4):
            for mirrored in (1, -1):
                turned = [np.rot90(image, k)[:, ::mirrored] for image in (truth, frame)]
                assert quality_label(*turned) == pytest.approx(plain, abs=1e-9)
        assert quality_label(truth, 7 * frame + 300) == pytest.approx(plain, abs=1e-9)
        assert quality_label(3 * truth, frame) == pytest.approx(plain, abs=1e-9)

    @pytest.mark.slow
    def test_the_perfect_frame_is_the_sample_seen_at_50_nm(self) -> None:
        from scipy.ndimage import gaussian_filter

        truth = inner(molecules("tubulin"))
        seen = gaussian_filter(truth.astype(float), 50 / 2.355 / 20) * 1000
        assert quality_label(truth, seen) > 0.9
        assert quality_label(truth, np.zeros_like(truth)) < 0.001
        assert quality_from_detail(0.778) == pytest.approx(0.5)


class TestQuickScan:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("dye", "settings"),
        [
            ("atto647n", {"depletion_w": 0.0}),
            ("atto647n", {"depletion_w": 0.1}),
            ("fragile", {"depletion_w": 0.12, "z_um": 0.2}),
            ("stubborn", {"depletion_w": 0.3, "passes": 2}),
        ],
    )
    def test_is_what_the_raster_scan_gives(self, dye: str, settings: dict[str, Any]) -> None:
        light_path = optics(dye)
        size = 112 + 2 * light_path.margin
        sample = molecules("tubulin", density=40.0, side=160)[:size, :size]
        chosen = {"excitation_w": 8e-6, "dwell_s": 1e-5, "background_hz": 2000.0, **settings}
        raster = light_path.scan(sample, seed=3, **chosen)
        quick = quick_scan(light_path, sample, seed=4, **chosen)
        if settings["depletion_w"]:
            assert raster.survivors.sum() < 0.95 * sample.sum()
        assert quick.mean() == pytest.approx(raster.counts.mean(), rel=0.04)
        # The upper rows are brighter: less has been bleached when the beam comes.
        top = np.s_[:12]
        assert quick[top].mean() == pytest.approx(raster.counts[top].mean(), rel=0.06)
        truth = inner(sample)
        wanted = quality_label(truth, raster.counts)
        assert quality_label(truth, quick) == pytest.approx(wanted, abs=0.05)
        assert detail_recovered(quick, raster.counts) > 0.8 * detail_recovered(truth, quick)

    def test_its_light_is_the_mean_of_its_counts(self) -> None:
        sample = molecules("actin")
        light = quick_light(optics(), sample, **GOOD, background_hz=900.0, seed=1)
        counts = quick_scan(optics(), sample, **GOOD, background_hz=900.0, seed=1)
        away = (counts - light) / np.sqrt(light)
        assert abs(away.mean()) < 0.03
        assert away.var() == pytest.approx(1, abs=0.05)

    def test_same_seed_same_frame(self) -> None:
        sample = molecules("actin")
        first, again, other = (
            quick_scan(optics(), sample, **GOOD, seed=seed) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


class TestDrawnStructures:
    @pytest.mark.parametrize("kind", SYNTHETIC)
    def test_are_sparse_maps_between_zero_and_one(self, kind: str) -> None:
        maps = [draw(kind, 224, np.random.default_rng(seed)) for seed in range(6)]
        assert all(m.shape == (224, 224) and m.dtype == np.float32 for m in maps)
        assert all(m.min() == 0 and m.max() == 1 for m in maps)
        assert all(0 < m.mean() < 0.3 for m in maps)
        np.testing.assert_array_equal(maps[0], draw(kind, 224, np.random.default_rng(0)))

    def test_a_sample_can_be_made_of_them(self) -> None:
        sample = Sample("axons", size_um=6.0, seed=1)
        assert sample.window(0, 0, 0.0, (64, 64)).molecules.sum() > 0


class TestSets:
    def test_no_field_of_one_split_is_in_another(self) -> None:
        actin = {name: set(p.structures.get("actin") or ()) for name, p in POPULATIONS.items()}
        trained_on = actin["training"] | actin["robitaille"]
        assert trained_on and actin["validation"] and actin["actin"]
        assert not trained_on & (actin["validation"] | actin["actin"] | actin["dyes"])
        assert not actin["validation"] & actin["actin"]
        for name in ("training", "validation", "robitaille"):
            assert not {"tubulin", "psd95"} & set(POPULATIONS[name].structures)

    @pytest.mark.slow
    def test_dyes_of_training_and_of_the_test_do_not_meet(self) -> None:
        rows = drawn_rows()
        assert all(1.3e-22 < row.sigma_ste_m2 < 6.5e-22 for row in rows)
        with small_frames():
            _, unknown = draw_frame("dyes", 3, 0)
        assert not 1.3e-22 < unknown.sigma_ste_m2 < 6.5e-22
        assert (unknown.split, unknown.scan) == ("test", "raster")

    def test_columns_carry_every_parameter(self) -> None:
        _, row = draw_frame("robitaille", 1, 0)
        assert (row.structure, row.split, row.scan) == ("actin", "", "quick")
        assert row.score == pytest.approx(quality_from_detail(row.detail))
        assert 0 <= row.rating <= 1
        assert row.sigma_ste_m2 != DYES[row.dye].sigma_ste  # varied

    def test_half_of_training_has_other_pixels(self) -> None:
        drawn = [draw_frame("training", 4, index) for index in range(4)]
        sizes = [row.pixel_size_nm for _, row in drawn if row.split == "training"]
        assert 20.0 in sizes and set(sizes) != {20.0}
        for frame, row in drawn:
            side = int(224 * 20 / row.pixel_size_nm + 1e-6)
            assert frame.shape == (side, side)
            assert 10 <= row.pixel_size_nm <= 30

    def test_a_frame_of_other_pixels_shows_the_same_at_the_same_places(self) -> None:
        given = {"excitation_uw": 6.0, "depletion_mw": 150.0, "dwell_us": 20.0, "saturation": 0}
        row = replace(draw_frame("robitaille", 2, 0)[1], **given, line_accumulations=2)
        sizes = (10.0, 20.0, 26.7)
        frames = [
            cut_otherwise(optics(), molecules("actin"), replace(row, pixel_size_nm=size))
            for size in sizes
        ]
        light = [frame.mean() / size**2 for frame, size in zip(frames, sizes, strict=True)]
        assert light == pytest.approx([light[1]] * 3, rel=0.05)
        seen = [
            blur(resample(frame.astype(np.float32), size), 1.0)
            for frame, size in zip(frames, sizes, strict=True)
        ]
        rows, columns = (
            min(lengths) for lengths in zip(*(image.shape for image in seen), strict=True)
        )
        assert np.corrcoef([image[:rows, :columns].ravel() for image in seen]).min() > 0.9

    @pytest.mark.slow
    def test_the_simulated_rater_errs_by_eight_percent(self) -> None:
        rows = drawn_rows()
        away = [row.rating - row.score for row in rows if 0.2 < row.score < 0.8]
        assert 0.04 < np.std(away) < 0.13

    @pytest.mark.slow
    def test_are_resumed_and_reproducible(self, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        assert list(simulate_quality(folder, 1, 5, 1, "robitaille")) == [1]
        assert list(simulate_quality(folder, 3, 5, 2, "robitaille")) == [2, 3]
        rows = {row["file"]: row for row in read_table(folder)}
        assert sorted(rows) == ["00000.tif", "00001.tif", "00002.tif"]
        frame, row = draw_frame("robitaille", 5, 1)
        np.testing.assert_array_equal(frame, tifffile.imread(folder / "00001.tif"))
        assert float(rows["00001.tif"]["score"]) == row.score

    @pytest.mark.slow
    def test_a_row_cut_off_by_a_crash_is_made_again(self, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        list(simulate_quality(folder, 2, 5, 1, "robitaille"))
        table = folder / "frames.csv"
        table.write_text(table.read_text()[:-40])
        list(simulate_quality(folder, 2, 5, 1, "robitaille"))
        with table.open() as file:
            rows = list(csv.DictReader(file))
        assert sorted(row["file"] for row in rows) == ["00000.tif", "00001.tif"]
        assert all(row["seed"] for row in rows)

    def test_names_are_known(self) -> None:
        assert set(SETS) == {"training", "actin", "tubulin", "psd95", "dyes", "robitaille"}
