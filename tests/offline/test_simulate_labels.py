"""Fields with two labels: their channels, what sets share, and continuing after a stop."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from typer.testing import CliRunner

from agent.cli import app
from agent.config.reading import UserError
from agent.offline.simulate.data_set import read_rows
from agent.offline.simulate.label_fields import (
    BARE_EVERY,
    FIELD_PX,
    VALIDATION_EVERY,
    Image,
    draw_field,
)
from agent.offline.simulate.label_population import (
    LABEL_SETS,
    RANGES,
    SOURCES,
    LabelSet,
    draw_label,
    draw_resolution,
)
from agent.offline.simulate.labels import CHANNELS, COLUMNS, parse_set, simulate_labels
from agent.offline.simulate.off_target import diffuse, smooth_field, spots
from agent.offline.simulate.population import Chance
from devices.sources import Structure

Array = NDArray[np.float64]


@lru_cache
def field(
    index: int = 0, structure: Structure = "tubulin", name: LabelSet = "training"
) -> tuple[dict[str, Image], dict[str, Any]]:
    return draw_field(structure, name, 3, index)


def counting_field() -> tuple[dict[str, Array], dict[str, Any]]:
    """The first field whose label A is seen by a detector that counts photons."""
    return field_of(camera=False)


@lru_cache
def field_of(*, camera: bool) -> tuple[dict[str, Array], dict[str, Any]]:
    """The first field whose label A is seen by a camera, or by a detector that counts photons."""
    for index in range(20):
        images, row = field(index)
        if (row["a_read_sd"] > 0) == camera:
            return {channel: image.astype(float) for channel, image in images.items()}, row
    raise AssertionError("one in four has a camera")


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


class TestField:
    @pytest.mark.slow
    def test_has_its_channels_and_columns(self) -> None:
        images, row = field()
        assert tuple(images) == CHANNELS
        assert list(row) == COLUMNS
        assert all(image.shape == (FIELD_PX, FIELD_PX) for image in images.values())
        floats = {channel for channel, image in images.items() if image.dtype == np.float32}
        assert floats == {"mean_a", "clean", "off_target_a"}
        assert {image.dtype for image in images.values()} == {np.dtype("u2"), np.dtype("f4")}

    @pytest.mark.slow
    def test_two_exposures_differ_by_photon_noise_alone(self) -> None:
        images, _ = counting_field()
        first, second = images["label_a"], images["label_a_again"]
        # Variance of the difference of two Poisson counts is their sum; molecules drawn anew
        # would add to it.
        assert np.var(first - second) == pytest.approx(np.mean(first + second), rel=0.05)

    @pytest.mark.slow
    def test_the_mean_image_is_what_was_bound(self) -> None:
        images, row = counting_field()
        background = row["a_background_share"] * row["a_brightness"]
        both = (images["label_a"] + images["label_a_again"]) / 2
        structure = both - images["off_target_a"] - background
        clean = images["clean"]
        # On average the share of the sites that is bound.
        bound = float((structure * clean).sum() / (clean**2).sum())
        assert bound == pytest.approx(row["a_efficiency"], rel=0.15)
        dark = clean < 0.01 * clean.max()
        assert abs(structure[dark].mean()) < 0.05 * row["a_brightness"]

    @pytest.mark.slow
    @pytest.mark.parametrize("camera", [False, True])
    def test_exposures_scatter_about_the_mean(self, camera: bool) -> None:
        images, row = field_of(camera=camera)
        mean = images["mean_a"]
        for channel in ("label_a", "label_a_again"):
            rest = images[channel] - mean
            assert abs(rest.mean()) < 4 * rest.std() / rest.shape[0]
            # Photons, and the noise that the camera reads them with.
            photons = mean - (row["a_offset"] if camera else 0.0)
            expected = np.mean(photons) + (row["a_read_sd"] ** 2 if camera else 0.0)
            assert np.var(rest) == pytest.approx(expected, rel=0.1)

    @pytest.mark.slow
    def test_low_light_is_a_tenth(self) -> None:
        images, _ = counting_field()
        assert images["label_a_low"].sum() / images["label_a"].sum() == pytest.approx(0.1, rel=0.05)

    def test_the_empty_exposure_shows_off_target_signal_and_no_structure(self) -> None:
        images, row = counting_field()
        rest = images["empty_a"] - images["off_target_a"]
        background = row["a_background_share"] * row["a_brightness"]
        assert rest.mean() == pytest.approx(background, rel=0.1)
        assert abs(correlation(rest, images["clean"])) < 0.05

    @pytest.mark.slow
    def test_labels_share_the_structure_and_not_the_rest(self) -> None:
        own, others, structures = [], [], []
        for index in range(4):
            images = {channel: image.astype(float) for channel, image in field(index)[0].items()}
            clean, off = images["clean"], images["off_target_a"]
            beside = clean < 0.02 * clean.max()
            own.append(correlation(images["label_a"][beside], off[beside]))
            others.append(correlation(images["label_b"][beside], off[beside]))
            structures.append(correlation(images["label_b"], clean))
        assert np.mean(own) > 0.4
        assert abs(np.mean(others)) < 0.15
        assert np.mean(structures) > 0.6

    @pytest.mark.slow
    def test_energies_are_as_asked_for(self) -> None:
        for index in range(4):
            images, row = field(index)
            # Which molecules there are by chance adds some where they are few.
            assert 0.7 < row["a_energy_share"] / row["a_off_target_share"] < 2
            clean = images["clean"].astype(float) * row["a_efficiency"]
            share = (images["off_target_a"].astype(float) ** 2).sum() / (clean**2).sum()
            assert share == pytest.approx(row["a_energy_share"], rel=0.4)

    @pytest.mark.slow
    def test_both_labels_resolve_alike(self) -> None:
        for index in range(4):
            row = field(index)[1]
            assert row["a_resolution_nm"] == pytest.approx(row["b_resolution_nm"], rel=0.11)
            for label in "ab":
                assert 0 < row[f"{label}_depletion_mw"] <= 400
                if row[f"{label}_depletion_mw"] < 399:
                    wanted = pytest.approx(row[f"{label}_resolution_nm"], rel=0.02)
                    assert row[f"{label}_psf_fwhm_nm"] == wanted

    @pytest.mark.slow
    def test_is_drawn_from_structure_set_seed_and_index_alone(self) -> None:
        images, row = draw_field("tubulin", "training", 3, 1)
        again, same = field(1)
        assert row == same
        for channel in CHANNELS:
            np.testing.assert_array_equal(images[channel], again[channel])
        for other in (
            draw_field("tubulin", "training", 3, 2),
            draw_field("tubulin", "training", 4, 1),
            draw_field("actin", "training", 3, 1),
            draw_field("tubulin", "test", 3, 1),
        ):
            assert (other[0]["label_a"] != images["label_a"]).any()
            assert other[1]["a_brightness"] != row["a_brightness"]


class TestOffTarget:
    def test_a_smooth_field_has_its_variance_and_length(self) -> None:
        fields = [smooth_field(128, 6.0, Chance(i)) for i in range(40)]
        assert np.mean([f.var() + f.mean() ** 2 for f in fields]) == pytest.approx(1, rel=0.1)
        # White noise behind a Gaussian blur: exp(−d² / 4σ²) at distance d.
        shared = np.mean([(f[:, :-12] * f[:, 12:]).mean() for f in fields])
        assert shared == pytest.approx(np.exp(-1), abs=0.06)

    @pytest.mark.parametrize("name", LABEL_SETS)
    def test_spots_keep_away_from_the_structure(self, name: LabelSet) -> None:
        structure = np.zeros((200, 200))
        structure[90:110] = 1.0
        on = []
        for seed in range(12):
            rng = Chance(seed)
            label, _ = draw_label(rng, name, 100.0)
            density, _ = spots(label, structure, 500.0, rng)
            on.append(density[90:110].sum() / density.sum())
        # A tenth if they lay anywhere; the skirts of wide ones reach a little of it.
        assert np.mean(on) < 0.02

    def test_spots_find_a_place_where_structure_is_everywhere(self) -> None:
        label, _ = draw_label(Chance(1), "training", 100.0)
        density, count = spots(label, np.ones((64, 64)), 100.0, Chance(1))
        assert count >= 1 and density.sum() > 0

    def test_more_energy_is_more_spots(self) -> None:
        label, _ = draw_label(Chance(1), "training", 100.0)
        few, many = (spots(label, np.zeros((128, 128)), e, Chance(1))[1] for e in (50.0, 1000.0))
        assert few < many <= 120

    @pytest.mark.parametrize("name", LABEL_SETS)
    def test_the_diffuse_kind_is_smooth(self, name: LabelSet) -> None:
        label, _ = draw_label(Chance(2), name, 100.0)
        density = diffuse(label, 256, Chance(2))
        assert density.min() >= 0
        steps = np.abs(np.diff(density, axis=0)).max()
        assert 0.3 < density.max() < 3 and steps < 0.15 * density.max()


class TestSets:
    def test_share_no_map(self) -> None:
        for (structure, name), source in SOURCES.items():
            if name == "test" and (structure, "training") in SOURCES:
                assert not set(source.maps) & set(SOURCES[structure, "training"].maps)
            assert name == "training" or not source.drawn

    def test_share_no_value_of_a_label(self) -> None:
        for intervals in RANGES.values():
            for (low, high), (from_, to) in product(intervals["training"], intervals["test"]):
                assert high <= from_ or to <= low

    @pytest.mark.parametrize("name", LABEL_SETS)
    def test_labels_lie_within_their_intervals(self, name: LabelSet) -> None:
        rng = Chance(5)

        def among(value: float, parameter: str) -> bool:
            return any(low <= value <= high for low, high in RANGES[parameter][name])

        for _ in range(50):
            resolution_nm = draw_resolution(rng, name)
            assert among(resolution_nm, "resolution_nm")
            label, _ = draw_label(rng, name, resolution_nm)
            for parameter in set(RANGES) - {"resolution_nm", "spot_nm"}:
                assert among(getattr(label, parameter), parameter), parameter
            middle = (label.spot_nm_low * label.spot_nm_high) ** 0.5
            for size in (label.spot_nm_low, middle, label.spot_nm_high):
                assert among(size, "spot_nm")
            assert label.spot_nm_low <= label.spot_nm_high

    def test_kinds_of_off_target_signal_differ(self) -> None:
        rng = Chance(6)
        kinds = {
            name: {
                kind
                for label in (draw_label(rng, name, 90.0)[0] for _ in range(30))
                for kind in (label.diffuse, label.punctate)
            }
            for name in LABEL_SETS
        }
        assert kinds == {"training": {"cytosol", "round"}, "test": {"halo", "round", "aggregate"}}


class TestCommand:
    @pytest.mark.slow
    def test_makes_a_set_and_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "set"
        line = ["simulate", "labels", str(folder), "--structure", "tubulin", "--workers", "1"]
        made = CliRunner().invoke(app, [*line, "--fields", "2", "--seed", "3"])
        assert made.exit_code == 0, made.output
        assert sorted(path.name for path in folder.iterdir()) == sorted([*CHANNELS, "fields.csv"])
        for index, row in enumerate(read_rows(folder / "fields.csv")):
            images, expected = field(index)
            assert row == {key: str(value) for key, value in expected.items()}
            for channel in CHANNELS:
                file = folder / channel / f"{row['name']}.tif"
                np.testing.assert_array_equal(tifffile.imread(file), images[channel])
        with tifffile.TiffFile(folder / "clean" / "00000.tif") as tif:
            per_cm = tif.pages.first.tags["XResolution"].value
            assert 1e7 * per_cm[1] / per_cm[0] == pytest.approx(20)

        # A row cut off by a crash, and an image that is lost.
        table = folder / "fields.csv"
        table.write_text(table.read_text()[:-40])
        kept = (folder / "label_a" / "00000.tif").stat().st_mtime_ns
        assert list(simulate_labels(folder, "tubulin", "training", 3, 3, 1)) == [2, 3]
        assert (folder / "label_a" / "00000.tif").stat().st_mtime_ns == kept
        assert [row["name"] for row in read_rows(folder / "fields.csv")] == [
            "00000",
            "00001",
            "00002",
        ]
        (folder / "clean" / "00001.tif").unlink()
        assert list(simulate_labels(folder, "tubulin", "training", 3, 3, 1)) == [3]
        np.testing.assert_array_equal(
            tifffile.imread(folder / "clean" / "00001.tif"), field(1)[0]["clean"]
        )

    @pytest.mark.slow
    def test_whole_fields_are_kept_for_validation(self) -> None:
        last = VALIDATION_EVERY - 1
        assert field(last)[1]["split"] == "validation"
        assert field(last - 1)[1]["split"] == field(last + 1)[1]["split"] == "training"
        assert field(last, "psd95", "test")[1]["split"] == "test"
        assert field(last, "psd95", "test")[1]["maps"] == "4 5"

    @pytest.mark.slow
    def test_will_not_mix_sets_in_a_folder(self, tmp_path: Path) -> None:
        list(simulate_labels(tmp_path, "psd95", "test", 1, 3, 1))
        before = (tmp_path / "fields.csv").read_text()
        with pytest.raises(UserError, match="seed is 3, asked for is 4"):
            list(simulate_labels(tmp_path, "psd95", "test", 2, 4, 1))
        with pytest.raises(UserError, match="structure is psd95, asked for is actin"):
            list(simulate_labels(tmp_path, "actin", "test", 2, 3, 1))
        assert (tmp_path / "fields.csv").read_text() == before

    def test_says_which_sets_there_are(self, tmp_path: Path) -> None:
        assert parse_set("psd95", "test") == ("psd95", "test")
        with pytest.raises(UserError, match="no training set of it; accepted: actin, tubulin"):
            parse_set("psd95", "training")
        line = ["simulate", "labels", str(tmp_path / "set"), "--set", "tset"]
        refused = CliRunner().invoke(app, line)
        assert isinstance(refused.exception, UserError)
        assert "accepted: training, test" in str(refused.exception)
        assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_some_training_fields_show_no_structure() -> None:
    images, row = draw_field("actin", "training", 3, BARE_EVERY // 2)
    assert row["bare"] is True and row["split"] == "training"
    assert not images["clean"].any()
    assert images["label_a"].mean() == pytest.approx(images["empty_a"].mean(), rel=0.05)
    assert draw_field("actin", "training", 3, BARE_EVERY // 2 + 1)[1]["bare"] is False
    assert draw_field("actin", "test", 3, BARE_EVERY // 2)[1]["bare"] is False
