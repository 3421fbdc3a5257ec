"""Micro-Manager's *Multi Camera*: what it hides of the cameras within is found before any light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from devices import cameras
from devices.config import MicroscopeConfig
from devices.errors import BindingError, DeviceFault
from devices.microscope import Microscope
from devices.shot import Shot

CFG = (Path(__file__).parent / "cfgs" / "multi_camera.cfg").read_text("utf-8")
STARTUP = "ConfigGroup,System,Startup"
DEMO: dict[str, Any] = {"cfg": "my.cfg", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}


def choice(device: str, prop: str, *choices: str) -> dict[str, Any]:
    bound = {"device": device, "property": prop, "kind": "choice"}
    return {**bound, "choices": [*choices], "start": choices[0]}


def opening(folder: Path, *lines: str, without: str = "nothing", **keys: Any) -> Any:
    """A microscope with two cameras at once, to be opened.

    Parameters
    ----------
    folder
        Where its `.cfg` is written.
    lines, without
        Added to the `.cfg`; those that have this are left out.
    keys
        Of the config.
    """
    kept = [line for line in CFG.splitlines() if without not in line]
    (folder / "my.cfg").write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")
    return Microscope.open(MicroscopeConfig.model_validate({**DEMO, **keys}), base=folder)


def taken(microscope: Microscope, mode: str) -> list[tuple[tuple[int, ...], dict[str, int]]]:
    """Shape of each frame of a shot, and what its event says it is."""
    found: list[Any] = []

    def take(image: Any, event: Any, meta: Any) -> None:
        found.append((image.shape, dict(event.index)))

    microscope.core.mda.events.frameReady.connect(take)
    microscope.core.mda.run(iter([microscope.event(Shot(mode), 0)]))
    microscope.core.mda.events.frameReady.disconnect(take)
    return found


UNLIKE = "takes frames of one size and type only, and they are "
RIGHT = choice("Right", "Binning", "1", "2")
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "none within": (
        {"without": "Physical"},
        "camera",
        "'Multi Camera' has no camera within; accepted: labels of cameras as its 'Physical C",
    ),
    "one of them twice": (
        {"lines": [f"{STARTUP},Multi Camera,Physical Camera 3,Left"]},
        "camera",
        "has 'Left' as 'Physical Camera 1' and as 'Physical Camera 3'; accepted: each once",
    ),
    "another order": (
        {"camera_channels": ["Right", "Left"]},
        "camera_channels",
        "found Right, Left, but 'Multi Camera' has Left, Right; accepted: those, in this order",
    ),
    "only one within": (
        {"without": "Camera 2", "camera_channels": ["Left", "Right"]},
        "camera_channels",
        "found Left, Right, but 'Multi Camera' gives one frame a snap; accepted: none",
    ),
    "no such channel": (
        {"scored_channel": "Rihgt"},
        "scored_channel",
        "found 'Rihgt'; accepted: Left, Right; did you mean 'Right'?",
    ),
    "a channel of one": (
        {"camera": "Left", "scored_channel": "Right"},
        "scored_channel",
        "'Left' gives one frame a snap",
    ),
    "sizes": (
        {"lines": [f"{STARTUP},Right,Binning,2"]},
        "modes.sted",
        f"{UNLIKE}512 × 512 px of 1 byte in 'Left', 256 × 256 px of 1 byte in 'Right'",
    ),
    "types": (
        {"properties": [["Left", "PixelType", "16bit"]]},
        "modes.sted",
        f"{UNLIKE}512 × 512 px of 2 bytes in 'Left', 512 × 512 px of 1 byte in 'Right'",
    ),
    "colour": (
        {"properties": [["Left", "PixelType", "32bitRGB"], ["Right", "PixelType", "32bitRGB"]]},
        "camera",
        "'Left' gives 4 components a pixel",
    ),
    "a setting of one": (
        {"settings": {"bin": RIGHT}},
        "settings.bin",
        "accepted: a setting that changes all of them, or a value in each of `modes`",
    ),
    "a mode that has them unlike": (
        {"settings": {"bin": RIGHT}, "modes": {"sted": {"bin": "1"}, "confocal": {"bin": "2"}}},
        "modes.confocal",
        UNLIKE,
    ),
    "a setting that takes one out": (
        {"settings": {"x": choice("Multi Camera", "Physical Camera 2", "Right", "Undefined")}},
        "settings.x",
        "gives frames of Left, and those of a run are all of Left, Right",
    ),
    "a region beyond them": (
        {"roi": {"sted": [500, 20, 100, 50]}},
        "roi.sted",
        "is beyond the frame of 512 × 512 px",
    ),
    "an exposure that one does not take": (
        {
            "lines": ["Property,Right,MaximumExposureMs,20"],
            "without": "Property,Core,Initialize,1",
            "exposure": {"camera_ms": 50},
        },
        "",
        "camera 'Right' exposes for 10 ms, not 50 as it was set to (`exposure.camera_ms`)",
    ),
    "an exposure of one alone": (
        {
            "settings": {
                "time": {"device": "Left", "property": "Exposure", "range": [1, 9], "start": 5}
            }
        },
        "settings.time",
        "Left.Exposure is how long light is on",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_is_refused_before_any_light(kind: str, tmp_path: Path) -> None:
    parts, where, message = REFUSED[kind]
    keys = dict(parts)
    lines = keys.pop("lines", [])
    if kind == "an exposure that one does not take":  # set before the devices come up
        # Whichever camera comes up last is the core's, unless the file says which behind that.
        core = ["Property,Core,Initialize,1", "Property,Core,Camera,Multi Camera"]
        lines = [*lines, *core, f"{STARTUP},Left,Binning,1"]
    with pytest.raises(BindingError) as caught, opening(tmp_path, *lines, **keys):
        pass
    assert message in str(caught.value)
    assert ".".join(map(str, caught.value.path)) == where


@pytest.mark.parametrize(
    ("names", "scored", "said"),
    [
        (["Left"], None, "`camera_channels`: one name"),
        (["Left", "Left"], None, "`camera_channels`: 'Left' is there twice"),
        (["Left", "Right"], "Lift", "`scored_channel`: found 'Lift'; accepted: Left, Right; did"),
    ],
)
def test_a_config_that_contradicts_itself(names: list[str], scored: str | None, said: str) -> None:
    keys = {**DEMO, "camera_channels": names, "scored_channel": scored}
    with pytest.raises(ValidationError, match=said):
        MicroscopeConfig.model_validate(keys)


def test_regions_binning_and_exposures_are_those_of_all_cameras(tmp_path: Path) -> None:
    """Each as the camera within has it: *Multi Camera* says nothing of some."""
    time = {"device": "Left", "property": "Exposure", "unit": "ms", "range": [1, 99], "start": 5}
    settings = {
        "left": choice("Left", "Binning", "1", "2"),
        "right": choice("Right", "Binning", "2", "1"),
        "time": time,
    }
    modes = {
        "sted": {"left": "1", "right": "1", "time": 20},
        "confocal": {"left": "2", "right": "2"},
    }
    keys = {"settings": settings, "modes": modes, "exposure": {"camera": "time"}}
    with opening(tmp_path, roi={"sted": [10, 20, 100, 50]}, **keys) as microscope:
        assert microscope.simulated
        assert microscope.shapes == {"sted": (50, 100), "confocal": (256, 256)}
        for mode, shape, ms in (("confocal", (256, 256), 5), ("sted", (50, 100), 20)):
            frames = taken(microscope, mode)
            assert frames == [(shape, {"t": 0, "cam": 0}), (shape, {"t": 0, "cam": 1})]
            has = {label: microscope.core.getExposure(label) for label in ("Left", "Right")}
            assert has == {"Left": ms, "Right": ms}


def test_a_group_or_the_camera_itself_sets_the_binning_of_all(tmp_path: Path) -> None:
    group = [
        f"ConfigGroup,Bin,{n},{label},Binning,{n}" for n in "12" for label in ("Left", "Right")
    ]
    by_group = {"group": "Bin", "choices": ["1", "2"], "start": "1"}
    for bound in (by_group, choice("Multi Camera", "Binning", "1", "2")):
        modes = {"sted": {}, "confocal": {"bin": "2"}}
        with opening(tmp_path, *group, settings={"bin": bound}, modes=modes) as microscope:
            assert microscope.sizing == ("bin",)
            assert microscope.shapes == {"sted": (512, 512), "confocal": (256, 256)}


def test_a_camera_that_goes_while_the_run_works_is_a_fault(tmp_path: Path) -> None:
    with opening(tmp_path) as microscope:
        taken(microscope, "sted")
        microscope.core.setProperty("Multi Camera", "Physical Camera 2", "Undefined")
        with pytest.raises(DeviceFault, match=r"gave 1 frames, not 2 as on opening \(Left, Right"):
            taken(microscope, "sted")


def test_a_camera_that_failed_unsaid_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that took none, *Multi Camera* gives the frame before; black ones may be alike."""
    monkeypatch.setattr(cameras, "SIMULATED", frozenset())
    still = [f"{STARTUP},Right,Mode,Fluorescent Beads"]
    with opening(tmp_path, *still) as microscope:
        taken(microscope, "sted")
        with pytest.raises(DeviceFault, match="'Right' gave the frame before once more"):
            taken(microscope, "sted")
    black = [f"{STARTUP},Right,FastImage,1"]
    with opening(tmp_path, *black) as microscope:
        for _ in range(3):
            assert len(taken(microscope, "sted")) == 2
