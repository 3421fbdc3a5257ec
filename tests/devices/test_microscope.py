"""The one door to the hardware: bindings, limits, events, safe state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import useq
from pydantic import ValidationError

from devices.config import MicroscopeConfig
from devices.errors import BindingError, DeviceFault, LimitError
from devices.fields import grid
from devices.microscope import Microscope
from devices.safety import Step, make_safe
from devices.shot import Field, Shot

SETTINGS: dict[str, Any] = {
    "excitation_power": {
        "device": "Excitation",
        "property": "Power_uW",
        "unit": "µW",
        "range": [0, 20],
        "start": 2,
        "safe": 0,
        "laser": "excitation",
    },
    "depletion_power": {
        "device": "Depletion",
        "property": "Power_mW",
        "unit": "mW",
        "range": [0, 300],
        "start": 50,
        "safe": 0,
        "laser": "depletion",
    },
    "dwell_time": {
        "device": "Scan",
        "property": "DwellTime_us",
        "unit": "µs",
        "range": [1, 100],
        "start": 10,
    },
    "line_accumulations": {
        "device": "Scan",
        "property": "LineAccumulations",
        "kind": "integer",
        "range": [1, 8],
        "start": 2,
    },
}
VIRTUAL: dict[str, Any] = {
    "virtual_sted": {"width_px": 32, "height_px": 32, "size_um": 12},
    "pixel_size_nm": 20,
    "fields": {"rows": 2, "columns": 2, "pitch_um": 2},
    "clock": {"device": "Scan", "property": "Clock_s"},
    "exposure": {"dwell_time": "dwell_time", "line_accumulations": "line_accumulations"},
    "settings": SETTINGS,
    "modes": {"sted": {}, "confocal": {"depletion_power": 0, "line_accumulations": 1}},
}


def virtual(**changes: Any) -> MicroscopeConfig:
    return MicroscopeConfig.model_validate({**VIRTUAL, **changes})


def open_and_leave(config: MicroscopeConfig) -> None:
    with Microscope.open(config):
        pass


@pytest.fixture(scope="module")
def scope() -> Iterator[Microscope]:
    with Microscope.open(virtual()) as microscope:
        yield microscope


def test_opens_dark(scope: Microscope) -> None:
    assert float(scope.core.getProperty("Excitation", "Power_uW")) == 0
    assert float(scope.core.getProperty("Depletion", "Power_mW")) == 0
    assert not scope.core.getShutterOpen()
    assert scope.simulated


def test_a_simulated_sample_is_no_sequence(scope: Microscope) -> None:
    """Its time is that of the frame that was asked for last."""
    found = scope.sequence([Shot("sted"), Shot("sted")], 0)
    assert found == "its camera takes each frame when it is asked for it"


def test_the_demos_open_shutter_is_closed_on_opening() -> None:
    config = MicroscopeConfig.model_validate(
        {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    )
    with Microscope.open(config) as demo:
        assert not demo.core.getShutterOpen()
        assert demo.simulated


def test_cpp_and_python_devices_share_one_core(tmp_path: Path) -> None:
    movie = np.arange(3 * 16 * 16, dtype=np.uint16).reshape(3, 16, 16)
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    config = MicroscopeConfig.model_validate(
        {
            "cfg": "demo",
            "replay": {"file": "movie.tif"},
            "camera": "Replay",
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 1},
        }
    )
    frames = []
    with Microscope.open(config, base=tmp_path) as both:
        assert both.core.getDeviceLibrary("Camera") == "DemoCamera"
        both.core.mda.events.frameReady.connect(lambda image: frames.append(image.copy()))
        where = Field(0, 12.0, 34.0)
        both.core.mda.run(iter([both.event(Shot.sted(where, {}), i) for i in range(3)]))
        assert both.core.getXYPosition() == pytest.approx((12, 34), abs=0.1)
    np.testing.assert_array_equal(frames, movie)


def test_one_label_for_two_devices_is_refused() -> None:
    with pytest.raises(BindingError, match=r"'Excitation' cannot be loaded.*in use"):
        open_and_leave(virtual(cfg="demo", camera="Scan", shutter="Shutter"))


def test_mode_pins_win_over_the_shot(scope: Microscope) -> None:
    full = scope.settings(Shot("confocal", {"depletion_power": 100, "dwell_time": 5}))
    assert full == {
        "excitation_power": 2.0,
        "depletion_power": 0.0,
        "dwell_time": 5.0,
        "line_accumulations": 1,
    }


@pytest.mark.parametrize(
    ("shot", "message"),
    [
        (Shot("sted", {"depletion_power": 300.1}), "300.1 is outside 0 … 300 mW"),
        (Shot("sted", {"depletion_power": float("nan")}), "outside"),
        (Shot("sted", {"dwell_time": 0}), "0 is outside 1 … 100 µs"),
        (Shot("sted", {"line_accumulations": 1.5}), "not a whole number"),
        (Shot("sted", {"line_accumulations": True}), "not a number"),
        (Shot("sted", {"depletion": 3}), "did you mean `depletion_power`"),
        (Shot("stde", {}), "did you mean 'sted'"),
    ],
)
def test_a_shot_outside_the_limits_is_refused(scope: Microscope, shot: Shot, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        scope.event(shot, 0)


def test_nobody_gets_past_the_limits(scope: Microscope) -> None:
    """Also not another front end that hands its own events to the core."""
    before = scope.core.getProperty("Depletion", "Power_mW")
    event = useq.MDAEvent(
        properties=[("Scan", "DwellTime_us", 50.0), ("Depletion", "Power_mW", 400.0)]
    )
    with pytest.raises(LimitError, match="depletion_power"):
        scope.core.mda.run(iter([event]))
    assert scope.core.getProperty("Depletion", "Power_mW") == before
    assert float(scope.core.getProperty("Scan", "DwellTime_us")) != 50


def test_event_of_a_shot(scope: Microscope) -> None:
    event = scope.event(Shot.sted(Field(3, 1.5, -2.0), {"dwell_time": 20}), 7)
    assert (event.x_pos, event.y_pos, event.index["t"]) == (1.5, -2.0, 7)
    assert ("Scan", "DwellTime_us", 20.0) in [tuple(p) for p in event.properties or ()]


def test_simulated_time_is_set_and_real_time_waited_for(scope: Microscope) -> None:
    event = scope.event(Shot("sted", at_s=1e6), 0)
    assert event.min_start_time is None
    assert ("Scan", "Clock_s", 1e6) in [tuple(p) for p in event.properties or ()]
    demo = MicroscopeConfig.model_validate(
        {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    )
    with Microscope.open(demo) as microscope:
        assert microscope.event(Shot("sted", at_s=30), 0, elapsed_s=10).min_start_time == 20


def test_exposure_and_dose_follow_from_the_settings(scope: Microscope) -> None:
    settings = scope.settings(Shot("sted", {"excitation_power": 4, "depletion_power": 100}))
    seconds = 10e-6 * 32 * 32 * 2
    assert scope.exposure_s(settings) == pytest.approx(seconds)
    assert scope.dose_j(settings) == pytest.approx(
        {"excitation": 4e-6 * seconds, "depletion": 0.1 * seconds}
    )


def test_fields_are_a_grid_from_the_centre_outwards() -> None:
    config = virtual(fields={"rows": 3, "columns": 3, "pitch_um": 2, "centre_um": [1, -1]})
    fields = grid(config.fields)
    assert (fields[0].x_um, fields[0].y_um) == (1, -1)
    assert len({(f.x_um, f.y_um) for f in fields}) == 9
    distances = [np.hypot(f.x_um - 1, f.y_um + 1) for f in fields]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("device", "Laser", "found 'Laser'; accepted: Ex"),
        ("device", "Excitaton", "did you mean 'Excitation'"),
        ("property", "Power_mW", "on Excitation"),
        ("range", [0, 60], "0 … 50"),
    ],
)
def test_bindings_are_checked_on_opening(path: str, change: Any, message: str) -> None:
    settings = {**SETTINGS, "excitation_power": {**SETTINGS["excitation_power"], path: change}}
    with pytest.raises(BindingError, match=message) as caught:
        open_and_leave(virtual(settings=settings))
    assert caught.value.path[:2] == ("settings", "excitation_power")


def test_read_only_property_cannot_be_a_setting() -> None:
    pixel = {"device": "Scan", "property": "PixelSize_nm", "range": [1, 100], "start": 20}
    with pytest.raises(BindingError, match="read-only"):
        open_and_leave(virtual(settings={**SETTINGS, "pixel": pixel}))


def test_a_laser_needs_a_safe_value() -> None:
    laser = {k: v for k, v in SETTINGS["excitation_power"].items() if k != "safe"}
    with pytest.raises(ValidationError, match="needs a `safe` value"):
        virtual(settings={**SETTINGS, "excitation_power": laser})


def test_make_safe_switches_off_and_reads_back() -> None:
    with Microscope.open(virtual()) as scope:
        scope.core.setProperty("Depletion", "Power_mW", 200)
        scope.core.setShutterOpen(True)
        state = scope.make_safe("test")
        assert state.ok and state.reason == "test"
        assert state.as_dict()["readback"]["depletion_power"]["value"] == 0
        assert float(scope.core.getProperty("Depletion", "Power_mW")) == 0
        assert not scope.core.getShutterOpen()


def test_after_make_safe_the_engine_moves_nothing() -> None:
    with Microscope.open(virtual()) as scope:
        scope.make_safe("test")
        with pytest.raises(DeviceFault, match="made safe"):
            scope.core.mda.run(iter([scope.event(Shot("sted"), 0)]))
        assert float(scope.core.getProperty("Depletion", "Power_mW")) == 0
        scope.arm()
        scope.core.mda.run(iter([scope.event(Shot("sted"), 0)]))


def test_a_device_that_hangs_or_fails_does_not_keep_the_others_from_being_safe(
    impatient: None,
) -> None:
    never = threading.Event()
    done = []

    def broken() -> None:
        raise OSError("no answer from COM3")

    state = make_safe(
        [
            Step("hangs", never.wait, lambda: 0, 0),
            Step("fails", broken, broken, 0),
            Step("lies", lambda: None, lambda: 5, 0),
            Step("works", lambda: done.append(1), lambda: 0, 0),
        ],
        "test",
    )
    never.set()
    found = {entry.name: entry for entry in state.readback}
    assert not state.ok and done
    assert found["works"].ok and not found["lies"].ok
    assert "no answer" in found["hangs"].value and "COM3" in found["fails"].value


@pytest.mark.parametrize(
    ("reads", "safe", "ok"),
    [
        (9e-7, 0, False),  # of a laser in W that has 20 µW
        ("0.0000", 0, True),
        (0.10000000149011612, 0.1, True),  # a driver that keeps 32 bits
        (float("nan"), 0, False),
        (None, 0, False),
    ],
)
def test_the_safe_state_is_what_is_read_back_but_for_rounding(
    reads: object, safe: float, ok: bool
) -> None:
    assert make_safe([Step("laser", lambda: None, lambda: reads, safe)], "test").ok is ok


@pytest.mark.parametrize("part", ["act", "read"])
def test_a_device_that_fails_once_is_asked_again(part: str) -> None:
    calls: list[str] = []

    def call(which: str) -> int:
        calls.append(which)
        if which == part and calls.count(which) == 1:
            raise OSError("a byte was lost")
        return 0

    def act() -> object:
        return call("act")

    # Where it says that it is safe, it does not matter what it said of being told so.
    state = make_safe([Step("laser", act, lambda: call("read"), 0)], "test")
    assert state.ok
    assert calls == (["act", "read", "act", "read"] if part == "read" else ["act", "read"])
