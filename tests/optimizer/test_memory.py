"""The library of simulated sessions, earlier runs, and what they do for the optimizer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from agent.cli import app
from agent.config import load
from agent.config.reading import UserError
from agent.optimizer.memory import (
    CALIBRATIONS,
    SHIPPED,
    Control,
    Library,
    Sessions,
    obstacle,
)
from agent.optimizer.memory.store import AXES
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from agent.optimizer.stedfast import StedfastOptimizer
from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.virtual.dyes import DYES
from devices.virtual.expected import Scanner, Spectrum
from devices.virtual.optics import Optics
from devices.virtual.sample import Sample
from tests.helpers.near import near

CONFIG = Path(__file__).parents[2] / "configs" / "optimize.yaml"
LIMIT = 0.2
CONTROLS = (
    Control("excitation_power", 1e-6),
    Control("depletion_power", 1e-3),
    Control("dwell_time", 1e-6),
    Control("line_accumulations"),
)
SETTINGS = {
    "excitation_power": SettingConfig(
        device="L", property="P", unit="µW", range=(0.3, 30.0), scale="log", start=2.0
    ),
    "depletion_power": SettingConfig(
        device="D", property="P", unit="mW", range=(10.0, 350.0), start=30.0
    ),
    "dwell_time": SettingConfig(
        device="S", property="T", unit="µs", range=(1.0, 60.0), scale="log", start=10.0
    ),
    "line_accumulations": SettingConfig(
        device="S", property="N", kind="integer", range=(1, 8), start=1
    ),
}


@cache
def small() -> Sessions:
    """Seven sessions of random numbers over a small grid."""
    rng = np.random.default_rng(0)
    shape = (7, 3, 3, 2, 3)
    return Sessions(
        {
            "excitation_w": np.array([1e-6, 4e-6, 16e-6]),
            "depletion_w": np.array([0.01, 0.1, 0.4]),
            "dwell_s": np.array([1e-6, 1e-4]),
            "passes": np.array([1.0, 2.0, 8.0]),
        },
        rng.random(shape).astype(np.float32),
        rng.normal(-2, 1, shape).astype(np.float32),
        tuple({"number": at} for at in range(7)),
    )


def point(excitation: float, depletion: float, dwell: float, passes: float) -> Settings:
    return dict(zip(SETTINGS, (excitation, depletion, dwell, passes), strict=True))


@cache
def shipped() -> Sessions:
    return Sessions.read()


class TestInterpolation:
    def test_a_point_of_the_grid_gets_its_own_value(self) -> None:
        library, sessions = Library(small(), CONTROLS), small()
        points, places = [], []
        for at in np.ndindex(3, 3, 2, 3):
            values = [sessions.axes[axis][i] for axis, i in zip(AXES, at, strict=True)]
            points.append(point(values[0] * 1e6, values[1] * 1e3, values[2] * 1e6, values[3]))
            places.append(at)
        quality, bleaching = library.expect(points, range(7))
        for column, at in enumerate(places):
            assert quality[:, column] == pytest.approx(sessions.quality[(slice(None), *at)])
            exponent = np.exp(sessions.log_exponent[(slice(None), *at)])
            assert bleaching[:, column] == pytest.approx(1 - np.exp(-exponent), rel=1e-4)

    def test_the_middle_is_the_mean_and_outside_is_the_edge(self) -> None:
        library, sessions = Library(small(), CONTROLS), small()
        middle = point(2.0, 10.0, 1.0, 1)
        outside = point(0.01, 3.0, 0.2, 1)
        quality, _ = library.expect([middle, outside], range(7))
        ends = sessions.quality[:, :2, 0, 0, 0]
        assert quality[:, 0] == pytest.approx(ends.mean(axis=1), abs=1e-6)
        assert quality[:, 1] == pytest.approx(ends[:, 0], abs=1e-6)

    def test_dark_lasers_are_taken_as_the_faintest(self) -> None:
        library = Library(small(), CONTROLS)
        dark, faint = library.expect([point(0, 0, 10, 1), point(1, 10, 10, 1)], range(7))[0].T
        assert dark == pytest.approx(faint)

    def test_some_hypotheses_are_as_in_all(self) -> None:
        library = Library(small(), CONTROLS)
        points = Space(SETTINGS, {}).sobol(16, 0)
        which = [len(library) - 1, 3, 9, 0]
        for part, whole in zip(library.expect(points, which), library.expect(points), strict=True):
            assert part == pytest.approx(whole[which])
        assert library.expect(points, [])[0].shape == (0, 16)


class TestCalibration:
    def test_prior_sums_to_one_and_trusts_the_config_most(self) -> None:
        library = Library(small(), CONTROLS)
        prior = np.exp(library.log_prior)
        assert prior.sum() == pytest.approx(1)
        assert prior[:7].sum() == pytest.approx(0.6)
        assert len(library) < 7 * len(CALIBRATIONS)

    def test_copies_are_the_session_at_other_powers(self) -> None:
        library, plain = Library(small(), CONTROLS), Library(small(), CONTROLS, [(1.0, 1.0)])
        # After all seven come those that excite twice as much: the first, fourth and seventh.
        found = library.expect([point(2.0, 60.0, 5.0, 3)], [7, 8, 9])
        wanted = plain.expect([point(4.0, 60.0, 5.0, 3)], [0, 3, 6])
        assert np.stack(found) == pytest.approx(np.stack(wanted), rel=1e-5)

    def test_shifted_has_wrong_powers_alone(self) -> None:
        shifted = Library(small(), CONTROLS).shifted(2.0, 0.5, way_out=False)
        found = shifted.expect([point(2.0, 60.0, 5.0, 3)])
        wanted = Library(small(), CONTROLS).expect([point(4.0, 30.0, 5.0, 3)], range(7))
        assert len(shifted) == 7
        assert np.stack(found) == pytest.approx(np.stack(wanted), rel=1e-5)


def microscope(**changes: Any) -> MicroscopeConfig:
    """A microscope that counts in other units."""
    settings: dict[str, Any] = {
        "aotf": {
            "unit": "%",
            "range": (0, 100),
            "start": 20,
            "safe": 0,
            "laser": "excitation",
            "watts_per_unit": 2e-7,
        },
        "donut": {"unit": "W", "range": (0, 0.3), "start": 0.05, "safe": 0, "laser": "depletion"},
        "dwell": {"unit": "ns", "range": (1000, 50000), "start": 5000},
        "zoom": {"range": (1, 3), "start": 1},
    }
    for name, values in changes.pop("settings", {}).items():
        settings[name] = {**settings.get(name, {"range": (1, 9), "start": 1}), **values}
    for name in changes.pop("without", ()):
        del settings[name]
    return MicroscopeConfig.model_validate(
        {
            "cfg": "demo",
            "pixel_size_nm": 20,
            "exposure": {"dwell_time": "dwell"},
            "settings": {
                name: {"device": "D", "property": name, **values}
                for name, values in settings.items()
            },
            **changes,
        }
    )


def expected(config: MicroscopeConfig, settings: Mapping[str, Value]) -> NDArray[np.float64]:
    library = Library.for_microscope(config, list(settings), small())
    assert library is not None
    return np.stack(library.expect([settings], range(7)))


def plainly(
    excitation: float, depletion: float, dwell: float, passes: float
) -> NDArray[np.float64]:
    """What is expected at µW, mW, µs and passes."""
    points = [point(excitation, depletion, dwell, passes)]
    return np.stack(Library(small(), CONTROLS).expect(points, range(7)))


class TestMicroscope:
    def test_units_become_watts_and_seconds(self) -> None:
        found = expected(microscope(), {"aotf": 30, "donut": 0.12, "dwell": 8000})
        assert found == pytest.approx(plainly(6.0, 120.0, 8.0, 1), rel=1e-5)

    def test_what_is_not_tuned_stands_at_its_start_or_pin(self) -> None:
        found = expected(microscope(), {"dwell": 8000})
        assert found == pytest.approx(plainly(4.0, 50.0, 8.0, 1), rel=1e-5)
        pinned = microscope(modes={"sted": {"donut": 0.2}})
        assert expected(pinned, {"dwell": 8000}) == pytest.approx(
            plainly(4.0, 200.0, 8.0, 1), rel=1e-5
        )

    def test_lines_are_passes(self) -> None:
        config = microscope(
            settings={"lines": {"kind": "integer", "start": 4}},
            exposure={"dwell_time": "dwell", "line_accumulations": "lines"},
        )
        assert expected(config, {"dwell": 8000}) == pytest.approx(
            plainly(4.0, 50.0, 8.0, 4), rel=1e-5
        )
        assert expected(config, {"dwell": 8000, "lines": 2}) == pytest.approx(
            plainly(4.0, 50.0, 8.0, 2), rel=1e-5
        )

    def test_smaller_pixels_get_more_light_by_area(self) -> None:
        found = expected(microscope(pixel_size_nm=10), {"dwell": 8000})
        assert found == pytest.approx(plainly(4.0, 50.0, 32.0, 1), rel=1e-5)

    @pytest.mark.parametrize(
        ("changes", "tuned", "why"),
        [
            ({"settings": {"aotf": {"laser": "red"}}}, ["dwell"], "laser: excitation.*red"),
            ({"settings": {"donut": {"laser": "blue"}}}, ["dwell"], "laser: depletion.*blue"),
            ({"exposure": {"camera_ms": 10}}, ["donut"], "dwell_time"),
            ({}, ["zoom"], "none of the tuned settings"),
            (
                {"exposure": {"dwell_time": "mode"},
                 "settings": {"mode": {"kind": "choice", "choices": ("10 us", "20 us"),
                                       "range": None, "start": "10 us"}}},
                ["mode"],
                "`settings.mode`: its choices",
            ),
        ],
    )  # fmt: skip
    def test_says_why_it_does_not_fit(
        self, changes: dict[str, Any], tuned: list[str], why: str
    ) -> None:
        config = microscope(**changes)
        reason = obstacle(config, tuned)
        assert reason is not None
        assert re.search(why, reason), reason
        assert Library.for_microscope(config, tuned, small()) is None

    def test_fits_the_example_config(self) -> None:
        config = load(CONFIG)
        assert obstacle(config.microscope, config.tuned()) is None
        library = Library.for_microscope(config.microscope, config.tuned())
        assert library is not None
        points = Space(
            {name: config.microscope.settings[name] for name in config.tuned()},
            config.optimize.search,
        ).sobol(64, 0)
        quality, bleaching = library.expect(points)
        assert quality.shape == bleaching.shape == (len(library), 64)
        assert 0 <= quality.min() < quality.max() <= 1
        assert 0 <= bleaching.min() < bleaching.max() <= 1


class TestShippedLibrary:
    def test_is_the_one_its_card_tells_of(self) -> None:
        card = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
        assert card["sha256"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
        assert card["sessions"] == len(shipped()) >= 250
        assert SHIPPED.stat().st_size < 6e6
        shape = tuple(len(shipped().axes[axis]) for axis in AXES)
        assert shipped().quality.shape == (len(shipped()), *shape)

    def test_has_no_structure_that_is_kept_aside(self) -> None:
        structures = {about["structure"] for about in shipped().about}
        assert "actin" in structures and len(structures) > 5
        assert not structures & {"tubulin", "psd95"}
        for about in shipped().about:
            assert about["maps"] == ([0, 1, 2] if about["structure"] == "actin" else None)

    @pytest.mark.slow
    def test_bleaching_is_the_scanners(self) -> None:
        library = Library(shipped(), CONTROLS)
        points = Space(SETTINGS, {}).sobol(32, 1)
        off = []
        for at in (0, 100, 200):
            optics = Optics(_dye(shipped().about[at]))
            found = library.expect(points, [at])[1][0]
            off += [
                bleached - scan(optics, settings).bleaching
                for settings, bleached in zip(points, found, strict=True)
            ]
        assert np.sqrt(np.mean(np.square(off))) < 0.01

    @pytest.mark.slow
    def test_command_makes_it_again(self, tmp_path: Path) -> None:
        card = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
        file = tmp_path / "some.safetensors"
        made = CliRunner().invoke(
            app, ["simulate", "sessions", str(file), "--sessions", "1", "--seed", str(card["seed"])]
        )
        assert made.exit_code == 0, made.output
        some = Sessions.read(file)
        # Another machine's kernels may give other last digits.
        assert near(some.about, shipped().about[:1])
        assert some.quality == pytest.approx(shipped().quality[:1], abs=2e-3)
        assert some.log_exponent == pytest.approx(shipped().log_exponent[:1], abs=2e-2)
        assert json.loads(file.with_suffix(".json").read_text())["sessions"] == 1

    @pytest.mark.parametrize("name", ["library.npz", "nowhere/library.safetensors"])
    def test_is_written_where_it_can_be(self, tmp_path: Path, name: str) -> None:
        made = CliRunner().invoke(app, ["simulate", "sessions", str(tmp_path / name)])
        assert isinstance(made.exception, UserError)
        assert "NAME.safetensors in a folder that exists" in str(made.exception)

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such file"):
            Sessions.read(tmp_path / "none.safetensors")
        other = tmp_path / "other.safetensors"
        other.write_bytes(b"not this")
        with pytest.raises(UserError, match="not a library"):
            Sessions.read(other)


def _dye(about: Mapping[str, Any]) -> Any:
    return type(DYES["atto647n"])(**about["dye"])


def scan(optics: Optics, settings: Mapping[str, Value]) -> Scanner:
    return Scanner(
        optics,
        excitation_w=float(settings["excitation_power"]) * 1e-6,
        depletion_w=float(settings["depletion_power"]) * 1e-3,
        dwell_s=float(settings["dwell_time"]) * 1e-6,
        passes=int(settings["line_accumulations"]),
    )


@cache
def unknown_sample() -> tuple[Optics, Spectrum]:
    """Tubulin, which the library has never seen, with a named dye."""
    optics = Optics(DYES["fragile"])
    sample = Sample("tubulin", size_um=16.0, molecules_per_pixel=15.0, seed=5)
    return optics, Spectrum([sample.window(0, 0, 0.0, (320, 320), optics.margin).molecules])


def truth(settings: Mapping[str, Value]) -> Outcome:
    optics, spectrum = unknown_sample()
    found = scan(optics, settings).look(spectrum, 3000.0)
    return Outcome(found.quality, found.bleaching)


def after_six_trials(seed: int, library: Library | None) -> float:
    """True worth of what is recommended; nothing if it bleaches too much."""
    engine = StedfastOptimizer(
        Space(SETTINGS, {}), bleaching_limit=LIMIT, seed=seed, hypotheses=library
    )
    rng = np.random.default_rng(seed)
    for _ in range(6):
        settings = engine.ask()
        true = truth(settings)
        engine.tell(
            settings,
            Outcome(
                float(np.clip(true.score + rng.normal(0, 0.05), 0, 1)),
                true.bleaching + float(rng.normal(0, 0.02)),
                0.05,
                bleaching_sd=0.02,
            ),
        )
    best = truth(engine.recommend())
    return best.score if best.bleaching <= LIMIT else 0.0


@pytest.mark.slow
def test_with_the_library_six_trials_give_more() -> None:
    library = Library(shipped(), CONTROLS)
    with_it = [after_six_trials(seed, library) for seed in range(2)]
    without = [after_six_trials(seed, None) for seed in range(2)]
    assert np.mean(with_it) > np.mean(without) + 0.05
