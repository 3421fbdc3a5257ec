"""A person chooses which part of the camera's frames a run takes, while it works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.plan import Instruction
from agent.record.folder import new_folder, read_config
from agent.record.ledger import reading
from agent.record.raw import RawFrames
from agent.run import Session
from agent.steering.control_file import append
from agent.steering.instructions import check
from agent.steering.roi import RecordedCamera
from agent.steering.search_state import SearchState
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import cut_after, recorded
from tests.helpers.searches import config_data_of_a_run
from tests.run.test_frame_sizes import CAMERA

SIDE = 512
ROI = [100, 40, 64, 48]
ONE: dict[str, Any] = {**CAMERA, "settings": {}, "modes": {"sted": {}, "wide": {}}, "roi": {}}


def written(folder: Path, plan: str, **parts: Any) -> RunConfig:
    parts = {"microscope": ONE, **parts}
    return load(faulty.write(folder / "config.yaml", faulty.config(plan=plan, **parts)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "section", "own"),
    [
        ("live", {"frames": 3}, {}),
        ("live", {"frames": 3}, {"sted": [0, 0, 256, 256]}),
        ("timelapse", {"frames": 4, "interval_s": 0}, {}),
    ],
    ids=["live", "over the config's", "timelapse"],
)
def test_a_region_is_taken_from_the_next_frames_on_resumed_and_replayed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plan: str,
    section: dict[str, Any],
    own: dict[str, list[int]],
) -> None:
    asked = {**section, "channels": ["sted", "wide"]}
    config = written(tmp_path, plan, **{plan: asked}, microscope={**ONE, "roi": own})
    run = new_folder(config, tmp_path, tmp_path / "run")
    append(run, {"roi": {"sted": ROI}})
    # Live hears it before its first frame, a time-lapse after those of its first time point.
    frames = 4 if plan == "timelapse" else 2
    source = tmp_path / "config.yaml"
    Session(config, source, run, make_plan=cut_after(frames, KeyboardInterrupt())).run()
    code, out, err = cli(capsys, "tell", run, "roi", "sted", "full")
    assert (code, "when the run is resumed" in out + err) == (0, True), err
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert (resumed.status, resumed.safe) == ("completed", True), resumed.reason

    whole, part = (SIDE, SIDE), (48, 64)
    taken = recorded(run).taken
    shapes = [taken[index].shape for index in sorted(taken) if taken[index].shot["mode"] == "sted"]
    if plan == "live":
        assert shapes == [part, whole, whole]
    else:
        assert shapes == [whole, part, whole, whole][: len(shapes)] and len(shapes) == 4
    others = {one.shape for one in taken.values() if one.shot["mode"] == "wide"}
    assert others == {whole}
    raw = RawFrames(run, pixel_size_um=0.02)
    for index, one in taken.items():
        assert raw.read(index).shape == one.shape
    noted = [note for note in recorded(run).notes_on("told") if note["key"] == "roi"]
    assert [note["value"] for note in noted] == [{"sted": ROI}, {"sted": []}]
    code, out, err = cli(capsys, "show", run)
    when = "after time point 0" if plan == "timelapse" else "before frame 0"
    assert f"roi of sted = 64 × 48 px from (100, 40), {when}" in out, err
    assert cli(capsys, "report", run)[0] == 0
    code, out, err = cli(capsys, "replay", run, "--json")
    assert (code, json.loads(out)["difference"]) == (0, None), err
    with reading(run) as ledger:
        (first, *_) = [entry.data for entry in ledger.entries("run")]
    assert first["whole"] == {"sted": whole, "wide": whole}


def test_the_pixels_are_those_of_the_region() -> None:
    from devices.shot import Shot

    with Microscope.open(MicroscopeConfig.model_validate(ONE)) as microscope:
        core = microscope.core
        assert microscope.roi_refusal("sted", ROI) == ""
        assert (core.getImageHeight(), core.getImageWidth()) == (SIDE, SIDE), "only tried"
        event = microscope.event(Shot("sted", roi=tuple(ROI)), 0)
        microscope._engine.setup_event(event)
        assert tuple(core.getROI()) == tuple(ROI)
        assert microscope._pixels_now() == 64 * 48
        microscope._engine.setup_event(microscope.event(Shot("wide"), 1))
        assert microscope._pixels_now() == SIDE * SIDE
        assert "beyond the frame of 512 × 512 px" in microscope.roi_refusal(
            "sted", [500, 0, 64, 48]
        )


def test_what_the_camera_does_not_take_is_refused_and_the_run_goes_on(tmp_path: Path) -> None:
    """The scan engine only scans its whole field."""
    data = yaml.safe_load(Path("configs/live.yaml").read_text(encoding="utf-8"))
    data |= {"live": {"frames": 2}, "analysis": {"score": False}, "filter": None}
    data["microscope"]["virtual_sted"] |= {"width_px": 24, "height_px": 24, "size_um": 8}
    data["microscope"]["fields"] = {"rows": 1, "columns": 1}
    source = faulty.write(tmp_path / "config.yaml", data)
    config = load(source)
    run = new_folder(config, tmp_path, tmp_path / "run")
    append(run, {"roi": {"sted": [0, 0, 8, 8]}})
    result = Session(config, source, run).run()
    assert result.status == "completed", result.reason
    (fault,) = recorded(run).faults
    assert "the scan engine only scans its whole field" in fault["what"]
    assert {one.shape for one in recorded(run).taken.values()} == {(24, 24)}


def test_what_is_no_region_for_this_run_is_refused_in_one_line(tmp_path: Path) -> None:
    camera = RecordedCamera({"sted": [SIDE, SIDE]})

    def why(config: RunConfig, value: object) -> str:
        with pytest.raises(UserError) as refused:
            check(config, {"roi": value}, SearchState(0), camera)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    config = written(tmp_path, "live")
    assert check(config, {"roi": {"sted": ROI}}, SearchState(0), camera) == (
        Instruction("roi", {"sted": ROI}),
    )
    assert check(config, {"roi": {"sted": "full"}}, SearchState(0)) == (
        Instruction("roi", {"sted": []}),
    )
    for wrong in (None, True, 3, [], {}, "sted"):
        assert "accepted: a mode (sted)" in why(config, wrong), wrong
    for wrong in (None, [], [1, 2, 3], [0, 0, 0, 8], [-1, 0, 8, 8], [0, 0, 8.5, 8], ["a"] * 4):
        assert "accepted: [x, y, width, height] in pixels, or full" in why(
            config, {"sted": wrong}
        ), wrong
    assert "accepted: sted" in why(config, {"wide": ROI})
    assert "beyond the frame of 512 × 512 px" in why(config, {"sted": [500, 0, 64, 48]})
    filtered = written(tmp_path, "live", filter={"model": "actin"})
    assert "its frames are filtered" in why(filtered, {"sted": ROI})
    scored = written(tmp_path, "live", analysis={"score": True})
    assert "at least 320 nm" in why(scored, {"sted": [0, 0, 15, 64]})
    skipping = written(tmp_path, "timelapse", timelapse={"acquire": "skip"})
    assert "`acquire: skip` rebuilds frames" in why(skipping, {"sted": ROI})
    searching = load(faulty.write(tmp_path / "search.yaml", config_data_of_a_run()))
    assert "whose trials are compared" in why(searching, {"sted": ROI})
