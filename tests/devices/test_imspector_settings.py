"""What of an Abberior microscope can be bound, and what is refused before any light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.bench.imspector.tree import old_tree, tree
from agent.record.reader import open_run
from devices.errors import BindingError
from devices.microscope import Microscope
from devices.shot import Shot
from tests.helpers.imspector import SCOPE, Serve, live, scanned, scope, take


def driven(*channels: str, **more: Any) -> dict[str, Any]:
    """Changes to the config: these channels are driven."""
    return {"imspector": {**SCOPE["imspector"], "channels": list(channels), **more}}


def measurement(values: dict[str, Any]) -> Any:
    return values["ExpControl"]["measurement"]


def old_settings(*names: str) -> dict[str, Any]:
    lasers = {"excitation": "Laser 0", "depletion": "Laser 1"}
    settings = {
        name: {**one, "device": lasers.get(name, one["device"])}
        for name, one in SCOPE["settings"].items()
        if name in names or not names
    }
    return {"settings": settings}


def test_a_dwell_time_is_that_of_a_pass_however_often_lines_are_scanned(serve: Serve) -> None:
    """As in a real measurement: 10 µs, and 30 in a channel whose lines are scanned three times."""
    server = serve(values=tree(channels=("CONF 640", "STED 640")))
    with Microscope.open(scope(**driven("STED 640"))) as microscope:
        take(microscope, Shot.sted(None, {"dwell": 40, "lines": 3}))
        last = server.scanned[-1]
        assert measurement(last.values)["channels"][1]["dwelltime"] == pytest.approx(1.2e-4)
        assert last.seconds >= 4 * 4e-5 * 32 * 32
        core = microscope.core
        assert float(core.getProperty("Scan", "DwellTime_us")) == pytest.approx(40)
        # One line of the other channel takes as long, and is not the driven one's light.
        assert core.getExposure() == pytest.approx(3 * 40e-3 * 32 * 32)


def test_a_dwell_time_that_is_a_channels_own_is_set_there(serve: Serve) -> None:
    values = tree()
    del measurement(values)["pixel_steps"]
    server = serve(values=values)
    with Microscope.open(scope()) as microscope:
        take(microscope, Shot.sted(None, {"dwell": 7, "lines": 2}))
        assert measurement(server.scanned[-1].values)["channels"][0]["dwelltime"] == 7e-6


def test_several_pixel_steps_are_refused(serve: Serve) -> None:
    server = serve()
    measurement(server.values)["pixel_steps"] |= {"active": True, "step_active": [True] * 2}
    with pytest.raises(BindingError, match="2 pixel steps are scanned"), Microscope.open(scope()):
        pass
    assert not server.scans


def test_detectors_of_before_16_3_are_camera_channels(tmp_path: Path, serve: Serve) -> None:
    server = serve(values=old_tree(detectors=2), old=True)
    settings = old_settings()["settings"]
    settings["delay"] = scanned("GateDelay_ns Ch2", 0, 10, 2, unit="ns")
    settings["lines"] = {**settings["lines"], "start": 2}
    result, run = live(tmp_path, frames=2, settings=settings, scored_channel="Ch2")
    assert result.status == "completed", result.reason
    assert server.scans == 3 and server.dark
    stored = open_run(run)
    assert stored.config.microscope.camera_channels == ("Ch1", "Ch2")
    assert [float(stored.frame(number)[0, 0]) for number in range(4)] == [320] * 4
    gating = server.scanned[-1].values["ExpControl"]["gating"]
    assert gating["pulses"]["pulse_chan"]["delay"] == pytest.approx([7.5e-10, 2e-9] + [7.5e-10] * 2)
    assert gating["linesteps"]["step_values"][:3] == [2, 2, 0]


def test_one_detector_of_before_16_3_has_its_own_stack(serve: Serve) -> None:
    server = serve(
        values=old_tree(detectors=2),
        old=True,
        pixels=lambda values, channel, shape: np.full(shape, 100 + channel),
    )
    with Microscope.open(scope(**old_settings(), **driven("Ch2"))) as microscope:
        assert take(microscope, Shot.sted(None, {}))[0, 0] == 101
    assert server.dark
    with (
        pytest.raises(BindingError, match=r"found 'Ch3'; accepted: 'Ch1', 'Ch2'"),
        Microscope.open(scope(**old_settings(), **driven("Ch3"))),
    ):
        pass


def test_a_scan_mode_of_before_16_3_is_read(serve: Serve) -> None:
    server = serve(values=old_tree(), old=True)
    server.values["ExpControl"]["scan"]["range"]["mode"] = 784
    with (
        pytest.raises(BindingError, match="the scan mode is 'xyt'"),
        Microscope.open(scope(**old_settings())),
    ):
        pass
    assert not server.scans


def test_gain_gate_and_pinhole_are_settings(serve: Serve) -> None:
    server = serve()
    settings = {
        **SCOPE["settings"],
        "gain": scanned("Gain", 0, 100, 60, unit="%"),
        "gate": scanned("Gate", 0, 1, 1, kind="integer"),
        "delay": scanned("GateDelay_ns", 0, 10, 1.5, unit="ns"),
        "width": scanned("GateWidth_ns", 0, 10, 6, unit="ns"),
        "level": scanned("RescueLevel", 0, 50, 30),
        "pinhole": {**scanned("Size_um", 20, 200, 80, unit="µm"), "device": "Pinhole"},
    }
    with Microscope.open(scope(settings=settings)) as microscope:
        take(microscope, Shot.sted(None, {"delay": 2}))
        values = server.scanned[-1].values
        channel = measurement(values)["channels"][0]
        assert channel["detsel"]["gain"]["calibrated"] == 60
        assert channel["gating"] == {"active": True, "delay": 2e-9, "width": 6e-9}
        assert channel["rescue"]["signal_level"] == 30
        assert values["Pinhole"]["pinhole_size"] == pytest.approx(8e-5)


def test_what_a_system_lacks_is_not_offered(serve: Serve) -> None:
    server = serve()
    # A detector that counts photons.
    measurement(server.values)["channels"][0]["detsel"]["gain"]["calibration_used"] = ""
    del server.values["Pinhole"]
    with Microscope.open(scope()) as microscope:
        core = microscope.core
        assert "Gain" not in core.getDevicePropertyNames("Scan")
        assert "Pinhole" not in core.getLoadedDevices()


def test_the_pinhole_is_as_imspector_chooses_it_until_it_is_set(serve: Serve) -> None:
    serve()
    with Microscope.open(scope()) as microscope:
        assert float(microscope.core.getProperty("Pinhole", "Size_um")) == pytest.approx(50)
        microscope.core.setProperty("Pinhole", "Size_um", 100)
        assert float(microscope.core.getProperty("Pinhole", "Size_um")) == pytest.approx(100)


def test_the_scanner_places_the_field_where_it_is_the_stage(serve: Serve) -> None:
    server = serve()
    fields = {"rows": 2, "columns": 2, "pitch_um": 1}
    fine = {"xy_stage": "FineStage", "focus": "FineFocus"}
    with Microscope.open(scope(fields=fields, **fine)) as microscope:
        take(microscope, Shot.sted(microscope.fields[-1], {}))
    reach = server.scanned[-1].values["ExpControl"]["scan"]["range"]
    assert [reach[axis]["off"] for axis in "xy"] == pytest.approx([5e-7, 5e-7])
    assert reach["coarse_x"]["g_off"] == 1e-3


@pytest.mark.parametrize("old", [False, True], ids=["16.3", "before"])
def test_light_that_ends_early_is_refused_until_it_is_accepted(serve: Serve, old: bool) -> None:
    values = old_tree() if old else tree()
    if old:
        values["ExpControl"]["rescue"]["channels"][0]["on"] = True
    else:
        measurement(values)["channels"][0]["rescue"]["rescue_mode"] = 4
    server = serve(values=values, old=old)
    named = old_settings() if old else {}
    with (
        pytest.raises(BindingError, match=r"ends the light of channel .* early .*`rescue: true`"),
        Microscope.open(scope(**named)),
    ):
        pass
    assert not server.scans and not server.locked
    accepted = {"imspector": {**SCOPE["imspector"], "rescue": True}}
    with Microscope.open(scope(**named, **accepted)) as microscope:
        take(microscope, Shot.sted(None, {}))
        mode = float(microscope.core.getProperty("Scan", "RescueMode"))
        assert mode == (1 if old else 4) and microscope.core.isPropertyReadOnly(
            "Scan", "RescueMode"
        )


def test_a_channel_that_is_lit_by_the_signal_of_a_dark_one_is_refused(serve: Serve) -> None:
    values = tree(channels=("CONF 640", "STED 640"))
    measurement(values)["channels"][1]["rescue"]["probe_channel"] = "channel-0"
    serve(values=values)
    dark = pytest.raises(BindingError, match="is lit where 'CONF 640' has signal")
    with dark, Microscope.open(scope(**driven("STED 640", rescue=True))):
        pass


def test_two_channels_of_one_name_are_refused_where_one_is_driven(serve: Serve) -> None:
    serve(values=tree(channels=("STED", "STED", "CONF")))
    with (
        pytest.raises(BindingError, match="2 channels of the measurement are called 'STED'"),
        Microscope.open(scope()),
    ):
        pass
    with Microscope.open(scope(**driven("CONF"))) as microscope:
        assert take(microscope, Shot.sted(None, {"excitation": 40}))[0, 0] == 340
