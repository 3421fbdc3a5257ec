"""Generated movies: motion that is known, truth that is kept, noise that is the detector's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from typer.testing import CliRunner

from agent.cli import app
from agent.config.reading import UserError
from agent.offline.simulate.movie_course import draw_course, even
from agent.offline.simulate.movie_facts import DrawnWindow
from agent.offline.simulate.movie_layers import GRAIN_PX, NetworkLayer, Sheet
from agent.offline.simulate.movie_motion import PER_FRAME, Flow, draw_flow
from agent.offline.simulate.movie_objects import Bodies, Spots
from agent.offline.simulate.movie_scenes import KINDS, MAPS, draw_scene
from agent.offline.simulate.movie_set import CLEAN, parse_set, read_movies, simulate_movies
from agent.offline.simulate.movie_tracks import Tracks, follow, jitter, leaps, runs, steps_of
from agent.offline.simulate.movies import (
    BRIGHTEST,
    COLUMNS,
    FRAMES,
    SIZE_PX,
    VALIDATION_EVERY,
    draw_movie,
)
from agent.offline.simulate.off_target import smooth_field
from agent.offline.simulate.population import Chance

Array = NDArray[np.float64]
SIDE = 120


@lru_cache
def movie(
    index: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.uint16], dict[str, Any]]:
    return draw_movie("training", 3, index)


def flow(seed: int = 1, speed: float = 5.0, strain: float = 0.1) -> Flow:
    return draw_flow(Chance(seed), speed, strain, 0.4, SIDE, FRAMES)


def grid() -> Array:
    return np.stack(np.meshgrid(*[np.arange(float(SIDE))] * 2, indexing="ij"))


def peak_to_noise_db(image: Array, truth: Array) -> float:
    return float(10 * np.log10(truth.max() ** 2 / np.mean((image - truth) ** 2)))


class TestFlow:
    @pytest.mark.parametrize("seed", range(4))
    def test_is_as_fast_as_it_says_and_no_faster(self, seed: int) -> None:
        moving = flow(seed)
        speeds = [
            np.hypot(*moving.velocity(grid(), t)).max() for t in np.linspace(0, FRAMES - 1, 33)
        ]
        assert max(speeds) == pytest.approx(5.0, rel=0.03)
        # What is carried for one frame, too.
        for t in range(FRAMES - 1):
            assert np.hypot(*(moving.carried(grid(), t, t + 1) - grid())).max() < 5.2

    def test_turns_or_changes_its_pace(self) -> None:
        middle = np.full((2, 1), SIDE / 2)
        changes = [
            np.hypot(*(flow(seed).velocity(middle, 8) - flow(seed).velocity(middle, 0))).item()
            for seed in range(8)
        ]
        assert np.median(changes) > 0.5

    def test_leads_back_to_where_it_came_from(self) -> None:
        moving = flow()
        there = moving.carried(grid(), 1.0, 5.5)
        assert np.abs(there - grid()).max() > 8
        np.testing.assert_allclose(moving.carried(there, 5.5, 1.0), grid(), atol=0.02)

    def test_a_drift_moves_all_alike(self) -> None:
        places, denser = Flow(drift=3.0, heading=np.pi / 2).origin(SIDE, 2.0, 0.0)
        np.testing.assert_allclose(places, grid() - np.array([6.0, 0.0])[:, None, None], atol=1e-9)
        np.testing.assert_allclose(denser, 1.0, atol=1e-9)

    def test_neighbours_differ_by_no_more_than_the_strain(self) -> None:
        gentle, rough = (np.abs(flow(2, 4.0, s).velocity(grid(), 0.0)) for s in (0.03, 0.25))
        steps = [max(np.abs(np.diff(v, axis=a)).max() for a in (1, 2)) for v in (gentle, rough)]
        assert steps[0] < 0.06 < steps[1] < 0.5


class TestSheet:
    def sheet(self, texture: Array, moving: Flow) -> Sheet:
        return Sheet(texture, moving, SIDE, reference=4.0)

    @pytest.mark.parametrize("seed", range(3))
    def test_one_frame_warped_by_the_motion_is_the_next(self, seed: int) -> None:
        texture = np.exp(smooth_field(200, 2.0, Chance(seed)))
        moving = flow(seed + 10)
        sheet = self.sheet(texture, moving)
        now, following = sheet.at(3.0), sheet.at(4.0)
        came_from, denser = moving.origin(SIDE, 4.0, 3.0)
        warped = map_coordinates(now, came_from, order=3) * denser
        inner = np.s_[10:-10, 10:-10]
        assert peak_to_noise_db(warped[inner], following[inner]) > 45
        # Which says something, because without the motion it is another image.
        assert peak_to_noise_db(now[inner], following[inner]) < 30

    def test_loses_no_molecules(self) -> None:
        texture = np.zeros((200, 200))
        texture[80:120, 80:120] = np.exp(smooth_field(40, 2.0, Chance(2)))
        for seed in range(3):
            sheet = self.sheet(texture, flow(seed, 3.0, 0.2))
            sums = [sheet.at(t).sum() for t in (0.0, 2.5, 4.0, 8.0)]
            np.testing.assert_allclose(sums, texture.sum(), rtol=0.01)

    def test_is_equally_sharp_wherever_the_pixels_are(self) -> None:
        dots = np.zeros((200, 200))
        dots[100, 100] = 1.0
        moving = Flow(drift=0.25)
        # Through the sharpest PSF there is.
        rest = np.sqrt(0.8**2 - GRAIN_PX**2)
        seen = [gaussian_filter(self.sheet(dots, moving).at(t), rest) for t in (4.0, 5.0, 6.0)]
        sharp = [(image**2).sum() for image in seen]
        # Linear interpolation would blur it by 15% between pixels.
        assert np.ptp(sharp) < 0.05 * sharp[0]


class TestObjects:
    @pytest.mark.parametrize("own", [runs, jitter])
    def test_nothing_jumps(self, own: Any) -> None:
        for seed in range(3):
            velocity = own(Chance(seed), 30, FRAMES, 4.0)
            assert velocity.shape == (steps_of(FRAMES), 30, 2)
            speeds = np.hypot(velocity[..., 0], velocity[..., 1])
            assert 1.5 < speeds.max() < 4.0 + 1e-9
            # Starting, stopping and turning take their time.
            change = np.diff(velocity, axis=0) * PER_FRAME
            assert np.hypot(change[..., 0], change[..., 1]).max() < 18

    def test_tracks_are_carried_and_move_on_their_own(self) -> None:
        own = np.tile([0.0, 2.0], (steps_of(FRAMES), 3, 1))
        start = Chance(1).uniform(20, 60, (3, 2))
        tracks = follow(start, own, Flow(drift=1.0, heading=np.pi / 2))
        np.testing.assert_allclose(tracks.at(2.6) - start, np.tile([2.6, 5.2], (3, 1)))
        still = follow(start, 0 * own, flow())
        np.testing.assert_allclose(still.at(6.0), flow().carried(start.T, 0.0, 6.0).T, atol=0.02)

    def spots(self, **changed: Any) -> Spots:
        start = Chance(4).uniform(40, 80, (6, 2))
        own = runs(Chance(5), 6, FRAMES, 2.0)
        values: dict[str, Any] = {
            "tracks": follow(start, own, Flow()),
            "sigma_px": np.full(6, 1.5),
            "brightness": np.ones(6),
            "born": np.full(6, -np.inf),
            "gone": np.full(6, np.inf),
            "fade": np.ones(6),
            "hollow": 0.0,
            "size_px": SIDE,
        }
        return Spots(**values | changed)

    def test_spots_keep_their_light_between_pixels(self) -> None:
        sums = [self.spots().at(t).sum() for t in np.linspace(0, 8, 7)]
        np.testing.assert_allclose(sums, 6 * 2 * np.pi * 1.5**2, rtol=0.002)

    def test_spots_are_where_their_tracks_are(self) -> None:
        one = self.spots(brightness=np.eye(6)[0])
        for t in (0.0, 3.4):
            image = one.at(t)
            middle = [(np.arange(SIDE) * image.sum(axis)).sum() / image.sum() for axis in (1, 0)]
            np.testing.assert_allclose(middle, one.tracks.at(t)[0], atol=0.01)

    def test_spots_come_and_go(self) -> None:
        passing = self.spots(born=np.full(6, 2.0), gone=np.full(6, 6.0))
        sums = [passing.at(t).sum() for t in (1.9, 2.5, 4.0, 5.5, 6.1)]
        assert sums[0] == sums[-1] == 0
        assert sums[1] == pytest.approx(sums[2] / 2, rel=0.01) == sums[3]

    def bodies(self, divides: float) -> Bodies:
        one = np.ones(1)
        return Bodies(
            tracks=Tracks(np.full((steps_of(FRAMES), 1, 2), SIDE / 2)),
            radius_px=14 * one,
            elongation=1.3 * one,
            angle=0.4 * one,
            spin=0.05 * one,
            brightness=one,
            divides=divides * one,
            takes=2 * one,
            parting_px=16 * one,
            order=np.array([[2.0, 3.0]]),
            wobble=np.array([[0.03, -0.02]]),
            phase=np.zeros((1, 2)),
            omega=np.array([[0.3, -0.2]]),
            texture=np.ones((200, 200)),
            offset=np.full((1, 2), 100.0),
            rim=0.0,
            rim_px=1.0,
            fill=1.0,
            dome=0.3,
            size_px=SIDE,
        )

    def test_a_nucleus_condenses_divides_and_loses_nothing(self) -> None:
        from skimage.measure import label

        bodies = self.bodies(divides=4.0)
        images = [bodies.at(t) for t in (0.0, 3.9, 8.0)]
        np.testing.assert_allclose([i.sum() for i in images], images[0].sum(), rtol=0.02)
        assert images[1].max() > 2 * images[0].max()
        assert [label(i > 0.4).max() for i in images] == [1, 1, 2]
        # Just when it divides there is no jump.
        before, after = bodies.at(4 - 1e-6), bodies.at(4 + 1e-6)
        assert np.abs(before - after).max() < 1e-3 * before.max()
        undivided = self.bodies(divides=np.inf).at(8.0)
        assert label(undivided > 0.4).max() == 1

    def test_a_network_has_its_lines_between_its_centres(self) -> None:
        centres = np.array([[60.0, 30.0], [60.0, 70.0]])
        even = Sheet(np.ones((SIDE, SIDE)), Flow(), SIDE)
        tracks = follow(centres, np.tile([0.0, 1.0], (steps_of(FRAMES), 2, 1)), Flow())
        network = NetworkLayer(tracks, 40.0, 1.5, 0.1, even, SIDE)
        for t in (0.0, 4.5):
            line = network.at(t)[60]
            assert line[: int(60 + t)].argmax() == pytest.approx(50 + t, abs=0.5)
            assert line[int(30 + t)] == pytest.approx(0.1, abs=0.01)


class TestMovie:
    @pytest.mark.slow
    def test_has_its_shape_and_columns(self) -> None:
        clean, noisy, row = movie()
        assert clean.shape == noisy.shape == (FRAMES, SIZE_PX, SIZE_PX)
        assert clean.dtype == np.float32 and noisy.dtype == np.uint16
        assert list(row) == COLUMNS

    @pytest.mark.slow
    def test_noise_is_the_detectors(self) -> None:
        seen = set()
        for index in range(12):
            clean, noisy, row = movie(index)
            away = noisy.astype(float) - clean
            if row["gain"] < 1:
                # Few counts for many photons, as in 8-bit movies: rounding hides the rest.
                continue
            seen.add(row["read_sd"] > 0)
            light = clean.astype(float) - row["offset"]
            rounded = 1 / 12 if row["read_sd"] else 0.0
            expected = row["gain"] * light + row["read_sd"] ** 2 + rounded
            assert abs(away.mean()) < 5 * np.sqrt(expected.mean() / away.size)
            assert np.mean(away**2 / expected) == pytest.approx(1, abs=0.03)
            # Not shared by neighbours in space or time.
            unit = away / np.sqrt(expected)
            for axis in range(3):
                near, far = np.moveaxis(unit, axis, 0)[:-1], np.moveaxis(unit, axis, 0)[1:]
                assert abs(np.mean(near * far)) < 0.02
            if len(seen) == 2:
                break
        assert seen == {True, False}

    @pytest.mark.slow
    def test_bleaching_is_exponential(self) -> None:
        for index in range(12):
            clean, _, row = movie(index)
            if row["bleaching"] > 0.004 and row["sigma_px"] == row["sigma_end_px"]:
                break
        window = DrawnWindow(SIZE_PX + 20, FRAMES)
        # The same scene again, as `draw_movie` draws it, and its ratio to the movie.
        rng = Chance(0, 3, index)
        from agent.offline.simulate import movies

        movies._draw_exposure(rng)
        scene = draw_scene(rng, "training", index, window)
        ratios = []
        for t in range(FRAMES):
            sigma = (row["sigma_px"] ** 2 - GRAIN_PX**2) ** 0.5
            still = gaussian_filter(scene.at(t), sigma)[10:-10, 10:-10]
            light = (clean[t] - row["offset"]) / row["gain"] - row["background"]
            bright = still > 0.2 * still.max()
            ratios.append(light[bright].sum() / still[bright].sum())
        left = np.array(ratios) / ratios[0]
        np.testing.assert_allclose(left, np.exp(-row["bleaching"] * np.arange(FRAMES)), rtol=0.01)

    @pytest.mark.slow
    def test_is_as_bright_as_it_says(self) -> None:
        for index in range(6):
            clean, _, row = movie(index)
            assert 8 <= row["photons"] <= 1300
            assert row["offset"] + 5 <= clean.max() < 2**16 or row["gain"] == 1
            if row["bleaching"] == 0:
                photons = (clean - row["offset"]) / row["gain"] - row["background"]
                assert np.percentile(photons, BRIGHTEST) == pytest.approx(row["photons"], rel=0.01)

    @pytest.mark.slow
    def test_is_drawn_from_set_seed_and_index_alone(self) -> None:
        clean, noisy, row = draw_movie("training", 3, 1)
        again = movie(1)
        np.testing.assert_array_equal(clean, again[0])
        np.testing.assert_array_equal(noisy, again[1])
        assert row == again[2]
        for name, seed, index in (("test", 3, 1), ("training", 4, 1), ("training", 3, 18)):
            assert (draw_movie(name, seed, index)[0] != clean).any()

    def test_can_be_longer_and_larger(self) -> None:
        clean, _, row = draw_movie("test", 1, 3, frames=3, size_px=96)
        assert clean.shape == (3, 96, 96)
        assert (row["frames"], row["size_px"]) == (3, 96)

    @pytest.mark.slow
    def test_one_in_some_is_for_validation(self) -> None:
        splits = [
            draw_movie(name, 3, VALIDATION_EVERY - 1, frames=2, size_px=64)[2]["split"]
            for name in ("training", "test")
        ]
        assert splits == ["validation", "test"]
        assert movie(0)[2]["split"] == "training"


class TestUnevenMotion:
    """As real movies are: between two frames a step apart, the middle one is half of it off."""

    def test_a_leap_says_little_of_the_next(self) -> None:
        off, steps, fastest = [], [], []
        for seed in range(12):
            velocity = leaps(Chance(seed), 40, FRAMES, 20.0)
            assert velocity.shape == (steps_of(FRAMES), 40, 2)
            places = follow(np.zeros((40, 2)), velocity, Flow()).places[::PER_FRAME]
            first, second = np.diff(places, axis=0)[:-1], np.diff(places, axis=0)[1:]
            off.append(np.mean(((first - second) / 2) ** 2))
            steps.append(np.mean(((first + second) / 2) ** 2))
            fastest.append(np.hypot(*np.moveaxis(np.diff(places, axis=0), -1, 0)).max())
        assert 0.4 < np.sqrt(np.mean(off) / np.mean(steps)) < 0.9
        assert 18 < max(fastest) <= 20 + 1e-9

    def test_time_runs_unevenly_and_the_stage_trembles(self) -> None:
        courses = [draw_course(Chance(seed), FRAMES) for seed in range(40)]
        for course in courses:
            assert course.times[0] == 0 and course.times[-1] == FRAMES - 1
            assert (np.diff(course.times) > 0).all()
        assert max(np.diff(course.times).max() for course in courses) > 2
        trembling = [course for course in courses if course.trembling_px]
        assert 8 < len(trembling) < 32
        for course in trembling:
            assert course.stage_px.std() == pytest.approx(course.trembling_px, rel=0.6)
        assert not even(FRAMES).stage_px.any()

    def test_nuclei_of_the_jumping_set_leap(self) -> None:
        row = draw_movie("jumping", 1, 0, frames=3, size_px=64)[2]
        assert row["first_kind"] == "nuclei" and row["split"] == "test"
        assert 8 <= row["first_own_px"] <= 20

    @pytest.mark.slow
    def test_noise_is_shared_and_levels_are_few_in_some(self) -> None:
        smoothed = bits = 0
        for index in range(17):
            clean, noisy, row = draw_movie("uneven", 1, index, frames=2, size_px=48)
            if row["brightest_level"]:
                bits += 1
                assert noisy.max() == row["brightest_level"] <= 255
                # The truth is in the same units.
                assert clean.mean() == pytest.approx(noisy.mean(), abs=1)
            smoothed += row["smoothed_px"] > 0
        assert smoothed >= 3 and bits >= 3

    def test_movies_that_run_evenly_are_what_they_were(self) -> None:
        for name in ("training", "test"):
            row = draw_movie(name, 3, 0, frames=2, size_px=48)[2]
            found = [
                row[key] for key in ("unevenness", "trembling_px", "smoothed_px", "brightest_level")
            ]
            assert found == [0, 0, 0, 0]


class TestSets:
    def test_share_no_map(self) -> None:
        for kind, maps in MAPS["training"].items():
            assert not set(maps) & set(MAPS["test"][kind])
        assert "psd95" not in KINDS["training"] and "psd95" in KINDS["test"]

    @pytest.mark.parametrize("name", ["training", "test", "uneven"])
    def test_maps_are_those_of_the_set(self, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from agent.offline.simulate import movie_sheets

        asked_for = []
        original = movie_sheets.canvas

        def noting(structure: Any, size_px: int, rng: Any, which: Any = None) -> Any:
            asked_for.append((structure, which))
            return original(structure, size_px, rng, which)

        monkeypatch.setattr(movie_sheets, "canvas", noting)
        for index in range(3):
            row = draw_movie(name, 7, index, frames=2, size_px=48)[2]
            assert row["first_maps"] == " ".join(map(str, MAPS[name][row["first_kind"]]))
        of_pysted = [(s, which) for s, which in asked_for if s in ("actin", "tubulin", "psd95")]
        assert len(of_pysted) >= 3
        assert all(which == MAPS[name][structure] for structure, which in of_pysted)

    @pytest.mark.slow
    def test_show_every_kind(self) -> None:
        count = len(KINDS["training"])
        kinds = {
            draw_movie("training", 1, i, frames=1, size_px=32)[2]["first_kind"]
            for i in range(count)
        }
        assert kinds == set(KINDS["training"])


class TestCommand:
    @pytest.mark.slow
    def test_makes_a_set_and_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "set"
        line = ["simulate", "movies", str(folder), "--workers", "1", "--seed", "3"]
        made = CliRunner().invoke(app, [*line, "--movies", "2"])
        assert made.exit_code == 0, made.output
        assert sorted(path.name for path in folder.iterdir()) == [
            "00000.tif",
            "00001.tif",
            "clean",
            "movies.csv",
        ]
        for index, row in enumerate(read_movies(folder)):
            clean, noisy, expected = movie(index)
            assert row == {key: str(value) for key, value in expected.items()}
            np.testing.assert_array_equal(tifffile.imread(folder / f"{row['name']}.tif"), noisy)
            truth = tifffile.imread(folder / CLEAN / f"{row['name']}.tif")
            np.testing.assert_array_equal(truth, clean)

        # A row cut off by a crash, and a movie that is lost.
        table = folder / "movies.csv"
        table.write_text(table.read_text()[:-20])
        kept = (folder / "00000.tif").stat().st_mtime_ns
        assert list(simulate_movies(folder, "training", 3, 3, 1)) == [2, 3]
        assert (folder / "00000.tif").stat().st_mtime_ns == kept
        (folder / CLEAN / "00001.tif").unlink()
        assert list(simulate_movies(folder, "training", 3, 3, 1)) == [3]
        assert sorted(row["name"] for row in read_movies(folder)) == ["00000", "00001", "00002"]
        np.testing.assert_array_equal(tifffile.imread(folder / CLEAN / "00001.tif"), movie(1)[0])

        before = table.read_text()
        with pytest.raises(UserError, match="seed is 3, asked for is 4"):
            list(simulate_movies(folder, "training", 4, 4, 1))
        with pytest.raises(UserError, match="set is training, asked for is test"):
            list(simulate_movies(folder, "test", 4, 3, 1))
        assert table.read_text() == before

    def test_says_which_sets_there_are(self, tmp_path: Path) -> None:
        assert parse_set("test") == "test"
        line = ["simulate", "movies", str(tmp_path / "set"), "--set", "tset"]
        refused = CliRunner().invoke(app, line)
        assert isinstance(refused.exception, UserError)
        assert "accepted: training, test" in str(refused.exception)
        assert not (tmp_path / "set").exists()
