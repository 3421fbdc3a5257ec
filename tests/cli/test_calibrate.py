"""`stedfast calibrate`: a config gets the affine that following a drift needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import load, plain_yaml
from agent.config.amending import amended
from agent.config.plain_yaml import YamlError
from agent.config.reading import UserError
from agent.run import Session, open_microscope
from devices.affine import Affine
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from devices.virtual.mounting import Mounting
from tests.faulty import cli
from tests.helpers.runs import frames_in, recorded

TURNED = """\
plan: timelapse
timelapse: {frames: 3, interval_s: 1, acquire: skip, gap: 2, drift: follow}
microscope:
  virtual_sted:
    structure: tubulin
    size_um: 12
    width_px: 64
    height_px: 64
    seed: 3
    stage_rotation_deg: 90
    stage_mirrored: true
    stage_scale: 0.8     # of a cheap stage
  pixel_size_nm: 20      # by the maker's sheet
  clock: {device: Scan, property: Clock_s}
  exposure: {dwell_time: dwell}
  settings:
    power:
      {device: Excitation, property: Power_uW, unit: µW, range: [0, 30], start: 8, safe: 0,
       laser: red}
    dwell: {device: Scan, property: DwellTime_us, unit: µs, range: [1, 100], start: 20}
"""


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    file = tmp_path / "turned.yaml"
    file.write_text(TURNED, encoding="utf-8")
    return file


@pytest.mark.slow
def test_an_uncalibrated_stage_is_refused_and_a_calibrated_one_is_not(
    turned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = cli(capsys, "check", turned)
    assert code == 2
    assert f"{turned}, line 2: `timelapse.drift`: needs to know how the camera lies" in err
    assert f"`stedfast calibrate {turned}`" in err
    code, out, err = cli(capsys, "calibrate", turned, "--out", tmp_path / "moves")
    assert code == 0, err
    assert "against the stage, mirrored; 2" in out and "residual 0." in out
    assert "`pixel_size_nm` is 20, and the stage says 2" in err
    truth = Mounting(90, mirrored=True, scale=0.8).affine(0.02)
    found = load(turned).microscope.affine
    assert found is not None and Affine(found).unlike(truth) < 0.1
    lines = turned.read_text(encoding="utf-8").splitlines()
    added = [line for line in lines if line not in TURNED.splitlines()]
    assert len(lines) == len(TURNED.splitlines()) + 1
    assert added == [f"  affine: {[*found]}"] and lines.index(added[0]) == 13
    assert frames_in(tmp_path / "moves") == [0, 1, 2, 3, 4, 5]
    shots = [taken.shot["field"] for taken in recorded(tmp_path / "moves").taken.values()]
    assert shots[0] == shots[-1]
    code, out, err = cli(capsys, "check", turned)
    assert code == 0, err
    assert "against the stage, mirrored" in out


@pytest.mark.parametrize(
    ("laid_over", "code", "why"),
    [
        ("microscope.stage_limits={x_um: [-0.1, 0.1]}", 2, "x = 0.256 µm is outside -0.1 … 0.1 µm"),
        ("dose.budget_J={red: 1e-9}", 3, "budget"),
        ("microscope.settings.power.start=0", 1, "not calibrated: "),
        ("microscope.modes={dim: {power: 40}}", 2, "40"),
    ],
)
def test_what_cannot_be_calibrated_ends_with_its_cause(
    laid_over: str,
    code: int,
    why: str,
    turned: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moves = tmp_path / "moves"
    got, _, err = cli(capsys, "calibrate", turned, "--set", laid_over, "--out", moves)
    assert got == code
    assert why in err
    assert turned.read_text(encoding="utf-8") == TURNED


# ---------------------------------------------------------------------- a config's text

SIX = [0.0, 0.02, 0.0, -0.02, 1e-07, 0.0]
TEXTS = {
    "block": (
        "microscope:\n  cfg: a.cfg # mine\n  pixel_size_nm: 20 # yes\n\n  # all\n  x: 1\n",
        4,
    ),
    "last line": ("microscope:\n  pixel_size_nm: 20", 3),
    "CRLF": ("microscope:\r\n    pixel_size_nm: 20\r\n    x: 1\r\n", 3),
    "flow": ("microscope: {pixel_size_nm: 20, x: 1}  # short\n", 1),
    "there": ("microscope:\n  affine: [1, 0, 0, 0, 1, 0]  # old\n  pixel_size_nm: 20\n", 2),
    "there as a list": (
        "microscope:\n  affine:\n    - 1\n    - 0\n    # odd\n  pixel_size_nm: 20\n",
        3,
    ),
    "there and empty": ("microscope:\n  affine:\n  pixel_size_nm: 20\n", 2),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_key_is_set_and_all_else_stays(name: str) -> None:
    text, line = TEXTS[name]
    found = amended(text, "microscope", "affine", SIX, after="pixel_size_nm")
    old = plain_yaml.read(text)
    assert plain_yaml.read(found) == {"microscope": {**old["microscope"], "affine": SIX}}
    assert "[0.0, 0.02, 0.0, -0.02, 1.0e-07, 0.0]" in found.splitlines()[line - 1]
    for comment in ("# mine", "# yes", "# all", "# short", "# old", "# odd"):
        assert (comment in found) == (comment in text)
    assert found.count("\r\n") == (4 if "\r\n" in text else 0)


@pytest.mark.parametrize(
    "text",
    [
        "microscope: &scope {x: 1}\n",
        "scope: &scope\n  pixel_size_nm: 20\nmicroscope: *scope\n",
    ],
)
def test_what_would_change_more_than_one_key_is_left_alone(text: str) -> None:
    with pytest.raises(YamlError):
        amended(text, "microscope", "affine", SIX, after="pixel_size_nm")


# ---------------------------------------------------------------------- a .cfg's own

CFG = """Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,XY,DemoCamera,DXYStage
Parent,Camera,DHub
Parent,XY,DHub
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,XYStage,XY
Property,Core,AutoShutter,0
ConfigPixelSize,Res,Camera,Binning,1
PixelSize_um,Res,0.02
"""


@pytest.mark.parametrize(
    ("line", "affine", "mounting", "contradiction"),
    [
        ("", None, None, False),
        ("PixelSizeAffine,Res,1.0,0.0,0.0,0.0,1.0,0.0\n", None, None, False),
        ("PixelSizeAffine,Res,0.0,-0.02,0.0,0.02,0.0,0.0\n", None, 90.0, False),
        ("PixelSizeAffine,Res,0.0,-0.02,0.0,0.02,0.0,0.0\n", 90.0, 90.0, False),
        ("PixelSizeAffine,Res,0.0,-0.02,0.0,0.02,0.0,0.0\n", 60.0, 60.0, True),
    ],
)
def test_the_affine_of_a_cfg_is_taken_where_the_config_has_none(
    line: str, affine: float | None, mounting: float | None, contradiction: bool, tmp_path: Path
) -> None:
    (tmp_path / "scope.cfg").write_text(CFG + line)
    own: dict[str, Any] = {}
    if affine is not None:
        own = {"affine": Affine.mounted(0.02, rotation_deg=affine).six}
    config = MicroscopeConfig.model_validate(
        {"cfg": "scope.cfg", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}, **own}
    )
    with Microscope.open(config, base=tmp_path) as microscope:
        found = microscope.config.mounting
        assert (None if found is None else round(found.rotation_deg, 6)) == mounting
        assert (microscope.contradiction is not None) == contradiction


LIVE = """\
plan: live
live: {frames: 2}
microscope: {cfg: scope.cfg, pixel_size_nm: 20, exposure: {camera_ms: 1}}
"""


@pytest.mark.slow
def test_a_run_that_was_begun_without_a_calibration_goes_on_without_one(tmp_path: Path) -> None:
    """Its plan would otherwise decide anew where it looked."""
    file, cfg, run = tmp_path / "run.yaml", tmp_path / "scope.cfg", tmp_path / "run"
    file.write_text(LIVE)
    cfg.write_text(CFG)
    run.mkdir()
    assert Session(load(file), file, run).run().status == "completed"
    follow = load(file, ["plan=timelapse", "timelapse={acquire: skip, drift: follow}"])
    with (
        pytest.raises(UserError, match=r"`timelapse.drift`: needs to know how the camera lies"),
        open_microscope(follow, file),
    ):
        pass
    with open_microscope(follow, file, begun=True) as microscope:
        assert microscope.config.mounting is None
    cfg.write_text(CFG + "PixelSizeAffine,Res,0.0,-0.02,0.0,0.02,0.0,0.0\n")
    with open_microscope(follow, file) as microscope:
        assert microscope.config.mounting is not None
    session = Session(load(file, ["live.frames=3"]), file, run)
    assert session.run().status == "completed"
    assert len(frames_in(run)) == 3
    assert session.config.microscope.affine is None
